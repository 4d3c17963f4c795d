"""The estimation methods by name. To add one: its file, a row in `METHOD_TABLE`, its test in tests/estimation."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

from pbpk.errors import WrongUsage, did_you_mean

if TYPE_CHECKING:
    from pbpk.estimation.base import EstimationMethod


class MethodRow(NamedTuple):
    """Where a method is defined, and what must be known of it by name alone, without importing it.

    `no_likelihood` says why its estimates are not those of the greatest likelihood, so that runs by it have no AIC; empty
    where they are. `by_name`: whether a user may ask for it; the others are chosen by the kind of the study.
    """

    module: str
    attribute: str
    no_likelihood: str = ""
    by_name: bool = True


_MOMENTS = "its estimates are moments of individual fits"

# Modules load on first use: reading the list of names must cost nothing.
METHOD_TABLE = {
    "focei": MethodRow("pbpk.estimation.focei", "FOCEI"),
    "foce": MethodRow("pbpk.estimation.focei", "FOCE"),
    "fo": MethodRow("pbpk.estimation.fo", "FO"),
    "laplace": MethodRow("pbpk.estimation.laplace", "LAPLACE"),
    "agq": MethodRow("pbpk.estimation.quadrature", "AGQ"),
    "imp": MethodRow("pbpk.estimation.importance", "IMP"),
    "saem": MethodRow("pbpk.estimation.saem", "SAEM"),
    "map": MethodRow(
        "pbpk.estimation.map",
        "MAP",
        no_likelihood="its objective is that of the individual parameters with the population's held",
    ),
    "pooled": MethodRow("pbpk.estimation.pooled", "POOLED"),
    "two_stage": MethodRow("pbpk.estimation.two_stage", "TWO_STAGE", no_likelihood=_MOMENTS),
    "global_two_stage": MethodRow("pbpk.estimation.two_stage", "GLOBAL_TWO_STAGE", no_likelihood=_MOMENTS),
    "nuts": MethodRow("pbpk.estimation.bayes.nuts", "NUTS", no_likelihood="its estimates are means of the posterior"),
    "vi": MethodRow(
        "pbpk.estimation.bayes.variational",
        "VI",
        no_likelihood="its estimates are means of an approximate posterior",
    ),
    "summary": MethodRow("pbpk.aggregate_data.method", "SUMMARY", by_name=False),
}
METHODS = tuple(name for name, row in METHOD_TABLE.items() if row.by_name)


def get_method(name: str) -> EstimationMethod:
    """The estimation method called `name` (any case). Raises `WrongUsage` with the nearest known name."""
    row = METHOD_TABLE.get(name.lower())
    if row is None:
        raise WrongUsage(f"no estimation method `{name}`", hint=did_you_mean(name, METHODS))
    return getattr(importlib.import_module(row.module), row.attribute)


def list_methods_with(capability: str) -> list[str]:
    """The names of the methods whose attribute `capability` (estimation/base.py) is true, as a hint lists them. Loads all."""
    return [name for name in METHODS if getattr(get_method(name), capability)]


def explain_no_likelihood(name: str) -> str:
    """Why the estimates of the method called `name` are not those of the greatest likelihood; empty where they are."""
    row = METHOD_TABLE.get(name)
    return row.no_likelihood if row else ""
