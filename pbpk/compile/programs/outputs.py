"""Where amounts at output times go, and where their cotangents come from in the adjoint.

If all patients have the same output times, a table says to which row of the results a stop's amounts go, and they are written
at once. If output times differ between patients, states at all stops are buffered in scratch and each patient's rows are
gathered from it. States are numbered: those after the events at the first instant, then those at all stops.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from pbpk.compile.backend.functions import sum_operands
from pbpk.compile.backend.redirected import Read, ScratchView, Write, copy_rows
from pbpk.compile.programs.loops import for_blocks
from pbpk.compile.programs.solution.layout import InitialColumn, StopColumn, cotangent_name, read_cell

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Backend, Buffer, Index, Operand
    from pbpk.compile.programs.solution.layout import SolutionLayout


def read_zero(_: Index) -> float:
    """Reads 0 whatever the row: what is not integrated."""
    return 0.0


class OutputCotangents(Protocol):
    """Where the adjoint gets the cotangents of outputs from."""

    def collect_stop(self, stop: Index, amount: Write, area: Write | None) -> None:
        """Hands the cotangents of a stop's amounts to `amount`, those of the integrals to `area`."""
        ...

    def collect_initial(self, bars: ScratchView) -> None:
        """Adds the cotangents of the amounts after each event at the first instant to `bars` (events, n)."""
        ...


class OutputWriter(ABC):
    """Takes every state as it is reached, and writes rows of the results. `nonfinite` stays 0 while all that was written is
    finite; else it is NaN."""

    def __init__(self, m: Backend, layout: SolutionLayout, buffer: dict[str, Buffer]):
        self.m, self.layout, self.buffer, self.nonfinite = m, layout, buffer, ScratchView(m, 1)
        self.nonfinite.clear()

    def write_row(self, row: Index, amount: Read, integral: Read) -> None:
        """Writes one row of the results."""
        m, n = self.m, self.layout.output_width
        amounts = m.part(self.buffer["amounts"], row * n, (n,))
        integrals = m.part(self.buffer["integral"], row * n, (n,)) if self.layout.integrals else None

        def write(first: Index, width: int) -> None:
            values = [amount(first + k) for k in range(width)]
            m.stream(amounts, first, values)
            if integrals is not None:
                m.stream(integrals, first, [integral(first + k) for k in range(width)])
            # A finite number times 0 is 0; infinity and NaN leave NaN. Cheaper than a test of each.
            self.nonfinite.add(0, sum_operands([value * 0.0 for value in values]))

        if self.layout.readings:  # each is another sum: no loop over them
            write(0, n)
        else:
            for_blocks(m, n, write)

    @abstractmethod
    def write_initial(self) -> None:
        """Takes the states after the events at the first instant."""

    @abstractmethod
    def write_stop(self, stop: Index, amount: Read, integral: Read) -> None:
        """Takes the state at a stop."""

    @abstractmethod
    def finish(self) -> None:
        """Ends the program: all stops have been passed."""

    def read_initial(self, event: Index) -> Read:
        """What a row of the results holds, of the amounts after an event at the first instant."""
        states = self.m.part(self.buffer["initial_states"], event * self.layout.size, (self.layout.size,))
        return self.layout.sum_readings(lambda k: self.m.read(states, k))


class SharedTimes(OutputWriter):
    """Writes outputs at times that all patients share, by the tables `initial_outputs` and `stop_outputs`."""

    def write_initial(self) -> None:
        """Writes the rows that hold an initial state."""
        m, layout, table = self.m, self.layout, self.buffer["initial_outputs"]

        def write(t: Index) -> list[Operand]:
            amount = self.read_initial(read_cell(m, table, t, InitialColumn.EVENT, layout.initial_events))
            is_output = read_cell(m, table, t, InitialColumn.IS_OUTPUT, 2)
            m.repeat(is_output, lambda _: self.write_row(t, amount, read_zero) or [], [])  # once or not at all
            return []

        m.loop(layout.output_rows, write)

    def write_stop(self, stop: Index, amount: Read, integral: Read) -> None:
        """Writes the stop's row, where it has one."""
        m, table = self.m, self.buffer["stop_outputs"]
        row = read_cell(m, table, stop, StopColumn.OUTPUT_ROW, self.layout.output_rows)
        is_output = read_cell(m, table, stop, StopColumn.IS_OUTPUT, 2)
        m.repeat(is_output, lambda _: self.write_row(row, amount, integral) or [], [])

    def finish(self) -> None:
        """Does nothing: all rows are written."""
        pass


class OwnTimes(OutputWriter):
    """Buffers all states, and gathers each patient's rows from them by `output_index`."""

    def __init__(self, m: Backend, layout: SolutionLayout, buffer: dict[str, Buffer]):
        super().__init__(m, layout, buffer)
        self.state_amounts = ScratchView(m, layout.state_count * layout.output_width)
        self.state_integrals = ScratchView(m, layout.state_count * layout.output_width) if layout.integrals else None

    def write_initial(self) -> None:
        """Buffers the initial states."""
        self.m.loop(self.layout.initial_events, lambda k: self._store(k, self.read_initial(k), read_zero) or [])

    def write_stop(self, stop: Index, amount: Read, integral: Read) -> None:
        """Buffers the stop's state."""
        self._store(stop + self.layout.initial_events, amount, integral)

    def finish(self) -> None:
        """Gathers and writes all rows."""

        def write(t: Index) -> list[Operand]:
            self.write_row(t, self.sample(self.state_amounts, t), self.sample(self.state_integrals, t))
            return []

        self.m.loop(self.layout.output_rows, write)

    def sample(self, states: ScratchView | None, t: Index) -> Read:
        """What each patient's t-th row holds of all states."""
        first, below = locate_sample(self.m, self.layout, self.buffer, t)
        return read_zero if states is None else lambda k: states.part(k).pick(first, below)

    def _store(self, state: Index, amount: Read, integral: Read) -> None:
        """Buffers a state."""
        n = self.layout.output_width
        copy_rows(self.m, n, self.state_amounts.part(state * n).put, amount)
        if self.state_integrals is not None:
            copy_rows(self.m, n, self.state_integrals.part(state * n).put, integral)


class SharedTimesAdjoint:
    """Reads cotangents of outputs at times that all patients share, by the same tables."""

    def __init__(self, m: Backend, layout: SolutionLayout, buffer: dict[str, Buffer]):
        self.m, self.layout, self.buffer = m, layout, buffer

    def collect_stop(self, stop: Index, amount: Write, area: Write | None) -> None:
        """Hands over the cotangents of the stop's row, where it has one."""
        m, table = self.m, self.buffer["stop_outputs"]
        row = read_cell(m, table, stop, StopColumn.OUTPUT_ROW, self.layout.output_rows)
        self._read_row(read_cell(m, table, stop, StopColumn.IS_OUTPUT, 2), row, amount, area)

    def collect_initial(self, bars: ScratchView) -> None:
        """Adds the cotangents of the rows that hold an initial state."""
        m, layout, table = self.m, self.layout, self.buffer["initial_outputs"]

        def collect(t: Index) -> list[Operand]:
            event = read_cell(m, table, t, InitialColumn.EVENT, layout.initial_events)
            of_event = bars.part(event * layout.size)
            self._read_row(read_cell(m, table, t, InitialColumn.IS_OUTPUT, 2), t, of_event.add, None)
            return []

        m.loop(layout.output_rows, collect)

    def _read_row(self, is_output: Index, row: Index, amount: Write, area: Write | None) -> None:
        """Hands over a row's cotangents, where it is an output."""
        m, n = self.m, self.layout.size

        def read(_: Index) -> list[Operand]:
            for name, put in (("amounts", amount), ("integral", area)):
                if put is not None:
                    bars = m.part(self.buffer[cotangent_name(name)], row * n, (n,))
                    copy_rows(m, n, put, lambda k, bars=bars: m.read(bars, k))
            return []

        m.repeat(is_output, read, [])


class OwnTimesAdjoint:
    """Adds up the cotangents of each patient's own outputs by state, before the adjoint asks for them: several outputs may be
    of one state."""

    def __init__(self, m: Backend, layout: SolutionLayout, buffer: dict[str, Buffer]):
        self.m, self.layout, self.buffer = m, layout, buffer
        self.amount_cotangents = ScratchView(m, layout.state_count * layout.size)
        self.integral_cotangents = ScratchView(m, layout.state_count * layout.size) if layout.integrals else None
        for name, states in (("amounts", self.amount_cotangents), ("integral", self.integral_cotangents)):
            if states is not None:
                states.clear()
                of_rows = self.buffer[cotangent_name(name)]
                m.loop(layout.output_rows, lambda t, of_rows=of_rows, states=states: self._gather(of_rows, states, t))

    def _gather(self, of_rows: Buffer, states: ScratchView, t: Index) -> list[Operand]:
        """Adds the cotangents of each patient's t-th row to those of its state."""
        m, n = self.m, self.layout.size
        first, below = locate_sample(m, self.layout, self.buffer, t)
        bars = m.part(of_rows, t * n, (n,))

        def add(k: Index, bar: Operand) -> None:
            of_state = states.part(k)
            of_state.place(first, below, of_state.pick(first, below) + bar)

        copy_rows(m, n, add, lambda k: m.read(bars, k))
        return []

    def collect_stop(self, stop: Index, amount: Write, area: Write | None) -> None:
        """Hands over what was gathered of the stop's state."""
        n = self.layout.size
        first = (stop + self.layout.initial_events) * n
        copy_rows(self.m, n, amount, self.amount_cotangents.part(first).get)
        if area is not None and self.integral_cotangents is not None:
            copy_rows(self.m, n, area, self.integral_cotangents.part(first).get)

    def collect_initial(self, bars: ScratchView) -> None:
        """Adds what was gathered of the initial states."""
        copy_rows(self.m, self.layout.initial_events * self.layout.size, bars.add, self.amount_cotangents.get)


def locate_sample(m: Backend, layout: SolutionLayout, buffer: dict[str, Buffer], t: Index) -> tuple[Any, int]:
    """Where the state of each patient's t-th output begins in scratch, and what that is less than."""
    width = layout.output_width
    return m.read(buffer["output_index"], t) * float(width), (layout.state_count - 1) * width + 1
