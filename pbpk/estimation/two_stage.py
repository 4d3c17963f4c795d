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
from pbpk.estimation.base import Evaluation, Info, Numbers, State
from pbpk.estimation.quasi_newton import QuasiNewton, compiled_gradient
from pbpk.estimation.result import Fit, parameter_table
from pbpk.likelihood.conditional_modes import conditional_modes
from pbpk.likelihood.parameter_layout import natural_with_jacobian
from pbpk.likelihood.subject import Terms, each_subject

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study

_FLAT = 1e8  # times the initial Ω: a population so wide that it says nothing
_UNKNOWN = 3.0  # standard error of an η, in the initial standard deviations or 1, beyond which it is not determined
MATRIX = "second stage"


@jax.jit
def _individually(problem: Problem, psi: jax.Array, eta: jax.Array, kept: jax.Array) -> Evaluation:
    modes = conditional_modes(problem, psi, eta, interaction=True)
    terms = Terms(problem.spec, jnp.asarray(problem.initial), interaction=True)
    value, gradient = compiled_gradient(terms.data, psi, modes.eta, each_subject(problem, modes.jet))
    return Evaluation(jnp.where(kept, value, 0.0), jnp.where(kept, gradient, 0.0), modes.eta, modes.found | ~kept)


@jax.jit
def _errors(problem: Problem, psi: jax.Array, eta: jax.Array) -> jax.Array:
    """C (N, q, q), the inverse of each subject's expected information."""
    modes = conditional_modes(problem, psi, eta, interaction=True)
    terms = Terms(problem.spec, jnp.asarray(problem.initial), interaction=True)
    found = jax.vmap(lambda e, s: terms.information(psi, e, s), in_axes=-1)(modes.eta, each_subject(problem, modes.jet))
    return jnp.linalg.inv(found)


@dataclass(frozen=True)
class _Individuals(QuasiNewton):
    """The first stage as a search for what the subjects share. `kept` (N,): subjects that count."""

    kept: tuple[bool, ...] = ()

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        found = _individually(problem, psi, eta, np.array(self.kept))
        # By the envelope theorem what every subject has for itself has no slope; rounding must not move it.
        own = np.array([n in _own(problem) for n in _free_names(problem)])
        return found._replace(gradient=jnp.where(own[:, None], 0.0, found.gradient))


def _free_names(problem: Problem) -> list[str]:
    layout = problem.spec.layout
    return [n for n, held in zip(layout.names, layout.fixed, strict=True) if not held]


def _own(problem: Problem) -> set[str]:
    """θ that the second stage estimates: typical values with a random effect, and covariate effects on them."""
    spec = problem.spec.individual
    random = {v.name for v in spec.varying if v.random}
    elsewhere = {f.coefficient for f in spec.factors if f.changes or f.parameter not in random}
    effects = {f.coefficient for f in spec.factors if isinstance(f.coefficient, str)} - elsewhere
    return random | {str(e) for e in effects}


def _flat(problem: Problem) -> Problem:
    """The same problem with an Ω that is held and says nothing."""
    layout, initial = problem.spec.layout, np.array(problem.initial, dtype=float)
    at = len(layout.thetas)
    for block in layout.blocks:
        rows, columns = np.tril_indices(len(block.etas))
        place = np.arange(at, at + len(rows))
        initial[place] = np.where(rows == columns, _FLAT * initial[place], 0.0)
        at += len(rows)
    blocks = tuple(replace(b, fixed=True) for b in layout.blocks)
    spec = replace(problem.spec, layout=replace(layout, blocks=blocks))
    return replace(problem, spec=spec, initial=initial)


@dataclass(frozen=True)
class TwoStage:
    name: str = "two_stage"
    about: str = "each subject by itself, then mean and covariance (standard two-stage)"
    globally: bool = False

    def prepare(self, problem: Problem) -> Problem:
        spec = problem.spec
        why, hint = "every parameter of a subject is estimated from its own data alone", "use focei, laplace or saem"
        refused = {
            "random effects to estimate": not spec.layout.etas,
            "one population, not a mixture": spec.classes > 1,
            "one random effect a parameter, not one for each occasion": any(
                v.occasions for v in spec.individual.varying
            ),
            "no priors": bool(spec.priors),
            "normal, log-normal, logit or probit random effects": any(
                v.shape and v.moved for v in spec.individual.varying
            ),
            "covariates that are constant in time on parameters that are not log-normal": any(
                kind == "eta" for kind, _ in spec.individual.slots
            ),
        }
        for needed, broken in refused.items():
            if broken:
                raise WrongUsage(f"{self.name} needs {needed}", why=why, hint=hint)
        return problem

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        found = focei.evaluate(problem, psi, np.zeros_like(eta), True)
        return found._replace(good=jnp.isfinite(found.objective))

    def init(self, problem: Problem) -> State:
        flat = _flat(problem)
        q, n = len(problem.spec.layout.etas), problem.subjects
        enough = np.asarray(problem.seen).sum(axis=0) > q
        zero = np.zeros((q, n))
        first = _individually(flat, flat.psi0, zero, enough)
        errors = np.asarray(_errors(flat, flat.psi0, first.eta))
        known = enough & np.asarray(first.good) & self._determined(problem, errors)
        if known.sum() < 2:
            raise ScienceFailed(
                f"the data of {known.sum()} of {n} subjects determine their parameters by themselves",
                why=f"{self.name} needs two or more such subjects",
                hint="use focei, which lets subjects share what they know",
            )
        state = _Individuals(kept=tuple(known.tolist())).init(flat)
        return replace(state, more={"kept": known})

    @staticmethod
    def _determined(problem: Problem, errors: np.ndarray) -> np.ndarray:
        omega = np.asarray(natural_with_jacobian(problem.spec.layout, problem.psi0, problem.initial)[2])
        most = _UNKNOWN * np.maximum(np.sqrt(np.diag(omega)), np.where(np.diag(omega) < 10, 1.0, 0.0))
        diagonal = np.diagonal(errors, axis1=1, axis2=2)
        return np.all(np.isfinite(diagonal) & (diagonal > 0) & (diagonal < most**2), axis=1)

    def step(self, problem: Problem, state: State) -> tuple[State, Info]:
        inner = _Individuals(kept=tuple(bool(k) for k in state.more["kept"]))
        new, info = inner.step(_flat(problem), state)
        new = replace(new, more=state.more)
        return (self._second(problem, new), info) if new.finished else (new, info)

    def _second(self, problem: Problem, state: State) -> State:
        """The end: mean and covariance of what the first stage found."""
        flat, layout = _flat(problem), problem.spec.layout
        q, seen = len(layout.etas), np.asarray(problem.seen)
        names, shared = _free_names(problem), _free_names(flat)
        kept = np.asarray(state.more["kept"]) & np.asarray(state.good)
        common = np.array(state.psi)
        spent = int(seen[:, kept].sum())
        grows = 0.5 * np.log(spent / max(spent - q * int(kept.sum()), 1))
        common = common + np.array([grows if n in layout.sigmas else 0.0 for n in shared])
        errors = np.asarray(_errors(flat, common, state.eta))
        kept &= self._determined(problem, errors)
        if kept.sum() < 2:
            raise ScienceFailed(
                "fewer than two subjects' parameters are determined by their own data", hint="use focei"
            )
        psi = np.array(problem.psi0)
        psi[[names.index(n) for n in shared]] = common
        at = _places(problem)
        found = _population(problem, psi, at, state.eta[:, kept], errors[kept] if self.globally else None, kept)
        if not self.globally:  # the sample covariance, not the biased one of maximum likelihood
            psi_, spreads = found.copy(), layout.spreads
            psi_[spreads] += 0.5 * np.log(kept.sum() / (kept.sum() - 1))
            for k in _below(problem):
                psi_[k] *= np.sqrt(kept.sum() / (kept.sum() - 1))
            found = psi_
        left = np.asarray(_left(problem, found, psi, state.eta))
        if self.globally:  # the subject's own estimate and the population's, each by what it is worth
            omega = np.asarray(natural_with_jacobian(layout, found, problem.initial)[2])
            sure = np.where(kept[:, None, None], errors, 0.0) + omega
            left = (omega @ np.linalg.solve(sure, left.T[..., None]))[..., 0].T
        eta = np.where(kept, left, 0.0)
        objective = np.asarray(self.evaluate(problem, found, eta).objective)
        return replace(
            state,
            psi=found,
            eta=eta,
            objective=objective,
            ofv=float(objective.sum()),
            gradient=np.zeros((len(found), problem.subjects)),
            inverse=np.zeros((0, 0)),
            status=state.status if np.isfinite(found).all() else "the second stage found no covariance",
            more={"kept": kept, "reference": psi, "individual": state.eta, "errors": errors},
        )

    def remarks(self, problem: Problem, state: State, subjects: Sequence[str]) -> list[str]:
        out = [who for who, k in zip(subjects, state.more["kept"], strict=True) if not k]
        more = f" and {len(out) - 5} more" if len(out) > 5 else ""
        return (
            [f"left out, since its own data do not determine its parameters: ID {', '.join(out[:5])}{more}"]
            if out
            else []
        )

    def finish(self, study: Study, problem: Problem, state: State, fit: Fit) -> Fit:
        """Standard errors of what the second stage estimated, from its own Hessian."""
        layout, at = problem.spec.layout, _places(problem)
        kept = np.asarray(state.more["kept"])
        if "reference" not in state.more:
            return fit
        errors = jnp.asarray(state.more["errors"])[kept] if self.globally else None
        reference, individual = jnp.asarray(state.more["reference"]), jnp.asarray(state.more["individual"])
        given = (problem, reference, at, individual[:, kept], errors, kept)
        hessian = np.asarray(_curvature(jnp.asarray(state.psi)[np.array(at)], *_static(given)))
        jacobian = np.asarray(natural_with_jacobian(layout, state.psi, problem.initial)[1])[:, list(at)]
        try:
            covariance = jacobian @ np.linalg.inv(hessian / 2) @ jacobian.T
        except np.linalg.LinAlgError:
            covariance = np.full((len(layout.names),) * 2, np.nan)
        shown = covariance / np.outer(study.scale, study.scale)
        with np.errstate(invalid="ignore"):
            se = {n: float(s) for n, s in zip(layout.names, np.sqrt(np.diag(shown)), strict=True) if s > 0}
        natural = np.array([fit.estimates[n] for n in layout.names])
        lognormal = {v.name for v in problem.spec.individual.varying if v.distribution == "lognormal"}
        table = parameter_table(layout, natural, se, study.units, study.labels, fit.eta_shrinkage, lognormal)
        places = [layout.names.index(n) for n in se]
        notes = [
            "Estimates of two stages: standard errors are of the second stage, as if what subjects share were known;"
            " the OFV is FOCEI's at these estimates."
        ]
        return replace(
            fit,
            parameters=table,
            standard_errors={MATRIX: se},
            printed_matrix=MATRIX,
            covariance=pd.DataFrame(shown[np.ix_(places, places)], index=pd.Index(se), columns=pd.Index(se)),
            log_estimates={n: v | {"se": se.get(n, np.nan) / fit.estimates[n]} for n, v in fit.log_estimates.items()},
            extra={**fit.extra, "subjects_used": int(kept.sum()), "notes": [*fit.extra.get("notes", []), *notes]},
        )


def _places(problem: Problem) -> tuple[int, ...]:
    """Where ψ holds what the second stage estimates."""
    names, own, layout = _free_names(problem), _own(problem), problem.spec.layout
    omegas = {n for b in layout.blocks for n in b.names}
    return tuple(i for i, n in enumerate(names) if n in own or n in omegas)


def _below(problem: Problem) -> list[int]:
    """Where ψ holds what is below the diagonal of a block's Cholesky factor."""
    layout = problem.spec.layout
    at, found = sum(not t.fixed for t in layout.thetas), []
    for block in layout.blocks:
        if not block.fixed:
            rows, columns = np.tril_indices(len(block.etas))
            found += [at + int(k) for k in np.flatnonzero(rows != columns)]
            at += len(rows)
    return found


def _typical(problem: Problem, psi: jax.Array) -> jax.Array:
    """Where η = 0 is in the coordinate that η is added in (q, N)."""
    spec = problem.spec.individual
    theta = problem.unpack(psi)[0]
    u = problem.mixed(theta, jnp.zeros((len(spec.etas), problem.subjects)))
    by_name, out = {v.name: v for v in spec.varying}, []
    for name in problem.spec.layout.etas:
        v, x = by_name[name], u[spec.slots.index(("base", name))]
        share = (x - v.low) / (v.high - v.low)
        kinds = {"lognormal": jnp.log, "normal": lambda a: a}
        bounded = {"logit": lambda a: jnp.log(a) - jnp.log1p(-a), "probit": ndtri}
        out.append(bounded[v.distribution](share) if v.distribution in bounded else kinds[v.distribution](x))
    return jnp.stack(out)


@jax.jit
def _left(problem: Problem, psi: jax.Array, reference: jax.Array, eta: jax.Array) -> jax.Array:
    """e (q, N): what of η̂, found around `reference`, is left around ψ."""
    return eta - (_typical(problem, psi) - _typical(problem, reference))


def _objective(x, problem, reference, at, eta, errors, kept):
    """−2 ln likelihood of the second stage, without constants."""
    psi = reference.at[np.array(at)].set(x)
    e = eta - (_typical(problem, psi) - _typical(problem, reference))[:, np.array(kept)]
    omega = problem.unpack(psi)[1]
    v = omega[None] + (0.0 if errors is None else errors) + jnp.zeros((e.shape[1], *omega.shape))
    return jnp.sum(jnp.linalg.slogdet(v)[1]) + jnp.sum(e.T * jnp.linalg.solve(v, e.T[..., None])[..., 0])


_slope = partial(jax.jit, static_argnames=("at", "kept"))(jax.value_and_grad(_objective))
_curvature = partial(jax.jit, static_argnames=("at", "kept"))(jax.hessian(_objective))


def _static(given: tuple) -> tuple:
    *rest, kept = given
    return (*rest, tuple(bool(k) for k in kept))


def _population(
    problem: Problem, psi: np.ndarray, at: tuple[int, ...], eta: np.ndarray, errors: np.ndarray | None, kept: np.ndarray
) -> np.ndarray:
    """ψ with mean, covariate effects and Ω of the second stage in it."""
    given = _static(
        (problem, jnp.asarray(psi), at, jnp.asarray(eta), None if errors is None else jnp.asarray(errors), kept)
    )
    start = psi.copy()
    start[problem.spec.layout.spreads] = _first_spreads(problem, eta)

    def fun(x):
        value, slope = _slope(jnp.asarray(x), *given)
        return float(value), np.asarray(slope)

    found = minimize(fun, start[list(at)], jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 1000})
    out = psi.copy()
    out[list(at)] = found.x
    return out


def _first_spreads(problem: Problem, eta: np.ndarray) -> np.ndarray:
    """ln of the standard deviations of η̂, for the blocks that are not held."""
    etas = problem.spec.layout.etas
    free = [e for b in problem.spec.layout.blocks if not b.fixed for e in b.etas]
    spread = np.maximum(eta.std(axis=1, ddof=1), 1e-3)
    return np.log([spread[etas.index(e)] for e in free])


TWO_STAGE = TwoStage()
GLOBAL_TWO_STAGE = TwoStage(
    "global_two_stage", "each subject by itself, then mean and covariance with its errors", True
)
