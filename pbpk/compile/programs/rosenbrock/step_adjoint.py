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
from pbpk.compile.programs.rosenbrock.step import RosenbrockStep, dot_product, for_each, split_evenly

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Index, Machine, Operand
    from pbpk.compile.programs.rosenbrock.right_hand_side import NonlinearFlux, RightHandSide


class WindowCotangents:
    """What has been gathered, of: amounts (n), the integral's (n); the linear matrix's entries off the diagonal, its columns'
    sums (n) and the constant (n); the laws' parameters and the inverse volumes among them."""

    def __init__(self, m: Machine, flow: RightHandSide, integrals: bool):
        arrows, n = flow.layout, flow.layout.size
        self.machine, self.flow = m, flow
        self.entries, self.parameter_rows = tuple(arrows.off_diagonal), tuple(range(len(arrows.parameter_rows)))
        self.x, self.linear = m.scratch(n), m.scratch(len(self.entries))
        self.column_sums, self.constant = m.scratch(n), m.scratch(n)
        self.integral = m.scratch(n) if integrals else None
        self.law_parameters, self.inverse_volumes = m.scratch(len(arrows.parameter_rows)), m.scratch(len(flow.volume_slots))
        wide = [(self.x, n), (self.column_sums, n), (self.constant, n), (self.linear, len(self.entries))]
        wide += [(self.integral, n)] if integrals else []
        for room, count in (*wide, (self.law_parameters, len(arrows.parameter_rows)), (self.inverse_volumes, len(flow.volume_slots))):
            if count:
                for_each(m, count, lambda k, room=room: m.put(room, k, 0.0))


def add_to(m: Machine, room: Any, at: Index, value: Operand) -> None:
    m.put(room, at, m.get(room, at) + value)


class StepAdjoint:
    """A step backwards. `of_after` is what is wanted of the amounts after it, `of_gain` h times that of the integral, `onward`
    what a stage hands to the one before; `of_begun` is of γh f. Of the laws, `of_amounts` (laws, stages) is of what they
    add to what a stage solves for, `of_reads` (read, stages) of the stages by what is read of them, `of_slopes` and
    `of_rates` of those where the step began."""

    def __init__(self, m: Machine, step: RosenbrockStep, bar: WindowCotangents):
        self.machine, self.step, self.flow, self.cotangents = m, step, step.flow, bar
        curves = self.flow.layout.nonlinear
        self.of_after, self.of_stage, self.of_begun = (m.scratch(step.size) for _ in range(3))
        self.of_integral = None if bar.integral is None else m.scratch(step.size)
        self.of_slopes, self.of_rates = m.scratch(sum(len(c.states) for c in curves)), m.scratch(len(curves))
        self.of_amounts, self.of_reads = (m.scratch(step.stages * len(x)) for x in (curves, step.read_states))
        self.gradients = self.flow.prepare_laws(lambda law: law.gradient)
        self.second_derivatives = self.flow.prepare_laws(lambda law: law.second_derivative)

    def pull_step(self, active: Operand, h: Operand) -> Operand:
        """Through the step of length h whose beginning and stages the step's room holds: the cotangents before it, and that
        of h. Where not `active`, nothing; h is 0 there, and so must the stages be."""
        m, n, s, bar, step = self.machine, self.step.size, self.step.stages, self.cotangents, self.step
        gh, fresh, x = step.chain.gamma * h, step.chain.fresh, step.read_state()
        factors, _ = step.factor(x, h)
        for_each(m, n, lambda k: m.put(self.of_after, k, m.choose(active, m.get(bar.x, k), 0.0)))
        self._clear(self.of_stage, n)
        self._clear(self.of_begun, n)
        self._clear(self.of_reads, s * len(step.read_states))
        self._clear(self.of_slopes, sum(len(c.states) for c in self.flow.layout.nonlinear))
        self._clear(self.of_rates, len(self.flow.layout.nonlinear))
        of_integral = self._pull_integral(active, h)

        def onward(r: Index, of_h: Operand) -> list[Operand]:
            return [of_h + self._pull_stage(factors, active, gh, r * -1 + (s - 1), first=False)]

        def first(r: Index, of_h: Operand) -> list[Operand]:
            return [of_h + self._pull_stage(factors, active, gh, r * -1 + (fresh - 1), first=True)]

        (of_h,) = m.loop(s - fresh, onward, [0.0])
        (of_h,) = m.loop(fresh, first, [of_h])
        self._pull_start(active, gh, x)
        per = 1.0 / m.choose(h, h, 1.0)
        return m.choose(active, of_h * per + of_integral, 0.0)

    def _clear(self, room: Any, count: int) -> None:
        for_each(self.machine, count, lambda k: self.machine.put(room, k, 0.0))

    def _pull_integral(self, active: Operand, h: Operand) -> Operand:
        """h (x + Σ gainedᵢ wᵢ): of x, and of h."""
        m, n, bar, step = self.machine, self.step.size, self.cotangents, self.step
        if self.of_integral is None:
            return 0.0
        for k in range(n):
            along = h * m.choose(active, m.get(bar.integral, k), 0.0)
            m.put(self.of_integral, k, along)
            add_to(m, bar.x, k, along)

        def one(i: Index, so_far: Operand) -> list[Operand]:
            own = dot_product((m.get(bar.integral, k), m.get(step.scratch, step.stage_slot(i) + k)) for k in range(n))
            return [step.integral_weight(i) * own + so_far]

        whole = dot_product((m.get(bar.integral, k), x) for k, x in enumerate(step.read_state()))
        return m.loop(step.stages, one, [whole])[0]

    def _pull_stage(self, factors: PivotFactors, active: Operand, gh: Operand, i: Index, *, first: bool) -> Operand:
        """Through stage i, of ln h. What it has of the stage before goes there."""
        m, n, step = self.machine, self.step.size, self.step
        result, gain = step.result_weight(i), 0.0 if self.of_integral is None else step.integral_weight(i)
        of_w = []
        for k in range(n):
            own = result * m.get(self.of_after, k) + m.get(self.of_stage, k)
            own = own if self.of_integral is None else gain * m.get(self.of_integral, k) + own
            if k in step.read_states:
                own = own + m.get(self.of_reads, i + step.read_states.index(k) * step.stages)
            m.put(self.of_stage, k, own)
            of_w.append(own)
        pulled = solve_transposed(m, factors, of_w)
        for k, v in enumerate(pulled):
            m.put(self.of_stage, k, 0.0 if first else v - m.get(self.of_stage, k))
            if first:
                add_to(m, self.of_begun, k, v)

        def found(k: int) -> Operand:
            w = m.get(step.scratch, step.stage_slot(i) + k)
            return w if first else w + m.get(step.scratch, step.stage_slot(i) + (k - n))

        self._add_matrix_terms(pulled, lambda k: gh * found(k))
        of_h = dot_product((v, m.get(step.scratch, step.stage_slot(i) + k)) for k, v in enumerate(pulled))
        self._pull_laws(active, gh, i, pulled, found)
        return of_h

    def _pull_laws(
        self, active: Operand, gh: Operand, i: Index, pulled: list[Operand], solved: Callable[[int], Operand]
    ) -> None:
        """What a stage's laws have beyond their tangents, in this stage and those after it."""
        m, flow, step, count = self.machine, self.flow, self.step, self.step.stages
        curves = flow.layout.nonlinear
        for k, c in enumerate(curves):
            m.put(self.of_amounts, i + k * count, gh * net_gain(c, pulled))
        moved = step.state_increments(i)
        of_beyond: list[Operand] = []
        for own in split_evenly(range(len(curves)), step.sums_at_once):

            def one(j: Index, *sums: Operand, own=own) -> list[Operand]:
                weight = step.nonlinear_weight(i + j, i)
                at = [m.get(self.of_amounts, i + j + k * count) for k in own]
                return [weight * a + s for a, s in zip(at, sums, strict=True)]

            of_beyond += m.repeat(i * -1 + count, one, [0.0] * len(own))[1]
        for k, of_one in enumerate(of_beyond):
            add_to(m, self.of_rates, k, -of_one)
        x = step.read_state()
        y = {k: x[k] + by for k, by in moved.items()}
        of_y = self._pull_rates(active, of_beyond, y)
        of_moved, at = dict(of_y), 0
        for k, (c, of_one) in enumerate(zip(curves, of_beyond, strict=True)):
            of_amount = m.get(self.of_amounts, i + k * count)
            for a in c.arguments:
                if a.state is None:
                    continue
                slope = m.get(step.slopes, at)
                slope = slope if a.row is None else slope * flow.inverse_volume(a)
                of_moved[a.state] = of_moved[a.state] - m.choose(active, of_one * slope, 0.0)
                of_slope = of_amount * solved(a.state) - of_one * moved[a.state]
                add_to(m, self.of_slopes, at, of_slope)
                at += 1
        for k, value in of_y.items():
            add_to(m, self.cotangents.x, k, value)
        self._pull_increments(i, of_moved)

    def _pull_increments(self, i: Index, of_moved: dict[int, Operand]) -> None:
        """What the laws read in stage i is made of the stages before."""
        m, step = self.machine, self.step
        for own in split_evenly(list(enumerate(step.read_states)), step.sums_at_once):
            values = [of_moved[k] for _, k in own]

            def one(j: Index, own=own, values=values) -> list[Operand]:
                weight = step.state_weight(i, j)
                for (place, _), value in zip(own, values, strict=True):
                    add_to(m, self.of_reads, j + place * step.stages, weight * value)
                return []

            m.repeat(i, one, [])

    def _pull_rates(self, active: Operand, of_rates: list[Operand], y: Any) -> dict[int, Operand]:
        """Of the amounts that laws read, where they are y; their parameters' are added. A slope may be no number where a
        patient waits."""
        m, flow, bar = self.machine, self.flow, self.cotangents
        given = flow.law_arguments(flow.read_levels(y))
        of_y: dict[int, Operand] = dict.fromkeys(self.step.read_states, 0.0)
        gradients = evaluate_expressions(m, list(zip(self.gradients, given, strict=True)))
        for c, of_rate, gradient in zip(flow.layout.nonlinear, of_rates, gradients, strict=True):
            for a, slope in zip(c.arguments, gradient, strict=True):
                value = m.choose(active, of_rate * slope, 0.0)
                if a.state is None:
                    add_to(m, bar.law_parameters, a.row, value)
                elif a.row is None:
                    of_y[a.state] = of_y[a.state] + value
                else:
                    of_y[a.state] = value * flow.inverse_volume(a) + of_y[a.state]
                    add_to(m, bar.inverse_volumes, flow.volume_slots[a.row], value * y[a.state])
        return of_y

    def _add_matrix_terms(self, of_solved: list[Operand], solved: Callable[[int], Operand]) -> None:
        """Of the linear matrix: Σ γh (v̄ᵢ − v̄ⱼ) qⱼ."""
        m, bar = self.machine, self.cotangents
        by = [solved(k) for k in range(self.step.size)]
        for j, v in enumerate(of_solved):
            m.put(bar.column_sums, j, v * by[j] + m.get(bar.column_sums, j))
        for k, (a, b) in enumerate(self.flow.layout.off_diagonal):
            m.put(bar.linear, k, (of_solved[a] - of_solved[b]) * by[b] + m.get(bar.linear, k))

    def _pull_start(self, active: Operand, gh: Operand, x: list[Operand]) -> None:
        """Through what was computed where the step began: f, and the laws' slopes, of which the matrix is made too."""
        m, n, bar, flow = self.machine, self.step.size, self.cotangents, self.flow
        curves = flow.layout.nonlinear
        of_f = [gh * m.get(self.of_begun, k) for k in range(n)]
        self._add_matrix_terms(of_f, lambda k: x[k])
        of_x = [f * flow.diagonal(k) for k, f in enumerate(of_f)]
        for k, (a, b) in enumerate(flow.layout.off_diagonal):
            of_x[b] = of_f[a] * flow.off_diagonal(k) + of_x[b]
        of_rates = [m.get(self.of_rates, k) + net_gain(c, of_f) for k, c in enumerate(curves)]
        for k, value in self._pull_rates(active, of_rates, x).items():
            of_x[k] = of_x[k] + value
        for k, value in enumerate(of_x):
            add_to(m, bar.x, k, value)
            add_to(m, bar.constant, k, of_f[k])
        self._pull_slopes(active, x)

    def _pull_slopes(self, active: Operand, x: list[Operand]) -> None:
        """Through the slopes: to where the step began, and to the parameters."""
        m, bar, at = self.machine, self.cotangents, 0
        given, ways = self.flow.law_arguments(self.flow.read_levels(x)), []
        for c, levels in zip(self.flow.layout.nonlinear, given, strict=True):
            states = [a for a in c.arguments if a.state is not None]
            slopes, of_slopes = (
                [m.get(room, at + k) for k in range(len(states))] for room in (self.step.slopes, self.of_slopes)
            )
            at += len(states)
            by = [t if a.row is None else t * self.flow.inverse_volume(a) for t, a in zip(of_slopes, states, strict=True)]
            for a, slope, t in zip(states, slopes, of_slopes, strict=True):
                if a.row is not None:
                    add_to(m, bar.inverse_volumes, self.flow.volume_slots[a.row], m.choose(active, t * slope, 0.0))
            ways.append(levels | {len(c.arguments) + k: t for k, t in enumerate(by)})
        bends = evaluate_expressions(m, list(zip(self.second_derivatives, ways, strict=True)))
        for c, bend in zip(self.flow.layout.nonlinear, bends, strict=True):
            for a, bent in zip(c.arguments, bend, strict=False):
                value = m.choose(active, bent, 0.0)
                if a.state is None:
                    add_to(m, bar.law_parameters, a.row, value)
                    continue
                add_to(m, bar.x, a.state, value if a.row is None else value * self.flow.inverse_volume(a))
                if a.row is not None:
                    add_to(m, bar.inverse_volumes, self.flow.volume_slots[a.row], value * x[a.state])


def net_gain(curve: NonlinearFlux, rows: Sequence[Operand]) -> Operand:
    """What rows have more where a law goes than where it comes from."""
    total = 0.0 if curve.target is None else rows[curve.target]
    return total if curve.source is None else total - rows[curve.source]


def collect_rows(bar: WindowCotangents, mark_lost: Callable[[Operand], Operand]) -> dict[str, list[tuple[int, Operand]]]:
    """The rows of the results `linear`, `constant` and `given`; `spoil` makes a number of what was lost."""
    m, flow = bar.machine, bar.flow
    arrows = flow.layout
    linear = [(slot, m.get(bar.linear, k)) for k, slot in enumerate(arrows.off_diagonal.values())]
    linear += [(slot, m.get(bar.column_sums, j)) for j, slot in arrows.column_sums.items()]
    given = {k: m.get(bar.law_parameters, k) for k in bar.parameter_rows}
    for row, k in flow.volume_slots.items():
        per = m.get(flow.inverse_volumes, k)
        given[row] = given[row] - m.get(bar.inverse_volumes, k) * (per * per)
    found = {"linear": linear, "constant": [(k, m.get(bar.constant, k)) for k in range(arrows.size)]}
    found["given"] = list(given.items())
    return {name: [(row, mark_lost(value)) for row, value in rows] for name, rows in found.items()}
