"""The posterior by Hamiltonian Monte Carlo: numpyro's NUTS on target.py's density, all chains side by side in one program.

Hoffman & Gelman 2014 (J Mach Learn Res 15:1593); Phan, Pradhan & Jankowiak 2019 (numpyro). The mass matrix is dense in ψ and
diagonal in z. A step of the method is a block of iterations, after which everything the chains need to go on is saved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk.errors import MissingExtra, ScienceFailed
from pbpk.estimation.base import EstimationMethod
from pbpk.estimation.bayes import convergence
from pbpk.estimation.bayes.default_priors import assume_priors
from pbpk.estimation.bayes.marginal import evaluate_marginal
from pbpk.estimation.bayes.posterior import convert_draws, describe_posterior
from pbpk.estimation.bayes.target import LogPosterior, build_log_posterior
from pbpk.estimation.map import evaluate_most_probable
from pbpk.estimation.state import CONVERGED, EstimationState, IterationRecord
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation

if TYPE_CHECKING:
    from pbpk.estimation.result import Fit
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study
    from pbpk.study.schema import EstimationPart

_BLOCK = 50  # iterations of a step, after which all is saved
_TARGET_ACCEPTANCE = 0.9  # hierarchical posteriors have sharp corners: steps a little shorter than the usual 0.8 gives
_JITTER = 0.2  # spread of the chains' starts, in ψ and in z
_RHAT_LIMIT, _RHAT_WARNING = 1.05, 1.01  # R-hat above which nothing may be read from the draws, and below which all may
_ESS_LIMIT, _ESS_WARNING = 100, 400  # effective draws, likewise
_DIVERGENT_LIMIT = 0.01  # share of the trajectories


def _build_kernels():
    """numpyro's functions that initialise and move a chain. Raises `MissingExtra` where numpyro is not installed."""
    try:
        from numpyro.infer.hmc import hmc
    except ImportError:
        raise MissingExtra("nuts needs numpyro", hint='pip install "pbpk[bayes]"') from None

    def potential(posterior: LogPosterior):
        return lambda x: -posterior.log_density(x["psi"], x["z"])

    return hmc(potential_fn_gen=potential, algo="NUTS")


@jax.jit
def _evaluate_density(posterior: LogPosterior, psi: jax.Array, eta: jax.Array, noise: jax.Array):
    """Each chain's z around the same η; −ln of the density at ψ (C, P) and z (C, q, N), and its gradient."""

    def one(p, e):
        x = {"psi": p, "z": posterior.z(p, eta) + e}
        return x, *jax.value_and_grad(lambda at: -posterior.log_density(at["psi"], at["z"]))(x)

    return jax.vmap(one)(psi, noise)


@partial(jax.jit, static_argnames="warmup")
def _start_chains(densities: Any, keys: jax.Array, warmup: int):
    """The first states of all chains, from the densities and gradients where they start."""
    return jax.vmap(lambda m, k: _initialise_chain(_build_kernels()[0], m, k, warmup))(densities, keys)


def _initialise_chain(init_kernel: Any, densities: Any, key: jax.Array, warmup: int):
    """The first state of one chain; it also fixes the settings that numpyro's kernels keep to themselves."""
    from numpyro.infer.util import ParamInfo

    settings = {"dense_mass": [("psi",)], "target_accept_prob": _TARGET_ACCEPTANCE, "model_args": (None,)}
    return init_kernel(ParamInfo(*densities), warmup, rng_key=key, **settings)


@partial(jax.jit, static_argnames=("warmup", "count"))
def _run_chains(posterior: LogPosterior, state: Any, warmup: int, count: int):
    """`count` iterations of every chain, and (count, C, …) what came of each."""
    init_kernel, sample_kernel = _build_kernels()
    first = jax.tree.map(lambda a: a[0], (state.z, state.potential_energy, state.z_grad))
    # The state that it returns is not used: it is called because numpyro's kernels keep the settings to themselves.
    _initialise_chain(init_kernel, first, state.rng_key[0], warmup)

    def once(s, _):
        s = jax.vmap(lambda one: sample_kernel(one, (posterior,)))(s)
        eta = jax.vmap(posterior.eta)(s.z["psi"], s.z["z"])
        rest = (s.potential_energy, s.diverging, s.accept_prob, s.num_steps, s.adapt_state.step_size)
        return s, (s.z["psi"], eta, *rest)

    return jax.lax.scan(once, state, None, length=count)


@dataclass(frozen=True)
class Nuts(EstimationMethod):
    """NUTS: `chains` side by side, each of `warmup` and then `draws` iterations; `centred`: on η itself, not in units of Ω."""

    name: str = "nuts"
    about: str = "the posterior by Hamiltonian Monte Carlo (NUTS)"
    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    centred: bool = False
    seed: int = 1

    checks_identifiability = False
    iteration_headings = ("iter", "−2 ln p", "diverged", "accept", "step")

    def configure(self, estimation: EstimationPart, seed: int) -> Nuts:
        """With the study's numbers of chains, warm-up iterations and draws, and the run's seed."""
        e = estimation
        return replace(self, chains=e.chains, warmup=e.warmup, draws=e.draws, centred=e.centred, seed=seed)

    def prepare(self, problem: Problem) -> Problem:
        """The problem as it is. Raises `MissingExtra` without numpyro."""
        _build_kernels()  # says where numpyro is missing, before anything is computed
        return super().prepare(problem)

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """The marginal likelihood by importance sampling: NUTS has no objective of its own."""
        return evaluate_marginal(problem, psi, eta)[0]

    def _build_posterior(self, problem: Problem) -> LogPosterior:
        """The posterior with the study's priors and, where it has none, those that are assumed."""
        return build_log_posterior(problem, assume_priors(problem), self.centred)

    def init(self, problem: Problem) -> EstimationState:
        """All chains around the initial values, closer where the density is not finite. Raises `ScienceFailed` where it is not
        even there."""
        posterior, psi0 = self._build_posterior(problem), problem.initial_unconstrained
        rng = np.random.default_rng([self.seed, 1])
        shape = (len(problem.structure.layout.etas), problem.columns)
        psi_noise = rng.standard_normal((self.chains, len(psi0)))
        z_noise = rng.standard_normal((self.chains, *shape))
        first_modes = evaluate_most_probable(problem, psi0, np.zeros(shape))
        mode = np.where(np.isfinite(first_modes.eta), first_modes.eta, 0.0)
        jitter = _JITTER
        for _ in range(10):
            densities = _evaluate_density(posterior, psi0 + jitter * psi_noise, mode, jitter * z_noise)
            if np.isfinite(densities[1]).all():
                break
            jitter /= 2
        else:
            raise ScienceFailed(
                "the posterior density is not finite at the starting values",
                why="no chain can start there: the model cannot be solved, or an observation is impossible",
                hint="try other initial values:  --set CL=…",
            )
        keys = jax.random.split(jax.random.PRNGKey(self.seed), self.chains)
        chains = _start_chains(densities, keys, self.warmup)
        objective = np.asarray(first_modes.objective)
        empty = {
            "psi": np.zeros((self.chains, 0, len(psi0))),
            "eta": np.zeros((self.chains, 0, *shape)),
            "diverged": np.zeros((self.chains, 0), bool),
            "log_density": np.zeros((self.chains, 0)),
            "steps": np.zeros((self.chains, 0), int),
        }
        return EstimationState(
            *(psi0, float(objective.sum()), objective, np.zeros((len(psi0), problem.subjects)), mode),
            inverse=np.zeros((0, 0)),
            evaluations=1,
            more=empty | _name_leaves(chains),
        )

    def step(self, problem: Problem, state: EstimationState) -> tuple[EstimationState, IterationRecord]:
        """One block of iterations of every chain; the last one ends at the medians."""
        posterior = self._build_posterior(problem)
        structure = jax.eval_shape(partial(_start_chains, warmup=self.warmup), *self._shapes(problem))
        saved = [state.more[f"chain.{k:02d}"] for k in range(len(jax.tree.leaves(structure)))]
        chains = jax.tree.unflatten(jax.tree.structure(structure), [jnp.asarray(a) for a in saved])
        new, record = _run_chains(posterior, chains, self.warmup, _BLOCK)
        psi, eta, potential, diverged, accept, steps, size = (np.moveaxis(np.asarray(a), 0, 1) for a in record)
        first = max(self.warmup - state.iteration, 0)  # of this block that is a draw
        last = self.warmup + self.draws - state.iteration
        block = {"psi": psi, "eta": eta, "diverged": diverged, "log_density": -potential, "steps": steps}
        draws = {k: np.concatenate([state.more[k], a[:, first:last]], axis=1) for k, a in block.items()}
        iteration = min(state.iteration + _BLOCK, self.warmup + self.draws)
        state = replace(
            state,
            iteration=iteration,
            evaluations=state.evaluations + int(steps.sum()),
            more=draws | _name_leaves(new),
        )
        line = IterationRecord(
            iteration, 2 * float(potential.mean()), float(diverged.sum()), float(accept.mean()), float(size[:, -1].mean()),
            state.evaluations,
        )  # fmt: skip
        return (self._end_at_medians(problem, state), line) if iteration == self.warmup + self.draws else (state, line)

    def _shapes(self, problem: Problem) -> tuple[Any, jax.ShapeDtypeStruct]:
        """The shapes of the arguments of `_start_chains`, from which the structure of a saved state follows."""
        c, p = self.chains, len(problem.initial_unconstrained)
        q, n = len(problem.structure.layout.etas), problem.columns
        real = partial(jax.ShapeDtypeStruct, dtype=jnp.float64)
        x = {"psi": real((c, p)), "z": real((c, q, n))}
        return (x, real((c,)), x), jax.ShapeDtypeStruct((c, 2), jnp.uint32)

    def _end_at_medians(self, problem: Problem, state: EstimationState) -> EstimationState:
        """The last state: the medians of ψ, the means of η, and the OFV there."""
        psi = np.median(state.more["psi"].reshape(-1, len(problem.initial_unconstrained)), axis=0)
        eta = state.more["eta"].mean(axis=(0, 1))
        objective = np.asarray(self.evaluate(problem, psi, eta).objective)
        return replace(
            state,
            psi=psi,
            eta=eta,
            objective=objective,
            ofv=float(objective.sum()),
            status=self._judge_convergence(problem, state),
        )

    def _judge_convergence(self, problem: Problem, state: EstimationState) -> str:
        """`converged`, or the first of the limits that the draws do not keep."""
        diagnostics = _compute_diagnostics(state.more["psi"])
        worst_at = int(diagnostics["rhat"].fillna(np.inf).argmax())
        if not diagnostics["rhat"].iloc[worst_at] < _RHAT_LIMIT:
            return f"the chains do not agree: R-hat {diagnostics['rhat'].iloc[worst_at]:.3g}, above {_RHAT_LIMIT}"
        if diagnostics["ess_bulk"].min() < _ESS_LIMIT:
            return f"only {diagnostics['ess_bulk'].min():.0f} effective draws, fewer than {_ESS_LIMIT}"
        if (share := float(state.more["diverged"].mean())) > _DIVERGENT_LIMIT:
            return f"{100 * share:.2g} % of the trajectories diverged"
        return CONVERGED

    def finish_fit(self, study: Study, problem: Problem, state: EstimationState, fit: Fit) -> Fit:
        """The result from the draws, with posterior.csv, draws.npz and warnings of chains that do not agree."""
        psi = state.more["psi"]
        values, names = convert_draws(study, problem, psi)
        diagnostics = _compute_diagnostics(values)
        _, error = evaluate_marginal(problem, state.psi, state.eta)
        diverged = int(state.more["diverged"].sum())
        extra = {
            "chains": self.chains,
            "warmup": self.warmup,
            "draws": self.draws,
            "divergences": diverged,
            **{column: dict(zip(names, diagnostics[column], strict=True)) for column in diagnostics},
            "ofv_se": error,
        }
        note = (
            f"Posterior of {self.chains} chains of {self.draws} draws after {self.warmup} of warm-up: R-hat at most"
            f" {diagnostics['rhat'].max():.4f}, effective draws at least"
            f" {diagnostics[['ess_bulk', 'ess_tail']].min(axis=None):.0f}, {diverged} divergent. Est. is the median, SE the"
            " standard deviation, the interval that of the 2.5 % and 97.5 % quantiles. OFV: at the medians, by importance"
            f" sampling (Monte Carlo error {error:.2g})."
        )
        flat, assumed_priors = psi.reshape(-1, psi.shape[-1]), assume_priors(problem, study.scale, study.units)
        result = describe_posterior(study, problem, fit, flat, diagnostics, assumed_priors, extra, [note])
        arrays = {
            "names": np.array(names),
            "parameters": values,
            "eta": state.more["eta"],
            "eta_names": np.array(problem.structure.layout.etas),
        }
        arrays |= {k: state.more[k] for k in ("diverged", "log_density", "steps")}
        warnings = (*fit.warnings, *self._warn_of_draws(names, diagnostics, diverged, psi.shape[0] * psi.shape[1]))
        return replace(result, warnings=warnings, files={**result.files, "draws.npz": arrays})

    def _warn_of_draws(self, names: list[str], diagnostics: pd.DataFrame, diverged: int, draws: int) -> list[str]:
        """What is not as it should be of so many draws, the parameters concerned by name."""
        slow = [f"{n} {r:.3f}" for n, r in zip(names, diagnostics["rhat"], strict=True) if r >= _RHAT_WARNING]
        least = diagnostics[["ess_bulk", "ess_tail"]].min(axis=1)
        few = [f"{n} {e:.0f}" for n, e in zip(names, least, strict=True) if e < _ESS_WARNING]
        warnings = []
        if slow:
            warnings.append(f"R-hat of {_RHAT_WARNING} or more ({', '.join(slow)}): take more draws")
        if few:
            warnings.append(
                f"fewer than {_ESS_WARNING} effective draws ({', '.join(few)}): intervals are rough, take more draws"
            )
        if diverged:
            other = "false" if self.centred else "true"
            warnings.append(
                f"{diverged} of {draws} trajectories diverged: part of the posterior may be missing;"
                f" try estimation.centred={other}, or closer priors"
            )
        return warnings


def _name_leaves(state: Any) -> dict[str, np.ndarray]:
    """numpyro's state as arrays by name, for a checkpoint."""
    return {f"chain.{k:02d}": np.asarray(a) for k, a in enumerate(jax.tree.leaves(state))}


def _compute_diagnostics(draws: np.ndarray) -> pd.DataFrame:
    """R-hat and effective sizes of draws (C, D, K): a row for each of K, a column for each diagnostic."""
    each = [draws[:, :, k] for k in range(draws.shape[2])]
    columns = {f.__name__: [f(d) for d in each] for f in (convergence.rhat, convergence.ess_bulk, convergence.ess_tail)}
    return pd.DataFrame(columns)


NUTS = Nuts()
