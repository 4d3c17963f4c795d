"""The differential equations of a System, as text: what the arrows mean, for reading and for a report.

Each law is called on named symbols, as the unit check calls it on quantities, so the text cannot differ from what is
computed. A law that is more than arithmetic (`jnp.where`, `exp`) cannot take a symbol, and prints as the call it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from pbpk.model.declare import OUT, Amount, Binding, Flux, Reading, Total
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
    """One line per compartment, then one per observable."""
    return [_derivative(system, name) for name in system.names] + [
        f"{o.name} = {_reading(o.reading).text}" for o in system.block.observables
    ]


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
    arguments = {name: _symbol(binding) for name, binding in f.bindings}
    try:
        return _term(f.law(**arguments))
    except (TypeError, AttributeError, ValueError):  # what JAX, numpy and math raise when handed a symbol
        return Term(f"{f.law.__name__}({', '.join(a.text for a in arguments.values())})")


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
