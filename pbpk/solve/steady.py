"""Steady state: the amounts at a record that a dose given every II forever has led to.

They solve period(x) = x, where `period` is the solver's own advance over one interval, with the infusions that overlap in
it. Nothing of the patient's history enters, so it is done once a record, beside the scan over events. Newton's method with
the exact Jacobian finds x; for a linear system its first step is the closed form (I − Φ)⁻¹ g.

Derivatives are the implicit function theorem's, whichever way and through whichever solver they are taken: Newton runs on
stopped parameters, and two further steps with its last inverse M, x ← x + M(period(x) − x), run on live ones. Each leaves
x where it is and makes one more order of derivatives exact: M = (I − ∂x)⁻¹ gives the first in one step, and the second step
supplies the cross terms of the second. Third derivatives would need a third.

Newton begins at the amounts that the model begins with (`Compartment(initial=…)`): a proliferating cell line has a second
fixed point, at which there are none. A steady state that is added to what is there (SS = 2) is what the doses add to the
level that production keeps without them; where kinetics are linear that is exact, elsewhere it is what SS = 2 means.

Compartments that only fill (no arrow leaves them, or the ring they are in) have no steady state and hold 0. One that only
a rate of 0 keeps from emptying is found out by Newton's singular matrix, and its patient gets a result code.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pbpk.linalg.packing import produces
from pbpk.results import ResultCode
from pbpk.solve.base import as_code
from pbpk.solve.dose_checks import can_reach_steady_state
from pbpk.solve.dose_in_effect import DoseInEffect, evaluate_doses
from pbpk.solve.interval import Advance, Interval

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline

_ENDLESS_HOURS = 100.0  # over which an endless infusion must change nothing; any length has the same fixed point
_STEP_TOLERANCE = 1e-7  # of Newton's step: what remains is its square, and the live steps' share of that
_MAX_NEWTON_STEPS = 60
_PER_RECORD = ("row", "compartment", "interval", "starts", "ends", "adds", "exists")
_LARGEST_INVERSE = 1e8  # ‖(I − Φ)⁻¹‖ beyond which there is no steady state to speak of: a half-life of 1e8 intervals


class InflowPieces(NamedTuple):
    """The parts of an interval with constant inflow, (K, L): a bolus before each, the inflow over it or None where there are no
    infusions, its duration (h)."""

    jump: jax.Array
    inflow: jax.Array | None
    duration: jax.Array


class SteadyState(NamedTuple):
    """What repeated doses have led to: `amounts` (S, n, N) at the records; `infusion_rate` (S, N), inflow at that moment; how
    many of the doses before the record still wait for their lag, `waiting` (S, N), or have not ended, `ending`; codes (N,)."""

    amounts: jax.Array
    infusion_rate: jax.Array
    waiting: jax.Array
    ending: jax.Array
    code: jax.Array


def find_steady_states(
    system: System,
    timeline: Timeline,
    p: jax.Array,
    patients: int,
    parameter_rows: Any,
    advance: Advance,
    forward_advance: Advance,
) -> SteadyState:
    """The steady states of all steady-state records, under p (C, m, N).

    `forward_advance` is `advance`, ready for jvp; all lanes (record, patient) go together.
    """
    s = timeline.steady
    assert s is not None
    count = s.interval.shape[0]
    wide = {k: jnp.broadcast_to(getattr(s, k), (count, patients)) for k in _PER_RECORD}
    dose = evaluate_doses(system, p, s, (count, patients), timeline.has_modelled_rates)
    endless = wide["interval"] == 0
    gap = jnp.where(endless, _ENDLESS_HOURS, wide["interval"])
    waiting = jnp.floor(dose.lag / gap)
    ending = jnp.ceil((dose.lag + dose.duration) / gap)
    exceeded = ~endless & ((waiting + 1 > wide["starts"]) | ((dose.duration > 0) & (ending > wide["ends"])))

    def flat(x):
        return x.reshape(count * patients)

    row, lane = flat(jnp.minimum(wide["row"], p.shape[0] - 1)), jnp.tile(jnp.arange(patients), count)
    parameters = jax.tree.map(lambda a: jnp.moveaxis(a[row, ..., lane], 0, -1), parameter_rows)
    into = jnp.arange(len(system.names))[:, None] == flat(wide["compartment"])
    dose = jax.tree.map(lambda x: flat(x).astype(p.dtype), dose._replace(invalid=None))
    gap, waiting, ending = (x.astype(p.dtype) for x in (gap, waiting, ending))
    gap, endless, exists, late = flat(gap), flat(endless), flat(wide["exists"]), dose.lag - flat(waiting) * flat(gap)
    solve = partial(
        _find_fixed_point, system, row=parameters, into=into, advance=advance, forward_advance=forward_advance
    )
    begin = system.initial(jnp.moveaxis(p[row, :, lane], 0, -1))
    x, code = solve(_split_interval(dose, gap, endless, gap, timeline.has_infusions), begin, exists=exists)
    if timeline.has_moving_events:  # with a lag, the record finds the last interval unfinished
        unfinished = _split_interval(dose, gap, endless, gap - late, timeline.has_infusions)
        x, failed = _advance_pieces(advance, x, unfinished, parameters, into)
        x, code = x * can_reach_steady_state(system)[:, None], code | failed
    if produces(system):  # what is there without doses is there already where a steady state is added to it
        nothing = dose._replace(amount=0.0 * dose.amount, rate=0.0 * dose.rate)
        adds = exists & flat(wide["adds"])
        level, failed = solve(_split_interval(nothing, gap, endless, gap, False), begin, exists=adds)
        x, code = x - jnp.where(adds, level, 0.0), code | jnp.where(adds, failed, 0)
    x, code = jnp.where(exists, x, 0.0), jnp.where(exists, code, 0)
    overlaps = jnp.where(exceeded & wide["exists"], ResultCode.OVERLAPS, 0)
    code = as_code(code.reshape(count, patients)) | as_code(overlaps)
    running = jnp.maximum(ending - 1 - waiting, 0.0)
    running = jnp.where(endless.reshape(count, patients), 1.0, running)
    return SteadyState(
        amounts=jnp.moveaxis(x.reshape(-1, count, patients), 0, 1),
        infusion_rate=running * dose.rate.reshape(count, patients),
        waiting=waiting,
        ending=ending,
        code=lax.reduce_or(code.astype(jnp.int32), (0,)),
    )


def _split_interval(
    dose: DoseInEffect, gap: jax.Array, endless: jax.Array, span: jax.Array, infusing: bool
) -> InflowPieces:
    """The first `span` hours of an interval between doses, `gap` hours long: m infusions overlap throughout it and one more at
    its beginning."""
    if not infusing:
        return InflowPieces(dose.amount[None], None, span[None])
    bolus = (dose.duration <= 0) & ~endless
    overlap = jnp.where(endless, 1.0, jnp.floor(dose.duration / gap))
    rest = jnp.where(endless, 0.0, dose.duration - overlap * gap)
    first = jnp.minimum(rest, span)
    none = jnp.zeros_like(gap)
    return InflowPieces(
        jnp.stack([jnp.where(bolus, dose.amount, 0.0), none]),
        jnp.stack([(overlap + 1) * dose.rate, jnp.where(bolus, 0.0, overlap * dose.rate)]),
        jnp.stack([first, span - first]),
    )


def _advance_pieces(advance, x: jax.Array, pieces: InflowPieces, row, into: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x (n, L) carried over the pieces, and result codes (L,)."""

    def step(carry, piece: InflowPieces):
        x, code = carry
        inflow = None if piece.inflow is None else into * piece.inflow
        restart = jnp.ones(x.shape[-1], bool)
        crossed = advance(x + into * piece.jump, Interval(piece.duration[None], inflow, row, restart, None))
        return (crossed.amounts[-1], code | crossed.code), None

    (x, code), _ = lax.scan(step, (x, jnp.zeros(x.shape[-1], jnp.int32)), pieces)
    return x, code


def _find_fixed_point(
    system: System, interval: InflowPieces, begin: jax.Array, *, row, into, exists, advance, forward_advance
) -> tuple[jax.Array, jax.Array]:
    """x (n, L) with period(x) = x, just before a dose, and result codes. The search begins at `begin` (n, L)."""
    emptied = can_reach_steady_state(system)[:, None]
    fixed_interval, fixed_row = lax.stop_gradient((interval, row))
    period = partial(_advance_period, forward_advance, emptied, fixed_interval, fixed_row, into)
    begin = lax.stop_gradient(jnp.broadcast_to(begin, into.shape).astype(interval.duration.dtype))
    x, inverse, converged = _iterate_newton(system, period, begin * emptied, exists)
    # A lane that is not there, or has no steady state, must not spoil a derivative of the others: 0 · NaN is NaN.
    inverse = lax.stop_gradient(jnp.where(converged & exists, inverse, 0.0))
    x = lax.stop_gradient(jnp.where(converged & exists, x, 0.0))

    def live_step(carry, _):
        x, code, _ = carry
        y, failed = _advance_period(advance, emptied, interval, row, into, x)
        step = jnp.einsum("ijl,jl->il", inverse, y - x)
        return (x + step, code | failed, jnp.abs(step).max(axis=0)), None

    start = (x, jnp.zeros(x.shape[-1], jnp.int32), jnp.zeros(x.shape[-1], x.dtype))
    (x, code, last), _ = lax.scan(live_step, start, None, length=2)
    converged = converged & (last <= _attainable_tolerance(x.dtype, 1e-6) * jnp.abs(x).max(axis=0))
    # One integer type: jaxlib 0.10.2 ends the process on `int32 | weak int64` compiled alone.
    return x, code | jnp.where(converged, 0, ResultCode.NO_STEADY_STATE).astype(jnp.int32)


def _advance_period(advance, emptied, pieces: InflowPieces, row, into, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x (n, L) an interval later, 0 in compartments that only fill; and result codes (L,)."""
    y, code = _advance_pieces(advance, x * emptied, pieces, row, into)
    return y * emptied, code


class _NewtonState(NamedTuple):
    """Newton's state, a lane each: the point to try and whether a plain period led to it; the best point so far, what a
    period makes of it and its residual; the inverse at the last point; whether it was found."""

    x: jax.Array
    after_plain_period: jax.Array
    best: jax.Array
    best_after_period: jax.Array
    residual: jax.Array
    inverse: jax.Array
    converged: jax.Array


def _attainable_tolerance(dtype, wanted: float) -> float:
    """`wanted`, where the precision can tell it from rounding."""
    return max(wanted, 100 * float(jnp.finfo(dtype).eps))


def _iterate_newton(system: System, period, begin: jax.Array, exists: jax.Array):
    """From `begin` (n, L), the fixed point of `period`, (I − ∂period)⁻¹ there (n, n, L), and whether it was found.

    Where a nonlinear system's Newton step makes things worse it is taken back, and a plain period tried from the best
    point: repeated doses approach the steady state by themselves, if slowly.
    """
    n, lanes = begin.shape
    zero = jnp.zeros_like(begin)
    eye = jnp.eye(n, dtype=zero.dtype)
    tolerance = _attainable_tolerance(zero.dtype, _STEP_TOLERANCE)
    basis = jnp.broadcast_to(eye[:, :, None], (n, n, lanes))

    def linearise(x):
        """period(x), and (I − ∂period)⁻¹ there."""

        def derivative(v):
            (y, _), (dy, _) = jax.jvp(period, (x,), (v,))
            return y, dy

        y, columns = jax.vmap(derivative, out_axes=(None, 0))(basis)
        matrix = eye - jnp.moveaxis(columns, (0, 1, 2), (2, 1, 0))
        return y, jnp.moveaxis(jnp.linalg.inv(matrix), 0, -1)

    if not system.nonlinear:
        y, inverse = linearise(zero)
        good = jnp.isfinite(inverse).all(axis=(0, 1)) & (jnp.abs(inverse).max(axis=(0, 1)) < _LARGEST_INVERSE)
        return jnp.einsum("ijl,jl->il", inverse, y), inverse, good

    def newton_step(state: tuple[_NewtonState, jax.Array]) -> tuple[_NewtonState, jax.Array]:
        s, count = state
        y, inverse = linearise(s.x)
        residual = jnp.abs(y - s.x).sum(axis=0)  # in this norm linear compartments contract, so plain periods help
        usable = jnp.isfinite(inverse).all(axis=(0, 1)) & jnp.isfinite(residual)
        better = usable & (s.after_plain_period | (residual < s.residual))
        step = jnp.einsum("ijl,jl->il", inverse, y - s.x)
        close = jnp.abs(step).max(axis=0) <= tolerance * jnp.abs(s.x + step).max(axis=0)
        after_best = jnp.where(better, y, s.best_after_period)
        new = _NewtonState(
            x=jnp.where(better, jnp.maximum(s.x + step, 0.0), after_best),
            after_plain_period=~better,
            best=jnp.where(better, s.x, s.best),
            best_after_period=after_best,
            residual=jnp.where(better, residual, s.residual),
            inverse=inverse,
            converged=better & close & (jnp.abs(inverse).max(axis=(0, 1)) < _LARGEST_INVERSE),
        )
        return jax.tree.map(lambda a, b: jnp.where(s.converged, a, b), s, new), count + 1  # once found, nothing moves

    def goes_on(state: tuple[_NewtonState, jax.Array]) -> jax.Array:
        s, count = state
        return (~s.converged & exists).any() & (count < _MAX_NEWTON_STEPS)

    yes = jnp.ones(lanes, bool)
    start = _NewtonState(begin, yes, zero, zero, zero[0] + jnp.inf, jnp.zeros_like(basis), ~yes)
    end, _ = lax.while_loop(goes_on, newton_step, (start, jnp.zeros((), int)))
    return end.x, end.inverse, end.converged
