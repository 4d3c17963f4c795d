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
    from pbpk.kernel.engine import Engine

METHODS = (
    *("focei", "foce", "fo", "laplace", "agq", "imp", "saem", "map", "pooled"),
    *("two_stage", "global_two_stage", "nuts", "vi"),
)


def method_called(name: str) -> Method:
    """The method of that name (imported here: the list above must cost nothing to read)."""
    from pbpk.fit.bayes.nuts import NUTS
    from pbpk.fit.bayes.variational import VI
    from pbpk.fit.fo import FO
    from pbpk.fit.focei import FOCE, FOCEI
    from pbpk.fit.importance import IMP
    from pbpk.fit.laplace import LAPLACE
    from pbpk.fit.pooled import POOLED
    from pbpk.fit.posterior import MAP
    from pbpk.fit.quadrature import AGQ
    from pbpk.fit.saem import SAEM
    from pbpk.fit.two_stage import GLOBAL_TWO_STAGE, TWO_STAGE

    first = (FOCEI, FOCE, FO, LAPLACE, AGQ, IMP, SAEM, MAP, POOLED)
    known: dict[str, Method] = {m.name: m for m in (*first, TWO_STAGE, GLOBAL_TWO_STAGE, NUTS, VI)}
    if name.lower() == "summary":  # for studies of published aggregates, which choose it themselves
        from pbpk.fit.summary.method import SUMMARY

        return SUMMARY
    if name.lower() not in known:
        raise WrongUsage(f"no estimation method `{name}`", hint=did_you_mean(name, known))
    return known[name.lower()]


def fit_study(
    study: str | Path,
    *,
    method: str | None = None,
    settings: Mapping[str, str] | None = None,
    solver: str | None = None,
    engine: Engine | None = None,
    seed: int | None = None,
    start: Fit | str | Path | None = None,
    starts: int | None = None,
) -> Fit:
    """Fit a study by name or folder and return the result; nothing is printed or written.

    `method` is one of `METHODS` (default: the study's own), `settings` override initial values or entries of fit.toml.
    `start`: a fit, or a run's folder, whose estimates are the initial values where the names match. `starts`: how many
    starts to search from (multistart.py). `engine`: what computes (docs/kernels.md).
    Raises `BadInput` for the study, `ScienceFailed` when the objective is not finite at the start; a fit that does not
    converge is returned with `successful` False.
    """
    from pbpk.fit.multistart import run_multistart
    from pbpk.fit.result import Fit
    from pbpk.fit.run import run_fit
    from pbpk.fit.start import read_start, start_of
    from pbpk.fit.study import load_study
    from pbpk.kernel.engine import using

    with using(engine):
        loaded = load_study(study, settings=settings, solver=solver)
        chosen = method_called(method or loaded.spec.estimation.method)
        seed = loaded.spec.estimation.seed if seed is None else seed
        begun = None if start is None else start_of(start) if isinstance(start, Fit) else read_start(start)
        if starts:
            return run_multistart(loaded, chosen, starts, seed=seed, start=begun)
        return run_fit(loaded, chosen, seed=seed, start=begun)


class _Callable(ModuleType):
    """`pbpk.fit` names both this floor and the verb; importing any of its files would otherwise hide the verb."""

    __call__ = staticmethod(fit_study)


sys.modules[__name__].__class__ = _Callable
