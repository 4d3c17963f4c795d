"""Two stages: every subject's parameters by maximum likelihood, then their mean and covariance.

First stage: η̂_i = argmin −2 ln p(y_i | η), with no population behind it, all subjects at once; what the subjects share
(residual standard deviations, θ without random effect) by maximum likelihood over all of them, residual variances then by
n/(n − Nq) for the parameters that were spent. Second stage, e_i = η̂_i less what θ and covariates explain:

    standard    e_i ~ N(0, Ω)           mean and sample covariance: Ω also holds the errors of the first stage
    global      e_i ~ N(0, Ω + C_i)     C_i the inverse information of the subject's own fit

Steimer, Mallet, Golmard & Boisvieux 1984 (Drug Metab Rev 15:265); Davidian & Giltinan 1995, chapter 5. Subjects whose data do
not determine their parameters are left out and named. There is no likelihood of the population here: the OFV is FOCEI's at the
estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.scipy.special import ndtri
from scipy.optimize import minimize

from pbpk.errors import ScienceFailed, WrongUsage
from pbpk.estimation import focei
from pbpk.estimation.base import EstimationMethod
from pbpk.estimation.quasi_newton import QuasiNewton, differentiate_subjects
from pbpk.estimation.result import Fit, build_parameter_table
from pbpk.estimation.state import EstimationState, IterationRecord
from pbpk.likelihood.conditional_modes import find_conditional_modes
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.parameter_layout import natural_with_jacobian
from pbpk.likelihood.subject import SubjectLikelihood, subject_arrays

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study

_FLAT_FACTOR = 1e8  # times the initial Ω: a population so wide that it says nothing
_UNDETERMINED = (
    3.0  # standard error of an η, in initial standard deviations (1 at least), beyond which it is not determined
)
SECOND_STAGE = "second stage"  # the name of its covariance matrix in a result


@jax.jit
def _fit_individually(problem: Problem, psi: jax.Array, eta: jax.Array, is_kept: jax.Array) -> Evaluation:
    """−2 ln p(y | η̂) of every subject at its own η̂ and the gradient in ψ, both 0 for subjects that `is_kept` (N,) leaves
    out."""
    modes = find_conditional_modes(problem, psi, eta, interaction=True)
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=True)
    value, gradient = differentiate_subjects(terms.data_minus2ll, psi, modes.eta, subject_arrays(problem, modes.jet))
    return Evaluation(
        jnp.where(is_kept, value, 0.0), jnp.where(is_kept, gradient, 0.0), modes.eta, modes.converged | ~is_kept
    )


@jax.jit
def _invert_information(problem: Problem, psi: jax.Array, eta: jax.Array) -> jax.Array:
    """C (N, q, q), the inverse of each subject's expected information."""
    modes = find_conditional_modes(problem, psi, eta, interaction=True)
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=True)
    information = jax.vmap(lambda e, s: terms.information(psi, e, s), in_axes=-1)(
        modes.eta, subject_arrays(problem, modes.jet)
    )
    return jnp.linalg.inv(information)


@dataclass(frozen=True)
class _FirstStage(QuasiNewton):
    """The first stage as a search for what the subjects share. `is_kept` (N,): subjects that count."""

    is_kept: tuple[bool, ...] = ()

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """−2 ln p(y | η̂) by subject, its gradient for what the subjects share."""
        evaluation = _fit_individually(problem, psi, eta, np.array(self.is_kept))
        # By the envelope theorem what every subject has for itself has no slope; rounding must not move it.
        is_second_stage = np.array([n in _second_stage_names(problem) for n in _free_names(problem)])
        return evaluation._replace(gradient=jnp.where(is_second_stage[:, None], 0.0, evaluation.gradient))


def _free_names(problem: Problem) -> list[str]:
    """The estimated parameters, in the order of ψ."""
    layout = problem.structure.layout
    return [n for n, is_fixed in zip(layout.names, layout.fixed_mask, strict=True) if not is_fixed]


def _second_stage_names(problem: Problem) -> set[str]:
    """θ that the second stage estimates: typical values with a random effect, and covariate effects on them."""
    model = problem.structure.individual_model
    random = {v.name for v in model.varying if v.random}
    elsewhere = {f.coefficient for f in model.factors if f.changes or f.parameter not in random}
    effects = {f.coefficient for f in model.factors if isinstance(f.coefficient, str)} - elsewhere
    return random | {str(e) for e in effects}


def _flatten_population(problem: Problem) -> Problem:
    """The same problem with an Ω that is held and says nothing."""
    layout, initial = problem.structure.layout, np.array(problem.initial, dtype=float)
    at = len(layout.thetas)
    for block in layout.blocks:
        rows, columns = np.tril_indices(len(block.etas))
        place = np.arange(at, at + len(rows))
        initial[place] = np.where(rows == columns, _FLAT_FACTOR * initial[place], 0.0)
        at += len(rows)
    blocks = tuple(replace(b, fixed=True) for b in layout.blocks)
    structure = replace(problem.structure, layout=replace(layout, blocks=blocks))
    return replace(problem, structure=structure, initial=initial)


@dataclass(frozen=True)
class TwoStage(EstimationMethod):
    """Both methods of two stages; `globally`: the second stage allows for the error of each subject's estimates."""

    name: str = "two_stage"
    about: str = "each subject by itself, then mean and covariance (standard two-stage)"
    globally: bool = False

    def prepare(self, problem: Problem) -> Problem:
        """The problem as it is. Raises `WrongUsage` where a subject's parameters are not its own to estimate, one by one."""
        structure, model = problem.structure, problem.structure.individual_model
        why, hint = "every parameter of a subject is estimated from its own data alone", "use focei, laplace or saem"
        refused = {
            "random effects to estimate": not structure.layout.etas,
            "one population, not a mixture": structure.classes > 1,
            "one random effect a parameter, not one for each occasion": any(v.occasions for v in model.varying),
            "no priors": bool(structure.priors),
            "normal, log-normal, logit or probit random effects": any(v.shape and v.is_random for v in model.varying),
            "covariates that are constant in time on parameters that are not log-normal": any(
                kind == "eta" for kind, _ in model.slots
            ),
        }
        for needed, broken in refused.items():
            if broken:
                raise WrongUsage(f"{self.name} needs {needed}", why=why, hint=hint)
        return problem

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """FOCEI's objective by subject, at the modes sought from η = 0."""
        evaluation = focei.evaluate_first_order_conditional(problem, psi, np.zeros_like(eta), True)
        return evaluation._replace(good=jnp.isfinite(evaluation.objective))

    def init(self, problem: Problem) -> EstimationState:
        """The first stage at the initial values. Raises `ScienceFailed` where fewer than two subjects determine their
        parameters."""
        flat = _flatten_population(problem)
        q, n = len(problem.structure.layout.etas), problem.subjects
        enough = np.asarray(problem.observed_mask).sum(axis=0) > q
        zero = np.zeros((q, n))
        first = _fit_individually(flat, flat.initial_unconstrained, zero, enough)
        errors = np.asarray(_invert_information(flat, flat.initial_unconstrained, first.eta))
        is_determined = enough & np.asarray(first.good) & self._is_determined(problem, errors)
        if is_determined.sum() < 2:
            raise ScienceFailed(
                f"the data of {is_determined.sum()} of {n} subjects determine their parameters by themselves",
                why=f"{self.name} needs two or more such subjects",
                hint="use focei, which lets subjects share what they know",
            )
        state = _FirstStage(is_kept=tuple(is_determined.tolist())).init(flat)
        return replace(state, more={"kept": is_determined})

    @staticmethod
    def _is_determined(problem: Problem, errors: np.ndarray) -> np.ndarray:
        """Which subjects (N,) have data that determine all of their η, from the covariances `errors` (N, q, q) of their
        fits."""
        omega = np.asarray(
            natural_with_jacobian(problem.structure.layout, problem.initial_unconstrained, problem.initial)[2]
        )
        most = _UNDETERMINED * np.maximum(np.sqrt(np.diag(omega)), np.where(np.diag(omega) < 10, 1.0, 0.0))
        diagonal = np.diagonal(errors, axis1=1, axis2=2)
        return np.all(np.isfinite(diagonal) & (diagonal > 0) & (diagonal < most**2), axis=1)

    def step(self, problem: Problem, state: EstimationState) -> tuple[EstimationState, IterationRecord]:
        """One iteration of the first stage; the last one is followed by the second stage."""
        first_stage = _FirstStage(is_kept=tuple(bool(k) for k in state.more["kept"]))
        new, record = first_stage.step(_flatten_population(problem), state)
        new = replace(new, more=state.more)
        return (self._run_second_stage(problem, new), record) if new.finished else (new, record)

    def _run_second_stage(self, problem: Problem, state: EstimationState) -> EstimationState:
        """The end: mean and covariance of what the first stage found."""
        flat, layout = _flatten_population(problem), problem.structure.layout
        q, is_observed = len(layout.etas), np.asarray(problem.observed_mask)
        names, shared = _free_names(problem), _free_names(flat)
        is_kept = np.asarray(state.more["kept"]) & np.asarray(state.good)
        common = np.array(state.psi)
        kept_observations = int(is_observed[:, is_kept].sum())
        log_growth = 0.5 * np.log(kept_observations / max(kept_observations - q * int(is_kept.sum()), 1))
        common = common + np.array([log_growth if n in layout.sigmas else 0.0 for n in shared])
        errors = np.asarray(_invert_information(flat, common, state.eta))
        is_kept &= self._is_determined(problem, errors)
        if is_kept.sum() < 2:
            raise ScienceFailed(
                "fewer than two subjects' parameters are determined by their own data", hint="use focei"
            )
        psi = np.array(problem.initial_unconstrained)
        psi[[names.index(n) for n in shared]] = common
        at = _second_stage_places(problem)
        estimate = _estimate_population(
            problem, psi, at, state.eta[:, is_kept], errors[is_kept] if self.globally else None, is_kept
        )
        if not self.globally:  # the sample covariance, not the biased one of maximum likelihood
            growth = is_kept.sum() / (is_kept.sum() - 1)
            estimate = estimate.copy()
            estimate[layout.log_sd_positions] += 0.5 * np.log(growth)
            for k in _off_diagonal_places(problem):
                estimate[k] *= np.sqrt(growth)
        eta_left = np.asarray(_residual_etas(problem, estimate, psi, state.eta))
        if self.globally:  # the subject's own estimate and the population's, each by what it is worth
            omega = np.asarray(natural_with_jacobian(layout, estimate, problem.initial)[2])
            total_covariance = np.where(is_kept[:, None, None], errors, 0.0) + omega
            eta_left = (omega @ np.linalg.solve(total_covariance, eta_left.T[..., None]))[..., 0].T
        eta = np.where(is_kept, eta_left, 0.0)
        objective = np.asarray(self.evaluate(problem, estimate, eta).objective)
        return replace(
            state,
            psi=estimate,
            eta=eta,
            objective=objective,
            ofv=float(objective.sum()),
            gradient=np.zeros((len(estimate), problem.subjects)),
            inverse=np.zeros((0, 0)),
            status=state.status if np.isfinite(estimate).all() else "the second stage found no covariance",
            more={"kept": is_kept, "reference": psi, "individual": state.eta, "errors": errors},
        )

    def list_warnings(self, problem: Problem, state: EstimationState, subjects: Sequence[str]) -> list[str]:
        """The subjects that were left out."""
        left_out = [subject for subject, is_kept in zip(subjects, state.more["kept"], strict=True) if not is_kept]
        if not left_out:
            return []
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        return [f"left out, since its own data do not determine its parameters: ID {', '.join(left_out[:5])}{more}"]

    def finish_fit(self, study: Study, problem: Problem, state: EstimationState, fit: Fit) -> Fit:
        """Standard errors of what the second stage estimated, from its own Hessian."""
        layout, at = problem.structure.layout, _second_stage_places(problem)
        is_kept = np.asarray(state.more["kept"])
        if "reference" not in state.more:
            return fit
        errors = jnp.asarray(state.more["errors"])[is_kept] if self.globally else None
        reference, individual = jnp.asarray(state.more["reference"]), jnp.asarray(state.more["individual"])
        arguments = (problem, reference, at, individual[:, is_kept], errors, is_kept)
        hessian = np.asarray(_second_stage_hessian(jnp.asarray(state.psi)[np.array(at)], *_make_static(arguments)))
        jacobian = np.asarray(natural_with_jacobian(layout, state.psi, problem.initial)[1])[:, list(at)]
        try:
            covariance = jacobian @ np.linalg.inv(hessian / 2) @ jacobian.T
        except np.linalg.LinAlgError:
            covariance = np.full((len(layout.names),) * 2, np.nan)
        shown_covariance = covariance / np.outer(study.scale, study.scale)
        with np.errstate(invalid="ignore"):
            se = {n: float(s) for n, s in zip(layout.names, np.sqrt(np.diag(shown_covariance)), strict=True) if s > 0}
        natural = np.array([fit.estimates[n] for n in layout.names])
        lognormal = {v.name for v in problem.structure.individual_model.varying if v.distribution == "lognormal"}
        table = build_parameter_table(layout, natural, se, study.units, study.labels, fit.eta_shrinkage, lognormal)
        places = [layout.names.index(n) for n in se]
        notes = [
            "Estimates of two stages: standard errors are of the second stage, as if what subjects share were known;"
            " the OFV is FOCEI's at these estimates."
        ]
        return replace(
            fit,
            parameters=table,
            standard_errors={SECOND_STAGE: se},
            printed_matrix=SECOND_STAGE,
            covariance=pd.DataFrame(shown_covariance[np.ix_(places, places)], index=pd.Index(se), columns=pd.Index(se)),
            log_estimates={n: v | {"se": se.get(n, np.nan) / fit.estimates[n]} for n, v in fit.log_estimates.items()},
            extra={**fit.extra, "subjects_used": int(is_kept.sum()), "notes": [*fit.extra.get("notes", []), *notes]},
        )


def _second_stage_places(problem: Problem) -> tuple[int, ...]:
    """Where ψ holds what the second stage estimates."""
    names, second_stage, layout = _free_names(problem), _second_stage_names(problem), problem.structure.layout
    omegas = {n for b in layout.blocks for n in b.names}
    return tuple(i for i, n in enumerate(names) if n in second_stage or n in omegas)


def _off_diagonal_places(problem: Problem) -> list[int]:
    """Where ψ holds what is below the diagonal of a block's Cholesky factor."""
    layout = problem.structure.layout
    at, places = sum(not t.fixed for t in layout.thetas), []
    for block in layout.blocks:
        if not block.fixed:
            rows, columns = np.tril_indices(len(block.etas))
            places += [at + int(k) for k in np.flatnonzero(rows != columns)]
            at += len(rows)
    return places


def _typical_coordinates(problem: Problem, psi: jax.Array) -> jax.Array:
    """Where η = 0 is in the coordinate that η is added in (q, N)."""
    model = problem.structure.individual_model
    theta = problem.unpack(psi)[0]
    u = problem.individual_parameters(theta, jnp.zeros((len(model.etas), problem.subjects)))
    by_name, coordinates = {v.name: v for v in model.varying}, []
    for name in problem.structure.layout.etas:
        v, x = by_name[name], u[model.slots.index(("base", name))]
        share = (x - v.low) / (v.high - v.low)
        unbounded = {"lognormal": jnp.log, "normal": lambda a: a}
        bounded = {"logit": lambda a: jnp.log(a) - jnp.log1p(-a), "probit": ndtri}
        coordinates.append(
            bounded[v.distribution](share) if v.distribution in bounded else unbounded[v.distribution](x)
        )
    return jnp.stack(coordinates)


@jax.jit
def _residual_etas(problem: Problem, psi: jax.Array, reference: jax.Array, eta: jax.Array) -> jax.Array:
    """e (q, N): what of η̂, found around `reference`, is left around ψ."""
    return eta - (_typical_coordinates(problem, psi) - _typical_coordinates(problem, reference))


def _second_stage_objective(x, problem, reference, at, eta, errors, is_kept):
    """−2 ln likelihood of the second stage, without constants. `x` are the entries of ψ at the places `at`; the others are
    those of `reference`, around which η̂ `eta` (q, kept) was found with covariances `errors` (kept, q, q), None to leave them
    out."""
    psi = reference.at[np.array(at)].set(x)
    e = eta - (_typical_coordinates(problem, psi) - _typical_coordinates(problem, reference))[:, np.array(is_kept)]
    omega = problem.unpack(psi)[1]
    v = omega[None] + (0.0 if errors is None else errors) + jnp.zeros((e.shape[1], *omega.shape))
    return jnp.sum(jnp.linalg.slogdet(v)[1]) + jnp.sum(e.T * jnp.linalg.solve(v, e.T[..., None])[..., 0])


_second_stage_gradient = partial(jax.jit, static_argnames=("at", "is_kept"))(
    jax.value_and_grad(_second_stage_objective)
)
_second_stage_hessian = partial(jax.jit, static_argnames=("at", "is_kept"))(jax.hessian(_second_stage_objective))


def _make_static(arguments: tuple) -> tuple:
    """The arguments with the mask of subjects, the last of them, as a tuple: a static argument of a compiled function."""
    *rest, is_kept = arguments
    return (*rest, tuple(bool(k) for k in is_kept))


def _estimate_population(
    problem: Problem,
    psi: np.ndarray,
    at: tuple[int, ...],
    eta: np.ndarray,
    errors: np.ndarray | None,
    is_kept: np.ndarray,
) -> np.ndarray:
    """ψ with mean, covariate effects and Ω of the second stage at the places `at`, found by BFGS."""
    arguments = _make_static(
        (problem, jnp.asarray(psi), at, jnp.asarray(eta), None if errors is None else jnp.asarray(errors), is_kept)
    )
    start = psi.copy()
    start[problem.structure.layout.log_sd_positions] = _starting_spreads(problem, eta)

    def objective(x):
        value, slope = _second_stage_gradient(jnp.asarray(x), *arguments)
        return float(value), np.asarray(slope)

    optimum = minimize(objective, start[list(at)], jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 1000})
    estimate = psi.copy()
    estimate[list(at)] = optimum.x
    return estimate


def _starting_spreads(problem: Problem, eta: np.ndarray) -> np.ndarray:
    """ln of the standard deviations of η̂, for the blocks that are not held."""
    etas = problem.structure.layout.etas
    free = [e for b in problem.structure.layout.blocks if not b.fixed for e in b.etas]
    spread = np.maximum(eta.std(axis=1, ddof=1), 1e-3)
    return np.log([spread[etas.index(e)] for e in free])


TWO_STAGE = TwoStage()
GLOBAL_TWO_STAGE = TwoStage(
    "global_two_stage", "each subject by itself, then mean and covariance with its errors", True
)
