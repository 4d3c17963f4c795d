"""The differential equations of a System, as text: what the arrows mean, for reading and for a report.

Each law is called on named symbols, as the unit check calls it on quantities, so the text cannot differ from what is
computed. A law that is more than arithmetic (`jnp.where`, `exp`) cannot take a symbol, and prints as the call it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbpk.model.declare import OUT, Amount, Binding, Flux, Observable, Reading, Total

if TYPE_CHECKING:
    from pbpk.model.system import System

SUM, PRODUCT, POWER, NAME = range(4)  # how tightly the outermost operation binds


@dataclass(frozen=True)
class Term:
    """An expression: its text and how tightly it binds, which says where brackets are needed."""

    text: str
    level: int = NAME

    __array_ufunc__ = None  # numpy numbers then leave the operation to us

    def within(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"

    def __add__(self, other):
        return Term(f"{self.text} + {_term(other).text}", SUM)

    def __radd__(self, other):
        return _term(other) + self

    def __sub__(self, other):
        return Term(f"{self.text} − {_term(other).within(PRODUCT)}", SUM)

    def __rsub__(self, other):
        return _term(other) - self

    def __mul__(self, other):
        return Term(f"{self.within(PRODUCT)}·{_term(other).within(PRODUCT)}", PRODUCT)

    def __rmul__(self, other):
        return _term(other) * self

    def __truediv__(self, other):
        return Term(f"{self.within(PRODUCT)}/{_term(other).within(POWER)}", PRODUCT)

    def __rtruediv__(self, other):
        return _term(other) / self

    def __pow__(self, other):
        return Term(f"{self.within(NAME)}^{_term(other).within(NAME)}", POWER)

    def __rpow__(self, other):
        return _term(other) ** self

    def __neg__(self):
        return Term(f"−{self.within(PRODUCT)}", SUM)


def equations(system: System) -> list[str]:
    """One line per derived parameter, then one per compartment, then one per observable."""
    return [
        *(
            f"{d.name} = {_called(d.rule, {a: Term(n) if isinstance(n, str) else [Term(m) for m in n] for a, n in d.of}).text}"
            for d in system.block.derived
        ),
        *(_derivative(system, name) for name in system.names),
        *(f"{o.name} = {_seen(o).text}" for o in system.block.observables),
    ]


def _seen(o: Observable) -> Term:
    reading = _reading(o.reading)
    return Term(o.scale) * reading if o.scale else reading


def _derivative(system: System, name: str) -> str:
    text = ""
    for f in system.block.fluxes:  # in the modeller's order
        for end, sign in ((f.path.target, "+"), (f.path.source, "−")):
            if end is not OUT and end.name == name:
                rate = _rate(f)
                part = rate.text if sign == "+" else rate.within(PRODUCT)
                text += f" {sign} {part}" if text else part if sign == "+" else f"−{part}"
    return f"d({name})/dt = {text or '0'}"


def _rate(f: Flux) -> Term:
    return _called(f.law, {name: _symbol(binding) for name, binding in f.bindings})


def _called(function: Callable, arguments: dict) -> Term:
    try:
        return _term(function(**arguments))
    except (TypeError, AttributeError, ValueError):  # what JAX, numpy and math raise when handed a symbol
        return Term(f"{function.__name__}({', '.join(_spelled(a) for a in arguments.values())})")


def _spelled(argument) -> str:
    return argument.text if isinstance(argument, Term) else "[" + ", ".join(a.text for a in argument) + "]"


def _symbol(binding: Binding) -> Term:
    return Term(binding) if isinstance(binding, str) else _reading(binding)


def _reading(reading: Reading) -> Term:
    if isinstance(reading, Total):
        return Term(" + ".join(c.name for c in reading.compartments), SUM)
    name = Term(reading.compartment.name)
    return name if isinstance(reading, Amount) else name / Term(reading.compartment.volume or "?")


def _term(value) -> Term:
    if isinstance(value, Term):
        return value
    if isinstance(value, int | float):
        return Term(f"{value:.12g}", NAME if value >= 0 else SUM)
    raise TypeError(value)
