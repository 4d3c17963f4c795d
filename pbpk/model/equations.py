"""The differential equations of a System as text, for the terminal and for reports.

Each law is called on named symbols, as the unit check calls it on quantities, so the text cannot differ from the
computation. A law that is more than arithmetic (`jnp.where`, `exp`) cannot take a symbol, and prints as the call it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbpk.model.declare import (
    OUT,
    Amount,
    Binding,
    Clock,
    ComputedReading,
    CourseReading,
    Flux,
    Observable,
    Reading,
    TotalAmount,
)

if TYPE_CHECKING:
    from pbpk.model.system import System

CONDITION, SUM, PRODUCT, POWER, NAME = range(-1, 4)  # how tightly the outermost operation binds


@dataclass(frozen=True)
class EquationTerm:
    """An expression: its text, and how tightly its outermost operation binds, which tells where brackets are needed."""

    text: str
    level: int = NAME

    __array_ufunc__ = None  # numpy numbers then leave the operation to us

    def within(self, level: int) -> str:
        """The text, in brackets where it binds less tightly than `level`."""
        return self.text if self.level >= level else f"({self.text})"

    def __add__(self, other):
        return EquationTerm(f"{self.text} + {_as_term(other).text}", SUM)

    def __radd__(self, other):
        return _as_term(other) + self

    def __sub__(self, other):
        return EquationTerm(f"{self.text} − {_as_term(other).within(PRODUCT)}", SUM)

    def __rsub__(self, other):
        return _as_term(other) - self

    def __mul__(self, other):
        return EquationTerm(f"{self.within(PRODUCT)}·{_as_term(other).within(PRODUCT)}", PRODUCT)

    def __rmul__(self, other):
        return _as_term(other) * self

    def __truediv__(self, other):
        return EquationTerm(f"{self.within(PRODUCT)}/{_as_term(other).within(POWER)}", PRODUCT)

    def __rtruediv__(self, other):
        return _as_term(other) / self

    def __pow__(self, other):
        return EquationTerm(f"{self.within(NAME)}^{_as_term(other).within(NAME)}", POWER)

    def __rpow__(self, other):
        return _as_term(other) ** self

    def __neg__(self):
        return EquationTerm(f"−{self.within(PRODUCT)}", SUM)

    def __lt__(self, other):
        return EquationTerm(f"{self.text} < {_as_term(other).text}", CONDITION)

    def __le__(self, other):
        return EquationTerm(f"{self.text} ≤ {_as_term(other).text}", CONDITION)

    def __gt__(self, other):
        return EquationTerm(f"{self.text} > {_as_term(other).text}", CONDITION)

    def __ge__(self, other):
        return EquationTerm(f"{self.text} ≥ {_as_term(other).text}", CONDITION)

    def __and__(self, other):
        return EquationTerm(f"{self.text} and {_as_term(other).text}", CONDITION)

    def __or__(self, other):
        return EquationTerm(f"({self.text} or {_as_term(other).text})", CONDITION)

    def __bool__(self):
        raise TypeError("a symbol is neither true nor false")

    def write_call(self, name: str, *arguments) -> EquationTerm:
        """A function of symbols and numbers as it is written (functions.py)."""
        return EquationTerm(f"{name}({', '.join(_as_term(a).text for a in arguments)})")


def write_equations(system: System) -> list[str]:
    """One line per derived parameter, then one per compartment, then one per observable."""
    return [
        *(
            f"{d.name} = {_call_on_terms(d.rule, {argument: _name_terms(names) for argument, names in d.of}).text}"
            for d in system.block.derived
        ),
        *(_write_derivative(system, c.name) for c in system.compartments if c.clock is None),
        *(f"{o.name} = {_observable_term(o).text}" for o in system.block.observables),
    ]


def _name_terms(names: str | tuple[str, ...]) -> EquationTerm | list[EquationTerm]:
    return EquationTerm(names) if isinstance(names, str) else [EquationTerm(name) for name in names]


def _observable_term(o: Observable) -> EquationTerm:
    if isinstance(o.reading, CourseReading):
        level = f", {o.reading.level}" if o.reading.level else ""
        word = o.reading.kind if level == "" else f"time_{o.reading.kind}"
        reading = EquationTerm(f"{word}({o.reading.observable}{level})")
    elif isinstance(o.reading, ComputedReading):
        reading = _call_on_terms(o.reading.law, {n: _binding_term(b) for n, b in o.reading.bindings})
    else:
        reading = _reading_term(o.reading)
    return EquationTerm(o.scale) * reading if o.scale else reading


def _write_derivative(system: System, name: str) -> str:
    text = ""
    for f in system.block.fluxes:  # in the modeller's order
        for end, sign in ((f.path.target, "+"), (f.path.source, "−")):
            if end is not OUT and end.name == name:
                rate = _flux_term(f)
                part = rate.text if sign == "+" else rate.within(PRODUCT)
                text += f" {sign} {part}" if text else part if sign == "+" else f"−{part}"
    return f"d({name})/dt = {text or '0'}"


def _flux_term(f: Flux) -> EquationTerm:
    return _call_on_terms(f.law, {name: _binding_term(binding) for name, binding in f.bindings})


def _call_on_terms(function: Callable, arguments: dict) -> EquationTerm:
    try:
        return _as_term(function(**arguments))
    except (TypeError, AttributeError, ValueError):  # what JAX, numpy and math raise when handed a symbol
        return EquationTerm(f"{function.__name__}({', '.join(_argument_text(a) for a in arguments.values())})")


def _argument_text(argument) -> str:
    return argument.text if isinstance(argument, EquationTerm) else "[" + ", ".join(a.text for a in argument) + "]"


def _binding_term(binding: Binding | TotalAmount) -> EquationTerm:
    assert not isinstance(binding, Clock), "clocks are compartments by now"
    return EquationTerm(binding) if isinstance(binding, str) else _reading_term(binding)


def _reading_term(reading: Reading) -> EquationTerm:
    if isinstance(reading, TotalAmount):
        return EquationTerm(" + ".join(c.name for c in reading.compartments), SUM)
    clock = reading.compartment.clock
    name = EquationTerm("t" if clock is not None and clock.shows == "time" else reading.compartment.name)
    return name if isinstance(reading, Amount) else name / EquationTerm(reading.compartment.volume or "?")


def _as_term(value) -> EquationTerm:
    if isinstance(value, EquationTerm):
        return value
    if isinstance(value, int | float):
        return EquationTerm(f"{value:.12g}", NAME if value >= 0 else SUM)
    raise TypeError(value)
