"""The kernels of a whole solution (forward.py, adjoint.py, likelihood.py) as functions of JAX arrays, for use inside `jit`
and `vmap`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax

from pbpk.compile.programs.linear.window import LinearWindowForward
from pbpk.compile.programs.linear.window_adjoint import LinearWindowAdjoint
from pbpk.compile.programs.rosenbrock.window import RosenbrockMethod, RosenbrockWindow
from pbpk.compile.programs.rosenbrock.window_adjoint import RosenbrockWindowAdjoint
from pbpk.compile.programs.solution.adjoint import SolutionAdjointProgram
from pbpk.compile.programs.solution.forward import SolutionProgram
from pbpk.compile.programs.solution.layout import SolutionLayout, cotangent_name
from pbpk.compile.programs.solution.likelihood import LikelihoodProgram, LikelihoodTerms
from pbpk.compile.xla import bind, jit

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Buffer
    from pbpk.compile.programs.solution.adjoint import WindowAdjoint
    from pbpk.compile.xla.protocols import OperandProgram
    from pbpk.linalg.series import ResolventSeries
    from pbpk.model.system import System

NamedArrays = dict[str, jax.Array]
"""By the names of a program's buffers, each (rows, ...) with its own axes first and then the patients'; what all share has no
axes of patients."""


def linear_window(
    system: System,
    series: ResolventSeries,
    stops: int,
    integrals: bool,
    inflow: bool,
    readings: tuple[tuple[int, ...], ...] = (),
) -> LinearWindowForward:
    """The program that crosses a linear window, with a constant `inflow` or none, for `readings` or all amounts."""
    registers = jit.host_processor().registers * 3 // 4  # for sums; the others are for what sums are made of
    return LinearWindowForward(system, series, stops, True, integrals, inflow, registers=registers, readings=readings)


def rosenbrock_window(method: RosenbrockMethod, stops: int, inflow: bool) -> RosenbrockWindow:
    """The program that crosses a saturable window, with a constant `inflow` or none."""
    return RosenbrockWindow(replace(method, registers=jit.host_processor().registers), stops, True, inflow)


def run_solution(layout: SolutionLayout, arguments: NamedArrays, *, keep_residuals: bool) -> NamedArrays:
    """The results of `SolutionProgram`, by name."""
    return _call(_SolutionForwardKernel(layout, keep_residuals), arguments)


def run_solution_adjoint(layout: SolutionLayout, arguments: NamedArrays) -> NamedArrays:
    """The results of `SolutionAdjointProgram`, by the name of what they are cotangents of."""
    bars = _call(_SolutionAdjointKernel(layout), arguments)
    return {name.removeprefix(cotangent_name("")): bar for name, bar in bars.items()}


def run_likelihood(
    layout: SolutionLayout, likelihood: LikelihoodTerms, arguments: NamedArrays, *, with_slopes: bool
) -> NamedArrays:
    """The results of `LikelihoodProgram`, by name."""
    return _call(_LikelihoodKernel(layout, likelihood, with_slopes), arguments)


def _call(kernel: _SolutionKernel, arguments: NamedArrays) -> NamedArrays:
    """The kernel's results by name, from arguments by name."""
    program = kernel.program(kernel.layout)
    results = bind.call_kernel(kernel, *(arguments[b.name] for b in program.arguments))
    return dict(zip((b.name for b in program.results), results, strict=True))


def adjoint_of(window: Any) -> WindowAdjoint:
    """The adjoint program of a window's program."""
    if isinstance(window, RosenbrockWindow):
        return RosenbrockWindowAdjoint(window)
    w: LinearWindowForward = window
    return LinearWindowAdjoint(w.system, w.series, w.stops, w.shared, w.integrals, w.inflow, registers=w.registers)


class _SolutionKernel(ABC):
    """What the kernels of a solution have in common (bind.py)."""

    layout: SolutionLayout

    @abstractmethod
    def program(self, layout: SolutionLayout) -> OperandProgram:
        """The program for this layout."""

    @cached_property
    def _arguments(self) -> tuple[Buffer, ...]:
        """The program's arguments, in order."""
        return self.program(self.layout).arguments

    @property
    def ranks(self) -> tuple[int, ...]:
        """How many axes of its own each array has."""
        return tuple(len(b.shape) for b in self._arguments)

    @property
    def common(self) -> tuple[bool, ...]:
        """Whether each array may be the same for all patients: shared tables must be, and tables of stops may."""
        return tuple(b.share or b.name in self._stop_tables for b in self._arguments)

    @property
    def fixed(self) -> tuple[bool, ...]:
        """Whether each array says which events there are, for all patients: one program has one of them."""
        tables = {b.name for b in self.layout.event_tables if b.share}
        return tuple(b.name in tables for b in self._arguments)

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[OperandProgram, list[jax.Array]]:
        """The program for stops that are the same for all patients, or not, and its arguments."""
        same = all(
            is_shared for is_shared, b in zip(shared, self._arguments, strict=True) if b.name in self._stop_tables
        )
        window: Any = self.layout.window
        layout = replace(self.layout, window=replace(window, shared=same))
        return self.program(layout), list(arrays) if same else self._spread_stop_tables(arrays)

    @cached_property
    def _stop_tables(self) -> set[str]:
        """Names of the tables that follow from the stops."""
        return {b.name for b in self.layout.stop_tables}

    def _spread_stop_tables(self, arrays: Sequence[jax.Array]) -> list[jax.Array]:
        """Where one table of the stops is each patient's own, or each group's, all of them are made so."""
        is_table = [b.name in self._stop_tables for b in self._arguments]
        widths = (a.shape[-1] for a, table in zip(arrays, is_table, strict=True) if table)
        least = min((n for n in widths if n > 1), default=1)
        return [
            jax.numpy.broadcast_to(a, (*a.shape[:-1], least)) if table and a.shape[-1] == 1 else a
            for a, table in zip(arrays, is_table, strict=True)
        ]


@dataclass(frozen=True)
class _SolutionForwardKernel(_SolutionKernel):
    """The kernel of `SolutionProgram`."""

    layout: SolutionLayout
    keep_residuals: bool

    def program(self, layout: SolutionLayout) -> SolutionProgram:
        """The solution's program."""
        return SolutionProgram(layout, self.keep_residuals)


@dataclass(frozen=True)
class _SolutionAdjointKernel(_SolutionKernel):
    """The kernel of `SolutionAdjointProgram`."""

    layout: SolutionLayout

    def program(self, layout: SolutionLayout) -> SolutionAdjointProgram:
        """The adjoint's program."""
        return SolutionAdjointProgram(layout, adjoint_of(layout.window))


@dataclass(frozen=True)
class _LikelihoodKernel(_SolutionKernel):
    """The kernel of `LikelihoodProgram`."""

    layout: SolutionLayout
    likelihood: LikelihoodTerms
    with_slopes: bool

    def program(self, layout: SolutionLayout) -> LikelihoodProgram:
        """The likelihood's program, with the window's adjoint where slopes are asked for."""
        window_adjoint = adjoint_of(layout.window) if self.with_slopes else None
        return LikelihoodProgram(layout, self.likelihood, window_adjoint)
