"""Aggregates as a fit sees them: the virtual patients' arrays, and with individual data beside them one problem of both.

The virtual patients are lanes: arm by arm, the same draws z in each. `compute_quantities` solves them all, so that
everything after
it is arithmetic on (quantity, arm, patient). A lane's quantities follow from its own u alone, so their slopes in u are a few
tangents of the solver, whatever the number of parameters: `_solve_quantities` has a derivative rule that takes these once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.aggregate_data.blocks import ProportionBlock, RowBlocks, RowNumbers
from pbpk.aggregate_data.likelihood import evaluate_used_rows, predict_rows
from pbpk.observe.readings import observe_all
from pbpk.solve.resolvent import integrate_to_infinity

if TYPE_CHECKING:
    from pbpk.aggregate_data.quantities import MeasuredQuantities
    from pbpk.likelihood.parameter_layout import ParameterLayout
    from pbpk.model.system import System
    from pbpk.population.individual import IndividualModel
    from pbpk.solve.base import Solver
    from pbpk.solve.timeline import Timeline


@dataclass(frozen=True)
class SummaryStructure:
    """The static part of a problem of aggregates: what decides its program.

    `time_order`: the position of each time of `measured` among the timeline's observations; `last_time`: the observation
    that integrals to infinity begin at; `scaling_names`: the covariates that doses are scaled by; `patients`: of each arm.
    `endpoints` is empty: aggregates have no residual error.
    """

    system: System
    solver: Solver
    individual_model: IndividualModel
    layout: ParameterLayout
    measured: MeasuredQuantities
    blocks: RowBlocks
    arms: tuple[str, ...]
    patients: int
    time_order: tuple[int, ...]
    last_time: int
    scaling_names: tuple[str, ...]
    priors: tuple = ()
    endpoints: tuple = ()
    classes: int = 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SummaryProblem:
    """The aggregates of a study as a differentiable objective.

    z (q, M) and `noise` (K, M) are standard normals of M patients. By lane: covariates (1, k, N), constants (1, m, N), the
    activity given (N,), `scaling_covariates` (c, N). `numbers` are the published ones, `initial` the natural initial values.
    """

    structure: SummaryStructure = field(metadata={"static": True})
    timeline: Timeline
    z: np.ndarray
    noise: np.ndarray
    covariates: np.ndarray
    constants: np.ndarray
    activity: np.ndarray
    scaling_covariates: np.ndarray
    numbers: RowNumbers
    initial: np.ndarray

    @property
    def rows(self) -> int:
        """The number of used rows."""
        return len(self.structure.blocks.order)

    @property
    def quantified(self) -> int:
        """Rows with a density, for which −2LL has a ln 2π that the OFV leaves out."""
        return self.rows - sum(isinstance(b, ProportionBlock) for b in self.structure.blocks.used)

    def unpack(self, psi: jax.Array) -> tuple[dict, jax.Array, dict]:
        """θ, Ω and the residual parameters at ψ, on their natural scale."""
        return self.structure.layout.unpack(psi, jnp.asarray(self.initial))

    def compute_quantities(self, psi: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Quantities (K, A, M), coherent, with the noise of their measurement, and the solver's result codes (N,)."""
        spec = self.structure
        theta, omega, _ = self.unpack(psi)
        eta = jnp.linalg.cholesky(omega) @ jnp.asarray(self.z) if self.z.shape[0] else jnp.zeros((0, spec.patients))
        u = spec.individual_model.individual_parameters(
            theta, jnp.tile(eta, (1, len(spec.arms))), jnp.asarray(self.covariates)[0]
        )
        quantities, code = _solve_quantities(self, u)
        quantities = quantities.reshape(-1, len(spec.arms), spec.patients)
        cv = np.array([q.noise for q in spec.measured.quantities])
        size = np.sqrt(np.log1p(cv**2))[:, None]
        factor = jnp.exp(size * jnp.asarray(self.noise) - size**2 / 2)[:, None]
        # What was excreted is known from what is left, which is what is measured.
        is_excreted = np.array([q.kind == "excreted" for q in spec.measured.quantities])[:, None, None]
        return jnp.where(is_excreted, 1 - (1 - quantities) * factor, quantities * factor), code

    def evaluate(self, psi: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """−2 ln likelihood of the used rows (R,); every row's prediction and sampling SD.

        The likelihood is NaN where a virtual patient could not be solved, since no moment may leave one out.
        """
        x, code = self.compute_quantities(psi)
        theta = self.unpack(psi)[0]
        minus2ll = evaluate_used_rows(self.structure.blocks, x, theta, self.numbers)
        return jnp.where(jnp.any(code != 0), jnp.nan, minus2ll), *predict_rows(
            self.structure.blocks, x, theta, self.numbers
        )


@jax.custom_jvp
def _solve_quantities(problem: SummaryProblem, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Solve lanes with individual parameters u (slots, N): quantities (K, N), coherent, before noise, and the codes (N,)."""
    spec = problem.structure
    no_occasions = jnp.zeros((1, 0, u.shape[1]))
    p = spec.individual_model.system_parameters(
        spec.system, u, jnp.asarray(problem.constants), jnp.asarray(problem.covariates), no_occasions
    )
    trajectory = spec.solver.solve(spec.system, problem.timeline, p, integrals=True)
    assert trajectory.integrals is not None
    names, at = list(spec.measured.observables), np.array(spec.time_order, dtype=int)
    infinite = None
    if spec.measured.needs_infinity:
        rest = integrate_to_infinity(spec.system, p[0], trajectory.amounts[spec.last_time])
        infinite = observe_all(spec.system, names, (trajectory.integrals[spec.last_time] + rest)[None], p)[:, 0]
    quantities = spec.measured.evaluate(
        observe_all(spec.system, names, trajectory.amounts, p)[:, at],
        observe_all(spec.system, names, trajectory.integrals, p)[:, at],
        *(
            infinite,
            jnp.asarray(problem.activity),
            dict(zip(spec.scaling_names, jnp.asarray(problem.scaling_covariates), strict=True)),
        ),
    )
    return quantities, trajectory.result


@_solve_quantities.defjvp  # type: ignore[arg-type]
def _solve_quantities_jvp(primals, tangents):
    """One tangent of the solver for each individual parameter, applied to the tangent of u by lane."""
    problem, u = primals
    steps = jnp.broadcast_to(jnp.eye(u.shape[0])[:, :, None], (u.shape[0], *u.shape))

    def differentiate(d):
        return jax.jvp(lambda x: _solve_quantities.fun(problem, x), (u,), (d,), has_aux=True)

    quantities, slopes, code = jax.vmap(differentiate, out_axes=(None, 0, None))(steps)  # slopes (slots, K, N)
    code_tangent = np.zeros(code.shape, jax.dtypes.float0)
    return (quantities, code), (jnp.einsum("skn,sn->kn", slopes, tangents[1]), code_tangent)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class JointProblem:
    """Aggregates and individual data as one problem, with the attributes of `pbpk.likelihood.problem.Problem` that a
    fit reads.

    `individual` is the problem of the individual data, with the same layout; None where there are aggregates alone.
    """

    summary: SummaryProblem
    individual: Any = None

    @property
    def structure(self):
        """The static part: that of the individual data where there are any."""
        return self.individual.structure if self.individual is not None else self.summary.structure

    @property
    def initial(self) -> np.ndarray:
        """Initial values on the natural scale."""
        return self.summary.initial

    @property
    def initial_unconstrained(self) -> np.ndarray:
        """ψ (P,) at the initial values."""
        return self.summary.structure.layout.to_unconstrained(np.asarray(self.initial))

    @property
    def subjects(self) -> int:
        """The number of subjects with individual data."""
        return self.individual.subjects if self.individual is not None else 0

    @property
    def columns(self) -> int:
        """The number of columns of η."""
        return getattr(self.individual, "columns", self.subjects)

    @property
    def observations(self) -> int:
        """The number of observations and used rows together."""
        return self.summary.rows + (self.individual.observations if self.individual is not None else 0)

    @property
    def quantified(self) -> int:
        """Observations and rows with a density, for which −2LL has a ln 2π that the OFV leaves out."""
        return self.summary.quantified + (self.individual.quantified if self.individual is not None else 0)

    def unpack(self, psi: jax.Array) -> tuple[dict, jax.Array, dict]:
        """θ, Ω and the residual parameters at ψ, on their natural scale."""
        return self.summary.unpack(psi)

    def penalty(self, psi: jax.Array) -> jax.Array:
        """−2 log of the priors, without constants."""
        if self.individual is not None:
            return self.individual.penalty(psi)
        natural = self.summary.structure.layout.to_natural(psi, jnp.asarray(self.initial))
        return sum((p.prior.penalty(p.value(natural)) for p in self.structure.priors), jnp.asarray(0.0))
