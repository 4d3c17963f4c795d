"""What a study's data cannot tell, in sentences: from the records alone before a fit, and of a finished one from its estimates.

A search that runs after a parameter without influence ends where the slope has vanished, which is no minimum. So does one whose
data are compatible with any value beyond some point. Both are told from a minimum by what a parameter still does to the
predictions, and named.
"""

from __future__ import annotations

from math import isfinite, log
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.endpoints.likelihood import curvatures, predicted
from pbpk.likelihood.prediction_jets import first_order
from pbpk.likelihood.subject import Terms, each_subject
from pbpk.population.covariates import FORMS

if TYPE_CHECKING:
    from pbpk.estimation.base import State
    from pbpk.likelihood.problem import Problem
    from pbpk.population.individual import Factor
    from pbpk.study.load import Study

_NOTHING = 1e-6  # information: a standard error of a thousand e-folds
_HARDLY = 0.04  # a standard error of five e-folds, all else known: 95 % are a factor of four hundred million wide
_LITTLE = 1.0  # a standard error of one e-fold, with which nothing runs a million-fold but what nothing holds
_FAR = log(1e6)
_FLAT = 4.0  # squared scores of all subjects, four times the information they stand for, below which a θ is looked at


def beforehand(problem: Problem) -> list[str]:
    """From the records and the structure, without solving anything."""
    return [*_censored(problem), *_single(problem), *_covariates(problem)]


def _censored(problem: Problem) -> list[str]:
    seen = np.asarray(problem.seen)
    dense = seen & np.array([e.continuous for e in problem.spec.endpoints])[np.asarray(problem.endpoint)]
    censored = dense & (np.asarray(problem.observed.low) != np.asarray(problem.observed.high))
    if not seen.any() or not (censored == seen).all():
        return []
    n = problem.observations
    return [f"all {n} observations of all {problem.subjects} subjects are censored: no value says how much there was"]


def _single(problem: Problem) -> list[str]:
    layout = problem.spec.layout
    free = [n for n, held in zip(layout.names, layout.fixed, strict=True) if not held]
    both = any(n.startswith("OMEGA_") for n in free) and any(s in free for s in layout.sigmas)
    if not both or np.asarray(problem.seen).sum(axis=0).max() > 1:
        return []
    return [
        "no subject has more than one observation: variation between subjects cannot be told from residual error; hold one of"
        " them (fixed = true)"
    ]


def _covariates(problem: Problem) -> list[str]:
    """Estimated effects of covariates that do not vary, and those of one parameter that cannot be told apart."""
    individual, said = problem.spec.individual, []
    at = {c: np.asarray(problem.covariates)[:, i] for i, c in enumerate(individual.covariates)}
    by_parameter: dict[str, list[Factor]] = {}
    for f in individual.factors:
        if not isinstance(f.coefficient, str):
            continue
        values = at[f.covariate]
        if np.ptp(values) == 0:
            said.append(
                f"the covariate {f.covariate} is {values.flat[0]:g} in every record: its effect {f.coefficient} on"
                f" {f.parameter} is not determined by these data"
            )
        else:
            by_parameter.setdefault(f.parameter, []).append(f)
    for parameter, factors in by_parameter.items():
        if mixed := _collinear(factors, at):
            said.append(
                f"the effects {' and '.join(mixed)} on {parameter} cannot be told apart: their covariates change together in"
                " these data"
            )
    return said


def _collinear(factors: list[Factor], at: dict[str, np.ndarray]) -> list[str]:
    """The coefficients whose slopes ∂ ln factor/∂ coefficient are a combination of one another and a constant."""
    if len(factors) < 2:
        return []
    columns = []
    for f in factors:
        x = at[f.covariate].ravel()
        with np.errstate(all="ignore"):
            slope = np.log(np.asarray(FORMS[f.form](x, f.reference, 1e-3))) - np.log(
                np.asarray(FORMS[f.form](x, f.reference, 0.0))
            )
        if not np.isfinite(slope).all() or np.ptp(slope) == 0:
            return []
        columns.append((slope - slope.mean()) / slope.std())
    matrix = np.stack(columns, axis=1)
    _, sizes, directions = np.linalg.svd(matrix, full_matrices=False)
    if sizes[-1] > 1e-4 * sizes[0]:
        return []
    return [str(f.coefficient) for f, w in zip(factors, directions[-1], strict=True) if abs(w) > 0.1]


@jax.jit
def _information(problem: Problem, psi: jax.Array, eta: jax.Array) -> jax.Array:
    """Σ (∂f/∂ψ)² × curvature over all observations (P,): what the predictions still tell of each ψ."""
    theta, _, sigma = problem.unpack(psi)
    jet = first_order(problem, problem.mixed(theta, eta))
    terms = Terms(problem.spec, jnp.asarray(problem.initial), interaction=True)
    ends, t = problem.spec.endpoints, problem.seen.shape[0]

    def one(e, s):
        x = terms.prediction(psi, e, s, s.jet)
        p = predicted(ends, x, x, s.observed)
        w = jnp.where(s.seen, curvatures(ends, s.endpoint, s.seen, p, s.observed, theta | sigma, False), 0.0)
        slope = jax.jacfwd(lambda y: terms.prediction(y, e, s, s.jet)[:t])(psi)
        return jnp.sum(jnp.where(s.seen[:, None], slope**2, 0.0) * jnp.maximum(w, 0.0)[:, None], axis=0)

    return jnp.sum(jax.vmap(one, in_axes=-1)(eta, each_subject(problem, jet)), axis=0)


def undetermined(study: Study, problem: Problem, state: State) -> list[str]:
    """The θ that the estimates leave with next to no influence, or that ran a million-fold with little."""
    layout, individual = problem.spec.layout, problem.spec.individual
    free = [t for t in layout.thetas if not t.fixed]
    acting = {v.name for v in individual.varying} | {f.coefficient for f in individual.factors}
    known = {layout.names[i] for p in problem.spec.priors for i in p.at}
    psi, psi0 = np.asarray(state.psi), np.asarray(problem.psi0)
    gradient = np.asarray(state.gradient)
    far = {
        j
        for j, t in enumerate(free)
        if isfinite(t.ends[0]) and not isfinite(t.ends[1]) and abs(psi[j] - psi0[j]) > _FAR
    }
    flat = {j for j in range(len(free)) if gradient.shape[0] != len(psi) or (gradient[j] ** 2).sum() < _FLAT}
    looked_at = [j for j in sorted(far | flat) if free[j].name in acting and free[j].name not in known]
    if not looked_at:
        return []
    told, said = np.asarray(_information(problem, state.psi, state.eta)), []
    for j in looked_at:
        theta = free[j]
        i = study.problem.spec.layout.names.index(theta.name)
        unit = (
            1.0
            if isfinite(theta.ends[0]) or isfinite(theta.ends[1])
            else max(abs(float(psi[j])), float(study.scale[i]))
        )
        left = float(told[j]) * unit**2  # ψ in e-folds, or in its own size
        value, begun = (float(theta.bound(jnp.asarray(x[j]))) / float(study.scale[i]) for x in (psi, psi0))
        if j in far and not left > _LITTLE:
            said.append(
                f"{theta.name} is not determined by the data: it ran from {begun:.3g} to {value:.3g}, where it"
                " hardly changes any prediction"
            )
        elif not left > _NOTHING:
            said.append(f"{theta.name} is not determined by the data: nothing that was observed depends on it")
        elif not left > _HARDLY:
            said.append(
                f"{theta.name} is not determined by the data: at {value:.3g} (from {begun:.3g}) it hardly changes any"
                " prediction"
            )
    return said
