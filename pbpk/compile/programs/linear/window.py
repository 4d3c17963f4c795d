"""The linear resolvent (pbpk.solve.resolvent, series) on operands: amounts, exact integrals and the error of one window.

    x(t) = exp(At) x + ∫exp(As) r ds ≈ Σⱼ e^(−σt) cⱼ(t) Tⱼ(W) x + Σⱼ dⱼ(t) Tⱼ(W) r,     W = 2 (I − g(A + σ))⁻¹ − I

The same series with the same cⱼ as there; they depend on time alone and are an argument. What each patient has of his own,
the factors, σ, what falls as e^(−σt) and the integral's dⱼ (integral.py), is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pbpk.compile.backend.functions import exp
from pbpk.compile.backend.tangent import slopes, solve_parts
from pbpk.compile.programs.elimination import PivotFactors, factor_matrix, plan_pivots
from pbpk.compile.programs.linear.integral import integral_weights
from pbpk.compile.programs.linear.powers import PowerSums, Solve, Weight, sum_powers, sum_readings
from pbpk.compile.programs.window import LinearWindow
from pbpk.linalg.packing import packing

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Index, Machine, Operand

_ROUNDING = 10 * float(np.finfo(float).eps)


@dataclass(frozen=True)
class LinearWindowForward(LinearWindow):
    """The program of a window (bind.py)."""

    def run(self, machine: Machine) -> None:
        cross(machine, self)


def cross(m: Machine, w: LinearWindow) -> None:
    """From rates (entries, N) of `System.rate_jacobian`, amounts `start` and a constant `source` (n, N) to the results."""
    setup = prepare_window(m, w)
    vectors = starting_vectors(m, w, setup.length)
    pairs = list_sums(m, w, setup.integral_weights_)
    sums, scratches, peak = sum_powers(m, w, setup.solve, vectors, pairs)
    _write_results(m, w, sums, setup.decay, setup.length)
    m.write(w.buffer["error"], 0, _estimate_error(m, w, vectors, scratches, setup.decay, pairs, peak))


@dataclass(frozen=True)
class WindowSetup:
    """What is computed before any vector. In scratch are the rates' nilpotent parts times `by` = g · length (`slopes`),
    e^(−σt) of each stop (`decay`) and, where integrals or an inflow need them, the integral's dⱼ (`fed`)."""

    length: Operand
    scaled_g: Operand
    factors: PivotFactors
    rate_coefficients: Any
    solve: Solve
    decay: Any
    integral_weights_: Any


def prepare_window(m: Machine, w: LinearWindow) -> WindowSetup:
    end = m.read(w.buffer["stops"], w.stops - 1)
    length = m.choose(end, end, 1.0)
    arrows, loss = _read_matrix(m, w)
    shift, by = _smallest_loss(m, loss), length * w.series.g
    excess = [by * (out - shift) + 1.0 for out in loss]
    factors = factor_matrix(m, plan_pivots(packing(w.system).elimination), {e: by * a for e, a in arrows.items()}, excess)
    moved = slopes(m, w, by) if w.derivative_order else None
    decay = m.scratch(w.stops)
    for t in range(w.stops):
        m.put(decay, t, exp(m, -(shift * m.read(w.buffer["stops"], t))))
    fed = integral_weights(m, w, shift * length, decay) if w.integrals or w.inflow else None
    return WindowSetup(length, by, factors, moved, lambda b: solve_parts(m, w, factors, moved, b), decay, fed)


def starting_vectors(m: Machine, w: LinearWindow, length: Operand) -> list[list[Operand]]:
    """The vectors that powers are taken of: the amounts at the start, and what flows in over the window."""
    begun = [[m.read(w.coefficient_buffer("start", part), i) for part in range(w.coefficients) for i in range(w.size)]]
    if w.inflow:
        begun.append([m.read(w.coefficient_buffer("source", part), i) * length for part in range(w.coefficients) for i in range(w.size)])
    return begun


def _read_matrix(m: Machine, w: LinearWindow) -> tuple[dict[tuple[int, int], Operand], list[Operand]]:
    """The off-diagonal entries of A, and what leaves the model from each compartment, from the rates' slopes."""
    packed = packing(w.system)
    entry = {place: e for e, place in packed.elimination.position.items()}
    arrows: dict[tuple[int, int], Operand] = {}
    loss: list[Operand] = [0.0] * w.size
    rates = [m.read(w.buffer["rates"], k) for k in range(len(w.system.slopes[0]))]
    for slot, k in zip(packed.slot, packed.entry, strict=True):
        i, c = entry[int(slot)]
        if i == c:
            loss[c] = rates[k] + loss[c]
        else:
            arrows[i, c] = rates[k] + arrows[i, c] if (i, c) in arrows else rates[k]
    return arrows, loss


def _smallest_loss(m: Machine, loss: list[Operand]) -> Operand:
    """The loss that all compartments share; any value would do, this one leaves a matrix of transfers. Never below 0: a
    negative rate is reported as such, and must not become something else here."""
    if any(isinstance(out, float) for out in loss):
        return 0.0
    least = loss[0]
    for out in loss[1:]:
        least = -m.larger(-least, -out)
    return m.larger(0.0, least)


def list_sums(m: Machine, w: LinearWindow, fed: Any) -> list[tuple[int, Weight]]:
    """The sums of the start: for its amounts, for their integral; and the same of the source."""

    def table(name: str, width: int) -> Weight:
        return lambda j, t: m.read(w.buffer[name], j * width + t)

    def own(j: Index, t: int) -> Operand:
        return m.get(fed, j * w.stops + t)

    pairs = [(0, table("weights", w.stops + 1))]
    pairs += [(0, own)] if w.integrals else []
    pairs += [(1, own)] if w.inflow else []
    pairs += [(1, table("lasting", w.stops))] if w.inflow and w.integrals else []
    return pairs


def _write_results(m: Machine, w: LinearWindow, sums: PowerSums, decay: Any, length: Operand) -> None:
    """The results. Where no time has passed nothing changes, not even the last digit."""
    n = w.size

    def result(t: int, of: list[Operand], start: Operand) -> list[Operand]:
        """The amount, and its integral."""
        stop, of_source = m.read(w.buffer["stops"], t), 1 + w.integrals
        amount = m.get(decay, t) * of[0] + of[of_source] if w.inflow else m.get(decay, t) * of[0]
        found = [m.choose(stop, amount, start)]
        if w.integrals:
            total = of[1] + of[3] if w.inflow else of[1]
            found.append(m.choose(stop, length * total, 0.0))
        return found

    def write(t: int, part: int, i: Index) -> list[Operand]:
        of = [sums.amounts.get(k, t, i + part * n) for k in range(w.sums_per_amount)]
        found = result(t, of, m.read(w.coefficient_buffer("start", part), i))
        for name, value in zip(("amounts", "integral"), found, strict=False):
            if w.readings:
                m.write(w.buffer[f"last_{name}"], i, value)
            else:
                m.write(w.coefficient_buffer(name, part), i + t * n, value)
        return []

    seen = sums.readings
    if seen is not None:
        for r, start in enumerate(sum_readings(w, [m.read(w.buffer["start"], i) for i in range(n)])):
            for t in range(w.stops):
                found = result(t, [seen.get(k, t, r) for k in range(w.sums_per_amount)], start)
                for name, value in zip(("amounts", "integral"), found, strict=False):
                    m.write(w.buffer[name], t * len(w.readings) + r, value)
    for t in range(sums.amounts.first, w.stops):
        for part in range(w.coefficients):
            m.loop(n, lambda i, t=t, part=part: write(t, part, i))


def _estimate_error(
    m: Machine,
    w: LinearWindow,
    begun: list[list[Operand]],
    rooms: list[Any],
    decay: Any,
    pairs: list[tuple[int, Weight]],
    peak: Operand,
) -> Operand:
    """The last two terms of every sum, and rounding of the largest, over the amount present."""
    present = sum(m.size(v) for x in begun for v in x[: w.size])
    last: list[Operand] = [0.0] * w.size
    for k, room in enumerate(rooms):
        for j in (w.terms - 2, w.terms - 1):
            bound: Operand = 0.0
            for number, (of, weight) in enumerate(pairs):
                for t in range(w.stops if of == k else 0):
                    c = m.get(decay, t) * weight(j, t) if number == 0 else weight(j, t)
                    bound = m.larger(m.size(c), bound)
            slot = j - (w.term_groups - 1) * w.terms_at_once + 1
            last = [m.size(m.get(room, slot * w.stride + i)) * bound + so_far for i, so_far in enumerate(last)]
    largest: Operand = 0.0
    for v in last:
        largest = m.larger(v, largest)
    return (largest + peak * _ROUNDING) / m.choose(present, present, 1.0)
