"""The reverse of one Rosenbrock step on operands (pbpk.solve.stage has that of the tableau's stages, on arrays).

With v̄ what is gathered of what a stage solved for, M the step's matrix and q = wᵢ + wᵢ₋₁ the solution (w alone where a stage
begins with f),

    v̄ᵢ = M⁻ᵀ w̄ᵢ,        w̄ᵢ₋₁ −= w̄ᵢ − v̄ᵢ,        M̄ −= v̄ᵢ qᵢ'

and since everything a stage solves for but the stage before is proportional to h, Σ v̄ᵢ·wᵢ is that of ln h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pbpk.kernel.arrows import Curve, Flow
from pbpk.kernel.eliminate import Factors, solve_transposed
from pbpk.kernel.laws import evaluate
from pbpk.kernel.machine import Index, Machine, Operand
from pbpk.kernel.step import Step, chunks, each, product


class Cotangents:
    """What has been gathered, of: amounts (n), the integral's (n); the linear matrix's entries off the diagonal, its columns'
    sums (n) and the constant (n); the laws' parameters and the inverse volumes among them."""

    def __init__(self, m: Machine, flow: Flow, integrals: bool):
        arrows, n = flow.arrows, flow.arrows.size
        self.machine, self.flow = m, flow
        self.entries, self.given = tuple(arrows.arrows), tuple(range(len(arrows.rows)))
        self.x, self.linear = m.scratch(n), m.scratch(len(self.entries))
        self.sums, self.constant = m.scratch(n), m.scratch(n)
        self.gain = m.scratch(n) if integrals else None
        self.rows, self.inverse = m.scratch(len(arrows.rows)), m.scratch(len(flow.volumes))
        wide = [(self.x, n), (self.sums, n), (self.constant, n), (self.linear, len(self.entries))]
        wide += [(self.gain, n)] if integrals else []
        for room, count in (*wide, (self.rows, len(arrows.rows)), (self.inverse, len(flow.volumes))):
            if count:
                each(m, count, lambda k, room=room: m.put(room, k, 0.0))


def add(m: Machine, room: Any, at: Index, value: Operand) -> None:
    m.put(room, at, m.get(room, at) + value)


class Pull:
    """A step backwards. Of each stage (stages, n): `of_stages` is what has been gathered of w, `pulled` v̄, `found` q.
    `of_begun` is of γh f; of the laws, `of_amounts` (laws, stages) of what they add to what a stage solves for, `of_slopes`
    and `of_rates` of those where the step began."""

    def __init__(self, m: Machine, step: Step, bar: Cotangents):
        self.machine, self.step, self.flow, self.bar = m, step, step.flow, bar
        curves = self.flow.arrows.curves
        self.of_stages, self.pulled, self.found = (m.scratch(step.stages * step.size) for _ in range(3))
        self.of_begun, self.of_read = m.scratch(step.size), m.scratch(len(step.read))
        self.of_slopes = m.scratch(sum(len(c.states) for c in curves))
        self.of_amounts, self.of_rates = m.scratch(step.stages * len(curves)), m.scratch(len(curves))
        self.gradient = self.flow.prepared(lambda law: law.gradient)
        self.bend = self.flow.prepared(lambda law: law.bend)

    def back(self, active: Operand, h: Operand) -> Operand:
        """Through the step of length h whose beginning and stages the step's room holds: the cotangents before it, and that
        of h. Where not `active`, nothing; h is 0 there, and so must the stages be."""
        m, n, s, bar, step = self.machine, self.step.size, self.step.stages, self.bar, self.step
        gh, fresh, x = step.chain.gamma * h, step.chain.fresh, step.state()
        factors, _ = step.factor(x, h)
        of_gain = 0.0 if bar.gain is None else self._begin_with_gain(active, h)
        if bar.gain is None:
            self._begin(lambda i, k: step.result(i) * m.choose(active, m.get(bar.x, k), 0.0))
        for room, count in ((self.of_begun, n), (self.of_slopes, sum(len(c.states) for c in self.flow.arrows.curves))):
            each(m, count, lambda k, room=room: m.put(room, k, 0.0))
        for k in range(len(self.flow.arrows.curves)):
            m.put(self.of_rates, k, 0.0)

        def onward(r: Index, of_h: Operand) -> list[Operand]:
            return [of_h + self._stage(factors, active, gh, r * -1 + (s - 1), first=False)]

        def first(r: Index, of_h: Operand) -> list[Operand]:
            return [of_h + self._stage(factors, active, gh, r * -1 + (fresh - 1), first=True)]

        (of_h,) = m.loop(s - fresh, onward, [0.0])
        (of_h,) = m.loop(fresh, first, [of_h])
        self._gather(gh, x)
        self._first(active, gh, x)
        per = 1.0 / m.choose(h, h, 1.0)
        return m.choose(active, of_h * per + of_gain, 0.0)

    def _begin(self, of_stage: Callable[[Index, int], Operand]) -> None:
        m, n = self.machine, self.step.size

        def begin(i: Index) -> list[Operand]:
            for k in range(n):
                m.put(self.of_stages, i * n + k, of_stage(i, k))
            return []

        m.loop(self.step.stages, begin)

    def _begin_with_gain(self, active: Operand, h: Operand) -> Operand:
        """The integral is h (x + Σ gainedᵢ wᵢ): its derivative by h too."""
        m, n, bar, step = self.machine, self.step.size, self.bar, self.step
        along = m.scratch(n)
        for k in range(n):
            m.put(along, k, h * m.choose(active, m.get(bar.gain, k), 0.0))
        of_x = [m.choose(active, m.get(bar.x, k), 0.0) for k in range(n)]
        self._begin(lambda i, k: step.gain(i) * m.get(along, k) + step.result(i) * of_x[k])

        def one(i: Index, so_far: Operand) -> list[Operand]:
            own = product((m.get(bar.gain, k), m.get(step.room, step.stage(i) + k)) for k in range(n))
            return [step.gain(i) * own + so_far]

        whole = product((m.get(bar.gain, k), x) for k, x in enumerate(step.state()))
        (found,) = m.loop(step.stages, one, [whole])
        for k in range(n):
            add(m, bar.x, k, m.get(along, k))
        return found

    def _stage(self, factors: Factors, active: Operand, gh: Operand, i: Index, *, first: bool) -> Operand:
        """Through stage i, of ln h. What it has of the stage before goes there."""
        m, n, step = self.machine, self.step.size, self.step
        of_w = [m.get(self.of_stages, i * n + k) for k in range(n)]
        pulled = solve_transposed(m, factors, of_w)
        w = [m.get(step.room, step.stage(i) + k) for k in range(n)]
        for k, v in enumerate(pulled):
            m.put(self.pulled, i * n + k, v)
            if first:
                m.put(self.found, i * n + k, w[k])
                add(m, self.of_begun, k, v)
            else:
                m.put(self.found, i * n + k, w[k] + m.get(step.room, step.stage(i) + (k - n)))
                add(m, self.of_stages, i * n + (k - n), v - of_w[k])
        self._laws(active, gh, i, pulled)
        return product(zip(pulled, w, strict=True))

    def _laws(self, active: Operand, gh: Operand, i: Index, pulled: list[Operand]) -> None:
        """What a stage's laws have beyond their tangents, in this stage and those after it."""
        m, flow, step, count = self.machine, self.flow, self.step, self.step.stages
        curves = flow.arrows.curves
        for k, c in enumerate(curves):
            m.put(self.of_amounts, i + k * count, gh * along(c, pulled))
        moved = step.move(i)
        of_beyond: list[Operand] = []
        for own in chunks(range(len(curves)), step.together):

            def one(j: Index, *sums: Operand, own=own) -> list[Operand]:
                weight = step.bent(i + j, i)
                at = [m.get(self.of_amounts, i + j + k * count) for k in own]
                return [weight * a + s for a, s in zip(at, sums, strict=True)]

            of_beyond += m.repeat(i * -1 + count, one, [0.0] * len(own))[1]
        for k, of_one in enumerate(of_beyond):
            add(m, self.of_rates, k, -of_one)
        x = step.state()
        y = {k: x[k] + by for k, by in moved.items()}
        of_y = self._gradient(active, of_beyond, y)
        of_moved, at = dict(of_y), 0
        for k, (c, of_one) in enumerate(zip(curves, of_beyond, strict=True)):
            of_amount = m.get(self.of_amounts, i + k * count)
            for a in c.arguments:
                if a.state is None:
                    continue
                slope = m.get(step.slopes, at)
                slope = slope if a.row is None else slope * flow.per(a)
                of_moved[a.state] = of_moved[a.state] - m.choose(active, of_one * slope, 0.0)
                of_slope = of_amount * m.get(self.found, i * step.size + a.state) - of_one * moved[a.state]
                add(m, self.of_slopes, at, of_slope)
                at += 1
        for k, value in of_y.items():
            add(m, self.bar.x, k, value)
        self._pass_on(i, of_moved)

    def _pass_on(self, i: Index, of_moved: dict[int, Operand]) -> None:
        """What the laws read in stage i is made of the stages before."""
        m, n, step = self.machine, self.step.size, self.step
        for place, k in enumerate(step.read):
            m.put(self.of_read, place, of_moved[k])
        for own in chunks(list(enumerate(step.read)), step.together):
            values = [m.get(self.of_read, place) for place, _ in own]

            def one(j: Index, own=own, values=values) -> list[Operand]:
                weight = step.moves(i, j)
                for (_, k), value in zip(own, values, strict=True):
                    add(m, self.of_stages, j * n + k, weight * value)
                return []

            m.repeat(i, one, [])

    def _gradient(self, active: Operand, of_rates: list[Operand], y: Any) -> dict[int, Operand]:
        """Of the amounts that laws read, where they are y; their parameters' are added. A slope may be no number where a
        patient waits."""
        m, flow, bar = self.machine, self.flow, self.bar
        given = flow.given(flow.levels(y))
        of_y: dict[int, Operand] = dict.fromkeys(self.step.read, 0.0)
        gradients = evaluate(m, list(zip(self.gradient, given, strict=True)))
        for c, of_rate, gradient in zip(flow.arrows.curves, of_rates, gradients, strict=True):
            for a, slope in zip(c.arguments, gradient, strict=True):
                value = m.choose(active, of_rate * slope, 0.0)
                if a.state is None:
                    add(m, bar.rows, a.row, value)
                elif a.row is None:
                    of_y[a.state] = of_y[a.state] + value
                else:
                    of_y[a.state] = value * flow.per(a) + of_y[a.state]
                    add(m, bar.inverse, flow.volumes[a.row], value * y[a.state])
        return of_y

    def _gather(self, gh: Operand, x: list[Operand]) -> None:
        """Of the linear matrix, from all stages and from f: Σ γh (v̄ᵢ − v̄ⱼ) qⱼ, a column j at a time."""
        m, n, bar, arrows = self.machine, self.step.size, self.bar, self.flow.arrows
        for j in range(n):
            own = [(k, a) for k, (a, b) in enumerate(arrows.arrows) if b == j]
            of_own = m.get(self.of_begun, j)
            begun = [of_own * x[j], *((m.get(self.of_begun, a) - of_own) * x[j] for _, a in own)]

            def one(i: Index, total: Operand, *so_far: Operand, j=j, own=own) -> list[Operand]:
                pulled, found = m.get(self.pulled, i * n + j), m.get(self.found, i * n + j)
                new = [
                    (m.get(self.pulled, i * n + a) - pulled) * found + old
                    for (_, a), old in zip(own, so_far, strict=True)
                ]
                return [pulled * found + total, *new]

            total, *found = m.loop(self.step.stages, one, begun)
            add(m, bar.sums, j, gh * total)
            for (k, _), value in zip(own, found, strict=True):
                add(m, bar.linear, k, gh * value)

    def _first(self, active: Operand, gh: Operand, x: list[Operand]) -> None:
        """Through what was computed where the step began: f, and the laws' slopes, of which the matrix is made too."""
        m, n, bar, flow = self.machine, self.step.size, self.bar, self.flow
        curves = flow.arrows.curves
        of_f = [gh * m.get(self.of_begun, k) for k in range(n)]
        of_x = [f * flow.own(k) for k, f in enumerate(of_f)]
        for k, (a, b) in enumerate(flow.arrows.arrows):
            of_x[b] = of_f[a] * flow.off(k) + of_x[b]
        of_rates = [m.get(self.of_rates, k) + along(c, of_f) for k, c in enumerate(curves)]
        for k, value in self._gradient(active, of_rates, x).items():
            of_x[k] = of_x[k] + value
        for k, value in enumerate(of_x):
            add(m, bar.x, k, value)
            add(m, bar.constant, k, of_f[k])
        self._bend(active, x)

    def _bend(self, active: Operand, x: list[Operand]) -> None:
        """Through the slopes: to where the step began, and to the parameters."""
        m, bar, at = self.machine, self.bar, 0
        given, ways = self.flow.given(self.flow.levels(x)), []
        for c, levels in zip(self.flow.arrows.curves, given, strict=True):
            states = [a for a in c.arguments if a.state is not None]
            slopes, of_slopes = (
                [m.get(room, at + k) for k in range(len(states))] for room in (self.step.slopes, self.of_slopes)
            )
            at += len(states)
            by = [t if a.row is None else t * self.flow.per(a) for t, a in zip(of_slopes, states, strict=True)]
            for a, slope, t in zip(states, slopes, of_slopes, strict=True):
                if a.row is not None:
                    add(m, bar.inverse, self.flow.volumes[a.row], m.choose(active, t * slope, 0.0))
            ways.append(levels | {len(c.arguments) + k: t for k, t in enumerate(by)})
        bends = evaluate(m, list(zip(self.bend, ways, strict=True)))
        for c, bend in zip(self.flow.arrows.curves, bends, strict=True):
            for a, bent in zip(c.arguments, bend, strict=False):
                value = m.choose(active, bent, 0.0)
                if a.state is None:
                    add(m, bar.rows, a.row, value)
                    continue
                add(m, bar.x, a.state, value if a.row is None else value * self.flow.per(a))
                if a.row is not None:
                    add(m, bar.inverse, self.flow.volumes[a.row], value * x[a.state])


def along(curve: Curve, rows: Sequence[Operand]) -> Operand:
    """What rows have more where a law goes than where it comes from."""
    total = 0.0 if curve.target is None else rows[curve.target]
    return total if curve.source is None else total - rows[curve.source]


def gathered(bar: Cotangents, spoil: Callable[[Operand], Operand]) -> dict[str, list[tuple[int, Operand]]]:
    """The rows of the results `linear`, `constant` and `given`; `spoil` makes a number of what was lost."""
    m, flow = bar.machine, bar.flow
    arrows = flow.arrows
    linear = [(slot, m.get(bar.linear, k)) for k, slot in enumerate(arrows.arrows.values())]
    linear += [(slot, m.get(bar.sums, j)) for j, slot in arrows.sums.items()]
    given = {k: m.get(bar.rows, k) for k in bar.given}
    for row, k in flow.volumes.items():
        per = m.get(flow.inverse, k)
        given[row] = given[row] - m.get(bar.inverse, k) * (per * per)
    found = {"linear": linear, "constant": [(k, m.get(bar.constant, k)) for k in range(arrows.size)]}
    found["given"] = list(given.items())
    return {name: [(row, spoil(value)) for row, value in rows] for name, rows in found.items()}
