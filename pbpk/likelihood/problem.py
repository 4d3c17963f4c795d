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
from pbpk.likelihood.endpoints.compiled_terms import make_likelihood_data, make_likelihood_terms
from pbpk.likelihood.endpoints.likelihood import Endpoints, arrange_predictions, record_minus2ll, subject_minus2ll
from pbpk.likelihood.priors import PlacedPrior, total_penalty
from pbpk.observe.readings import observe_all
from pbpk.solve.compiled_likelihood import LikelihoodSolver

if TYPE_CHECKING:
    from pbpk.likelihood.parameter_layout import ParameterLayout
    from pbpk.model.system import System
    from pbpk.population.individual import IndividualModel
    from pbpk.solve.base import Solver
    from pbpk.solve.timeline import Timeline


@dataclass(frozen=True)
class ModelStructure:
    """`classes`: how many sub-populations a mixture has; every subject then has a column in each (mixture.py)."""

    system: System
    solver: Solver
    individual_model: IndividualModel
    layout: ParameterLayout
    endpoints: Endpoints
    priors: tuple[PlacedPrior, ...] = ()
    classes: int = 1

    @property
    def reads_second_observable(self) -> bool:
        return any(e.second_observable for e in self.endpoints)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """Shapes: seen, endpoint, row and all of `observed` (T, N); covariates (C, k, N); overrides (C, o, N); constants (C, m, N):
    the model's own values and covariate effects, for what the study leaves alone; initial natural."""

    structure: ModelStructure = field(metadata={"static": True})
    timeline: Timeline
    observed: Observed
    observed_mask: np.ndarray
    endpoint_index: np.ndarray
    parameter_row: np.ndarray
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
        return self.observed_mask.shape[1]

    @property
    def subjects(self) -> int:
        return self.columns // self.structure.classes

    @property
    def observations(self) -> int:
        return int(self.observed_mask.sum()) // self.structure.classes

    @property
    def quantified(self) -> int:
        """Observations with a density, for which −2LL has a ln 2π that the OFV leaves out."""
        dense = np.array([e.is_continuous for e in self.structure.endpoints])[np.asarray(self.endpoint_index)]
        known = np.asarray(self.observed.low) == np.asarray(self.observed.high)
        return int((np.asarray(self.observed_mask) & dense & known).sum()) // self.structure.classes

    @property
    def initial_unconstrained(self) -> np.ndarray:
        return self.structure.layout.to_unconstrained(np.asarray(self.initial))

    def unpack(self, psi: jax.Array) -> tuple[dict, jax.Array, dict]:
        return self.structure.layout.unpack(psi, jnp.asarray(self.initial))

    def individual_parameters(self, theta: dict, eta: jax.Array) -> jax.Array:
        """u (slots, N) for all subjects from η (q, N)."""
        return self.structure.individual_model.individual_parameters(theta, eta, jnp.asarray(self.covariates)[0])

    def _system_parameters(self, u: jax.Array) -> jax.Array:
        """The system's parameters (C, m, N)."""
        spec = self.structure
        return spec.individual_model.system_parameters(
            spec.system, u, jnp.asarray(self.constants), jnp.asarray(self.covariates), jnp.asarray(self.overrides)
        )

    def predict_all(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Predictions (T, N), below them what endpoints read beside (2T, N) where any does, and the solver's codes (N,)."""
        spec, p = self.structure, self._system_parameters(u)
        path = spec.solver.solve(spec.system, self.timeline, p)
        here = p if p.shape[0] == 1 else jnp.take_along_axis(p, jnp.asarray(self.parameter_row)[:, None, :], axis=0)
        which = jnp.asarray(self.endpoint_index)[None]

        def read(names):
            return jnp.take_along_axis(observe_all(spec.system, names, path.amounts, here), which, axis=0)[0]

        f = read([e.observable for e in spec.endpoints])
        if spec.reads_second_observable:
            f = jnp.concatenate([f, read([e.second_observable or e.observable for e in spec.endpoints])])
        return f, path.result

    def predict(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Predictions (T, N) and the solver's result codes (N,)."""
        f, result = self.predict_all(u)
        return f[: self.observed_mask.shape[0]], result

    def observed_on_device(self) -> Observed:
        return Observed(*(jnp.asarray(a) for a in self.observed))

    def data_minus2ll(self, psi: jax.Array, eta: jax.Array) -> jax.Array:
        """−2 log p(y | η) of each subject (N,), continuous observations without ln 2π; ∞ where the solver failed."""
        theta, _, sigma = self.unpack(psi)
        return self.minus2ll_at(self.individual_parameters(theta, eta), theta | sigma)

    def minus2ll_at(self, u: jax.Array, sigma: dict) -> jax.Array:
        """The same from u (slots, N) and all parameters by name, each the same for all or (N,): in one call of the solver where
        it can judge by itself."""
        spec, judge = self.structure, make_likelihood_terms(self.structure.system, self.structure.endpoints)
        p = self._system_parameters(u)
        if judge is None or not (
            isinstance(spec.solver, LikelihoodSolver) and spec.solver.supports_likelihood(spec.system, p, judge)
        ):
            x, result = self.predict_all(u)
            return jnp.where(result == 0, self.minus2ll_of_predictions(x, sigma), jnp.inf)
        facts = make_likelihood_data(
            spec.system, spec.endpoints, p, self.endpoint_index, self.observed_mask, self.observed_on_device(), sigma
        )
        found = spec.solver.solve_likelihood(spec.system, self.timeline, p, judge, facts)
        return jnp.where(found.code == 0, found.minus2ll, jnp.inf)

    @property
    def has_compiled_likelihood(self) -> bool:
        """Whether that is one call, which gives all slopes backwards too."""
        spec, judge = self.structure, make_likelihood_terms(self.structure.system, self.structure.endpoints)
        if judge is None or not isinstance(spec.solver, LikelihoodSolver):
            return False
        u = jax.ShapeDtypeStruct((len(spec.individual_model.slots), self.columns), float)
        return spec.solver.supports_likelihood(spec.system, jax.eval_shape(self._system_parameters, u), judge)

    def minus2ll_of_predictions(self, x: jax.Array, sigma: dict) -> jax.Array:
        """The same from predictions as `stacked` gives them, and all parameters by name, each the same for all or (N,)."""
        spec, o = self.structure, self.observed_on_device()
        which, seen = jnp.asarray(self.endpoint_index), jnp.asarray(self.observed_mask)
        if any(e.correlation_name for e in spec.endpoints):
            each = {name: jnp.broadcast_to(value, x.shape[-1:]) for name, value in sigma.items()}
            return jax.vmap(
                lambda a, b, c, d, e: subject_minus2ll(
                    spec.endpoints, b, c, arrange_predictions(spec.endpoints, a, a, d), d, e
                ),
                in_axes=-1,
            )(x, which, seen, o, each)
        return jnp.sum(
            record_minus2ll(spec.endpoints, which, seen, arrange_predictions(spec.endpoints, x, x, o), o, sigma), axis=0
        )

    def joint_minus2ll(self, psi: jax.Array, eta: jax.Array) -> jax.Array:
        """−2 log p(y, η) of each subject (N,): `data_loss` + η'Ω⁻¹η + ln|Ω|."""
        omega = self.unpack(psi)[1]
        return (
            self.data_minus2ll(psi, eta)
            + jnp.sum(eta * jnp.linalg.solve(omega, eta), axis=0)
            + jnp.linalg.slogdet(omega)[1]
        )

    def penalty(self, psi: jax.Array) -> jax.Array:
        """−2 log of the priors, without constants; 0 where there are none."""
        return total_penalty(self.structure.priors, self.structure.layout.to_natural(psi, jnp.asarray(self.initial)))


def select_columns(problem: Problem, columns: np.ndarray) -> Problem:
    """The same problem with these columns, in this order; one may come several times."""
    parts = {k: v for k, v in vars(problem).items() if k not in ("structure", "initial")}
    return replace(problem, **jax.tree.map(lambda a: np.asarray(a)[..., columns], parts))


@jax.jit
def penalty_and_gradient(problem: Problem, psi: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The penalty and its gradient in ψ."""
    return jax.value_and_grad(problem.penalty)(psi)
