"""diffrax on the benchmark's body, as a competent user writes it: one patient, vmapped.

The vector field is a matrix times the amounts plus the saturable uptakes, which here is up to twice as fast as the
System's own scatter; steps are clipped to the observation times, since at equal accuracy that beats the interpolation
between steps; nothing is kept for a gradient unless one is asked for. Tolerances are arguments, so that one program
serves the search for the one that meets a target.
"""

from __future__ import annotations

from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
from body import TIMES
from ours import weights
from truth import HALF_LIVES, Written, written

from pbpk.model.system import System

METHODS = {"kvaerno5": diffrax.Kvaerno5, "kvaerno3": diffrax.Kvaerno3, "tsit5": diffrax.Tsit5}
BATCHES = (64, 256, 1024)
MAX_STEPS = {"kvaerno5": 4096, "kvaerno3": 16_384, "tsit5": 1_000_000}


def forward(system: System, method: str, batch: int) -> Callable:
    """(p (m, N), rtol, atol) -> amounts (N, T, n), compiled."""
    return jax.jit(_mapped(_one(system, method, diffrax.ForwardMode()), batch))


def gradient(system: System, method: str, batch: int) -> Callable:
    """The loss of ours.py and its derivatives by every parameter, by diffrax's default adjoint."""
    one, w = _one(system, method, diffrax.RecursiveCheckpointAdjoint()), jnp.asarray(weights(system)[..., 0])
    return jax.jit(
        _mapped(jax.value_and_grad(lambda p, rtol, atol: jnp.sum(w.astype(p.dtype) * one(p, rtol, atol))), batch)
    )


def integrals(system: System, method: str, batch: int) -> Callable:
    """(p (m, N), rtol, atol) -> integrals of all amounts (N, 1, n) over ten half-lives of decay.

    The cubic through each step's ends and slopes is integrated, which the step's error control keeps accurate: faster
    at every tolerance than to carry the integrals as 24 further states, which the implicit method then solves as well.
    """
    w = written(system)

    def one(p, rtol, atol):
        a = _arguments(w, p)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(_field(w)),
            METHODS[method](),
            t0=0.0,
            t1=HALF_LIVES,
            dt0=None,
            y0=jnp.asarray(w.start(), p.dtype),
            args=a,
            saveat=diffrax.SaveAt(t0=True, steps=True),
            stepsize_controller=diffrax.PIDController(rtol, atol),
            adjoint=diffrax.ForwardMode(),
            max_steps=256,
            throw=False,
        )
        assert solution.ts is not None and solution.ys is not None
        taken = jnp.isfinite(solution.ts)  # what is not reached is filled with inf
        y = jnp.where(taken[:, None], solution.ys, 0.0)
        slope = jax.vmap(lambda y: _field(w)(0.0, y, a))(y)
        h = jnp.where(taken[1:], jnp.diff(jnp.where(taken, solution.ts, 0.0)), 0.0)[:, None]
        good = solution.result == diffrax.RESULTS.successful
        whole = jnp.sum(h / 2 * (y[1:] + y[:-1]) + h**2 / 12 * (slope[:-1] - slope[1:]), axis=0)
        return jnp.where(good, whole, jnp.nan)[None]

    return jax.jit(_mapped(one, batch))


def _one(system: System, method: str, adjoint: diffrax.AbstractAdjoint) -> Callable:
    w = written(system)

    def one(p, rtol, atol):
        times = jnp.asarray(TIMES, p.dtype)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(_field(w)),
            METHODS[method](),
            t0=jnp.zeros((), p.dtype),
            t1=times[-1],
            dt0=None,
            y0=jnp.asarray(w.start(), p.dtype),
            args=_arguments(w, p),
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.ClipStepSizeController(diffrax.PIDController(rtol, atol), step_ts=times),
            adjoint=adjoint,
            max_steps=MAX_STEPS[method],
            throw=False,
        )
        return solution.ys

    return one


def _field(w: Written) -> Callable:
    uptake = w.uptake

    def field(t, y, args):
        a, vmax, km, v = args
        if not len(w.vmax):
            return a @ y
        c = y[0] / v
        return a @ y + uptake.astype(y.dtype) @ (vmax * c / (km + c))

    return field


def _arguments(w: Written, p: jax.Array) -> tuple[jax.Array, ...]:
    a = jnp.zeros((w.n + 1, w.n + 1), p.dtype)
    a = a.at[w.source, w.source].add(-p[w.k]).at[w.target, w.source].add(p[w.k])
    return a[: w.n, : w.n], p[w.vmax], p[w.km], p[w.volume]


def _mapped(one: Callable, batch: int) -> Callable:
    def run(p: jax.Array, rtol: float, atol: float):
        groups = jnp.pad(p.T, ((0, -p.shape[1] % batch), (0, 0)), mode="edge").reshape(-1, batch, p.shape[0])
        found = jax.lax.map(lambda q: jax.vmap(one, in_axes=(0, None, None))(q, rtol, atol), groups)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[: p.shape[1]], found)

    return run
