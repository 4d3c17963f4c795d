"""A whole solution's kernels (forward.py, adjoint.py, likelihood.py) as functions of JAX arrays, for use inside `jit`
and `vmap`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax

from pbpk.compile.programs.linear.window import Crossing
from pbpk.compile.programs.linear.window_adjoint import Pulling
from pbpk.compile.programs.rosenbrock.window import March, Method
from pbpk.compile.programs.rosenbrock.window_adjoint import Unmarch
from pbpk.compile.programs.solution.adjoint import JourneyBack
from pbpk.compile.programs.solution.forward import Journey
from pbpk.compile.programs.solution.layout import OF_STOPS, Plan
from pbpk.compile.programs.solution.likelihood import Judge, Likelihood
from pbpk.compile.xla import bind, jit

if TYPE_CHECKING:
    from pbpk.linalg.series import Series
    from pbpk.model.system import System

Arrays = dict[str, jax.Array]
"""By name as in forward.py, each (rows, ...) with its own axes first and then the patients'; what all share has none."""


def linear_leg(
    system: System, series: Series, stops: int, integrals: bool, fed: bool, readings: tuple[tuple[int, ...], ...] = ()
) -> Crossing:
    """The program that crosses a linear window, with a constant inflow `fed` or none, for `readings` or all amounts."""
    registers = jit.host().registers * 3 // 4
    return Crossing(system, series, stops, True, integrals, fed, registers=registers, readings=readings)


def march_leg(method: Method, stops: int, fed: bool) -> March:
    """The same of a saturable window."""
    return March(replace(method, registers=jit.host().registers), stops, True, fed)


def travel(plan: Plan, given: Arrays, *, keeps: bool) -> Arrays:
    """The results of `Journey`, by name."""
    program = Journey(plan, keeps)
    found = bind.call(_There(plan, keeps), *(given[b.name] for b in program.arguments))
    return dict(zip((b.name for b in program.results), found, strict=True))


def travel_back(plan: Plan, given: Arrays) -> Arrays:
    """The results of `JourneyBack`, by the name of what they are cotangents of."""
    program = JourneyBack(plan, _reverse(plan.leg))
    found = bind.call(_Back(plan), *(given[b.name] for b in program.arguments))
    return {b.name.removeprefix("of_"): x for b, x in zip(program.results, found, strict=True)}


def judged(plan: Plan, judge: Judge, given: Arrays, *, sloped: bool) -> Arrays:
    """The results of `Likelihood`, by name."""
    kernel = _Judged(plan, judge, sloped)
    program = kernel.program(plan)
    found = bind.call(kernel, *(given[b.name] for b in program.arguments))
    return dict(zip((b.name for b in program.results), found, strict=True))


def _reverse(leg: Any) -> Pulling | Unmarch:
    if isinstance(leg, March):
        return Unmarch(leg)
    return Pulling(leg.system, leg.series, leg.stops, leg.shared, leg.integrals, leg.source, registers=leg.registers)


class _Kernel:
    """What both have in common as kernels (bind.py)."""

    plan: Plan

    @property
    def _arguments(self) -> Sequence[Any]:
        raise NotImplementedError

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(len(b.shape) for b in self._arguments)

    @property
    def common(self) -> tuple[bool, ...]:
        return tuple(b.share or b.name in OF_STOPS for b in self._arguments)

    @property
    def fixed(self) -> tuple[bool, ...]:
        own = {b.name for b in self.plan.structure if b.share}
        return tuple(b.name in own for b in self._arguments)

    def _planned(self, shared: Sequence[bool]) -> Plan:
        """With stops that are the same for all, or not."""
        names = [b.name for b in self._arguments]
        same = all(one for name, one in zip(names, shared, strict=True) if name in OF_STOPS)
        leg: Any = self.plan.leg
        return replace(self.plan, leg=replace(leg, shared=same))


@dataclass(frozen=True)
class _There(_Kernel):
    plan: Plan
    keeps: bool

    @property
    def _arguments(self):
        return self.plan.arguments

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[Journey, list[jax.Array]]:
        plan = self._planned(shared)
        return Journey(plan, self.keeps), _for_each(plan, self._arguments, arrays)


@dataclass(frozen=True)
class _Back(_Kernel):
    plan: Plan

    @property
    def _arguments(self):
        return JourneyBack(self.plan, _reverse(self.plan.leg)).arguments

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[JourneyBack, list[jax.Array]]:
        plan = self._planned(shared)
        return JourneyBack(plan, _reverse(plan.leg)), _for_each(plan, self._arguments, arrays)


@dataclass(frozen=True)
class _Judged(_Kernel):
    plan: Plan
    judge: Judge
    sloped: bool

    @property
    def _arguments(self):
        return self.program(self.plan).arguments

    def program(self, plan: Plan) -> Likelihood:
        return Likelihood(plan, self.judge, _reverse(plan.leg) if self.sloped else None)

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[Likelihood, list[jax.Array]]:
        plan = self._planned(shared)
        return self.program(plan), _for_each(plan, self._arguments, arrays)


def _for_each(plan: Plan, buffers: Sequence[Any], arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """Where one table of the stops is each patient's own, or his group's, all of them are."""
    if all(b.share for b in plan.tables):
        return list(arrays)
    of_stops = (a.shape[-1] for b, a in zip(buffers, arrays, strict=True) if b.name in OF_STOPS)
    least = min((n for n in of_stops if n > 1), default=1)
    return [
        jax.numpy.broadcast_to(a, (*a.shape[:-1], least)) if b.name in OF_STOPS and a.shape[-1] == 1 else a
        for b, a in zip(buffers, arrays, strict=True)
    ]
