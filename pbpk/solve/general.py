"""Any diffrax solver, for systems that the other solvers do not support, and as the reference they are tested against.

Each interval is integrated in scaled time (0 to 1), so that intervals of different length, and of none, share a program.
The absolute tolerance follows the amount present. Errors are values (`throw=False`): see `GAVE_UP`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import diffrax
import jax
import jax.numpy as jnp

from pbpk.results import ResultCode
from pbpk.solve.base import Readings, Trajectory, as_code, sum_present
from pbpk.solve.interval import CrossedInterval
from pbpk.solve.segments import SegmentSolver, run_segments

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline


@dataclass(frozen=True)
class General:
    """`rtol` is relative, `atol` relative to the amount present at the start of an interval."""

    name: str = "kvaerno5"
    rtol: float = 1e-9
    atol: float = 1e-11
    max_steps: int = 16_384
    adjoint: diffrax.AbstractAdjoint = field(default_factory=diffrax.RecursiveCheckpointAdjoint)

    def unsupported_reason(self, system: System) -> str:
        """Nothing is."""
        return ""

    def forward_mode(self) -> General:
        """The same, ready for jvp."""
        return replace(self, adjoint=diffrax.ForwardMode())

    def fallback(self) -> General | None:
        """The stiff method of highest order, by shorter steps and with more of them; nothing is beyond that."""
        if self.max_steps > 16_384:
            return None
        return replace(self, name="kvaerno5", rtol=1e-10, atol=1e-12, max_steps=8 * 16_384)

    def solve(
        self, system: System, timeline: Timeline, p: jax.Array, *, integrals: bool = False, readings: Readings = ()
    ) -> Trajectory:
        """All patients (base.py), an event at a time."""
        method = DIFFRAX_SOLVERS[self.name]()
        eps = float(jnp.finfo(p.dtype).eps)
        rtol, atol = max(self.rtol, 20 * eps), max(self.atol, eps)
        # All patients step together, so one without numbers would cost the others every step allowed: leave it out.
        solvable = jnp.all(jnp.isfinite(p), axis=(0, 1))
        p = jnp.where(solvable, p, 1.0)

        n = len(system.names)

        def integrate_patient(x, rate, dt, row, adjoint):
            inflow = jnp.zeros_like(x) if rate is None else rate
            present = jax.lax.stop_gradient(sum_present(system, jnp.abs(x) + jnp.abs(inflow) * dt))
            present = jnp.tile(jnp.broadcast_to(present, x.shape), 2 if integrals else 1)

            def slope(t, y, args):
                dy = system.vector_field(t, y[:n], row) + inflow
                return dt * (jnp.concatenate([dy, y[:n]]) if integrals else dy)

            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(slope),
                method,
                t0=jnp.zeros((), x.dtype),  # a plain 0.0 is a float64, and would make all of it one
                t1=jnp.ones((), x.dtype),
                dt0=None,
                y0=jnp.concatenate([x, jnp.zeros_like(x)]) if integrals else x,
                saveat=diffrax.SaveAt(t1=True),
                stepsize_controller=diffrax.PIDController(rtol, atol * jnp.maximum(present, 1e-30)),
                adjoint=adjoint,
                max_steps=self.max_steps,
                throw=False,
            )
            good = solution.result == diffrax.RESULTS.successful
            assert solution.ys is not None
            return solution.ys[0], as_code(jnp.where(good, 0, ResultCode.GAVE_UP))

        def make_advance(adjoint):
            def advance(x, interval):
                lanes = (-1, None if interval.inflow is None else -1, 0, -1)
                cross = jax.vmap(partial(integrate_patient, adjoint=adjoint), in_axes=lanes, out_axes=(-1, 0))
                y, code = cross(x, interval.inflow, interval.duration(x.shape[-1]), interval.parameters)
                return CrossedInterval(y[None, :n], y[None, n:] if integrals else None, code)

            return advance

        solver = SegmentSolver(make_advance(self.adjoint), p, make_advance(diffrax.ForwardMode()))
        result = run_segments(system, timeline, p, solver, integrals=integrals, readings=readings)
        amounts = jnp.where(solvable, result.amounts, jnp.nan)
        finite = solvable & jnp.all(jnp.isfinite(amounts) | ~timeline.output_mask[:, None, :], axis=(0, 1))
        code = as_code(jnp.where(solvable, result.code, 0)) | as_code(jnp.where(finite, 0, ResultCode.NOT_FINITE))
        return Trajectory(amounts, code, result.integrals)


# Every diffrax method that takes a plain ODE and estimates its own error.
DIFFRAX_SOLVERS = {
    name.lower(): solver_class
    for name, solver_class in vars(diffrax).items()
    if isinstance(solver_class, type)
    and issubclass(solver_class, diffrax.AbstractERK | diffrax.AbstractESDIRK | diffrax.ImplicitEuler)
    and not name.startswith("Abstract")
}
