"""The linear resolvent (pbpk.solve.resolvent, series) on operands: amounts, exact integrals and the error of one window.

    x(t) = exp(At) x + ∫exp(As) r ds ≈ Σⱼ e^(−σt) cⱼ(t) Tⱼ(W) x + Σⱼ dⱼ(t) Tⱼ(W) r,     W = 2 (I − g(A + σ))⁻¹ − I

The same series with the same cⱼ as there; they depend on time alone and are an argument. What is each patient's own, the
factors, σ, what falls as e^(−σt) and the integral's dⱼ (integral.py), is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pbpk.compile.backend.functions import exp
from pbpk.compile.backend.tangent import compute_slopes, solve_parts
from pbpk.compile.programs.elimination import PivotFactors, factor_matrix, plan_pivots
from pbpk.compile.programs.linear.integral import integral_weights
from pbpk.compile.programs.linear.layout import LinearWindow
from pbpk.compile.programs.linear.powers import PowerSums, Solve, Weight, WeightedSum, sum_powers, sum_readings
from pbpk.linalg.packing import plan_packing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbpk.compile.backend.base import Backend, Index, Operand

_ROUNDING = 10 * float(np.finfo(float).eps)  # of the largest term: part of the error estimate


@dataclass(frozen=True)
class LinearWindowForward(LinearWindow):
    """The program that crosses a window (bind.py)."""

    def run(self, machine: Backend) -> None:
        """Writes the program, or runs it."""
        propagate_window(machine, self)


def propagate_window(m: Backend, w: LinearWindow) -> None:
    """From rates (entries, N) of `System.rate_jacobian`, amounts `start` and a constant `inflow` (n, N) to the results."""
    setup = prepare_window(m, w)
    vectors = starting_vectors(m, w, setup.length)
    weighted_sums = list_sums(m, w, setup.integral_weights)
    sums, scratches, peak = sum_powers(m, w, setup.solve, vectors, weighted_sums)
    _write_results(m, w, sums, setup.decay, setup.length)
    m.write(w.buffer["error"], 0, _estimate_error(m, w, vectors, scratches, setup.decay, weighted_sums, peak))


@dataclass(frozen=True)
class WindowSetup:
    """What is computed before any vector: the window's `length`, `scaled_g` = g · length, and the factors, with which `solve`
    solves. In scratch are the rates' coefficients beyond the first times `scaled_g` (`rate_coefficients`), e^(−σt) of each
    stop (`decay`) and, where integrals or an inflow need them, the integral's dⱼ (`integral_weights`)."""

    length: Operand
    scaled_g: Operand
    factors: PivotFactors
    rate_coefficients: Any
    solve: Solve
    decay: Any
    integral_weights: Any


def prepare_window(m: Backend, w: LinearWindow) -> WindowSetup:
    """Factorises I − g(A + σ) and computes what depends on the patient and the stops alone."""
    end = m.read(w.buffer["stops"], w.stops - 1)
    length = m.choose(end, end, 1.0)  # of a window without length nothing is used (`_write_results`)
    arrows, loss = _read_matrix(m, w)
    shift, scaled_g = _smallest_loss(m, loss), length * w.series.g
    excess = [scaled_g * (out - shift) + 1.0 for out in loss]
    pivots = plan_pivots(plan_packing(w.system).elimination)
    factors = factor_matrix(m, pivots, {e: scaled_g * a for e, a in arrows.items()}, excess)
    coefficients = compute_slopes(m, w, scaled_g) if w.derivative_order else None
    decay = m.scratch(w.stops)
    for t in range(w.stops):
        m.put(decay, t, exp(m, -(shift * m.read(w.buffer["stops"], t))))
    weights = integral_weights(m, w, shift * length, decay) if w.integrals or w.inflow else None

    def solve(rhs: Sequence[Operand]) -> list[Operand]:
        return solve_parts(m, w, factors, coefficients, rhs)

    return WindowSetup(length, scaled_g, factors, coefficients, solve, decay, weights)


def starting_vectors(m: Backend, w: LinearWindow, length: Operand) -> list[list[Operand]]:
    """The vectors that powers are taken of: the amounts at the start, and what flows in over the window."""

    def read(name: str) -> list[Operand]:
        return [m.read(w.coefficient_buffer(name, part), i) for part in range(w.coefficients) for i in range(w.size)]

    if not w.inflow:
        return [read("start")]
    return [read("start"), [value * length for value in read("inflow")]]


def _read_matrix(m: Backend, w: LinearWindow) -> tuple[dict[tuple[int, int], Operand], list[Operand]]:
    """The off-diagonal entries of A, and what leaves the model from each compartment, from the rates' slopes."""
    packed = plan_packing(w.system)
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


def _smallest_loss(m: Backend, loss: list[Operand]) -> Operand:
    """σ, the loss that all compartments share. Any value would do; this one leaves a matrix of transfers. Never below 0: a
    negative rate is reported as such, and must not become something else here."""
    if any(isinstance(out, float) for out in loss):
        return 0.0
    least = loss[0]
    for out in loss[1:]:
        least = -m.larger(-least, -out)
    return m.larger(0.0, least)


def list_sums(m: Backend, w: LinearWindow, integral_weights: Any) -> list[WeightedSum]:
    """The sums of the start's powers, for amounts and for their integral; and the same of the inflow's."""

    def table(name: str, width: int) -> Weight:
        return lambda j, t: m.read(w.buffer[name], j * width + t)

    def integral(j: Index, t: int) -> Operand:
        return m.get(integral_weights, j * w.stops + t)

    start, inflow = 0, 1
    sums = [WeightedSum(start, table("weights", w.stops + 1))]
    sums += [WeightedSum(start, integral)] if w.integrals else []
    sums += [WeightedSum(inflow, integral)] if w.inflow else []
    sums += [WeightedSum(inflow, table("double_integral_weights", w.stops))] if w.inflow and w.integrals else []
    return sums


def _write_results(m: Backend, w: LinearWindow, sums: PowerSums, decay: Any, length: Operand) -> None:
    """Writes the results. Where no time has passed nothing changes, not even the last digit."""
    n = w.size

    def result(t: int, values: list[Operand], start: Operand) -> list[Operand]:
        """The amount, and its integral, from the values of `list_sums`."""
        stop, of_inflow = m.read(w.buffer["stops"], t), 1 + w.integrals
        amount = m.get(decay, t) * values[0] + values[of_inflow] if w.inflow else m.get(decay, t) * values[0]
        pair = [m.choose(stop, amount, start)]
        if w.integrals:
            integral = values[1] + values[of_inflow + 1] if w.inflow else values[1]
            pair.append(m.choose(stop, length * integral, 0.0))
        return pair

    def write(t: int, part: int, i: Index) -> list[Operand]:
        values = [sums.amounts.get(k, t, i + part * n) for k in range(w.sums_per_amount)]
        pair = result(t, values, m.read(w.coefficient_buffer("start", part), i))
        for name, value in zip(("amounts", "integral"), pair, strict=False):
            if w.readings:
                m.write(w.buffer[f"last_{name}"], i, value)
            else:
                m.write(w.coefficient_buffer(name, part), i + t * n, value)
        return []

    readings = sums.readings
    if readings is not None:
        for r, start in enumerate(sum_readings(w, [m.read(w.buffer["start"], i) for i in range(n)])):
            for t in range(w.stops):
                pair = result(t, [readings.get(k, t, r) for k in range(w.sums_per_amount)], start)
                for name, value in zip(("amounts", "integral"), pair, strict=False):
                    m.write(w.buffer[name], t * len(w.readings) + r, value)
    for t in range(sums.amounts.first, w.stops):
        for part in range(w.coefficients):
            m.loop(n, lambda i, t=t, part=part: write(t, part, i))


def _estimate_error(
    m: Backend,
    w: LinearWindow,
    vectors: list[list[Operand]],
    scratches: list[Any],
    decay: Any,
    sums: list[WeightedSum],
    peak: Operand,
) -> Operand:
    """The last two terms of every sum, and rounding of the largest term, over the amount present: what the series leaves
    out is less than what it took in last. `scratches` hold the last group of each vector's powers."""
    present = sum(m.size(v) for x in vectors for v in x[: w.size])
    last: list[Operand] = [0.0] * w.size
    for k, scratch in enumerate(scratches):
        for j in (w.terms - 2, w.terms - 1):
            bound: Operand = 0.0
            for number, (vector, weight) in enumerate(sums):
                for t in range(w.stops if vector == k else 0):
                    c = m.get(decay, t) * weight(j, t) if number == 0 else weight(j, t)
                    bound = m.larger(m.size(c), bound)
            slot = j - (w.term_groups - 1) * w.terms_at_once + 1
            last = [m.size(m.get(scratch, slot * w.stride + i)) * bound + so_far for i, so_far in enumerate(last)]
    largest: Operand = 0.0
    for v in last:
        largest = m.larger(v, largest)
    return (largest + peak * _ROUNDING) / m.choose(present, present, 1.0)
