"""An approximation to the posterior: the normal distribution of (ψ, z) that is nearest to it, found by stochastic gradients.

    maximise  E_q[ln p(y, ψ, z) − ln q(ψ, z)]      q = N(m, LL'), with a full L or (mean-field) a diagonal one

Kucukelbir, Tran, Ranganath, Gelman & Blei 2017 (J Mach Learn Res 18:14), by Adam on draws in antithetic pairs. The step falls
to a third whenever the bound has stopped to rise, and the mean of the last block is the result. A diagonal covariance gives too
small uncertainties wherever parameters correlate; how far q is from the posterior is said by k̂ (psis.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pbpk.errors import ScienceFailed
from pbpk.estimation.base import EstimationMethod
from pbpk.estimation.bayes.default_priors import assume_priors
from pbpk.estimation.bayes.marginal import evaluate_marginal
from pbpk.estimation.bayes.posterior import convert_draws, describe_posterior
from pbpk.estimation.bayes.psis import pareto_k
from pbpk.estimation.bayes.target import LogPosterior, build_log_posterior
from pbpk.estimation.map import evaluate_most_probable
from pbpk.estimation.state import CONVERGED, ITERATION_LIMIT, EstimationState, IterationRecord
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.problem import Problem

if TYPE_CHECKING:
    from pbpk.estimation.result import Fit
    from pbpk.study.load import Study
    from pbpk.study.schema import EstimationPart

_STEPS_OF_BLOCK = 100  # of one compiled call
_ANTITHETIC_PAIRS = 4  # of draws in a step: what is odd in a draw cancels in its pair
_RATES = (0.03, 0.01, 0.003, 0.001)  # lengths of Adam's steps, one after the other
_WINDOW = 3  # blocks whose mean bound is compared with that of as many before
_DRAWS = 4000  # from the approximation, for the result
_PARETO_K_LIMIT = 0.7  # above which its uncertainties are not to be relied on
_MOST_FULL_RANK = 1500  # coordinates: beyond, a full covariance has more than a million entries
_ADAM = optax.scale_by_adam()


class _NormalApproximation:
    """q in coordinates without bounds: a mean (d,), and ln SD (d,) or a triangle (d, d) with ln of its diagonal on it."""

    @staticmethod
    def draw(mean: jax.Array, raw: jax.Array, e: jax.Array) -> jax.Array:
        """The draw (d,) that the standard normal numbers `e` (d,) make."""
        if raw.ndim == 1:
            return mean + jnp.exp(raw) * e
        return mean + jnp.tril(raw, -1) @ e + jnp.exp(jnp.diag(raw)) * e

    @staticmethod
    def log_scale(raw: jax.Array) -> jax.Array:
        """ln |L|, by which the entropy differs from that of standard normal numbers."""
        return jnp.sum(raw if raw.ndim == 1 else jnp.diag(raw))


def _split_coordinates(posterior: LogPosterior, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """ψ (P,) and z (q, N) from all coordinates (d,)."""
    layout = posterior.problem.structure.layout
    p = int((~layout.fixed_mask).sum())
    return x[:p], x[p:].reshape(len(layout.etas), posterior.problem.columns)


def _evaluate_log_density(posterior: LogPosterior, x: jax.Array) -> jax.Array:
    """ln p(y, ψ, z) at all coordinates (d,)."""
    psi, z = _split_coordinates(posterior, x)
    return posterior.log_density(psi, z)


@partial(jax.jit, static_argnames="count")
def _run_adam(posterior: LogPosterior, params: tuple, adam: Any, key: jax.Array, rate: jax.Array, count: int):
    """`count` steps: the parameters after them and their mean over them, Adam's state, each step's bound and gradient."""
    d = params[0].shape[0]

    def evidence_bound(at, e):
        """The mean over pairs of draws of ln p − ln q."""
        values = jax.vmap(lambda one: _evaluate_log_density(posterior, _NormalApproximation.draw(at[0], at[1], one)))(
            jnp.concatenate([e, -e])
        )
        return jnp.mean(values) + _NormalApproximation.log_scale(at[1]) + 0.5 * d * jnp.log(2 * jnp.pi * jnp.e)

    def once(carry, k):
        at, adam, total = carry
        e = jax.random.normal(jax.random.fold_in(key, k), (_ANTITHETIC_PAIRS, d))
        value, slope = jax.value_and_grad(evidence_bound)(at, e)
        is_finite = jnp.isfinite(value) & jnp.all(jnp.array([jnp.all(jnp.isfinite(g)) for g in slope]))
        slope = jax.tree.map(
            lambda g: jnp.where(is_finite, g, 0.0), slope
        )  # a draw that cannot be solved moves nothing
        move, adam = _ADAM.update(slope, adam)
        at = jax.tree.map(lambda a, m: a + rate * m, at, move)
        return (at, adam, jax.tree.map(jnp.add, total, at)), (value, jnp.max(jnp.abs(slope[0])))

    start = (params, adam, jax.tree.map(jnp.zeros_like, params))
    (at, adam, total), path = jax.lax.scan(once, start, jnp.arange(count))
    return at, jax.tree.map(lambda a: a / count, total), adam, path


@jax.jit
def _draw_approximation(posterior: LogPosterior, params: tuple, key: jax.Array):
    """Draws of ψ (S, P) and η (S, q, N), and ln p − ln q of each."""
    mean, raw = params
    d = mean.shape[0]

    def one(k):
        e = jax.random.normal(jax.random.fold_in(key, k), (d,))
        x = _NormalApproximation.draw(mean, raw, e)
        psi, z = _split_coordinates(posterior, x)
        log_q = -0.5 * jnp.sum(e**2) - 0.5 * d * jnp.log(2 * jnp.pi) - _NormalApproximation.log_scale(raw)
        return psi, posterior.eta(psi, z), posterior.log_density(psi, z) - log_q

    return jax.lax.map(one, jnp.arange(_DRAWS), batch_size=2 * _ANTITHETIC_PAIRS)


@dataclass(frozen=True)
class VariationalInference(EstimationMethod):
    """Variational inference: a normal distribution of `family` full_rank or mean_field, by at most `most_steps` steps."""

    name: str = "vi"
    about: str = "a normal approximation to the posterior (variational)"
    family: str = "full_rank"
    most_steps: int = 20_000
    centred: bool = False
    seed: int = 1

    checks_identifiability = False
    iteration_headings = ("step", "−2 bound", "change", "|g|", "rate")

    def configure(self, estimation: EstimationPart, seed: int) -> VariationalInference:
        """With the study's family and number of steps, and the run's seed."""
        return replace(
            self, family=estimation.family, most_steps=estimation.steps, centred=estimation.centred, seed=seed
        )

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """The marginal likelihood by importance sampling: the approximation has no objective of that kind."""
        return evaluate_marginal(problem, psi, eta)[0]

    def _build_posterior(self, problem: Problem) -> LogPosterior:
        """The posterior with the study's priors and, where it has none, those that are assumed."""
        return build_log_posterior(problem, assume_priors(problem), self.centred)

    def init(self, problem: Problem) -> EstimationState:
        """The approximation around the initial values and the modes there. Raises `ScienceFailed` where its covariance is too
        big."""
        posterior, psi = self._build_posterior(problem), problem.initial_unconstrained
        q, n = len(problem.structure.layout.etas), problem.columns
        if self.family == "full_rank" and len(psi) + q * n > _MOST_FULL_RANK:
            raise ScienceFailed(
                f"{len(psi) + q * n} coordinates are too many for a full covariance",
                why=f"it would have {(len(psi) + q * n) ** 2} entries",
                hint="--set estimation.family=mean_field",
            )
        first_modes = evaluate_most_probable(problem, psi, np.zeros((q, n)))
        eta = np.where(np.isfinite(first_modes.eta), first_modes.eta, 0.0)
        mean = np.concatenate([psi, np.asarray(jax.jit(posterior.z)(psi, eta)).ravel()])
        omega = np.sqrt(np.diag(np.asarray(jax.jit(Problem.unpack)(problem, psi)[1])))
        width = np.repeat(0.5 * omega if self.centred else np.full(q, 0.5), n)
        log_sd = np.log(np.concatenate([np.full(len(psi), 0.1), width]))
        params = (jnp.asarray(mean), jnp.asarray(log_sd if self.family == "mean_field" else np.diag(log_sd)))
        objective, counts = np.asarray(first_modes.objective), {"rate": np.array(0), "since": np.array(0)}
        return EstimationState(
            *(psi, float(objective.sum()), objective, np.zeros((len(psi), problem.subjects)), eta, np.zeros((0, 0))),
            evaluations=1,
            more=_pack_arrays(params, _ADAM.init(params)) | {"bound": np.zeros(0), "error": np.zeros(0)} | counts,
        )

    def step(self, problem: Problem, state: EstimationState) -> tuple[EstimationState, IterationRecord]:
        """One block of Adam's steps; the last one ends at the medians."""
        posterior, more = self._build_posterior(problem), state.more
        key = jax.random.fold_in(jax.random.key(self.seed), state.iteration)
        params = (jnp.asarray(more["mean"]), jnp.asarray(more["raw"]))
        structure = jax.tree.structure(_ADAM.init(params))
        adam = jax.tree.unflatten(structure, [jnp.asarray(more[f"adam.{k}"]) for k in range(structure.num_leaves)])
        rate_index = int(more["rate"])
        new, mean, adam, (values, slopes) = _run_adam(posterior, params, adam, key, _RATES[rate_index], _STEPS_OF_BLOCK)
        values = np.asarray(values)
        finite_values = values[np.isfinite(values)]
        height = float(finite_values.mean()) if len(finite_values) else float("-inf")
        bound = np.append(more["bound"], height)
        error = np.append(
            more["error"],
            float(finite_values.std() / np.sqrt(max(len(finite_values), 1))) if len(finite_values) else np.inf,
        )
        since, iteration, status = int(more["since"]), state.iteration + _STEPS_OF_BLOCK, "running"
        if _has_stalled(bound[since:], error[since:]):
            rate_index, since = rate_index + 1, len(bound)
        if rate_index == len(_RATES):
            status, new, rate_index = CONVERGED, mean, rate_index - 1
        elif iteration >= self.most_steps:
            status, new = ITERATION_LIMIT, mean
        change = -2 * (height - float(more["bound"][-1])) if len(more["bound"]) else 0.0
        counts = {"bound": bound, "error": error, "rate": np.array(rate_index), "since": np.array(since)}
        state = replace(
            state,
            psi=np.asarray(new[0])[: len(problem.initial_unconstrained)],
            iteration=iteration,
            evaluations=state.evaluations + _STEPS_OF_BLOCK * 2 * _ANTITHETIC_PAIRS,
            status=status,
            more=_pack_arrays(new, adam) | counts,
        )
        line = IterationRecord(
            iteration, -2 * height, change, float(np.asarray(slopes)[-1]), _RATES[rate_index], state.evaluations
        )
        return (self._end_at_medians(problem, state), line) if state.finished else (state, line)

    def _draw(self, problem: Problem, state: EstimationState) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws of ψ (S, P) and η (S, q, N) from the approximation, and ln p − ln q of each (S,); always the same ones."""
        params = (jnp.asarray(state.more["mean"]), jnp.asarray(state.more["raw"]))
        draws = _draw_approximation(self._build_posterior(problem), params, jax.random.key(self.seed + 1))
        psi, eta, log_ratio = (np.asarray(a) for a in draws)
        return psi, eta, log_ratio

    def _end_at_medians(self, problem: Problem, state: EstimationState) -> EstimationState:
        """The last state: the medians of ψ and the means of η under the approximation, and the OFV there."""
        draws, etas, _ = self._draw(problem, state)
        psi, eta = np.median(draws, axis=0), etas.mean(axis=0)
        objective = np.asarray(self.evaluate(problem, psi, eta).objective)
        return replace(state, psi=psi, eta=eta, objective=objective, ofv=float(objective.sum()))

    def finish_fit(self, study: Study, problem: Problem, state: EstimationState, fit: Fit) -> Fit:
        """The result from draws of the approximation, with posterior.csv, draws.npz and how far to trust them."""
        psi, _, log_ratio = self._draw(problem, state)
        _, error = evaluate_marginal(problem, state.psi, state.eta)
        k, weights = pareto_k(log_ratio), np.where(np.isnan(log_ratio), -np.inf, log_ratio)
        elbo = float(weights[np.isfinite(weights)].mean())
        weighted_elbo = float(np.logaddexp.reduce(weights) - np.log(len(weights)))
        warnings = list(fit.warnings)
        warnings.append(
            "a variational approximation: standard errors and intervals may be too small; nuts samples the posterior itself"
        )
        if not k <= _PARETO_K_LIMIT:
            warnings.append(
                f"k̂ of the importance weights is {k:.2g}, above {_PARETO_K_LIMIT}: q is far from the posterior"
            )
        family = self.family.replace("_", "-").replace("full-rank", "full-covariance")
        notes = [
            f"An approximation: the nearest {family} normal distribution of parameters and random effects, from {_DRAWS} of its"
            " draws. Est. is the median, SE the standard deviation, the interval that of the 2.5 % and 97.5 % quantiles. OFV:"
            f" at the medians, by importance sampling (Monte Carlo error {error:.2g}). k̂ = {k:.2f}."
        ]
        extra = {
            "family": self.family,
            "elbo": elbo,
            "importance_weighted_elbo": weighted_elbo,
            "pareto_k": k,
            "ofv_se": error,
        }
        assumed_priors = assume_priors(problem, study.scale, study.units)
        result = describe_posterior(study, problem, fit, psi, None, assumed_priors, extra, notes)
        values, names = convert_draws(study, problem, psi)
        arrays = {"names": np.array(names), "parameters": values[None], "log_ratio": log_ratio}
        arrays["bound"] = state.more["bound"]
        return replace(result, warnings=tuple(warnings), files={**result.files, "draws.npz": arrays})


def _pack_arrays(params: tuple, adam: Any) -> dict[str, np.ndarray]:
    """The approximation's parameters and Adam's state as arrays by name, for a checkpoint."""
    leaves = {f"adam.{k}": np.asarray(a) for k, a in enumerate(jax.tree.leaves(adam))}
    return {"mean": np.asarray(params[0]), "raw": np.asarray(params[1])} | leaves


def _has_stalled(bound: np.ndarray, error: np.ndarray) -> bool:
    """Whether the last blocks' mean bound is no more above that of those before than chance explains."""
    if len(bound) < 2 * _WINDOW:
        return False
    now, before = slice(-_WINDOW, None), slice(-2 * _WINDOW, -_WINDOW)
    noise = np.sqrt((error[now] ** 2).sum() + (error[before] ** 2).sum()) / _WINDOW
    return bool(bound[now].mean() - bound[before].mean() < noise)


VI = VariationalInference()
