"""The posterior by Hamiltonian Monte Carlo: numpyro's NUTS on target.py's density, all chains side by side in one program.

Hoffman & Gelman 2014 (J Mach Learn Res 15:1593); Phan, Pradhan & Jankowiak 2019 (numpyro). The mass matrix is dense in ψ and
diagonal in z. A step of the method is a block of iterations, after which everything the chains need to go on is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk.errors import MissingExtra, ScienceFailed
from pbpk.estimation.base import CONVERGED, Evaluation, Info, Numbers, State
from pbpk.estimation.bayes import convergence
from pbpk.estimation.bayes.default_priors import assumed
from pbpk.estimation.bayes.marginal import marginal
from pbpk.estimation.bayes.posterior import described, natural_draws
from pbpk.estimation.bayes.target import Target, target
from pbpk.estimation.map import evaluate as most_probable_eta

if TYPE_CHECKING:
    from pbpk.estimation.result import Fit
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study
    from pbpk.study.schema import EstimationPart

_BLOCK = 50
_ACCEPT = 0.9  # hierarchical posteriors have sharp corners: steps a little shorter than the usual 0.8 gives
_JITTER = 0.2  # spread of the chains' starts, in ψ and in z
_MIXED, _WELL_MIXED = 1.05, 1.01  # R-hat above which nothing may be read from the draws, and below which all may
_FEW, _ENOUGH = 100, 400  # effective draws, likewise
_DIVERGING = 0.01


def _sampler():
    try:
        from numpyro.infer.hmc import hmc
    except ImportError:
        raise MissingExtra("nuts needs numpyro", hint='pip install "pbpk[bayes]"') from None

    def potential(t: Target):
        return lambda x: -t.log_density(x["psi"], x["z"])

    return hmc(potential_fn_gen=potential, algo="NUTS")


@jax.jit
def _measure(t: Target, psi: jax.Array, eta: jax.Array, noise: jax.Array):
    """Each chain's z around the same η; −ln of the density at ψ (C, P) and z (C, q, N), and its gradient."""

    def one(p, e):
        x = {"psi": p, "z": t.z(p, eta) + e}
        return x, *jax.value_and_grad(lambda at: -t.log_density(at["psi"], at["z"]))(x)

    return jax.vmap(one)(psi, noise)


@partial(jax.jit, static_argnames="warmup")
def _begin(measured: Any, keys: jax.Array, warmup: int):
    """The chains' first states."""
    return jax.vmap(lambda m, k: _initial(_sampler()[0], m, k, warmup))(measured, keys)


def _initial(init_kernel: Any, measured: Any, key: jax.Array, warmup: int):
    from numpyro.infer.util import ParamInfo

    settings = {"dense_mass": [("psi",)], "target_accept_prob": _ACCEPT, "model_args": (None,)}
    return init_kernel(ParamInfo(*measured), warmup, rng_key=key, **settings)


@partial(jax.jit, static_argnames=("warmup", "count"))
def _go_on(t: Target, state: Any, warmup: int, count: int):
    """`count` iterations of every chain, and (count, C, …) what came of each."""
    init_kernel, sample_kernel = _sampler()
    first = jax.tree.map(lambda a: a[0], (state.z, state.potential_energy, state.z_grad))
    _initial(init_kernel, first, state.rng_key[0], warmup)  # for what numpyro's kernel remembers of its settings

    def once(s, _):
        s = jax.vmap(lambda one: sample_kernel(one, (t,)))(s)
        eta = jax.vmap(t.eta)(s.z["psi"], s.z["z"])
        rest = (s.potential_energy, s.diverging, s.accept_prob, s.num_steps, s.adapt_state.step_size)
        return s, (s.z["psi"], eta, *rest)

    return jax.lax.scan(once, state, None, length=count)


@dataclass(frozen=True)
class Nuts:
    name: str = "nuts"
    about: str = "the posterior by Hamiltonian Monte Carlo (NUTS)"
    heads: tuple[str, ...] = ("iter", "−2 ln p", "diverged", "accept", "step")
    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    centred: bool = False
    seed: int = 1

    def configured(self, estimation: EstimationPart, seed: int) -> Nuts:
        e = estimation
        return replace(self, chains=e.chains, warmup=e.warmup, draws=e.draws, centred=e.centred, seed=seed)

    def prepare(self, problem: Problem) -> Problem:
        _sampler()
        return problem

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        return marginal(problem, psi, eta)[0]

    def remarks(self, problem: Problem, state: State, subjects: Sequence[str]) -> list[str]:
        return []

    def _target(self, problem: Problem) -> Target:
        return target(problem, assumed(problem), self.centred)

    def init(self, problem: Problem) -> State:
        t, rng = self._target(problem), np.random.default_rng([self.seed, 1])
        shape = (len(problem.spec.layout.etas), problem.columns)
        apart = rng.standard_normal((self.chains, len(problem.psi0)))
        noise = rng.standard_normal((self.chains, *shape))
        begun_at = most_probable_eta(problem, problem.psi0, np.zeros(shape))
        mode = np.where(np.isfinite(begun_at.eta), begun_at.eta, 0.0)
        jitter = _JITTER
        for _ in range(10):
            measured = _measure(t, problem.psi0 + jitter * apart, mode, jitter * noise)
            if np.isfinite(measured[1]).all():
                break
            jitter /= 2
        else:
            raise ScienceFailed(
                "the posterior density is not finite at the starting values",
                why="no chain can start there: the model cannot be solved, or an observation is impossible",
                hint="try other initial values:  --set CL=…",
            )
        keys = jax.random.split(jax.random.PRNGKey(self.seed), self.chains)
        begun = _begin(measured, keys, self.warmup)
        objective = np.asarray(begun_at.objective)
        empty = {
            "psi": np.zeros((self.chains, 0, len(problem.psi0))),
            "eta": np.zeros((self.chains, 0, *shape)),
            "diverged": np.zeros((self.chains, 0), bool),
            "log_density": np.zeros((self.chains, 0)),
            "steps": np.zeros((self.chains, 0), int),
        }
        return State(
            *(problem.psi0, float(objective.sum()), objective, np.zeros((len(problem.psi0), problem.subjects)), mode),
            inverse=np.zeros((0, 0)),
            evaluations=1,
            more=empty | _leaves(begun),
        )

    def step(self, problem: Problem, state: State) -> tuple[State, Info]:
        t = self._target(problem)
        structure = jax.eval_shape(partial(_begin, warmup=self.warmup), *self._shapes(problem))
        saved = [state.more[f"chain.{k:02d}"] for k in range(len(jax.tree.leaves(structure)))]
        begun = jax.tree.unflatten(jax.tree.structure(structure), [jnp.asarray(a) for a in saved])
        new, made = _go_on(t, begun, self.warmup, _BLOCK)
        psi, eta, potential, diverged, accept, steps, size = (np.moveaxis(np.asarray(a), 0, 1) for a in made)
        first = max(self.warmup - state.iteration, 0)  # of this block that is a draw
        last = self.warmup + self.draws - state.iteration
        block = {"psi": psi, "eta": eta, "diverged": diverged, "log_density": -potential, "steps": steps}
        kept = {k: np.concatenate([state.more[k], a[:, first:last]], axis=1) for k, a in block.items()}
        iteration = min(state.iteration + _BLOCK, self.warmup + self.draws)
        state = replace(
            state,
            iteration=iteration,
            evaluations=state.evaluations + int(steps.sum()),
            more=kept | _leaves(new),
        )
        info = Info(
            iteration, 2 * float(potential.mean()), float(diverged.sum()), float(accept.mean()), float(size[:, -1].mean()),
            state.evaluations,
        )  # fmt: skip
        return (self._done(problem, state), info) if iteration == self.warmup + self.draws else (state, info)

    def _shapes(self, problem: Problem) -> tuple[Any, jax.ShapeDtypeStruct]:
        c, p, q, n = self.chains, len(problem.psi0), len(problem.spec.layout.etas), problem.columns
        real = partial(jax.ShapeDtypeStruct, dtype=jnp.float64)
        x = {"psi": real((c, p)), "z": real((c, q, n))}
        return (x, real((c,)), x), jax.ShapeDtypeStruct((c, 2), jnp.uint32)

    def _done(self, problem: Problem, state: State) -> State:
        """At the medians of ψ and the means of η; the OFV there."""
        psi = np.median(state.more["psi"].reshape(-1, len(problem.psi0)), axis=0)
        eta = state.more["eta"].mean(axis=(0, 1))
        objective = np.asarray(self.evaluate(problem, psi, eta).objective)
        return replace(
            state,
            psi=psi,
            eta=eta,
            objective=objective,
            ofv=float(objective.sum()),
            status=self._verdict(problem, state),
        )

    def _verdict(self, problem: Problem, state: State) -> str:
        told = _diagnostics(state.more["psi"])
        worst = int(told["rhat"].fillna(np.inf).argmax())
        if not told["rhat"].iloc[worst] < _MIXED:
            return f"the chains do not agree: R-hat {told['rhat'].iloc[worst]:.3g}, above {_MIXED}"
        if told["ess_bulk"].min() < _FEW:
            return f"only {told['ess_bulk'].min():.0f} effective draws, fewer than {_FEW}"
        if (share := float(state.more["diverged"].mean())) > _DIVERGING:
            return f"{100 * share:.2g} % of the trajectories diverged"
        return CONVERGED

    def finish(self, study: Study, problem: Problem, state: State, fit: Fit) -> Fit:
        psi = state.more["psi"]
        shown, names = natural_draws(study, problem, psi)
        told = _diagnostics(shown)
        _, error = marginal(problem, state.psi, state.eta)
        diverged, warnings = int(state.more["diverged"].sum()), list(fit.warnings)
        slow = [f"{n} {r:.3f}" for n, r in zip(names, told["rhat"], strict=True) if r >= _WELL_MIXED]
        few = [
            f"{n} {e:.0f}"
            for n, e in zip(names, told[["ess_bulk", "ess_tail"]].min(axis=1), strict=True)
            if e < _ENOUGH
        ]
        if slow:
            warnings.append(f"R-hat of {_WELL_MIXED} or more ({', '.join(slow)}): take more draws")
        if few:
            warnings.append(
                f"fewer than {_ENOUGH} effective draws ({', '.join(few)}): intervals are rough, take more draws"
            )
        if diverged:
            other = "false" if self.centred else "true"
            warnings.append(
                f"{diverged} of {psi.shape[0] * psi.shape[1]} trajectories diverged: part of the posterior may be missing;"
                f" try estimation.centred={other}, or closer priors"
            )
        stated = assumed(problem, study.scale, study.units)
        extra = {
            "chains": self.chains,
            "warmup": self.warmup,
            "draws": self.draws,
            "divergences": diverged,
            "rhat": dict(zip(names, told["rhat"], strict=True)),
            "ess_bulk": dict(zip(names, told["ess_bulk"], strict=True)),
            "ess_tail": dict(zip(names, told["ess_tail"], strict=True)),
            "ofv_se": error,
        }
        notes = [
            f"Posterior of {self.chains} chains of {self.draws} draws after {self.warmup} of warm-up: R-hat at most"
            f" {told['rhat'].max():.4f}, effective draws at least {told[['ess_bulk', 'ess_tail']].min(axis=None):.0f},"
            f" {diverged} divergent. Est. is the median, SE the standard deviation, the interval that of the 2.5 % and 97.5 %"
            f" quantiles. OFV: at the medians, by importance sampling (Monte Carlo error {error:.2g})."
        ]
        found = described(study, problem, fit, psi.reshape(-1, psi.shape[-1]), told, stated, extra, notes)
        kept = {
            "names": np.array(names),
            "parameters": shown,
            "eta": state.more["eta"],
            "eta_names": np.array(problem.spec.layout.etas),
        }
        kept |= {k: state.more[k] for k in ("diverged", "log_density", "steps")}
        return replace(found, warnings=tuple(warnings), files={**found.files, "draws.npz": kept})


def _leaves(state: Any) -> dict[str, np.ndarray]:
    return {f"chain.{k:02d}": np.asarray(a) for k, a in enumerate(jax.tree.leaves(state))}


def _diagnostics(draws: np.ndarray) -> pd.DataFrame:
    """R-hat and effective sizes of draws (C, D, K), a row for each of K."""
    each = [draws[:, :, k] for k in range(draws.shape[2])]
    found = {f.__name__: [f(d) for d in each] for f in (convergence.rhat, convergence.ess_bulk, convergence.ess_tail)}
    return pd.DataFrame(found)


NUTS = Nuts()
