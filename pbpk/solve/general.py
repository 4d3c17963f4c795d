"""Any diffrax solver, for whatever the exact ones refuse, and as the reference they are tested against.

Each interval is integrated in scaled time (0 to 1), so that intervals of different length, and of none, share a program.
The absolute tolerance follows the amount present. Errors are values (`throw=False`): see `GAVE_UP`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import diffrax
import jax
import jax.numpy as jnp

from pbpk.model.system import System
from pbpk.solve.base import GAVE_UP, NOT_FINITE, Trajectory, cast
from pbpk.solve.segments import run_segments
from pbpk.solve.timeline import Timeline


@dataclass(frozen=True)
class General:
    """`rtol` is relative, `atol` relative to the amount present at the start of an interval."""

    name: str = "kvaerno5"
    rtol: float = 1e-9
    atol: float = 1e-11
    max_steps: int = 16_384
    adjoint: diffrax.AbstractAdjoint = field(default_factory=diffrax.RecursiveCheckpointAdjoint)

    def refuses(self, system: System) -> str:
        return ""

    def forward_mode(self) -> General:
        return replace(self, adjoint=diffrax.ForwardMode())

    def solve(self, system: System, timeline: Timeline, p: jax.Array) -> Trajectory:
        method = SOLVERS[self.name]()
        # All patients step together, so one without numbers would cost the others every step allowed: leave it out.
        sane = jnp.all(jnp.isfinite(p), axis=(0, 1))
        p = jnp.where(sane, p, 1.0)

        def one(x, rate, dt, row):
            inflow = jnp.zeros_like(x) if rate is None else rate
            present = jax.lax.stop_gradient(jnp.sum(jnp.abs(x)) + jnp.sum(jnp.abs(inflow)) * dt)
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(lambda t, y, args: dt * (system.vector_field(t, y, row) + inflow)),
                method,
                t0=0.0,
                t1=1.0,
                dt0=None,
                y0=x,
                saveat=diffrax.SaveAt(t1=True),
                stepsize_controller=diffrax.PIDController(self.rtol, self.atol * jnp.maximum(present, 1e-30)),
                adjoint=self.adjoint,
                max_steps=self.max_steps,
                throw=False,
            )
            good = solution.result == diffrax.RESULTS.successful
            assert solution.ys is not None
            return solution.ys[0], cast(jnp.where(good, 0, GAVE_UP))

        def advance(x, rate, dt, row):
            lanes = (-1, None if rate is None else -1, 0, -1)
            return jax.vmap(one, in_axes=lanes, out_axes=(-1, 0))(x, rate, dt, row)

        amounts, code = run_segments(system, timeline, p, p, advance)
        amounts = jnp.where(sane, amounts, jnp.nan)
        finite = sane & jnp.all(jnp.isfinite(amounts) | ~timeline.seen[:, None, :], axis=(0, 1))
        return Trajectory(amounts, cast(jnp.where(sane, code, 0)) | cast(jnp.where(finite, 0, NOT_FINITE)))


# Every diffrax method that takes a plain ODE and estimates its own error.
SOLVERS = {
    name.lower(): kind
    for name, kind in vars(diffrax).items()
    if isinstance(kind, type)
    and issubclass(kind, diffrax.AbstractERK | diffrax.AbstractESDIRK | diffrax.ImplicitEuler)
    and not name.startswith("Abstract")
}
