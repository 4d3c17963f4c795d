"""The reverse of one Rosenbrock step on operands: what `pbpk.solve.stage.pull_step` does on arrays.

Mᵀλᵢ = ūᵢ stage by stage backwards; γhλᵢ acts on the right-hand side as an evaluation of the field does, and γhλᵢuᵢ' on the
Jacobian, so that both meet in one product by (yᵢ + uᵢ) for the linear arrows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pbpk.kernel.arrows import Flow
from pbpk.kernel.eliminate import Factors, solve_transposed
from pbpk.kernel.laws import evaluate
from pbpk.kernel.machine import Index, Machine, Operand
from pbpk.kernel.step import Step, each, product


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
    """A step backwards. Of each stage (stages, n): `of_stages` is what has been gathered of u, `turned` λ, `both` y + u."""

    def __init__(self, m: Machine, step: Step, bar: Cotangents):
        self.machine, self.step, self.flow, self.bar = m, step, step.flow, bar
        self.of_stages, self.turned, self.both = (m.scratch(step.stages * step.size) for _ in range(3))
        self.of_y = m.scratch(step.size)
        self.of_slopes = m.scratch(sum(len(c.states) for c in self.flow.arrows.curves))
        self.gradient = self.flow.prepared(lambda law: law.gradient)
        self.bend = self.flow.prepared(lambda law: law.bend)
        self.slopes = self.flow.prepared(lambda law: law.slopes)

    def back(self, active: Operand, h: Operand) -> Operand:
        """Through the step of length h whose beginning and stages the step's room holds: the cotangents before it, and that
        of h. Where not `active`, nothing; h is 0 there, and so must the stages be."""
        m, n, s, bar, step = self.machine, self.step.size, self.step.stages, self.bar, self.step
        gamma, gh = step.tableau.gamma, step.tableau.gamma * h
        factors = step.factor(h)

        def begin(i: Index) -> list[Operand]:
            last = step.last(i)
            for k in range(n):
                m.put(self.of_stages, i * n + k, last * m.choose(active, m.get(bar.x, k), 0.0))
            return []

        m.loop(s, begin)
        for k in range(sum(len(c.states) for c in self.flow.arrows.curves)):
            m.put(self.of_slopes, k, 0.0)

        def stage(r: Index, of_h: Operand, of_gain: Operand) -> list[Operand]:
            return self._stage(factors, active, gh, r * -1 + (s - 1), of_h, of_gain)

        of_h, of_gain = m.loop(s, stage, [0.0, 0.0])
        self._gather(gh)
        self._bend(active, step.state())
        per = 1.0 / m.choose(h, h, 1.0)
        return m.choose(active, of_h * per + gamma * of_gain, 0.0)

    def _stage(
        self, factors: Factors, active: Operand, gh: Operand, i: Index, of_h: Operand, of_gain: Operand
    ) -> list[Operand]:
        m, n, bar, step = self.machine, self.step.size, self.bar, self.step
        step.begin(i)
        of_u = [m.get(self.of_stages, i * n + k) for k in range(n)]
        along: list[Operand] = [0.0] * n
        if bar.gain is not None:
            w = step.weight(i)
            share = gh * w
            gain = [m.choose(active, m.get(bar.gain, k), 0.0) for k in range(n)]
            along = [share * g for g in gain]
            of_u = [u + a for u, a in zip(of_u, along, strict=True)]
            of_gain = of_gain + w * product((g, self._together(i, k)) for k, g in enumerate(gain))
        turned = solve_transposed(m, factors, of_u)
        for k, t in enumerate(turned):
            m.put(self.turned, i * n + k, t)
            m.put(self.both, i * n + k, self._together(i, k))
        of_h = of_h + product((t, self._u(i, k) - m.get(step.pushed, k)) for k, t in enumerate(turned))
        of_f = [gh * t for t in turned]
        of_y = self._linear(of_f, along)
        self._curves(active, of_f, of_y, i)
        for k, value in enumerate(of_y):
            m.put(self.of_y, k, value)
            add(m, bar.x, k, value)
        self._pass_on(i)
        return [of_h, of_gain]

    def _pass_on(self, i: Index) -> None:
        """What stage i was made of: the stages before."""
        m, n, step = self.machine, self.step.size, self.step

        def some(start: Index, width: int) -> None:
            of_y = [m.get(self.of_y, start + k) for k in range(width)]
            turned = [m.get(self.turned, i * n + start + k) for k in range(width)]

            def one(j: Index) -> list[Operand]:
                a, c = step.coefficients(i, j)
                for k in range(width):
                    at = j * n + start + k
                    m.put(self.of_stages, at, a * of_y[k] + (c * turned[k] + m.get(self.of_stages, at)))
                return []

            m.repeat(i, one, [])

        step.tiles(some)

    def _u(self, i: Index, k: int) -> Operand:
        return self.machine.get(self.step.room, self.step.base + i * self.step.size + (self.step.size + k))

    def _together(self, i: Index, k: int) -> Operand:
        """y + u."""
        return self.machine.get(self.step.y, k) + self._u(i, k)

    def _linear(self, of_f: list[Operand], along: list[Operand]) -> list[Operand]:
        """Of y, through the linear arrows."""
        of_y = [f * self.flow.own(k) + a for k, (f, a) in enumerate(zip(of_f, along, strict=True))]
        for k, (a, b) in enumerate(self.flow.arrows.arrows):
            of_y[b] = of_f[a] * self.flow.off(k) + of_y[b]
        return of_y

    def _gather(self, gh: Operand) -> None:
        """Of the linear matrix and the constant, from all stages: Σ γh (λᵢ − λⱼ) (y + u)ⱼ, a column j at a time."""
        m, n, bar, arrows = self.machine, self.step.size, self.bar, self.flow.arrows
        for j in range(n):
            own = [(k, a) for k, (a, b) in enumerate(arrows.arrows) if b == j]

            def one(i: Index, constant: Operand, total: Operand, *so_far: Operand, j=j, own=own) -> list[Operand]:
                turned, both = m.get(self.turned, i * n + j), m.get(self.both, i * n + j)
                new = [
                    (m.get(self.turned, i * n + a) - turned) * both + old
                    for (_, a), old in zip(own, so_far, strict=True)
                ]
                return [constant + turned, turned * both + total, *new]

            constant, total, *found = m.loop(self.step.stages, one, [0.0] * (2 + len(own)))
            add(m, bar.constant, j, gh * constant)
            add(m, bar.sums, j, gh * total)
            for (k, _), value in zip(own, found, strict=True):
                add(m, bar.linear, k, gh * value)

    def _curves(self, active: Operand, of_f: list[Operand], of_y: list[Operand], i: Index) -> None:
        """Through the nonlinear arrows; adds to that of y. A slope may be no number where a patient waits."""
        m, bar, at = self.machine, self.bar, 0
        y = [m.get(self.step.y, k) for k in range(self.step.size)]
        gradients = evaluate(m, list(zip(self.gradient, self.flow.levels(y), strict=True)))
        for c, gradient in zip(self.flow.arrows.curves, gradients, strict=True):
            of_rate = 0.0 if c.target is None else of_f[c.target]
            of_rate = of_rate if c.source is None else of_rate - of_f[c.source]
            for a, slope in zip(c.arguments, gradient, strict=True):
                value = m.choose(active, of_rate * slope, 0.0)
                if a.state is None:
                    add(m, bar.rows, a.row, value)
                    continue
                m.put(self.of_slopes, at, of_rate * self._u(i, a.state) + m.get(self.of_slopes, at))
                at += 1
                if a.row is None:
                    of_y[a.state] = of_y[a.state] + value
                else:
                    of_y[a.state] = value * self.flow.per(a) + of_y[a.state]
                    add(m, bar.inverse, self.flow.volumes[a.row], value * y[a.state])

    def _bend(self, active: Operand, x: list[Operand]) -> None:
        """The matrix's own dependence on where the step began, and on the parameters."""
        m, bar, at = self.machine, self.bar, 0
        levels, ways = self.flow.levels(x), []
        for c, level in zip(self.flow.arrows.curves, levels, strict=True):
            states = [a for a in c.arguments if a.state is not None]
            of_slopes = [m.get(self.of_slopes, at + k) for k in range(len(states))]
            at += len(states)
            by = [t if a.row is None else t * self.flow.per(a) for t, a in zip(of_slopes, states, strict=True)]
            ways.append((level | {len(c.arguments) + k: t for k, t in enumerate(by)}, states, of_slopes))
        slopes = evaluate(m, list(zip(self.slopes, levels, strict=True)))
        bends = evaluate(m, [(bend, way[0]) for bend, way in zip(self.bend, ways, strict=True)])
        for c, own, bend, (_, states, of_slopes) in zip(self.flow.arrows.curves, slopes, bends, ways, strict=True):
            for a, slope, t in zip(states, own, of_slopes, strict=True):
                if a.row is not None:
                    add(m, bar.inverse, self.flow.volumes[a.row], m.choose(active, t * slope, 0.0))
            for a, bent in zip(c.arguments, bend, strict=False):
                value = m.choose(active, bent, 0.0)
                if a.state is None:
                    add(m, bar.rows, a.row, value)
                    continue
                add(m, bar.x, a.state, value if a.row is None else value * self.flow.per(a))
                if a.row is not None:
                    add(m, bar.inverse, self.flow.volumes[a.row], value * x[a.state])


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
