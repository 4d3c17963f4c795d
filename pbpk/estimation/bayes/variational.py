"""An approximation to the posterior: the normal distribution of (ψ, z) that is nearest to it, found by stochastic gradients.

    maximise  E_q[ln p(y, ψ, z) − ln q(ψ, z)]      q = N(m, LL'), with a full L or (mean-field) a diagonal one

Kucukelbir, Tran, Ranganath, Gelman & Blei 2017 (J Mach Learn Res 18:14), by Adam on draws in antithetic pairs. The step falls
to a third whenever the bound has stopped to rise, and the mean of the last block is the result. A diagonal covariance gives too
small uncertainties wherever parameters correlate; how far q is from the posterior is said by k̂ (psis.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pbpk.errors import ScienceFailed
from pbpk.estimation.base import CONVERGED, LIMIT, Evaluation, Info, Numbers, State
from pbpk.estimation.bayes.default_priors import assumed
from pbpk.estimation.bayes.marginal import marginal
from pbpk.estimation.bayes.posterior import described, natural_draws
from pbpk.estimation.bayes.psis import pareto_k
from pbpk.estimation.bayes.target import Target, target
from pbpk.estimation.map import evaluate as most_probable_eta
from pbpk.likelihood.problem import Problem

if TYPE_CHECKING:
    from pbpk.estimation.result import Fit
    from pbpk.study.load import Study
    from pbpk.study.schema import EstimationPart

_BLOCK = 100  # steps of one compiled call
_PAIRS = 4  # antithetic pairs of draws a step
_RATES = (0.03, 0.01, 0.003, 0.001)
_WINDOW = 3  # blocks whose mean bound is compared with that of as many before
_DRAWS = 4000
_UNSAFE = 0.7
_MOST_FULL = 1500  # coordinates: beyond, a full covariance has more than a million entries
_ADAM = optax.scale_by_adam()


class _Normal:
    """q in coordinates without bounds: a mean (d,), and ln SD (d,) or a triangle (d, d) with ln of its diagonal on it."""

    @staticmethod
    def draw(mean: jax.Array, raw: jax.Array, e: jax.Array) -> jax.Array:
        if raw.ndim == 1:
            return mean + jnp.exp(raw) * e
        return mean + jnp.tril(raw, -1) @ e + jnp.exp(jnp.diag(raw)) * e

    @staticmethod
    def log_scale(raw: jax.Array) -> jax.Array:
        return jnp.sum(raw if raw.ndim == 1 else jnp.diag(raw))


def _split(t: Target, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    layout = t.problem.spec.layout
    p = int((~layout.fixed).sum())
    return x[:p], x[p:].reshape(len(layout.etas), t.problem.columns)


def _density(t: Target, x: jax.Array) -> jax.Array:
    psi, z = _split(t, x)
    return t.log_density(psi, z)


@partial(jax.jit, static_argnames="count")
def _ascend(t: Target, params: tuple, adam: Any, key: jax.Array, rate: jax.Array, count: int):
    """`count` steps: the parameters after them and their mean over them, Adam's state, each step's bound and gradient."""
    d = params[0].shape[0]

    def bound(at, e):
        values = jax.vmap(lambda one: _density(t, _Normal.draw(at[0], at[1], one)))(jnp.concatenate([e, -e]))
        return jnp.mean(values) + _Normal.log_scale(at[1]) + 0.5 * d * jnp.log(2 * jnp.pi * jnp.e)

    def once(carry, k):
        at, adam, total = carry
        e = jax.random.normal(jax.random.fold_in(key, k), (_PAIRS, d))
        value, slope = jax.value_and_grad(bound)(at, e)
        sound = jnp.isfinite(value) & jnp.all(jnp.array([jnp.all(jnp.isfinite(g)) for g in slope]))
        slope = jax.tree.map(lambda g: jnp.where(sound, g, 0.0), slope)  # a draw that cannot be solved moves nothing
        move, adam = _ADAM.update(slope, adam)
        at = jax.tree.map(lambda a, m: a + rate * m, at, move)
        return (at, adam, jax.tree.map(jnp.add, total, at)), (value, jnp.max(jnp.abs(slope[0])))

    start = (params, adam, jax.tree.map(jnp.zeros_like, params))
    (at, adam, total), path = jax.lax.scan(once, start, jnp.arange(count))
    return at, jax.tree.map(lambda a: a / count, total), adam, path


@jax.jit
def _drawn(t: Target, params: tuple, key: jax.Array):
    """Draws of ψ (S, P) and η (S, q, N), and ln p − ln q of each."""
    mean, raw = params
    d = mean.shape[0]

    def one(k):
        e = jax.random.normal(jax.random.fold_in(key, k), (d,))
        x = _Normal.draw(mean, raw, e)
        psi, z = _split(t, x)
        log_q = -0.5 * jnp.sum(e**2) - 0.5 * d * jnp.log(2 * jnp.pi) - _Normal.log_scale(raw)
        return psi, t.eta(psi, z), t.log_density(psi, z) - log_q

    return jax.lax.map(one, jnp.arange(_DRAWS), batch_size=2 * _PAIRS)


@dataclass(frozen=True)
class Variational:
    name: str = "vi"
    about: str = "a normal approximation to the posterior (variational)"
    heads: tuple[str, ...] = ("step", "−2 bound", "change", "|g|", "rate")
    family: str = "full_rank"
    most: int = 20_000
    centred: bool = False
    seed: int = 1

    def configured(self, estimation: EstimationPart, seed: int) -> Variational:
        return replace(self, family=estimation.family, most=estimation.steps, centred=estimation.centred, seed=seed)

    def prepare(self, problem: Problem) -> Problem:
        return problem

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        return marginal(problem, psi, eta)[0]

    def remarks(self, problem: Problem, state: State, subjects: Sequence[str]) -> list[str]:
        return []

    def _target(self, problem: Problem) -> Target:
        return target(problem, assumed(problem), self.centred)

    def init(self, problem: Problem) -> State:
        t, psi = self._target(problem), problem.psi0
        q, n = len(problem.spec.layout.etas), problem.columns
        if self.family == "full_rank" and len(psi) + q * n > _MOST_FULL:
            raise ScienceFailed(
                f"{len(psi) + q * n} coordinates are too many for a full covariance",
                why=f"it would have {(len(psi) + q * n) ** 2} entries",
                hint="--set estimation.family=mean_field",
            )
        begun = most_probable_eta(problem, psi, np.zeros((q, n)))
        eta = np.where(np.isfinite(begun.eta), begun.eta, 0.0)
        mean = np.concatenate([psi, np.asarray(jax.jit(t.z)(psi, eta)).ravel()])
        omega = np.sqrt(np.diag(np.asarray(jax.jit(Problem.unpack)(problem, psi)[1])))
        width = np.repeat(0.5 * omega if self.centred else np.full(q, 0.5), n)
        log_sd = np.log(np.concatenate([np.full(len(psi), 0.1), width]))
        params = (jnp.asarray(mean), jnp.asarray(log_sd if self.family == "mean_field" else np.diag(log_sd)))
        objective, counts = np.asarray(begun.objective), {"rate": np.array(0), "since": np.array(0)}
        return State(
            *(psi, float(objective.sum()), objective, np.zeros((len(psi), problem.subjects)), eta, np.zeros((0, 0))),
            evaluations=1,
            more=_more(params, _ADAM.init(params)) | {"bound": np.zeros(0), "error": np.zeros(0)} | counts,
        )

    def step(self, problem: Problem, state: State) -> tuple[State, Info]:
        t, key, more = self._target(problem), jax.random.fold_in(jax.random.key(self.seed), state.iteration), state.more
        params = (jnp.asarray(more["mean"]), jnp.asarray(more["raw"]))
        structure = jax.tree.structure(_ADAM.init(params))
        adam = jax.tree.unflatten(structure, [jnp.asarray(more[f"adam.{k}"]) for k in range(structure.num_leaves)])
        at = int(more["rate"])
        new, mean, adam, (values, slopes) = _ascend(t, params, adam, key, _RATES[at], _BLOCK)
        values = np.asarray(values)
        sound = values[np.isfinite(values)]
        height = float(sound.mean()) if len(sound) else float("-inf")
        bound = np.append(more["bound"], height)
        error = np.append(more["error"], float(sound.std() / np.sqrt(max(len(sound), 1))) if len(sound) else np.inf)
        since, iteration, status = int(more["since"]), state.iteration + _BLOCK, "running"
        if _stalled(bound[since:], error[since:]):
            at, since = at + 1, len(bound)
        if at == len(_RATES):
            status, new, at = CONVERGED, mean, at - 1
        elif iteration >= self.most:
            status, new = LIMIT, mean
        change = -2 * (height - float(more["bound"][-1])) if len(more["bound"]) else 0.0
        counts = {"bound": bound, "error": error, "rate": np.array(at), "since": np.array(since)}
        state = replace(
            state,
            psi=np.asarray(new[0])[: len(problem.psi0)],
            iteration=iteration,
            evaluations=state.evaluations + _BLOCK * 2 * _PAIRS,
            status=status,
            more=_more(new, adam) | counts,
        )
        info = Info(iteration, -2 * height, change, float(np.asarray(slopes)[-1]), _RATES[at], state.evaluations)
        return (self._done(problem, state), info) if state.finished else (state, info)

    def _draws(self, problem: Problem, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        params = (jnp.asarray(state.more["mean"]), jnp.asarray(state.more["raw"]))
        found = _drawn(self._target(problem), params, jax.random.key(self.seed + 1))
        psi, eta, ratio = (np.asarray(a) for a in found)
        return psi, eta, ratio

    def _done(self, problem: Problem, state: State) -> State:
        draws, etas, _ = self._draws(problem, state)
        psi, eta = np.median(draws, axis=0), etas.mean(axis=0)
        objective = np.asarray(self.evaluate(problem, psi, eta).objective)
        return replace(state, psi=psi, eta=eta, objective=objective, ofv=float(objective.sum()))

    def finish(self, study: Study, problem: Problem, state: State, fit: Fit) -> Fit:
        psi, _, ratio = self._draws(problem, state)
        _, error = marginal(problem, state.psi, state.eta)
        k, sound = pareto_k(ratio), np.where(np.isnan(ratio), -np.inf, ratio)
        elbo, iw = float(sound[np.isfinite(sound)].mean()), float(np.logaddexp.reduce(sound) - np.log(len(sound)))
        warnings = list(fit.warnings)
        warnings.append(
            "a variational approximation: standard errors and intervals may be too small; nuts samples the posterior itself"
        )
        if not k <= _UNSAFE:
            warnings.append(f"k̂ of the importance weights is {k:.2g}, above {_UNSAFE}: q is far from the posterior")
        family = self.family.replace("_", "-").replace("full-rank", "full-covariance")
        notes = [
            f"An approximation: the nearest {family} normal distribution of parameters and random effects, from {_DRAWS} of its"
            " draws. Est. is the median, SE the standard deviation, the interval that of the 2.5 % and 97.5 % quantiles. OFV:"
            f" at the medians, by importance sampling (Monte Carlo error {error:.2g}). k̂ = {k:.2f}."
        ]
        extra = {"family": self.family, "elbo": elbo, "importance_weighted_elbo": iw, "pareto_k": k, "ofv_se": error}
        stated = assumed(problem, study.scale, study.units)
        found = described(study, problem, fit, psi, None, stated, extra, notes)
        shown, names = natural_draws(study, problem, psi)
        kept = {"names": np.array(names), "parameters": shown[None], "log_ratio": ratio, "bound": state.more["bound"]}
        return replace(found, warnings=tuple(warnings), files={**found.files, "draws.npz": kept})


def _more(params: tuple, adam: Any) -> dict[str, np.ndarray]:
    leaves = {f"adam.{k}": np.asarray(a) for k, a in enumerate(jax.tree.leaves(adam))}
    return {"mean": np.asarray(params[0]), "raw": np.asarray(params[1])} | leaves


def _stalled(bound: np.ndarray, error: np.ndarray) -> bool:
    """Whether the last blocks' mean bound is no more above that of those before than chance explains."""
    if len(bound) < 2 * _WINDOW:
        return False
    now, before = slice(-_WINDOW, None), slice(-2 * _WINDOW, -_WINDOW)
    noise = np.sqrt((error[now] ** 2).sum() + (error[before] ** 2).sum()) / _WINDOW
    return bool(bound[now].mean() - bound[before].mean() < noise)


VI = Variational()
