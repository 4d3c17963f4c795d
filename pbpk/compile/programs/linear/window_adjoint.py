"""Derivatives backwards: from cotangents of a window's amounts and integrals to those of its rates, start and inflow.

With Tⱼ₊₁ = f (2uⱼ − Tⱼ) − Tⱼ₋₁, uⱼ = M⁻¹Tⱼ (f is 2, and 1 for j = 0) and g_j what the sums hand back to Tⱼ,

    bⱼ = gⱼ + f (2μ − bⱼ₊₁) − bⱼ₊₂,     μ = M⁻ᵀ bⱼ₊₁

ends at the start's cotangent, and an arrow's rate gets 2 g · length Σⱼ f (μ at its target − μ at its source) uⱼ at its source.
The vectors uⱼ are computed again, by real solves on the same factors, and wait in scratch: cheaper than to have kept them.
With nilpotents every product is one of polynomials, and so derivatives of these derivatives come out too (tangent.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pbpk.compile.backend.jet import subsets
from pbpk.compile.backend.tangent import arrows, rise, solve_parts_transposed
from pbpk.compile.programs.linear.window import WindowSetup, list_sums, prepare_window, starting_vectors
from pbpk.compile.programs.window import LinearWindow

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Buffer, Index, Machine, Operand
    from pbpk.compile.programs.linear.powers import Weight


@dataclass(frozen=True)
class LinearWindowAdjoint(LinearWindow):
    """The program that goes back through a window (bind.py)."""

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        names = ("of_amounts", "of_integral") if self.integrals else ("of_amounts",)
        cotangents = [b for name in names for b in self.coefficient_buffers(name, (self.stops, self.size))]
        return *super().arguments, *cotangents

    @property
    def results(self) -> tuple[Buffer, ...]:
        names = ("of_start", "of_source") if self.inflow else ("of_start",)
        found = [b for name in names for b in self.coefficient_buffers(name, (self.size,))]
        return *self.coefficient_buffers("of_rates", (len(self.system.slopes[0]),)), *found

    @cached_property
    def sums_at_once(self) -> int:
        """Sums that are made in one go."""
        return max(self.registers * 2 // 3, 1)

    def run(self, machine: Machine) -> None:
        window_adjoint(machine, self)


def window_adjoint(m: Machine, w: LinearWindowAdjoint) -> None:
    """From what `cross` takes, and cotangents of its results, to those of the rates, the start and the source."""
    known, n = prepare_window(m, w), w.vector_width
    powers = [_solve_forward(m, w, known, x) for x in starting_vectors(m, w, known.length)]
    handed = _sum_cotangents(m, w, known)
    pairs = [(of, weight, room) for (of, weight), room in zip(list_sums(m, w, known.integral_weights_), handed, strict=True)]
    factor = m.scratch(w.table_rows)
    m.loop(w.table_rows, lambda j: m.put(factor, j, 2.0) or [])
    m.put(factor, 0, 1.0)

    late, later, risen = ([m.scratch(size) for _ in powers] for size in (n, n, w.terms_at_once * n))
    for room in (*late, *later):
        m.loop(n, lambda i, room=room: m.put(room, i, 0.0) or [])
    count = len(w.system.slopes[0])
    bars = m.scratch(w.coefficients * count)
    m.loop(w.coefficients * count, lambda k: m.put(bars, k, 0.0) or [])

    def one_group(back: Index) -> list[Operand]:
        first = back * -w.terms_at_once + (w.term_groups - 1) * w.terms_at_once

        def one(behind: Index) -> list[Operand]:
            q = behind * -1 + (w.terms_at_once - 1)
            j = first + q
            for k, (b, c, room) in enumerate(zip(late, later, risen, strict=True)):
                _add_weighted(m, w, j, [(weight, of_room) for of, weight, of_room in pairs if of == k], c)
                own = [m.get(b, i) for i in range(n)]
                turned = solve_parts_transposed(m, w, known.factors, known.rate_coefficients, own)
                f = m.get(factor, j)
                for i in range(n):
                    m.put(room, q * n + i, f * turned[i])
                    following = (2.0 * turned[i] - own[i]) * f + m.get(c, i)
                    m.put(b, i, following)
                    m.put(c, i, -own[i])
            return []

        m.loop(w.terms_at_once, one)
        _add_rate_terms(m, w, first, powers, risen, bars)
        return []

    m.loop(w.term_groups, one_group)
    _write_results(m, w, known, late, bars)


def _solve_forward(m: Machine, w: LinearWindowAdjoint, known: WindowSetup, x: list[Operand]) -> Any:
    """uⱼ (rows, width) in scratch, 0 from the last term's on, which nothing follows."""
    n = w.vector_width
    room, older, newer = m.scratch(w.table_rows * n), m.scratch(n), m.scratch(n)
    for i in range(n):
        m.put(newer, i, x[i])
        m.put(older, i, 0.0)

    def one(j: Index, f: Operand) -> list[Operand]:
        own = [m.get(newer, i) for i in range(n)]
        for i, u in enumerate(known.solve(own)):
            m.put(room, j * n + i, u)
            m.put(newer, i, (2.0 * u - own[i]) * f - m.get(older, i))
            m.put(older, i, own[i])
        return [2.0]

    m.loop(w.terms - 1, one, [1.0])
    m.loop((w.table_rows - w.terms + 1) * n, lambda k: m.put(room, k + (w.terms - 1) * n, 0.0) or [])
    return room


def _sum_cotangents(m: Machine, w: LinearWindowAdjoint, known: WindowSetup) -> list[Any]:
    """The cotangents (stops, width) of each of `pairs_of`'s sums, in scratch: none where no time has passed."""
    rooms: list[Any] = []

    def hand(name: str, scale: Any) -> Any:
        room = m.scratch(w.stops * w.vector_width)
        for t in range(w.stops):
            stop, by = m.read(w.buffer["stops"], t), scale(t)
            for part in range(w.coefficients):

                def one(i: Index, t=t, part=part, stop=stop, by=by) -> list[Operand]:
                    given = m.read(w.coefficient_buffer(name, part), i + t * w.size)
                    given = m.choose(stop, given if by is None else by * given, 0.0)
                    m.put(room, i + (t * w.vector_width + part * w.size), given)
                    return []

                m.loop(w.size, one)
        return room

    rooms.append(hand("of_amounts", lambda t: m.get(known.decay, t)))
    areas = hand("of_integral", lambda t: known.length) if w.integrals else None
    if w.integrals:
        rooms.append(areas)
    if w.inflow:
        rooms.append(hand("of_amounts", lambda t: None))
    if w.inflow and w.integrals:
        rooms.append(areas)
    return rooms


def _add_weighted(m: Machine, w: LinearWindowAdjoint, j: Index, pairs: list[tuple[Weight, Any]], room: Any) -> None:
    """Adds Σ weight(j, t) · cotangent over stops and sums to `room` (width)."""
    n = w.vector_width

    def tile(i: Index, states: int) -> None:
        def stop(t: Index, *so_far: Operand) -> list[Operand]:
            for weight, handed in pairs:
                c = weight(j, t)
                so_far = tuple(c * m.get(handed, t * n + i + s) + x for s, x in enumerate(so_far))
            return list(so_far)

        found = m.loop(w.stops, stop, [m.get(room, i + s) for s in range(states)])
        for s, x in enumerate(found):
            m.put(room, i + s, x)

    def tiles(k: Index) -> list[Operand]:
        tile(k * w.sums_at_once, w.sums_at_once)
        return []

    if n // w.sums_at_once:
        m.loop(n // w.sums_at_once, tiles)
    if n % w.sums_at_once:
        tile(n - n % w.sums_at_once, n % w.sums_at_once)


def _add_rate_terms(m: Machine, w: LinearWindowAdjoint, first: Index, powers: list[Any], risen: list[Any], bars: Any) -> None:
    """A group's terms to the rates' cotangents: polynomials' products, some arrows at a time."""
    n, ways = w.size, arrows(w)
    order = sorted(range(len(ways)), key=lambda k: ways[k].source)
    some = max(w.sums_at_once // w.coefficients, 1)
    for at in range(0, len(order), some):
        own = order[at : at + some]
        places = [part * len(ways) + k for part in range(w.coefficients) for k in own]

        def step(q: Index, *so_far: Operand, own=own) -> list[Operand]:
            for u, mu in zip(powers, risen, strict=True):
                ends = sorted({x for k in own for x in (ways[k].source, ways[k].target) if x is not None})
                here = [{i: m.get(mu, q * w.vector_width + (p * n + i)) for i in ends} for p in range(w.coefficients)]
                base = (first + q) * w.vector_width
                there = [
                    {i: m.get(u, base + (p * n + i)) for i in {ways[k].source for k in own}} for p in range(w.coefficients)
                ]
                new, left = [], iter(so_far)
                for part in range(w.coefficients):
                    for k in own:
                        sum_ = next(left)
                        for t in (0, *subsets(part)):
                            sum_ = rise(here[t], ways[k]) * there[part ^ t][ways[k].source] + sum_
                        new.append(sum_)
                so_far = tuple(new)
            return list(so_far)

        found = m.loop(w.terms_at_once, step, [m.get(bars, k) for k in places])
        for k, x in zip(places, found, strict=True):
            m.put(bars, k, x)


def _write_results(m: Machine, w: LinearWindowAdjoint, known: WindowSetup, late: list[Any], bars: Any) -> None:
    """The results. Amounts at stops of no length hand their cotangents back to the start whole."""
    n, count = w.size, len(w.system.slopes[0])
    for part in range(w.coefficients):

        def rate(k: Index, part=part) -> list[Operand]:
            m.write(w.coefficient_buffer("of_rates", part), k, 2.0 * known.scaled_g * m.get(bars, k + part * count))
            return []

        def start(i: Index, part=part) -> list[Operand]:
            found = m.get(late[0], i + part * n)
            for t in range(w.stops):
                given = m.read(w.coefficient_buffer("of_amounts", part), i + t * n)
                found = found + m.choose(m.read(w.buffer["stops"], t), 0.0, given)
            m.write(w.coefficient_buffer("of_start", part), i, found)
            return []

        def source(i: Index, part=part) -> list[Operand]:
            m.write(w.coefficient_buffer("of_source", part), i, known.length * m.get(late[1], i + part * n))
            return []

        m.loop(count, rate)
        m.loop(n, start)
        if w.inflow:
            m.loop(n, source)
