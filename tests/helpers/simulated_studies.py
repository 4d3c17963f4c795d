"""Small studies whose predictive distribution is known, for the checks by simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np

from pbpk.diagnostics.fitted_model import FittedStudy, build_fitted_study
from pbpk.likelihood.replicates import draw_replicate, replace_observations
from pbpk.study.load import Study

TIMES = (0.5, 1.0, 2.0, 4.0, 8.0, 12.0)
HEAD = "ID,TIME,AMT,DV,EVID"
PLAIN = """
model = "iv_one_compartment"
[data]
observable = "cp"
dose_into = "central"
units = { TIME = "h", AMT = "mg", DV = "mg/L" }
[parameters.CL]
initial = 2.0
iiv = 0.09
[parameters.V]
initial = 20.0
iiv = 0.04
[error.cp]
model = "proportional"
prop = 0.2
"""


def rows(subjects: int, times=TIMES, dose=lambda i: 100.0, extra=lambda i: "") -> list[str]:
    """Lines of data.csv without the header: a bolus at 0 and a sample at each time; `extra(i)`: more columns."""
    out = []
    for i in range(1, subjects + 1):
        out.append(f"{i},0,{dose(i):g},.,1{extra(i)}")
        out += [f"{i},{t:g},.,1,0{extra(i)}" for t in times]
    return out


def at_start(study: Study) -> FittedStudy:
    """As if the fit had ended at the study's initial values."""
    initial = np.asarray(study.problem.initial) / study.scale
    names = study.problem.structure.layout.names
    return build_fitted_study(study, study.problem, dict(zip(names, map(float, initial), strict=True)))


def observed_as(
    fit: FittedStudy, seed: int, lower: float = -np.inf, changed: Callable = lambda psi: psi
) -> FittedStudy:
    """The same study with data drawn from its own model, or from one whose ψ is `changed`."""
    problem = fit.problem
    y = jax.jit(draw_replicate)(problem, changed(np.array(fit.psi)), jax.random.key(10_000 + seed))[0]
    o = problem.observed
    limit = np.full_like(np.asarray(o.y), lower), np.full_like(np.asarray(o.y), np.inf)
    again = replace_observations(problem, y, *limit)
    return replace(fit, problem=replace(again, observed=type(o)(*(np.asarray(a) for a in again.observed))))
