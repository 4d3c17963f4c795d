"""A study as arrays: what a method sees.

`Spec` is the structure (hashable: programs are compiled for it once), `Problem` the numbers. Everything is batched over
subjects on the last axis; observations are padded to (T, N) with `seen` saying which are real.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.fit.layout import Layout
from pbpk.fit.residual import Endpoint, variance
from pbpk.model.system import System
from pbpk.observe import observe_all
from pbpk.population.individual import Individual
from pbpk.solve.base import Solver
from pbpk.solve.timeline import Timeline


@dataclass(frozen=True)
class Spec:
    system: System
    solver: Solver
    individual: Individual
    layout: Layout
    endpoints: tuple[Endpoint, ...]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """Shapes: y, seen, endpoint, row (T, N); covariates (C, k, N); overrides (C, o, N); constants (C, m, N): the model's own
    values and covariate effects, for what the study leaves alone; initial natural."""

    spec: Spec = field(metadata={"static": True})
    timeline: Timeline
    y: np.ndarray
    seen: np.ndarray
    endpoint: np.ndarray
    row: np.ndarray
    covariates: np.ndarray
    overrides: np.ndarray
    constants: np.ndarray
    initial: np.ndarray

    @property
    def subjects(self) -> int:
        return self.y.shape[1]

    @property
    def observations(self) -> int:
        return int(self.seen.sum())

    @property
    def psi0(self) -> np.ndarray:
        return self.spec.layout.free(np.asarray(self.initial))

    def unpack(self, psi: jax.Array) -> tuple[dict, jax.Array, dict]:
        return self.spec.layout.unpack(psi, jnp.asarray(self.initial))

    def mixed(self, theta: dict, eta: jax.Array) -> jax.Array:
        """u (slots, N) for all subjects from η (q, N)."""
        return self.spec.individual.mixed(theta, eta, jnp.asarray(self.covariates)[0])

    def predict(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Predictions (T, N) and the solver's result codes (N,)."""
        spec = self.spec
        p = spec.individual.parameters(
            spec.system, u, jnp.asarray(self.constants), jnp.asarray(self.covariates), jnp.asarray(self.overrides)
        )
        path = spec.solver.solve(spec.system, self.timeline, p)
        here = p if p.shape[0] == 1 else jnp.take_along_axis(p, jnp.asarray(self.row)[:, None, :], axis=0)
        readings = observe_all(spec.system, [e.observable for e in spec.endpoints], path.amounts, here)
        f = jnp.take_along_axis(readings, jnp.asarray(self.endpoint)[None], axis=0)[0]
        return f, path.result

    def variance(self, f: jax.Array, sigma: dict) -> jax.Array:
        """Residual variance (T, N); 1 where there is no observation, so that logarithms and quotients stay finite."""
        return jnp.where(self.seen, variance(self.spec.endpoints, jnp.asarray(self.endpoint), f, sigma), 1.0)
