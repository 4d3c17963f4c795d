"""The adjoint of a linear window: from cotangents of its amounts and integrals to those of its rates, start and inflow.

With Tⱼ₊₁ = f (2uⱼ − Tⱼ) − Tⱼ₋₁, uⱼ = M⁻¹Tⱼ (f is 2, and 1 for j = 0) and gⱼ what the sums hand back to Tⱼ,

    bⱼ = gⱼ + f (2μ − bⱼ₊₁) − bⱼ₊₂,     μ = M⁻ᵀ bⱼ₊₁

ends at the start's cotangent, and an arrow's rate gets 2 g · length Σⱼ f (μ at its target − μ at its source) uⱼ at its source.
The vectors uⱼ are computed again, by solves on the same factors, and wait in scratch: cheaper than to have kept them. With
derivatives every product is one of polynomials, and so derivatives of these derivatives come out too (tangent.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from pbpk.compile.backend.jet import list_subsets
from pbpk.compile.backend.tangent import make_arrows, rise, solve_parts_transposed
from pbpk.compile.programs.linear.layout import LinearWindow
from pbpk.compile.programs.linear.window import WindowSetup, list_sums, prepare_window, starting_vectors

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Backend, Buffer, Index, Operand
    from pbpk.compile.programs.linear.powers import Weight


@dataclass(frozen=True)
class LinearWindowAdjoint(LinearWindow):
    """The program of a window's cotangents (bind.py): the window's arguments and cotangents of its results, named `of_…`, to
    cotangents of rates, start and inflow. It has no readings."""

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """The window's, and cotangents of amounts and integrals."""
        names = ("of_amounts", "of_integral") if self.integrals else ("of_amounts",)
        cotangents = [b for name in names for b in self.coefficient_buffers(name, (self.stops, self.size))]
        return *super().arguments, *cotangents

    @property
    def results(self) -> tuple[Buffer, ...]:
        """Cotangents of rates, start and inflow."""
        names = ("of_start", "of_inflow") if self.inflow else ("of_start",)
        vectors = [b for name in names for b in self.coefficient_buffers(name, (self.size,))]
        return *self.coefficient_buffers("of_rates", (len(self.system.slopes[0]),)), *vectors

    @cached_property
    def sums_at_once(self) -> int:
        """Sums that are made in one go: what is left of the registers is for what they are made of."""
        return max(self.registers * 2 // 3, 1)

    def run(self, machine: Backend) -> None:
        """Writes the program, or runs it."""
        window_adjoint(machine, self)


class SumCotangents(NamedTuple):
    """One of `list_sums`, and the cotangents (stops, width) of its values, in scratch."""

    vector: int
    weight: Weight
    bars: Any


def window_adjoint(m: Backend, w: LinearWindowAdjoint) -> None:
    """From what `propagate_window` takes, and cotangents of its results, to those of the rates, the start and the inflow."""
    setup, n = prepare_window(m, w), w.vector_width
    powers = [_solve_forward(m, w, setup, x) for x in starting_vectors(m, w, setup.length)]
    bars_of_sums = _hand_to_sums(m, w, setup)
    sums = [
        SumCotangents(*s, bars) for s, bars in zip(list_sums(m, w, setup.integral_weights), bars_of_sums, strict=True)
    ]
    factor = m.scratch(w.table_rows)  # f of each term
    m.loop(w.table_rows, lambda j: m.put(factor, j, 2.0) or [])
    m.put(factor, 0, 1.0)

    # Of each vector: bⱼ₊₁ and −bⱼ₊₂, and the f μ of a group.
    late, later, risen = ([m.scratch(size) for _ in powers] for size in (n, n, w.terms_at_once * n))
    for scratch in (*late, *later):
        m.loop(n, lambda i, scratch=scratch: m.put(scratch, i, 0.0) or [])
    count = w.coefficients * len(w.system.slopes[0])
    of_rates = m.scratch(count)
    m.loop(count, lambda k: m.put(of_rates, k, 0.0) or [])

    def pull_group(back: Index) -> list[Operand]:
        first = back * -w.terms_at_once + (w.term_groups - 1) * w.terms_at_once

        def pull_term(behind: Index) -> list[Operand]:
            q = behind * -1 + (w.terms_at_once - 1)
            j = first + q
            for k, (b, c, scratch) in enumerate(zip(late, later, risen, strict=True)):
                _add_weighted(m, w, j, [(s.weight, s.bars) for s in sums if s.vector == k], c)
                following = [m.get(b, i) for i in range(n)]
                turned = solve_parts_transposed(m, w, setup.factors, setup.rate_coefficients, following)
                f = m.get(factor, j)
                for i in range(n):
                    m.put(scratch, q * n + i, f * turned[i])
                    bar = (2.0 * turned[i] - following[i]) * f + m.get(c, i)
                    m.put(b, i, bar)
                    m.put(c, i, -following[i])
            return []

        m.loop(w.terms_at_once, pull_term)
        _add_rate_terms(m, w, first, powers, risen, of_rates)
        return []

    m.loop(w.term_groups, pull_group)
    _write_results(m, w, setup, late, of_rates)


def _solve_forward(m: Backend, w: LinearWindowAdjoint, setup: WindowSetup, x: list[Operand]) -> Any:
    """uⱼ (table_rows, width) in scratch, 0 from the last term's on, which nothing follows."""
    n = w.vector_width
    solved, older, newer = m.scratch(w.table_rows * n), m.scratch(n), m.scratch(n)
    for i in range(n):
        m.put(newer, i, x[i])
        m.put(older, i, 0.0)

    def add_term(j: Index, f: Operand) -> list[Operand]:
        power = [m.get(newer, i) for i in range(n)]
        for i, u in enumerate(setup.solve(power)):
            m.put(solved, j * n + i, u)
            m.put(newer, i, (2.0 * u - power[i]) * f - m.get(older, i))
            m.put(older, i, power[i])
        return [2.0]

    m.loop(w.terms - 1, add_term, [1.0])
    m.loop((w.table_rows - w.terms + 1) * n, lambda k: m.put(solved, k + (w.terms - 1) * n, 0.0) or [])
    return solved


def _hand_to_sums(m: Backend, w: LinearWindowAdjoint, setup: WindowSetup) -> list[Any]:
    """The cotangents (stops, width) of each of `list_sums`, in scratch: none where no time has passed."""

    def scale(name: str, factor_at: Any) -> Any:
        bars = m.scratch(w.stops * w.vector_width)
        for t in range(w.stops):
            stop, factor = m.read(w.buffer["stops"], t), factor_at(t)
            for part in range(w.coefficients):

                def one(i: Index, t=t, part=part, stop=stop, factor=factor) -> list[Operand]:
                    bar = m.read(w.coefficient_buffer(name, part), i + t * w.size)
                    bar = m.choose(stop, bar if factor is None else factor * bar, 0.0)
                    m.put(bars, i + (t * w.vector_width + part * w.size), bar)
                    return []

                m.loop(w.size, one)
        return bars

    bars_of_sums = [scale("of_amounts", lambda t: m.get(setup.decay, t))]
    of_integral = scale("of_integral", lambda t: setup.length) if w.integrals else None
    if w.integrals:
        bars_of_sums.append(of_integral)
    if w.inflow:
        bars_of_sums.append(scale("of_amounts", lambda t: None))
    if w.inflow and w.integrals:
        bars_of_sums.append(of_integral)
    return bars_of_sums


def _add_weighted(m: Backend, w: LinearWindowAdjoint, j: Index, sums: list[tuple[Weight, Any]], scratch: Any) -> None:
    """Adds Σ weight(j, t) · cotangent over stops and sums to `scratch` (width)."""
    n = w.vector_width

    def add_tile(i: Index, width: int) -> None:
        def add_stop(t: Index, *so_far: Operand) -> list[Operand]:
            for weight, bars in sums:
                c = weight(j, t)
                so_far = tuple(c * m.get(bars, t * n + i + s) + x for s, x in enumerate(so_far))
            return list(so_far)

        new = m.loop(w.stops, add_stop, [m.get(scratch, i + s) for s in range(width)])
        for s, x in enumerate(new):
            m.put(scratch, i + s, x)

    def add_tiles(k: Index) -> list[Operand]:
        add_tile(k * w.sums_at_once, w.sums_at_once)
        return []

    if n // w.sums_at_once:
        m.loop(n // w.sums_at_once, add_tiles)
    if n % w.sums_at_once:
        add_tile(n - n % w.sums_at_once, n % w.sums_at_once)


def _add_rate_terms(
    m: Backend, w: LinearWindowAdjoint, first: Index, powers: list[Any], risen: list[Any], of_rates: Any
) -> None:
    """Adds a group's terms to the rates' cotangents: polynomials' products, some arrows at a time."""
    n, all_arrows = w.size, make_arrows(w)
    by_source = sorted(range(len(all_arrows)), key=lambda k: all_arrows[k].source)  # what is loaded once serves several
    at_once = max(w.sums_at_once // w.coefficients, 1)
    for begin in range(0, len(by_source), at_once):
        numbers = by_source[begin : begin + at_once]
        slots = [part * len(all_arrows) + k for part in range(w.coefficients) for k in numbers]

        def add_term(q: Index, *so_far: Operand, numbers=numbers) -> list[Operand]:
            for u, mu in zip(powers, risen, strict=True):
                ends = sorted(
                    {x for k in numbers for x in (all_arrows[k].source, all_arrows[k].target) if x is not None}
                )
                rises = [{i: m.get(mu, q * w.vector_width + (p * n + i)) for i in ends} for p in range(w.coefficients)]
                row, sources = (first + q) * w.vector_width, {all_arrows[k].source for k in numbers}
                solved = [{i: m.get(u, row + (p * n + i)) for i in sources} for p in range(w.coefficients)]
                new, remaining = [], iter(so_far)
                for part in range(w.coefficients):
                    for k in numbers:
                        sum_ = next(remaining)
                        for t in (0, *list_subsets(part)):
                            sum_ = rise(rises[t], all_arrows[k]) * solved[part ^ t][all_arrows[k].source] + sum_
                        new.append(sum_)
                so_far = tuple(new)
            return list(so_far)

        new = m.loop(w.terms_at_once, add_term, [m.get(of_rates, k) for k in slots])
        for k, x in zip(slots, new, strict=True):
            m.put(of_rates, k, x)


def _write_results(
    m: Backend, w: LinearWindowAdjoint, setup: WindowSetup, of_vectors: list[Any], of_rates: Any
) -> None:
    """Writes the results. Amounts at stops of no length hand their cotangents back to the start as they are."""
    n, count = w.size, len(w.system.slopes[0])
    for part in range(w.coefficients):

        def rate(k: Index, part=part) -> list[Operand]:
            m.write(w.coefficient_buffer("of_rates", part), k, 2.0 * setup.scaled_g * m.get(of_rates, k + part * count))
            return []

        def start(i: Index, part=part) -> list[Operand]:
            bar = m.get(of_vectors[0], i + part * n)
            for t in range(w.stops):
                of_amount = m.read(w.coefficient_buffer("of_amounts", part), i + t * n)
                bar = bar + m.choose(m.read(w.buffer["stops"], t), 0.0, of_amount)
            m.write(w.coefficient_buffer("of_start", part), i, bar)
            return []

        def inflow(i: Index, part=part) -> list[Operand]:
            bar = setup.length * m.get(of_vectors[1], i + part * n)
            m.write(w.coefficient_buffer("of_inflow", part), i, bar)
            return []

        m.loop(count, rate)
        m.loop(n, start)
        if w.inflow:
            m.loop(n, inflow)
