"""A whole solution's kernels (forward.py, adjoint.py, likelihood.py) as functions of JAX arrays, for use inside `jit`
and `vmap`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax

from pbpk.compile.programs.linear.window import LinearWindowForward
from pbpk.compile.programs.linear.window_adjoint import LinearWindowAdjoint
from pbpk.compile.programs.rosenbrock.window import RosenbrockMethod, RosenbrockWindow
from pbpk.compile.programs.rosenbrock.window_adjoint import RosenbrockWindowAdjoint
from pbpk.compile.programs.solution.adjoint import SolutionAdjointProgram
from pbpk.compile.programs.solution.forward import SolutionProgram
from pbpk.compile.programs.solution.layout import STOP_ARGUMENTS, SolutionLayout
from pbpk.compile.programs.solution.likelihood import LikelihoodProgram, LikelihoodTerms
from pbpk.compile.xla import bind, jit

if TYPE_CHECKING:
    from pbpk.linalg.series import Series
    from pbpk.model.system import System

NamedArrays = dict[str, jax.Array]
"""By name as in forward.py, each (rows, ...) with its own axes first and then the patients'; what all share has none."""


def linear_window(
    system: System, series: Series, stops: int, integrals: bool, fed: bool, readings: tuple[tuple[int, ...], ...] = ()
) -> LinearWindowForward:
    """The program that crosses a linear window, with a constant inflow `fed` or none, for `readings` or all amounts."""
    registers = jit.host().registers * 3 // 4
    return LinearWindowForward(system, series, stops, True, integrals, fed, registers=registers, readings=readings)


def rosenbrock_window(method: RosenbrockMethod, stops: int, fed: bool) -> RosenbrockWindow:
    """The same of a saturable window."""
    return RosenbrockWindow(replace(method, registers=jit.host().registers), stops, True, fed)


def run_solution(plan: SolutionLayout, given: NamedArrays, *, keeps: bool) -> NamedArrays:
    """The results of `Journey`, by name."""
    program = SolutionProgram(plan, keeps)
    found = bind.call(_ForwardKernel(plan, keeps), *(given[b.name] for b in program.arguments))
    return dict(zip((b.name for b in program.results), found, strict=True))


def run_solution_adjoint(plan: SolutionLayout, given: NamedArrays) -> NamedArrays:
    """The results of `JourneyBack`, by the name of what they are cotangents of."""
    program = SolutionAdjointProgram(plan, adjoint_of(plan.window))
    found = bind.call(_AdjointKernel(plan), *(given[b.name] for b in program.arguments))
    return {b.name.removeprefix("of_"): x for b, x in zip(program.results, found, strict=True)}


def run_likelihood(plan: SolutionLayout, judge: LikelihoodTerms, given: NamedArrays, *, sloped: bool) -> NamedArrays:
    """The results of `Likelihood`, by name."""
    kernel = _LikelihoodKernel(plan, judge, sloped)
    program = kernel.program(plan)
    found = bind.call(kernel, *(given[b.name] for b in program.arguments))
    return dict(zip((b.name for b in program.results), found, strict=True))


def adjoint_of(leg: Any) -> LinearWindowAdjoint | RosenbrockWindowAdjoint:
    if isinstance(leg, RosenbrockWindow):
        return RosenbrockWindowAdjoint(leg)
    return LinearWindowAdjoint(leg.system, leg.series, leg.stops, leg.shared, leg.integrals, leg.source, registers=leg.registers)


class _SolutionKernel:
    """What both have in common as kernels (bind.py)."""

    plan: SolutionLayout

    @property
    def _arguments(self) -> Sequence[Any]:
        raise NotImplementedError

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(len(b.shape) for b in self._arguments)

    @property
    def common(self) -> tuple[bool, ...]:
        return tuple(b.share or b.name in STOP_ARGUMENTS for b in self._arguments)

    @property
    def fixed(self) -> tuple[bool, ...]:
        own = {b.name for b in self.plan.event_tables if b.share}
        return tuple(b.name in own for b in self._arguments)

    def _with_shared_stops(self, shared: Sequence[bool]) -> SolutionLayout:
        """With stops that are the same for all, or not."""
        names = [b.name for b in self._arguments]
        same = all(one for name, one in zip(names, shared, strict=True) if name in STOP_ARGUMENTS)
        leg: Any = self.plan.window
        return replace(self.plan, leg=replace(leg, shared=same))


@dataclass(frozen=True)
class _ForwardKernel(_SolutionKernel):
    layout: SolutionLayout
    keeps_residuals: bool

    @property
    def _arguments(self):
        return self.layout.arguments

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[SolutionProgram, list[jax.Array]]:
        plan = self._with_shared_stops(shared)
        return SolutionProgram(plan, self.keeps_residuals), _spread_stop_tables(plan, self._arguments, arrays)


@dataclass(frozen=True)
class _AdjointKernel(_SolutionKernel):
    plan: SolutionLayout

    @property
    def _arguments(self):
        return SolutionAdjointProgram(self.plan, adjoint_of(self.plan.window)).arguments

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[SolutionAdjointProgram, list[jax.Array]]:
        plan = self._with_shared_stops(shared)
        return SolutionAdjointProgram(plan, adjoint_of(plan.window)), _spread_stop_tables(plan, self._arguments, arrays)


@dataclass(frozen=True)
class _LikelihoodKernel(_SolutionKernel):
    plan: SolutionLayout
    judge: LikelihoodTerms
    with_slopes: bool

    @property
    def _arguments(self):
        return self.program(self.plan).arguments

    def program(self, plan: SolutionLayout) -> LikelihoodProgram:
        return LikelihoodProgram(plan, self.judge, adjoint_of(plan.window) if self.with_slopes else None)

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[LikelihoodProgram, list[jax.Array]]:
        plan = self._with_shared_stops(shared)
        return self.program(plan), _spread_stop_tables(plan, self._arguments, arrays)


def _spread_stop_tables(plan: SolutionLayout, buffers: Sequence[Any], arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """Where one table of the stops is each patient's own, or his group's, all of them are."""
    if all(b.share for b in plan.stop_tables):
        return list(arrays)
    of_stops = (a.shape[-1] for b, a in zip(buffers, arrays, strict=True) if b.name in STOP_ARGUMENTS)
    least = min((n for n in of_stops if n > 1), default=1)
    return [
        jax.numpy.broadcast_to(a, (*a.shape[:-1], least)) if b.name in STOP_ARGUMENTS and a.shape[-1] == 1 else a
        for b, a in zip(buffers, arrays, strict=True)
    ]
