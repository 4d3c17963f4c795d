"""The adjoint of one Rosenbrock step on operands (pbpk.solve.rosenbrock_step has that of the tableau's stages, on arrays).

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
from pbpk.compile.programs.loops import dot_product, for_each, split_evenly
from pbpk.compile.programs.rosenbrock.step import RosenbrockStep

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Backend, Index, Operand
    from pbpk.compile.programs.rosenbrock.right_hand_side import NonlinearFlux, RightHandSide


class WindowCotangents:
    """The cotangents that a window's steps add up, in scratch: of the amounts `x` (n) and their `integral` (n); of the linear
    matrix's entries off the diagonal (`linear`), of its `column_sums` (n) and of the `constant` (n); of the
    `law_parameters` and of the `inverse_volumes` among them."""

    def __init__(self, m: Backend, rhs: RightHandSide, integrals: bool):
        layout, n = rhs.layout, rhs.layout.size
        entries, rows, volumes = len(layout.off_diagonal), len(layout.parameter_rows), len(rhs.volume_slots)
        self.machine, self.rhs = m, rhs
        self.x, self.linear = m.scratch(n), m.scratch(entries)
        self.column_sums, self.constant = m.scratch(n), m.scratch(n)
        self.integral = m.scratch(n) if integrals else None
        self.law_parameters, self.inverse_volumes = m.scratch(rows), m.scratch(volumes)
        sizes = [(self.x, n), (self.column_sums, n), (self.constant, n), (self.linear, entries)]
        sizes += [(self.integral, n)] if integrals else []
        for scratch, count in (*sizes, (self.law_parameters, rows), (self.inverse_volumes, volumes)):
            if count:
                for_each(m, count, lambda k, scratch=scratch: m.put(scratch, k, 0.0))


def add_to(m: Backend, scratch: Any, slot: Index, value: Operand) -> None:
    """Adds to a number in scratch."""
    m.put(scratch, slot, m.get(scratch, slot) + value)


class StepAdjoint:
    """Goes back through steps, one at a time.

    Scratch for cotangents: `of_after` of the amounts after the step; `of_integral` h times that of the integral; `of_stage`
    what a stage hands to the one before; `of_start` of γh f. Of the laws: `of_terms` (laws, stages) of what they add to what a
    stage solves for, `of_reads` (read states, stages) of the stages by what laws read of them, `of_slopes` and `of_rates` of
    the slopes and rates where the step began."""

    def __init__(self, m: Backend, step: RosenbrockStep, bars: WindowCotangents):
        self.machine, self.step, self.rhs, self.bars = m, step, step.rhs, bars
        fluxes = self.rhs.layout.nonlinear
        self.of_after, self.of_stage, self.of_start = (m.scratch(step.size) for _ in range(3))
        self.of_integral = None if bars.integral is None else m.scratch(step.size)
        self.of_slopes, self.of_rates = m.scratch(sum(len(c.states) for c in fluxes)), m.scratch(len(fluxes))
        self.of_terms, self.of_reads = (m.scratch(step.stages * len(x)) for x in (fluxes, step.read_states))
        self.gradients = self.rhs.prepare_laws(lambda law: law.gradient)
        self.second_derivatives = self.rhs.prepare_laws(lambda law: law.second_derivative)

    def pull_step(self, active: Operand, h: Operand) -> Operand:
        """Goes back through the step of length h whose beginning and stages are in the step's scratch: replaces the cotangents
        of the amounts, and gives that of h. Where not `active`, nothing happens; h is 0 there, and so must the stages be."""
        m, n, s, bars, step = self.machine, self.step.size, self.step.stages, self.bars, self.step
        gh, fresh, x = step.chain.gamma * h, step.chain.fresh, step.read_state()
        factors, _ = step.factor_equations(x, h)
        for_each(m, n, lambda k: m.put(self.of_after, k, m.choose(active, m.get(bars.x, k), 0.0)))
        self._clear(self.of_stage, n)
        self._clear(self.of_start, n)
        self._clear(self.of_reads, s * len(step.read_states))
        self._clear(self.of_slopes, sum(len(c.states) for c in self.rhs.layout.nonlinear))
        self._clear(self.of_rates, len(self.rhs.layout.nonlinear))
        of_integral = self._pull_integral(active, h)

        def following(r: Index, of_h: Operand) -> list[Operand]:
            return [of_h + self._pull_stage(factors, active, gh, r * -1 + (s - 1), first=False)]

        def first(r: Index, of_h: Operand) -> list[Operand]:
            return [of_h + self._pull_stage(factors, active, gh, r * -1 + (fresh - 1), first=True)]

        (of_h,) = m.loop(s - fresh, following, [0.0])
        (of_h,) = m.loop(fresh, first, [of_h])
        self._pull_start(active, gh, x)
        per = 1.0 / m.choose(h, h, 1.0)
        return m.choose(active, of_h * per + of_integral, 0.0)

    def _clear(self, scratch: Any, count: int) -> None:
        """Begins with 0."""
        for_each(self.machine, count, lambda k: self.machine.put(scratch, k, 0.0))

    def _pull_integral(self, active: Operand, h: Operand) -> Operand:
        """Through h (x + Σ gainedᵢ wᵢ): adds to x's, and gives that of h."""
        m, n, bars, step = self.machine, self.step.size, self.bars, self.step
        if self.of_integral is None:
            return 0.0
        for k in range(n):
            bar = h * m.choose(active, m.get(bars.integral, k), 0.0)
            m.put(self.of_integral, k, bar)
            add_to(m, bars.x, k, bar)

        def add_stage(i: Index, so_far: Operand) -> list[Operand]:
            of_stage = dot_product(
                (m.get(bars.integral, k), m.get(step.scratch, step.stage_slot(i) + k)) for k in range(n)
            )
            return [step.integral_weight(i) * of_stage + so_far]

        of_x = dot_product((m.get(bars.integral, k), x) for k, x in enumerate(step.read_state()))
        return m.loop(step.stages, add_stage, [of_x])[0]

    def _pull_stage(self, factors: PivotFactors, active: Operand, gh: Operand, i: Index, *, first: bool) -> Operand:
        """Through stage i; gives what it has of ln h. What it has of the stage before goes there; a `first` stage begins with
        f instead."""
        m, n, step = self.machine, self.step.size, self.step
        result, gain = step.result_weight(i), 0.0 if self.of_integral is None else step.integral_weight(i)
        of_w = []
        for k in range(n):
            bar = result * m.get(self.of_after, k) + m.get(self.of_stage, k)
            bar = bar if self.of_integral is None else gain * m.get(self.of_integral, k) + bar
            if k in step.read_states:
                bar = bar + m.get(self.of_reads, i + step.read_states.index(k) * step.stages)
            m.put(self.of_stage, k, bar)
            of_w.append(bar)
        pulled = solve_transposed(m, factors, of_w)
        for k, v in enumerate(pulled):
            m.put(self.of_stage, k, 0.0 if first else v - m.get(self.of_stage, k))
            if first:
                add_to(m, self.of_start, k, v)

        def solution(k: int) -> Operand:
            w = m.get(step.scratch, step.stage_slot(i) + k)
            return w if first else w + m.get(step.scratch, step.stage_slot(i) + (k - n))

        self._add_matrix_terms(pulled, lambda k: gh * solution(k))
        of_h = dot_product((v, m.get(step.scratch, step.stage_slot(i) + k)) for k, v in enumerate(pulled))
        self._pull_laws(active, gh, i, pulled, solution)
        return of_h

    def _pull_laws(
        self, active: Operand, gh: Operand, i: Index, pulled: list[Operand], solution: Callable[[int], Operand]
    ) -> None:
        """Through what stage i's laws have beyond their tangents, in this stage and in those after it."""
        m, rhs, step, count = self.machine, self.rhs, self.step, self.step.stages
        fluxes = rhs.layout.nonlinear
        for k, c in enumerate(fluxes):
            m.put(self.of_terms, i + k * count, gh * net_gain(c, pulled))
        increments = step.state_increments(i)
        of_beyond: list[Operand] = []
        for laws in split_evenly(range(len(fluxes)), step.sums_at_once):

            def add_stage(j: Index, *sums: Operand, laws=laws) -> list[Operand]:
                weight = step.nonlinear_weight(i + j, i)
                bars = [m.get(self.of_terms, i + j + k * count) for k in laws]
                return [weight * bar + s for bar, s in zip(bars, sums, strict=True)]

            of_beyond += m.repeat(i * -1 + count, add_stage, [0.0] * len(laws))[1]
        for k, bar in enumerate(of_beyond):
            add_to(m, self.of_rates, k, -bar)
        x = step.read_state()
        y = {k: x[k] + by for k, by in increments.items()}
        of_y = self._pull_rates(active, of_beyond, y)
        of_increments, slot = dict(of_y), 0
        for k, (c, bar) in enumerate(zip(fluxes, of_beyond, strict=True)):
            of_term = m.get(self.of_terms, i + k * count)
            for a in c.arguments:
                if a.state is None:
                    continue
                slope = m.get(step.slopes, slot)
                slope = slope if a.row is None else slope * rhs.inverse_volume(a)
                of_increments[a.state] = of_increments[a.state] - m.choose(active, bar * slope, 0.0)
                of_slope = of_term * solution(a.state) - bar * increments[a.state]
                add_to(m, self.of_slopes, slot, of_slope)
                slot += 1
        for k, value in of_y.items():
            add_to(m, self.bars.x, k, value)
        self._pull_increments(i, of_increments)

    def _pull_increments(self, i: Index, of_increments: dict[int, Operand]) -> None:
        """What the laws read in stage i is made of the stages before: to those."""
        m, step = self.machine, self.step
        for states in split_evenly(list(enumerate(step.read_states)), step.sums_at_once):
            values = [of_increments[k] for _, k in states]

            def add_to_stage(j: Index, states=states, values=values) -> list[Operand]:
                weight = step.state_weight(i, j)
                for (number, _), value in zip(states, values, strict=True):
                    add_to(m, self.of_reads, j + number * step.stages, weight * value)
                return []

            m.repeat(i, add_to_stage, [])

    def _pull_rates(self, active: Operand, of_rates: list[Operand], y: Any) -> dict[int, Operand]:
        """Through the laws' rates at the amounts y: gives those of the amounts that laws read, and adds those of the laws'
        parameters. A slope may be no number where a patient waits."""
        m, rhs, bars = self.machine, self.rhs, self.bars
        arguments = rhs.law_arguments(rhs.read_levels(y))
        of_y: dict[int, Operand] = dict.fromkeys(self.step.read_states, 0.0)
        gradients = evaluate_expressions(m, list(zip(self.gradients, arguments, strict=True)))
        for c, of_rate, gradient in zip(rhs.layout.nonlinear, of_rates, gradients, strict=True):
            for a, slope in zip(c.arguments, gradient, strict=True):
                value = m.choose(active, of_rate * slope, 0.0)
                if a.state is None:
                    add_to(m, bars.law_parameters, a.row, value)
                elif a.row is None:
                    of_y[a.state] = of_y[a.state] + value
                else:
                    of_y[a.state] = value * rhs.inverse_volume(a) + of_y[a.state]
                    add_to(m, bars.inverse_volumes, rhs.volume_slots[a.row], value * y[a.state])
        return of_y

    def _add_matrix_terms(self, of_rhs: list[Operand], solution: Callable[[int], Operand]) -> None:
        """Adds to the linear matrix's cotangents: γh (v̄ᵢ − v̄ⱼ) qⱼ."""
        m, bars = self.machine, self.bars
        q = [solution(k) for k in range(self.step.size)]
        for j, v in enumerate(of_rhs):
            m.put(bars.column_sums, j, v * q[j] + m.get(bars.column_sums, j))
        for k, (i, j) in enumerate(self.rhs.layout.off_diagonal):
            m.put(bars.linear, k, (of_rhs[i] - of_rhs[j]) * q[j] + m.get(bars.linear, k))

    def _pull_start(self, active: Operand, gh: Operand, x: list[Operand]) -> None:
        """Through what was computed where the step began: f, and the laws' slopes, of which the matrix is made too."""
        m, n, bars, rhs = self.machine, self.step.size, self.bars, self.rhs
        of_f = [gh * m.get(self.of_start, k) for k in range(n)]
        self._add_matrix_terms(of_f, lambda k: x[k])
        of_x = [bar * rhs.diagonal(k) for k, bar in enumerate(of_f)]
        for k, (i, j) in enumerate(rhs.layout.off_diagonal):
            of_x[j] = of_f[i] * rhs.off_diagonal(k) + of_x[j]
        of_rates = [m.get(self.of_rates, k) + net_gain(c, of_f) for k, c in enumerate(rhs.layout.nonlinear)]
        for k, value in self._pull_rates(active, of_rates, x).items():
            of_x[k] = of_x[k] + value
        for k, value in enumerate(of_x):
            add_to(m, bars.x, k, value)
            add_to(m, bars.constant, k, of_f[k])
        self._pull_slopes(active, x)

    def _pull_slopes(self, active: Operand, x: list[Operand]) -> None:
        """Through the laws' slopes, by their second derivatives: to where the step began, and to the parameters."""
        m, rhs, bars, first = self.machine, self.rhs, self.bars, 0
        arguments = []
        for c, levels in zip(rhs.layout.nonlinear, rhs.law_arguments(rhs.read_levels(x)), strict=True):
            states = [a for a in c.arguments if a.state is not None]
            slopes, of_slopes = (
                [m.get(scratch, first + k) for k in range(len(states))]
                for scratch in (self.step.slopes, self.of_slopes)
            )
            first += len(states)
            by = [t if a.row is None else t * rhs.inverse_volume(a) for t, a in zip(of_slopes, states, strict=True)]
            for a, slope, t in zip(states, slopes, of_slopes, strict=True):
                if a.row is not None:
                    add_to(m, bars.inverse_volumes, rhs.volume_slots[a.row], m.choose(active, t * slope, 0.0))
            arguments.append(levels | {len(c.arguments) + k: t for k, t in enumerate(by)})
        gradients = evaluate_expressions(m, list(zip(self.second_derivatives, arguments, strict=True)))
        for c, gradient in zip(rhs.layout.nonlinear, gradients, strict=True):
            for a, bar in zip(c.arguments, gradient, strict=False):
                value = m.choose(active, bar, 0.0)
                if a.state is None:
                    add_to(m, bars.law_parameters, a.row, value)
                    continue
                add_to(m, bars.x, a.state, value if a.row is None else value * rhs.inverse_volume(a))
                if a.row is not None:
                    add_to(m, bars.inverse_volumes, rhs.volume_slots[a.row], value * x[a.state])


def net_gain(flux: NonlinearFlux, rows: Sequence[Operand]) -> Operand:
    """What rows have more at a flux's target than at its source; outside it is 0."""
    gain = 0.0 if flux.target is None else rows[flux.target]
    return gain if flux.source is None else gain - rows[flux.source]


def collect_rows(
    bars: WindowCotangents, mark_lost: Callable[[Operand], Operand]
) -> dict[str, list[tuple[int, Operand]]]:
    """The rows of the cotangents of `linear`, `constant` and `law_parameters`, as they are packed; `mark_lost` makes NaN of
    those of patients whose steps could not be recorded."""
    m, rhs, layout = bars.machine, bars.rhs, bars.rhs.layout
    linear = [(slot, m.get(bars.linear, k)) for k, slot in enumerate(layout.off_diagonal.values())]
    linear += [(slot, m.get(bars.column_sums, j)) for j, slot in layout.column_sums.items()]
    laws = {k: m.get(bars.law_parameters, k) for k in range(len(layout.parameter_rows))}
    for row, k in rhs.volume_slots.items():
        inverse = m.get(rhs.inverse_volumes, k)
        laws[row] = laws[row] - m.get(bars.inverse_volumes, k) * (inverse * inverse)
    constant = [(k, m.get(bars.constant, k)) for k in range(layout.size)]
    rows = {"linear": linear, "constant": constant, "law_parameters": list(laws.items())}
    return {name: [(row, mark_lost(value)) for row, value in of_name] for name, of_name in rows.items()}
