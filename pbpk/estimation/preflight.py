"""What a study's data cannot tell, in sentences: from the records alone before a fit, and of a finished one from its estimates.

A search that runs after a parameter without influence ends where the slope has vanished, which is no minimum. So does one whose
data are compatible with any value beyond some point. Both are told apart from a minimum by what a parameter still does to the
predictions, and named.
"""

from __future__ import annotations

from math import isfinite, log
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.endpoints.likelihood import arrange_predictions, record_curvatures, residual_moments
from pbpk.likelihood.prediction_jets import first_order_jet
from pbpk.likelihood.subject import SubjectArrays, SubjectLikelihood, subject_arrays
from pbpk.population.covariates import FORMS

if TYPE_CHECKING:
    from pbpk.estimation.state import EstimationState
    from pbpk.likelihood.parameter_layout import Theta
    from pbpk.likelihood.problem import Problem
    from pbpk.population.individual import CovariateFactor
    from pbpk.study.load import Study

# Information on ψ, whose unit is an e-fold: that of a standard error of a thousand e-folds, of five (all else known, 95 % are
# then a factor of four hundred million wide), and of one, with which only what nothing holds runs a million-fold.
_NO_INFORMATION, _HARDLY_ANY_INFORMATION, _LITTLE_INFORMATION = 1e-6, 0.04, 1.0
_MILLIONFOLD = log(1e6)
_NEAR_BOUND = 1e-4  # of the distance between the ends: where an estimate counts as standing on one
_ANOTHER_SIZE = 100.0  # data and predictions further apart than this ask for their units
_FLAT_SCORES = 4.0  # squared scores of all subjects (four times the information), below which a θ is looked at


def warn_of_censoring(method: str, problem: Problem) -> list[str]:
    """What to know of censored values by a method that linearises: their likelihood is no normal density."""
    if method not in ("foce", "focei") or not any(getattr(e, "has_limits", False) for e in problem.structure.endpoints):
        return []
    return [
        f"{method.upper()} takes each censored value's curvature at one η: for limits of quantification (M2, M3, M4) "
        "laplace, agq, imp and saem are more accurate (Beal 2001; NONMEM asks for LAPLACE)"
    ]


def warn_before_fit(problem: Problem) -> list[str]:
    """What the study cannot determine, from its records and its structure alone: nothing is solved. A sentence each."""
    return [
        *_warn_all_censored(problem),
        *_warn_exact_zeros(problem),
        *_warn_single_observations(problem),
        *_warn_covariates(problem),
    ]


@jax.jit
def _predict_typical(problem: Problem, psi: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What each observation is predicted to be at η = 0, and its residual variance, (T, N)."""
    theta, _, sigma = problem.unpack(psi)
    zero = jnp.zeros((len(problem.structure.layout.etas), problem.columns))
    x, _ = problem.predict_all(problem.individual_parameters(theta, zero))
    o, which = problem.observed_on_device(), jnp.asarray(problem.endpoint_index)
    p = arrange_predictions(problem.structure.endpoints, x, x, o)
    mask = jnp.asarray(problem.observed_mask)
    return p.f, residual_moments(problem.structure.endpoints, which, mask, p, o, theta | sigma)[2]


def warn_at_initial_values(problem: Problem) -> list[str]:
    """What is wrong with the predictions at the initial values: values of another size than the data, which a slip of a unit
    makes, and predictions whose residual variance is zero. A sentence each."""
    f, r = (np.asarray(a) for a in _predict_typical(problem, jnp.asarray(problem.initial_unconstrained)))
    y, seen, which = (
        np.asarray(problem.observed.y),
        np.asarray(problem.observed_mask),
        np.asarray(problem.endpoint_index),
    )
    warnings = []
    for k, e in enumerate(problem.structure.endpoints):
        mine = seen & (which == k) & e.is_continuous & np.isfinite(f)
        without = int((mine & (r <= 0)).sum())
        if without:
            warnings.append(
                f"{without} predictions of {e.name} are 0 at the initial values, where a proportional error has no variance: "
                "the likelihood is not finite there. Leave those rows out, or use combined2"
            )
        both = mine & (y > 0) & (f > 0) & (not getattr(e, "already_transformed", False))
        if not both.any():
            continue
        ratio = float(np.exp(np.median(np.log(y[both] / f[both]))))
        if not 1 / _ANOTHER_SIZE < ratio < _ANOTHER_SIZE:
            warnings.append(
                f"the data of {e.name} are {ratio:.3g} times what the initial values predict (median): is DV, or AMT, in "
                "another unit than the study says? See [data] units"
            )
    return warnings


def _warn_all_censored(problem: Problem) -> list[str]:
    """Where every observation lies beyond a limit."""
    is_observed = np.asarray(problem.observed_mask)
    continuous = np.array([e.is_continuous for e in problem.structure.endpoints])[np.asarray(problem.endpoint_index)]
    censored = is_observed & continuous & (np.asarray(problem.observed.low) != np.asarray(problem.observed.high))
    if not is_observed.any() or not (censored == is_observed).all():
        return []
    n = problem.observations
    return [f"all {n} observations of all {problem.subjects} subjects are censored: no value says how much there was"]


def _warn_exact_zeros(problem: Problem) -> list[str]:
    """Where values of 0 stand under an error model whose standard deviation at a prediction of 0 is a parameter of its own."""
    which, seen = np.asarray(problem.endpoint_index), np.asarray(problem.observed_mask)
    zeros = seen & (np.asarray(problem.observed.y) == 0) & (np.asarray(problem.observed.low) == 0)
    warnings = []
    for k, e in enumerate(problem.structure.endpoints):
        count = int((zeros & (which == k)).sum())
        if count and getattr(e, "transform", "") == "none" and str(getattr(e, "model", "")).startswith("combined"):
            warnings.append(
                f"{count} values of {e.name} are 0: where the prediction is 0 too, as before any dose, the likelihood grows "
                "without end as the additive error goes to 0. Leave them out (ignore_rows), give them as below a limit "
                "(lloq), or hold the additive error (fixed)"
            )
    return warnings


def _warn_single_observations(problem: Problem) -> list[str]:
    """Where Ω and residual errors are estimated from one observation a subject."""
    layout = problem.structure.layout
    free = [n for n, is_fixed in zip(layout.names, layout.fixed_mask, strict=True) if not is_fixed]
    estimates_both = any(n.startswith("OMEGA_") for n in free) and any(s in free for s in layout.sigmas)
    if not estimates_both or np.asarray(problem.observed_mask).sum(axis=0).max() > 1:
        return []
    return [
        "no subject has more than one observation: variation between subjects cannot be told from residual error; hold one of"
        " them (fixed = true)"
    ]


def _warn_covariates(problem: Problem) -> list[str]:
    """Estimated effects of covariates that do not vary, and those of one parameter that cannot be told apart."""
    individual, warnings = problem.structure.individual_model, []
    values_of = {c: np.asarray(problem.covariates)[:, i] for i, c in enumerate(individual.covariates)}
    by_parameter: dict[str, list[CovariateFactor]] = {}
    for f in individual.factors:
        if not isinstance(f.coefficient, str):
            continue
        values = values_of[f.covariate]
        if np.ptp(values) == 0:
            warnings.append(
                f"the covariate {f.covariate} is {values.flat[0]:g} in every record: its effect {f.coefficient} on"
                f" {f.parameter} is not determined by these data"
            )
        else:
            by_parameter.setdefault(f.parameter, []).append(f)
    for parameter, factors in by_parameter.items():
        if inseparable := _find_collinear(factors, values_of):
            warnings.append(
                f"the effects {' and '.join(inseparable)} on {parameter} cannot be told apart: their covariates change"
                " together in these data"
            )
    return warnings


def _find_collinear(factors: list[CovariateFactor], values_of: dict[str, np.ndarray]) -> list[str]:
    """The coefficients whose slopes ∂ ln factor/∂ coefficient are a combination of one another and a constant."""
    if len(factors) < 2:
        return []
    columns = []
    for f in factors:
        x = values_of[f.covariate].ravel()
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
def _compute_information(problem: Problem, psi: jax.Array, eta: jax.Array) -> jax.Array:
    """Σ (∂f/∂ψ)² × curvature over all observations (P,): what the predictions still tell of each ψ."""
    theta, _, sigma = problem.unpack(psi)
    jet = first_order_jet(problem, problem.individual_parameters(theta, eta))
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=True)
    ends, t = problem.structure.endpoints, problem.observed_mask.shape[0]

    def one(e: jax.Array, s: SubjectArrays):
        x = terms.prediction(psi, e, s, s.jet)
        p = arrange_predictions(ends, x, x, s.observed)
        w = jnp.where(
            s.observed_mask,
            record_curvatures(ends, s.endpoint_index, s.observed_mask, p, s.observed, theta | sigma, False),
            0.0,
        )
        slope = jax.jacfwd(lambda y: terms.prediction(y, e, s, s.jet)[:t])(psi)
        return jnp.sum(jnp.where(s.observed_mask[:, None], slope**2, 0.0) * jnp.maximum(w, 0.0)[:, None], axis=0)

    return jnp.sum(jax.vmap(one, in_axes=-1)(eta, subject_arrays(problem, jet)), axis=0)


def _find_on_bounds(study: Study, free: list[Theta], psi: np.ndarray) -> dict[int, float]:
    """The θ that ended next to an end the study set for it, by their places, with that end (coherent units)."""
    ended = {}
    for j, theta in enumerate(free):
        part = study.spec.parameters.get(theta.name)
        if theta.bounds is None or part is None or (part.lower is None and part.upper is None):
            continue
        value, (low, high) = float(theta.from_unconstrained(jnp.asarray(psi[j]))), theta.bounds
        width = high - low if isfinite(low) and isfinite(high) else max(abs(value), 1e-300)
        for bound in (low, high):
            if isfinite(bound) and abs(value - bound) < _NEAR_BOUND * width:
                ended[j] = bound
    return ended


def find_undetermined(study: Study, problem: Problem, state: EstimationState) -> list[str]:
    """The θ that the estimates leave with next to no influence, or that ran a million-fold with little."""
    layout, individual = problem.structure.layout, problem.structure.individual_model
    free = [t for t in layout.thetas if not t.fixed]
    acting = {v.name for v in individual.varying} | {f.coefficient for f in individual.factors}
    with_prior = {layout.names[i] for p in problem.structure.priors for i in p.positions}
    psi, psi0 = np.asarray(state.psi), np.asarray(problem.initial_unconstrained)
    gradient = np.asarray(state.gradient)
    far = {
        j
        for j, t in enumerate(free)
        if isfinite(t.interval[0]) and not isfinite(t.interval[1]) and abs(psi[j] - psi0[j]) > _MILLIONFOLD
    }
    flat = {j for j in range(len(free)) if gradient.shape[0] != len(psi) or (gradient[j] ** 2).sum() < _FLAT_SCORES}
    bounded, warnings = _find_on_bounds(study, free, psi), []
    for j, bound in bounded.items():
        i = study.problem.structure.layout.names.index(free[j].name)
        warnings.append(
            f"{free[j].name} ended at its bound {bound / float(study.scale[i]):.4g}: the least objective may lie beyond. "
            "Widen the bound, or hold the parameter there (fixed = true)"
        )
    names = {t.name for j, t in enumerate(free) if j not in bounded}
    suspects = [j for j in sorted(far | flat) if free[j].name in acting & names and free[j].name not in with_prior]
    if not suspects:
        return warnings
    information = np.asarray(_compute_information(problem, state.psi, state.eta))
    for j in suspects:
        theta = free[j]
        i = study.problem.structure.layout.names.index(theta.name)
        unit = (
            1.0
            if isfinite(theta.interval[0]) or isfinite(theta.interval[1])
            else max(abs(float(psi[j])), float(study.scale[i]))
        )
        information_of_theta = float(information[j]) * unit**2  # ψ in e-folds, or in its own size
        value, first_value = (
            float(theta.from_unconstrained(jnp.asarray(x[j]))) / float(study.scale[i]) for x in (psi, psi0)
        )
        if j in far and not information_of_theta > _LITTLE_INFORMATION:
            warnings.append(
                f"{theta.name} is not determined by the data: it ran from {first_value:.3g} to {value:.3g}, where it"
                " hardly changes any prediction"
            )
        elif not information_of_theta > _NO_INFORMATION:
            warnings.append(f"{theta.name} is not determined by the data: nothing that was observed depends on it")
        elif not information_of_theta > _HARDLY_ANY_INFORMATION:
            warnings.append(
                f"{theta.name} is not determined by the data: at {value:.3g} (from {first_value:.3g}) it hardly changes any"
                " prediction"
            )
    return warnings
