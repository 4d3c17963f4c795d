"""SAEM: maximum likelihood by draws of the random effects, without linearising anything.

    draw        η from p(η | y; ψ) by Markov chains          (stochastic/chains.py)
    average     moments of the complete data, in steps γ     (stochastic/maximise.py)
    maximise    ψ from the averaged moments                  (the same)

Delyon, Lavielle & Moulines 1999 (Ann Stat 27:94); Kuhn & Lavielle 2005 (Comput Stat Data Anal 49:1020). The phases and their
ends are in stochastic/phases.py. While it runs, the OFV shown is −2 ln p(y, η) over the draws, which is no likelihood; at the
end it is the marginal likelihood by importance sampling (importance.py), whose gradient also says how far below the maximum
ψ still is, and gives the standard errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from pbpk.errors import WrongUsage
from pbpk.estimation.base import CONVERGED, Evaluation, Info, Numbers, State
from pbpk.estimation.importance import few_samples, require_etas, sampled
from pbpk.estimation.quasi_newton import _scores
from pbpk.estimation.stochastic import phases
from pbpk.estimation.stochastic.chains import first_lengths, tuned
from pbpk.estimation.stochastic.iterate import Plan, Walk, stretch
from pbpk.estimation.stochastic.maximise import Moments
from pbpk.estimation.stochastic.roles import find_roles
from pbpk.likelihood.parameter_layout import natural_with_jacobian
from pbpk.likelihood.problem import Problem, prior_terms

if TYPE_CHECKING:
    from pbpk.study.schema import EstimationPart

_LANES = 100  # chains × subjects, at least
_NEAR = 0.02  # OFV that the marginal likelihood may still promise: a seventh of a standard error
_CLOSE, _STEPS = 1.0, 5  # where one standard error is left, scoring steps may take it
ASTRAY = "the draws did not settle at a maximum"


class Look(NamedTuple):
    """The marginal likelihood at ψ, its gradient with that of priors, and by how much it may yet fall."""

    psi: np.ndarray
    each: Evaluation
    ofv: float
    gradient: np.ndarray

    @property
    def inverse(self) -> np.ndarray:
        return _scores(self.each.gradient)

    @property
    def promised(self) -> float:
        promised = float(self.gradient @ self.inverse @ self.gradient) / 2
        return promised if np.isfinite(promised) and np.isfinite(self.ofv) else np.inf


@jax.jit
def _complete(problem: Problem, psi: jax.Array, eta: jax.Array) -> jax.Array:
    return problem.complete(psi, eta)


@dataclass(frozen=True)
class Saem:
    """`chains` a subject, 0: enough for `_LANES` in all; `samples` of the importance sampling at the end."""

    name: str = "saem"
    about: str = "maximum likelihood by stochastic approximation of EM"
    seed: int = 1
    chains: int = 0
    samples: int = 1024

    def configured(self, estimation: EstimationPart, seed: int) -> Saem:
        return replace(self, seed=seed, samples=estimation.samples)

    def prepare(self, problem: Problem) -> Problem:
        require_etas(self.name, problem)
        if problem.spec.classes > 1:
            raise WrongUsage("saem does not draw the classes of a mixture", hint="use imp, laplace or focei")
        return problem

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        return sampled(problem, psi, eta, self.samples, self.seed).evaluation

    def init(self, problem: Problem) -> State:
        psi, q, n = problem.psi0, len(problem.spec.layout.etas), problem.subjects
        omega = np.asarray(natural_with_jacobian(problem.spec.layout, psi, problem.initial)[2])
        more = {
            "chains": np.zeros((self.chains or -(-_LANES // n), q, n)),
            "first": np.zeros((q, n)),
            "second": omega,
            "hessian": np.eye(len(find_roles(problem).rest)),
            "mean": np.zeros((q, n)),
            "square": omega[:, :, None] + np.zeros(n),
            "lengths": first_lengths(q, n),
            "path": np.zeros((0, len(psi))),
            "turned": np.array(-1),
        }
        objective = np.asarray(_complete(problem, psi, more["mean"]))
        nothing = (np.zeros((len(psi), n)), more["mean"], np.eye(len(psi)))
        return State(psi, float(objective.sum()), objective, *nothing, good=np.isfinite(objective), more=more)

    def step(self, problem: Problem, state: State) -> tuple[State, Info]:
        """One stretch of iterations; the last one ends with the marginal likelihood."""
        m, path, turned = state.more, state.more["path"], int(state.more["turned"])
        if turned < 0 and phases.explored(path):
            turned = len(path)
        plan = Plan.of(len(path), turned)
        walk = Walk(state.psi, m["chains"], Moments(m["first"], m["second"], m["hessian"]), m["mean"], m["square"])
        walk, accepted, new, complete, slope = jax.tree.map(
            np.asarray,
            stretch(problem, find_roles(problem), walk, m["lengths"], problem.psi0, np.uint32(self.seed), plan),
        )
        last, path, ofv = state.psi, np.concatenate([path, new]), float(complete.mean())
        more = {
            "chains": walk.eta,
            **walk.moments._asdict(),
            "mean": walk.mean,
            "square": walk.square,
            "lengths": np.asarray(tuned(m["lengths"], accepted)),
            "path": path,
            "turned": np.array(turned),
        }
        now = replace(state, psi=walk.psi, ofv=ofv, eta=walk.mean, iteration=len(path), more=more)
        now = replace(now, evaluations=len(path))
        moved = float(np.abs(np.diff(np.vstack([last, new]), axis=0)).max())
        info = Info(len(path), ofv, ofv - state.ofv, float(np.abs(slope).max()), moved, len(path))
        return self._finish(problem, now, info) if turned >= 0 and phases.due(len(path) - turned) else (now, info)

    def _finish(self, problem: Problem, state: State, info: Info) -> tuple[State, Info]:
        """The averaged ψ if the marginal likelihood has its maximum there; else on, unless no iterations are left.

        Where data are sparse, EM takes hundreds of iterations over the last fraction of a standard error. Once that little is
        left, scoring steps on the marginal likelihood take it.
        """
        path, turned = state.more["path"], int(state.more["turned"])
        look = self._look(problem, phases.averaged(path, turned), state.eta)
        for _ in range(_STEPS):
            if not _NEAR < look.promised < _CLOSE:
                break
            nearer = self._look(problem, look.psi - look.inverse @ look.gradient, look.each.eta)
            if not nearer.ofv < look.ofv:
                break
            look = nearer
        near = look.promised < _NEAR and bool(look.each.good.all())
        if not near and not phases.spent(len(path) - turned):
            return state, info
        e, status = look.each, CONVERGED if near else ASTRAY
        found = replace(state, psi=look.psi, ofv=look.ofv, objective=e.objective, gradient=e.gradient, eta=e.eta)
        found = replace(found, inverse=look.inverse, good=e.good, status=status)
        return found, info._replace(ofv=look.ofv, gradient=float(np.abs(look.gradient).max()))

    def _look(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Look:
        each = Evaluation(*(np.asarray(a) for a in self.evaluate(problem, psi, eta)))
        penalty, slope = (np.asarray(a) for a in prior_terms(problem, psi))
        return Look(psi, each, float(each.objective.sum() + penalty), each.gradient.sum(axis=1) + slope)

    def remarks(self, problem: Problem, state: State, subjects: Sequence[str]) -> list[str]:
        return few_samples(sampled(problem, state.psi, state.eta, self.samples, self.seed), self.samples, subjects)


SAEM = Saem()
