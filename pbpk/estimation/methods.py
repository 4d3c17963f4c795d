"""The estimation methods by name. To add one: its file, and a row in `METHOD_HOMES`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pbpk.errors import WrongUsage, did_you_mean

if TYPE_CHECKING:
    from pbpk.estimation.base import EstimationMethod

# Method name -> (module, attribute). Modules load on first use: reading the list of names must cost nothing.
METHOD_HOMES = {
    "focei": ("pbpk.estimation.focei", "FOCEI"),
    "foce": ("pbpk.estimation.focei", "FOCE"),
    "fo": ("pbpk.estimation.fo", "FO"),
    "laplace": ("pbpk.estimation.laplace", "LAPLACE"),
    "agq": ("pbpk.estimation.quadrature", "AGQ"),
    "imp": ("pbpk.estimation.importance", "IMP"),
    "saem": ("pbpk.estimation.saem", "SAEM"),
    "map": ("pbpk.estimation.map", "MAP"),
    "pooled": ("pbpk.estimation.pooled", "POOLED"),
    "two_stage": ("pbpk.estimation.two_stage", "TWO_STAGE"),
    "global_two_stage": ("pbpk.estimation.two_stage", "GLOBAL_TWO_STAGE"),
    "nuts": ("pbpk.estimation.bayes.nuts", "NUTS"),
    "vi": ("pbpk.estimation.bayes.variational", "VI"),
}
METHODS = tuple(METHOD_HOMES)

# Chosen by a study of published aggregates itself, so not offered to users by name.
_AGGREGATE_METHOD = {"summary": ("pbpk.aggregate_data.method", "SUMMARY")}


def get_method(name: str) -> EstimationMethod:
    """The estimation method called `name` (any case). Raises `WrongUsage` with the nearest known name."""
    home = (METHOD_HOMES | _AGGREGATE_METHOD).get(name.lower())
    if home is None:
        raise WrongUsage(f"no estimation method `{name}`", hint=did_you_mean(name, METHODS))
    module, attribute = home
    return getattr(importlib.import_module(module), attribute)
