"""A fit as the estimation methods see it: arrays of observations, and predictions as a function of individual parameters.

`Problem` is a pytree, so compiled programs are shared by studies of the same structure and size; what decides the program
is in the static `structure`. "Unconstrained" is the vector of free coordinates that an optimiser moves in
(parameter_layout.py), written ψ in formulas here; Monolix calls a subject's own parameters so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.endpoints.base import Observed
from pbpk.likelihood.endpoints.compiled_terms import make_likelihood_data, make_likelihood_terms
from pbpk.likelihood.endpoints.likelihood import Endpoints, arrange_predictions, record_minus2ll, subject_minus2ll
from pbpk.likelihood.priors import PlacedPrior, total_penalty
from pbpk.observe.readings import observe_all
from pbpk.solve.likelihood import LikelihoodSolver

if TYPE_CHECKING:
    from pbpk.compile.programs.solution.likelihood import LikelihoodTerms
    from pbpk.likelihood.parameter_layout import ParameterLayout
    from pbpk.model.system import System
    from pbpk.population.individual import IndividualModel
    from pbpk.solve.base import Solver
    from pbpk.solve.timeline import Timeline


@dataclass(frozen=True)
class ModelStructure:
    """All that decides the compiled program: the system and its solver, the model of individual parameters, the layout of what
    is estimated, endpoints and priors.

    `classes` is how many sub-populations a mixture has; every subject then has a column in each (mixture.py).
    """

    system: System
    solver: Solver
    individual_model: IndividualModel
    layout: ParameterLayout
    endpoints: Endpoints
    priors: tuple[PlacedPrior, ...] = ()
    classes: int = 1

    @property
    def reads_second_observable(self) -> bool:
        """Whether any endpoint reads another observable beside its own."""
        return any(e.second_observable for e in self.endpoints)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """A study's data beside its structure, for T observations of N subjects (columns).

    `observed`, `observed_mask` (where there is an observation), `endpoint_index` and `parameter_row` (the row of parameters
    that an observation is read with) are (T, N); covariates (C, k, N), overrides (C, o, N) and constants (C, m, N) have C rows
    of parameters; the constants are the model's own values and covariate effects, for what the study leaves alone. `initial`
    is the natural vector to start from.
    """

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
        """The recorded values (T, N)."""
        return self.observed.y

    @property
    def columns(self) -> int:
        """How many columns there are: subjects, in a mixture once for each class."""
        return self.observed_mask.shape[1]

    @property
    def subjects(self) -> int:
        """How many subjects there are."""
        return self.columns // self.structure.classes

    @property
    def observations(self) -> int:
        """How many observations there are."""
        return int(self.observed_mask.sum()) // self.structure.classes

    @property
    def quantified(self) -> int:
        """How many observations have a density, for which −2LL has a ln 2π that the OFV leaves out."""
        continuous = np.array([e.is_continuous for e in self.structure.endpoints])[np.asarray(self.endpoint_index)]
        exact = np.asarray(self.observed.low) == np.asarray(self.observed.high)
        return int((np.asarray(self.observed_mask) & continuous & exact).sum()) // self.structure.classes

    @property
    def initial_unconstrained(self) -> np.ndarray:
        """Where a search starts (P,)."""
        return self.structure.layout.to_unconstrained(np.asarray(self.initial))

    def unpack(self, unconstrained: jax.Array) -> tuple[dict, jax.Array, dict]:
        """θ by name, Ω (q, q) and σ by name."""
        return self.structure.layout.unpack(unconstrained, jnp.asarray(self.initial))

    def individual_parameters(self, theta: dict, eta: jax.Array) -> jax.Array:
        """What varies between subjects (k, N), as the solver is differentiated by it, from η (q, N)."""
        return self.structure.individual_model.individual_parameters(theta, eta, jnp.asarray(self.covariates)[0])

    def system_parameters(self, individual: jax.Array) -> jax.Array:
        """The system's parameters (C, m, N)."""
        structure = self.structure
        arrays = (jnp.asarray(a) for a in (self.constants, self.covariates, self.overrides))
        return structure.individual_model.system_parameters(structure.system, individual, *arrays)

    def predict_all(self, individual: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Predictions (T, N) from individual parameters (k, N), and the solver's result codes (N,). Where an endpoint reads a
        second observable, what it reads is in rows T to 2T."""
        structure, p = self.structure, self.system_parameters(individual)
        path = structure.solver.solve(structure.system, self.timeline, p)
        at_record = p if p.shape[0] == 1 else jnp.take_along_axis(p, jnp.asarray(self.parameter_row)[:, None], axis=0)
        which = jnp.asarray(self.endpoint_index)[None]

        def read(names):
            return jnp.take_along_axis(observe_all(structure.system, names, path.amounts, at_record), which, axis=0)[0]

        f = read([e.observable for e in structure.endpoints])
        if structure.reads_second_observable:
            f = jnp.concatenate([f, read([e.second_observable or e.observable for e in structure.endpoints])])
        return f, path.result

    def predict(self, individual: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Predictions (T, N) of the endpoints' observables, and the solver's result codes (N,)."""
        f, result = self.predict_all(individual)
        return f[: self.observed_mask.shape[0]], result

    def observed_on_device(self) -> Observed:
        """`observed` as JAX arrays."""
        return Observed(*(jnp.asarray(a) for a in self.observed))

    def data_minus2ll(self, unconstrained: jax.Array, eta: jax.Array) -> jax.Array:
        """−2 log p(y | η) of each subject (N,), continuous observations without ln 2π; ∞ where the solver failed."""
        theta, _, sigma = self.unpack(unconstrained)
        return self.minus2ll_at(self.individual_parameters(theta, eta), theta | sigma)

    def _likelihood_terms(self) -> LikelihoodTerms | None:
        """The endpoints as terms that a solver can evaluate with the solution; None where they are not."""
        return make_likelihood_terms(self.structure.system, self.structure.endpoints)

    def minus2ll_at(self, individual: jax.Array, values: dict) -> jax.Array:
        """The same from individual parameters (k, N) and all parameters by name, each one number or (N,). One call of the
        solver, where it has compiled likelihoods."""
        structure, terms = self.structure, self._likelihood_terms()
        system, solver = structure.system, structure.solver
        p = self.system_parameters(individual)
        if terms is None or not (isinstance(solver, LikelihoodSolver) and solver.supports_likelihood(system, p, terms)):
            x, result = self.predict_all(individual)
            return jnp.where(result == 0, self.minus2ll_of_predictions(x, values), jnp.inf)
        observed = self.observed_on_device()
        data = make_likelihood_data(
            system, structure.endpoints, p, self.endpoint_index, self.observed_mask, observed, values
        )
        solution = solver.solve_likelihood(system, self.timeline, p, terms, data)
        return jnp.where(solution.code == 0, solution.minus2ll, jnp.inf)

    @property
    def has_compiled_likelihood(self) -> bool:
        """Whether `minus2ll_at` is one call of the solver, which gives all its gradients backwards too."""
        structure, terms = self.structure, self._likelihood_terms()
        if terms is None or not isinstance(structure.solver, LikelihoodSolver):
            return False
        individual = jax.ShapeDtypeStruct((len(structure.individual_model.slots), self.columns), float)
        shapes = jax.eval_shape(self.system_parameters, individual)
        return structure.solver.supports_likelihood(structure.system, shapes, terms)

    def minus2ll_of_predictions(self, x: jax.Array, values: dict) -> jax.Array:
        """The same from predictions as `predict_all` gives them, and all parameters by name, each one number or (N,)."""
        endpoints, o = self.structure.endpoints, self.observed_on_device()
        which, mask = jnp.asarray(self.endpoint_index), jnp.asarray(self.observed_mask)
        if any(e.is_correlated for e in endpoints):
            by_subject = {name: jnp.broadcast_to(value, x.shape[-1:]) for name, value in values.items()}

            def one(x, which, mask, o, values):
                return subject_minus2ll(endpoints, which, mask, arrange_predictions(endpoints, x, x, o), o, values)

            return jax.vmap(one, in_axes=-1)(x, which, mask, o, by_subject)
        p = arrange_predictions(endpoints, x, x, o)
        return jnp.sum(record_minus2ll(endpoints, which, mask, p, o, values), axis=0)

    def joint_minus2ll(self, unconstrained: jax.Array, eta: jax.Array) -> jax.Array:
        """−2 log p(y, η) of each subject (N,): `data_minus2ll` + η'Ω⁻¹η + ln|Ω|."""
        omega = self.unpack(unconstrained)[1]
        return (
            self.data_minus2ll(unconstrained, eta)
            + jnp.sum(eta * jnp.linalg.solve(omega, eta), axis=0)
            + jnp.linalg.slogdet(omega)[1]
        )

    def penalty(self, unconstrained: jax.Array) -> jax.Array:
        """−2 log of the priors, without constants; 0 where there are none."""
        natural = self.structure.layout.to_natural(unconstrained, jnp.asarray(self.initial))
        return total_penalty(self.structure.priors, natural)


@jax.jit
def penalty_and_gradient(problem: Problem, unconstrained: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The penalty of the priors and its gradient (P,)."""
    return jax.value_and_grad(problem.penalty)(unconstrained)
