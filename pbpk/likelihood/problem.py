"""A fit as the estimation methods see it: arrays of observations, and predictions as a function of u.

`Problem` is a pytree, so compiled programs are shared by studies of the same structure and size; what decides the program
is in the static `spec`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.endpoints.base import Observed
from pbpk.likelihood.endpoints.compiled_terms import facts_of, judge_of
from pbpk.likelihood.endpoints.likelihood import Endpoints, losses, predicted, subject_loss
from pbpk.likelihood.priors import Placed, penalty
from pbpk.observe import observe_all
from pbpk.solve.compiled_likelihood import Judging

if TYPE_CHECKING:
    from pbpk.likelihood.parameter_layout import Layout
    from pbpk.model.system import System
    from pbpk.population.individual import Individual
    from pbpk.solve.base import Solver
    from pbpk.solve.timeline import Timeline


@dataclass(frozen=True)
class Spec:
    """`classes`: how many sub-populations a mixture has; every subject then has a column in each (mixture.py)."""

    system: System
    solver: Solver
    individual: Individual
    layout: Layout
    endpoints: Endpoints
    priors: tuple[Placed, ...] = ()
    classes: int = 1

    @property
    def paired(self) -> bool:
        return any(e.second for e in self.endpoints)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """Shapes: seen, endpoint, row and all of `observed` (T, N); covariates (C, k, N); overrides (C, o, N); constants (C, m, N):
    the model's own values and covariate effects, for what the study leaves alone; initial natural."""

    spec: Spec = field(metadata={"static": True})
    timeline: Timeline
    observed: Observed
    seen: np.ndarray
    endpoint: np.ndarray
    row: np.ndarray
    covariates: np.ndarray
    overrides: np.ndarray
    constants: np.ndarray
    initial: np.ndarray

    @property
    def y(self) -> np.ndarray:
        return self.observed.y

    @property
    def columns(self) -> int:
        """Subjects, in a mixture once for each class."""
        return self.seen.shape[1]

    @property
    def subjects(self) -> int:
        return self.columns // self.spec.classes

    @property
    def observations(self) -> int:
        return int(self.seen.sum()) // self.spec.classes

    @property
    def quantified(self) -> int:
        """Observations with a density, for which −2LL has a ln 2π that the OFV leaves out."""
        dense = np.array([e.continuous for e in self.spec.endpoints])[np.asarray(self.endpoint)]
        known = np.asarray(self.observed.low) == np.asarray(self.observed.high)
        return int((np.asarray(self.seen) & dense & known).sum()) // self.spec.classes

    @property
    def psi0(self) -> np.ndarray:
        return self.spec.layout.free(np.asarray(self.initial))

    def unpack(self, psi: jax.Array) -> tuple[dict, jax.Array, dict]:
        return self.spec.layout.unpack(psi, jnp.asarray(self.initial))

    def mixed(self, theta: dict, eta: jax.Array) -> jax.Array:
        """u (slots, N) for all subjects from η (q, N)."""
        return self.spec.individual.mixed(theta, eta, jnp.asarray(self.covariates)[0])

    def _parameters(self, u: jax.Array) -> jax.Array:
        """The system's parameters (C, m, N)."""
        spec = self.spec
        return spec.individual.parameters(
            spec.system, u, jnp.asarray(self.constants), jnp.asarray(self.covariates), jnp.asarray(self.overrides)
        )

    def stacked(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Predictions (T, N), below them what endpoints read beside (2T, N) where any does, and the solver's codes (N,)."""
        spec, p = self.spec, self._parameters(u)
        path = spec.solver.solve(spec.system, self.timeline, p)
        here = p if p.shape[0] == 1 else jnp.take_along_axis(p, jnp.asarray(self.row)[:, None, :], axis=0)
        which = jnp.asarray(self.endpoint)[None]

        def read(names):
            return jnp.take_along_axis(observe_all(spec.system, names, path.amounts, here), which, axis=0)[0]

        f = read([e.observable for e in spec.endpoints])
        if spec.paired:
            f = jnp.concatenate([f, read([e.second or e.observable for e in spec.endpoints])])
        return f, path.result

    def predict(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Predictions (T, N) and the solver's result codes (N,)."""
        f, result = self.stacked(u)
        return f[: self.seen.shape[0]], result

    def observed_as(self) -> Observed:
        return Observed(*(jnp.asarray(a) for a in self.observed))

    def data_loss(self, psi: jax.Array, eta: jax.Array) -> jax.Array:
        """−2 log p(y | η) of each subject (N,), continuous observations without ln 2π; ∞ where the solver failed."""
        theta, _, sigma = self.unpack(psi)
        return self.loss_at(self.mixed(theta, eta), theta | sigma)

    def loss_at(self, u: jax.Array, sigma: dict) -> jax.Array:
        """The same from u (slots, N) and all parameters by name, each the same for all or (N,): in one call of the solver where
        it can judge by itself."""
        spec, judge = self.spec, judge_of(self.spec.system, self.spec.endpoints)
        p = self._parameters(u)
        if judge is None or not (isinstance(spec.solver, Judging) and spec.solver.judges(spec.system, p, judge)):
            x, result = self.stacked(u)
            return jnp.where(result == 0, self.loss_of(x, sigma), jnp.inf)
        facts = facts_of(spec.system, spec.endpoints, p, self.endpoint, self.seen, self.observed_as(), sigma)
        found = spec.solver.judge(spec.system, self.timeline, p, judge, facts)
        return jnp.where(found.code == 0, found.loss, jnp.inf)

    @property
    def judged(self) -> bool:
        """Whether that is one call, which gives all slopes backwards too."""
        spec, judge = self.spec, judge_of(self.spec.system, self.spec.endpoints)
        if judge is None or not isinstance(spec.solver, Judging):
            return False
        u = jax.ShapeDtypeStruct((len(spec.individual.slots), self.columns), float)
        return spec.solver.judges(spec.system, jax.eval_shape(self._parameters, u), judge)

    def loss_of(self, x: jax.Array, sigma: dict) -> jax.Array:
        """The same from predictions as `stacked` gives them, and all parameters by name, each the same for all or (N,)."""
        spec, o = self.spec, self.observed_as()
        which, seen = jnp.asarray(self.endpoint), jnp.asarray(self.seen)
        if any(e.correlated for e in spec.endpoints):
            each = {name: jnp.broadcast_to(value, x.shape[-1:]) for name, value in sigma.items()}
            return jax.vmap(
                lambda a, b, c, d, e: subject_loss(spec.endpoints, b, c, predicted(spec.endpoints, a, a, d), d, e),
                in_axes=-1,
            )(x, which, seen, o, each)
        return jnp.sum(losses(spec.endpoints, which, seen, predicted(spec.endpoints, x, x, o), o, sigma), axis=0)

    def complete(self, psi: jax.Array, eta: jax.Array) -> jax.Array:
        """−2 log p(y, η) of each subject (N,): `data_loss` + η'Ω⁻¹η + ln|Ω|."""
        omega = self.unpack(psi)[1]
        return (
            self.data_loss(psi, eta)
            + jnp.sum(eta * jnp.linalg.solve(omega, eta), axis=0)
            + jnp.linalg.slogdet(omega)[1]
        )

    def penalty(self, psi: jax.Array) -> jax.Array:
        """−2 log of the priors, without constants; 0 where there are none."""
        return penalty(self.spec.priors, self.spec.layout.natural(psi, jnp.asarray(self.initial)))


def take(problem: Problem, columns: np.ndarray) -> Problem:
    """The same problem with these columns, in this order; one may come several times."""
    parts = {k: v for k, v in vars(problem).items() if k not in ("spec", "initial")}
    return replace(problem, **jax.tree.map(lambda a: np.asarray(a)[..., columns], parts))


@jax.jit
def prior_terms(problem: Problem, psi: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The penalty and its gradient in ψ."""
    return jax.value_and_grad(problem.penalty)(psi)
