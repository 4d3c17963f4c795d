"""Floor 4: estimation. The interface is base.py; one file per method; `METHODS` lists them.

The package is itself callable, so that the library reads `pbpk.fit("theophylline")` (see `fit_study`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pbpk.errors import WrongUsage, did_you_mean

if TYPE_CHECKING:
    from pbpk.fit.base import Method
    from pbpk.fit.result import Fit

METHODS = ("focei", "foce", "fo", "laplace", "agq", "map", "pooled")


def method_called(name: str) -> Method:
    """The method of that name (imported here: the list above must cost nothing to read)."""
    from pbpk.fit.fo import FO
    from pbpk.fit.focei import FOCE, FOCEI
    from pbpk.fit.laplace import LAPLACE
    from pbpk.fit.pooled import POOLED
    from pbpk.fit.posterior import MAP
    from pbpk.fit.quadrature import AGQ

    known: dict[str, Method] = {m.name: m for m in (FOCEI, FOCE, FO, LAPLACE, AGQ, MAP, POOLED)}
    if name.lower() not in known:
        raise WrongUsage(f"no estimation method `{name}`", hint=did_you_mean(name, known))
    return known[name.lower()]


def fit_study(
    study: str | Path,
    *,
    method: str | None = None,
    settings: Mapping[str, str] | None = None,
    solver: str | None = None,
    seed: int | None = None,
) -> Fit:
    """Fit a study by name or folder and return the result; nothing is printed or written.

    `method` is one of `METHODS` (default: the study's own), `settings` override initial values or entries of fit.toml.
    Raises `BadInput` for the study, `ScienceFailed` when the objective is not finite at the start; a fit that does not
    converge is returned with `successful` False.
    """
    from pbpk.fit.run import run_fit
    from pbpk.fit.study import load_study

    loaded = load_study(study, settings=settings, solver=solver)
    chosen = method_called(method or loaded.spec.estimation.method)
    return run_fit(loaded, chosen, seed=loaded.spec.estimation.seed if seed is None else seed)


class _Callable(ModuleType):
    """`pbpk.fit` names both this floor and the verb; importing any of its files would otherwise hide the verb."""

    __call__ = staticmethod(fit_study)


sys.modules[__name__].__class__ = _Callable
