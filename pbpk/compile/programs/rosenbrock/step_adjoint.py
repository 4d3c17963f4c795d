"""The reverse of one Rosenbrock step on operands (pbpk.solve.stage has that of the tableau's stages, on arrays).

With v̄ what is gathered of what a stage solved for, M the step's matrix and q = wᵢ + wᵢ₋₁ the solution (w alone where a stage
begins with f),

    v̄ᵢ = M⁻ᵀ w̄ᵢ,        w̄ᵢ₋₁ −= w̄ᵢ − v̄ᵢ,        M̄ −= v̄ᵢ qᵢ'

and since everything a stage solves for but the stage before is proportional to h, Σ v̄ᵢ·wᵢ is that of ln h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pbpk.compile.programs.elimination import PivotFactors, solve_transposed
from pbpk.compile.programs.laws import evaluate_expressions
from pbpk.compile.programs.rosenbrock.step import Step, chunks, each, product

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Index, Machine, Operand
    from pbpk.compile.programs.rosenbrock.right_hand_side import Curve, Flow


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
    """A step backwards. `of_after` is what is wanted of the amounts after it, `of_gain` h times that of the integral, `onward`
    what a stage hands to the one before; `of_begun` is of γh f. Of the laws, `of_amounts` (laws, stages) is of what they
    add to what a stage solves for, `of_reads` (read, stages) of the stages by what is read of them, `of_slopes` and
    `of_rates` of those where the step began."""

    def __init__(self, m: Machine, step: Step, bar: Cotangents):
        self.machine, self.step, self.flow, self.bar = m, step, step.flow, bar
        curves = self.flow.arrows.curves
        self.of_after, self.onward, self.of_begun = (m.scratch(step.size) for _ in range(3))
        self.of_gain = None if bar.gain is None else m.scratch(step.size)
        self.of_slopes, self.of_rates = m.scratch(sum(len(c.states) for c in curves)), m.scratch(len(curves))
        self.of_amounts, self.of_reads = (m.scratch(step.stages * len(x)) for x in (curves, step.read))
        self.gradient = self.flow.prepared(lambda law: law.gradient)
        self.bend = self.flow.prepared(lambda law: law.bend)

    def back(self, active: Operand, h: Operand) -> Operand:
        """Through the step of length h whose beginning and stages the step's room holds: the cotangents before it, and that
        of h. Where not `active`, nothing; h is 0 there, and so must the stages be."""
        m, n, s, bar, step = self.machine, self.step.size, self.step.stages, self.bar, self.step
        gh, fresh, x = step.chain.gamma * h, step.chain.fresh, step.state()
        factors, _ = step.factor(x, h)
        each(m, n, lambda k: m.put(self.of_after, k, m.choose(active, m.get(bar.x, k), 0.0)))
        self._clear(self.onward, n)
        self._clear(self.of_begun, n)
        self._clear(self.of_reads, s * len(step.read))
        self._clear(self.of_slopes, sum(len(c.states) for c in self.flow.arrows.curves))
        self._clear(self.of_rates, len(self.flow.arrows.curves))
        of_integral = self._integral(active, h)

        def onward(r: Index, of_h: Operand) -> list[Operand]:
            return [of_h + self._stage(factors, active, gh, r * -1 + (s - 1), first=False)]

        def first(r: Index, of_h: Operand) -> list[Operand]:
            return [of_h + self._stage(factors, active, gh, r * -1 + (fresh - 1), first=True)]

        (of_h,) = m.loop(s - fresh, onward, [0.0])
        (of_h,) = m.loop(fresh, first, [of_h])
        self._begin(active, gh, x)
        per = 1.0 / m.choose(h, h, 1.0)
        return m.choose(active, of_h * per + of_integral, 0.0)

    def _clear(self, room: Any, count: int) -> None:
        each(self.machine, count, lambda k: self.machine.put(room, k, 0.0))

    def _integral(self, active: Operand, h: Operand) -> Operand:
        """h (x + Σ gainedᵢ wᵢ): of x, and of h."""
        m, n, bar, step = self.machine, self.step.size, self.bar, self.step
        if self.of_gain is None:
            return 0.0
        for k in range(n):
            along = h * m.choose(active, m.get(bar.gain, k), 0.0)
            m.put(self.of_gain, k, along)
            add(m, bar.x, k, along)

        def one(i: Index, so_far: Operand) -> list[Operand]:
            own = product((m.get(bar.gain, k), m.get(step.room, step.stage(i) + k)) for k in range(n))
            return [step.gain(i) * own + so_far]

        whole = product((m.get(bar.gain, k), x) for k, x in enumerate(step.state()))
        return m.loop(step.stages, one, [whole])[0]

    def _stage(self, factors: PivotFactors, active: Operand, gh: Operand, i: Index, *, first: bool) -> Operand:
        """Through stage i, of ln h. What it has of the stage before goes there."""
        m, n, step = self.machine, self.step.size, self.step
        result, gain = step.result(i), 0.0 if self.of_gain is None else step.gain(i)
        of_w = []
        for k in range(n):
            own = result * m.get(self.of_after, k) + m.get(self.onward, k)
            own = own if self.of_gain is None else gain * m.get(self.of_gain, k) + own
            if k in step.read:
                own = own + m.get(self.of_reads, i + step.read.index(k) * step.stages)
            m.put(self.onward, k, own)
            of_w.append(own)
        pulled = solve_transposed(m, factors, of_w)
        for k, v in enumerate(pulled):
            m.put(self.onward, k, 0.0 if first else v - m.get(self.onward, k))
            if first:
                add(m, self.of_begun, k, v)

        def found(k: int) -> Operand:
            w = m.get(step.room, step.stage(i) + k)
            return w if first else w + m.get(step.room, step.stage(i) + (k - n))

        self._gather(pulled, lambda k: gh * found(k))
        of_h = product((v, m.get(step.room, step.stage(i) + k)) for k, v in enumerate(pulled))
        self._laws(active, gh, i, pulled, found)
        return of_h

    def _laws(
        self, active: Operand, gh: Operand, i: Index, pulled: list[Operand], solved: Callable[[int], Operand]
    ) -> None:
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
                of_slope = of_amount * solved(a.state) - of_one * moved[a.state]
                add(m, self.of_slopes, at, of_slope)
                at += 1
        for k, value in of_y.items():
            add(m, self.bar.x, k, value)
        self._pass_on(i, of_moved)

    def _pass_on(self, i: Index, of_moved: dict[int, Operand]) -> None:
        """What the laws read in stage i is made of the stages before."""
        m, step = self.machine, self.step
        for own in chunks(list(enumerate(step.read)), step.together):
            values = [of_moved[k] for _, k in own]

            def one(j: Index, own=own, values=values) -> list[Operand]:
                weight = step.moves(i, j)
                for (place, _), value in zip(own, values, strict=True):
                    add(m, self.of_reads, j + place * step.stages, weight * value)
                return []

            m.repeat(i, one, [])

    def _gradient(self, active: Operand, of_rates: list[Operand], y: Any) -> dict[int, Operand]:
        """Of the amounts that laws read, where they are y; their parameters' are added. A slope may be no number where a
        patient waits."""
        m, flow, bar = self.machine, self.flow, self.bar
        given = flow.given(flow.levels(y))
        of_y: dict[int, Operand] = dict.fromkeys(self.step.read, 0.0)
        gradients = evaluate_expressions(m, list(zip(self.gradient, given, strict=True)))
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

    def _gather(self, of_solved: list[Operand], solved: Callable[[int], Operand]) -> None:
        """Of the linear matrix: Σ γh (v̄ᵢ − v̄ⱼ) qⱼ."""
        m, bar = self.machine, self.bar
        by = [solved(k) for k in range(self.step.size)]
        for j, v in enumerate(of_solved):
            m.put(bar.sums, j, v * by[j] + m.get(bar.sums, j))
        for k, (a, b) in enumerate(self.flow.arrows.arrows):
            m.put(bar.linear, k, (of_solved[a] - of_solved[b]) * by[b] + m.get(bar.linear, k))

    def _begin(self, active: Operand, gh: Operand, x: list[Operand]) -> None:
        """Through what was computed where the step began: f, and the laws' slopes, of which the matrix is made too."""
        m, n, bar, flow = self.machine, self.step.size, self.bar, self.flow
        curves = flow.arrows.curves
        of_f = [gh * m.get(self.of_begun, k) for k in range(n)]
        self._gather(of_f, lambda k: x[k])
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
        bends = evaluate_expressions(m, list(zip(self.bend, ways, strict=True)))
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
