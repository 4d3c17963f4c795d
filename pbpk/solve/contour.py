"""Linear segments by a contour sum of resolvents: slower than resolvent.py, and sure.

With production or infusion r constant over a segment of length t, one solve per node gives the amounts and, with other
weights, their integral:

    x(t) = Im Σ w (ζI − At)⁻¹ (x₀ + r t/ζ)          ∫x = t · Im Σ (w/ζ) (ζI − At)⁻¹ (x₀ + r t/ζ)

The contour encloses every eigenvalue that the model's cycles allow (pbpk.linalg.contour), so oscillating and far-from-normal
systems (long chains of equal transit compartments) keep their accuracy, about 1e-11 of the amount present.
Scaling time into A keeps the nodes fixed and makes t = 0 an ordinary value.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.linalg.contour import hyperbola_nodes, longest_cycle, wedge_angle
from pbpk.linalg.packing import evaluate_linear_part, explain_nonlinear, plan_packing, produces
from pbpk.solve.base import Readings, Solver, Trajectory, as_code, build_linear_trajectory
from pbpk.solve.general import General
from pbpk.solve.interval import CrossedInterval
from pbpk.solve.segments import SegmentSolver, run_segments

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline

_LONGEST_CYCLE = 12  # beyond it the contour needs over 150 nodes, and the general solver is the better choice
_SHORTEST_CYCLE = (
    6  # a chain of 30 equal compartments, though without cycles, needs the wedge of a cycle of 4 for 1e-11
)


@cache
def find_contour_nodes(system: System) -> tuple[np.ndarray, np.ndarray]:
    """(ζ, w): the contour's nodes and weights for the wedge that the system's cycles allow."""
    return hyperbola_nodes(wedge_angle(max(find_longest_cycle(system), _SHORTEST_CYCLE)))


@cache
def find_longest_cycle(system: System) -> int:
    """The longest directed cycle of compartments: it bounds the oscillations of a linear system."""
    n = len(system.names)
    return longest_cycle(
        {(int(s), int(t)) for s, t in zip(system.source, system.target, strict=True) if n not in (s, t)}
    )


@dataclass(frozen=True)
class Contour:
    """About 1e-11 of the amount present, for every linear system whose cycles are not too long."""

    name: str = "contour"

    def unsupported_reason(self, system: System) -> str:
        """Why the system is not linear, or its cycle that would take too many nodes."""
        if reason := explain_nonlinear(system):
            return reason
        cycle = find_longest_cycle(system)
        if cycle > _LONGEST_CYCLE:
            return f"a cycle of {cycle} compartments; beyond {_LONGEST_CYCLE} it needs too many contour nodes"
        return ""

    def forward_mode(self) -> Contour:
        """Itself: JAX differentiates it either way."""
        return self

    def fallback(self) -> Solver:
        """A general solver."""
        return General()

    def solve(
        self, system: System, timeline: Timeline, p: jax.Array, *, integrals: bool = False, readings: Readings = ()
    ) -> Trajectory:
        """All patients (base.py), an event at a time."""
        packed, production, k = jax.vmap(lambda q: evaluate_linear_part(system, q))(p)
        has_production = bool(produces(system))

        def advance(x, interval):
            a, produced = interval.parameters
            inflow, source = interval.inflow, None
            if inflow is not None or has_production:
                source = (0.0 if inflow is None else inflow) + produced
            x, integral = propagate(system, a, x, source, interval.duration(x.shape[-1]))
            return CrossedInterval(x[None], integral[None] if integrals else None, as_code(jnp.zeros(x.shape[-1])))

        solver = SegmentSolver(advance, (packed, production))
        result = run_segments(system, timeline, p, solver, integrals=integrals, readings=readings)
        return build_linear_trajectory(*result, k)


def propagate(system: System, packed: jax.Array, x: jax.Array, source: jax.Array | None, dt: jax.Array):
    """x (n, N) after dt (N,) hours under packed A (nonzeros, N) and a constant source (n, N) or None, and ∫x."""
    elimination = plan_packing(system).elimination
    zeta, weight = find_contour_nodes(system)
    node = zeta[:, None]
    shifted = (-(packed * dt))[:, None, :].astype(complex)
    shifted = jnp.broadcast_to(shifted, (packed.shape[0], len(zeta), x.shape[-1]))
    shifted = elimination.shifted(shifted, node)
    rhs = x[:, None, :] + 0j * node
    if source is not None:
        rhs = rhs + (source * dt)[:, None, :] / node
    y = elimination.solver(shifted)(rhs)
    # The sum cancels several digits, so that it is double whatever the amounts are: this solver is for being sure.
    after = jnp.einsum("k,ikn->in", weight, y).imag
    integral = dt * jnp.einsum("k,ikn->in", weight / zeta, y).imag
    return after.astype(x.dtype), integral.astype(x.dtype)
