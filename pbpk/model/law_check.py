"""What a law may be: its arguments, the unit that it makes of theirs, and that it can be compiled.

A law is the modeller's own code. It is called once with quantities, for its unit, and traced once by JAX, so that what
cannot be compiled is named here, by file and line, and not later by whoever compiles it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pbpk import units
from pbpk.errors import BadInput
from pbpk.model.declare import ComputedReading, Concentration, CourseReading, TotalAmount

if TYPE_CHECKING:
    from pbpk.model.declare import Observable
    from pbpk.model.parameters import Parameter

Bindings = Sequence[tuple[str, Any]]
_FUNCTIONS = "exp, log, sqrt, cos, sin, minimum, maximum and where of pbpk.model"


def check_law_arguments(law: Callable, bindings: Bindings, where: str) -> None:
    """Raise `BadInput` where a law's arguments are not those that are bound, each once."""
    wanted = [n for n, p in inspect.signature(law).parameters.items() if p.kind is not p.VAR_KEYWORD]
    bound = [name for name, _ in bindings]
    if sorted(wanted) != sorted(bound):
        raise BadInput(f"{_name_of(law)} takes {wanted}, given {bound}", where=where)


def evaluate_units(law: Callable, bindings: Bindings, table: Mapping[str, Parameter], where: str) -> Any:
    """What the law makes of one unit of each argument, a pint quantity. Raises `BadInput` where units do not fit, or the law
    does what no law can."""
    import pint

    registry = units.get_registry()
    arguments = {name: registry.Quantity(1.0, _unit_of(b, table)) for name, b in bindings}
    try:
        result = law(**arguments)
    except pint.DimensionalityError as e:
        raise BadInput(
            f"{_name_of(law)} mixes {e.units1} with {e.units2}",
            where=where,
            why=describe_bindings(law, bindings, table),
            hint="a number in a law has no unit: give it a name and a row in parameters.toml"
            if "dimensionless" in (str(e.units1), str(e.units2))
            else "",
        ) from None
    except Exception as e:  # a law is the modeller's own code, and may do anything
        raise BadInput(
            f"{_name_of(law)} fails on numbers with units: {type(e).__name__}: {e}",
            where=where,
            why=describe_bindings(law, bindings, table),
            hint=f"a law is plain arithmetic on its arguments, with {_FUNCTIONS}",
        ) from e
    if isinstance(result, registry.Quantity):
        return result
    if isinstance(result, bool) or (not isinstance(result, int | float) and not hasattr(result, "dtype")):
        raise BadInput(
            f"{_name_of(law)} gives {result!r:.40}, which is no number",
            where=where,
            hint="does it end with `return`? of a condition, where(condition, 1, 0) makes a number",
        )
    return registry.Quantity(float(result), "")


def find_computed_unit(reading: ComputedReading, table: Mapping[str, Parameter], where: str = "") -> str:
    """The unit that an observed law's arguments make, as few as there are of them: mL/min of µg/L · L/mg · mL/min. A number
    without dimension is "1", or "%" where its arguments are percentages."""
    quantity = evaluate_units(reading.law, reading.bindings, table, where)
    if quantity.dimensionless:
        return "%" if str(quantity.units) == "percent" else "1"
    return f"{quantity.to_reduced_units().units:~C}"


def find_reading_unit(o: Observable, table: Mapping[str, Parameter]) -> str:
    """The unit of an observable that is no course of another."""
    reading = o.reading
    assert not isinstance(reading, CourseReading)
    if isinstance(reading, ComputedReading):
        return reading.unit or find_computed_unit(reading, table)
    if isinstance(reading, Concentration):
        return f"{reading.compartment.unit}/{table[reading.compartment.volume or ''].unit}"
    return reading.compartments[0].unit if isinstance(reading, TotalAmount) else reading.compartment.unit


def check_traceable(law: Callable, bindings: Bindings, where: str) -> None:
    """Raise `BadInput` where JAX cannot trace the law, in the modeller's words."""
    import jax

    number = jax.ShapeDtypeStruct((), float)
    arguments = {n: [number] * len(b) if isinstance(b, tuple) else number for n, b in bindings}
    try:
        jax.eval_shape(lambda values: law(**values), arguments)
    except jax.errors.TracerBoolConversionError:
        raise BadInput(
            f"{_name_of(law)} decides by the size of an argument (`if`, `and`, `or`, `not`, or Python's own min or max)",
            where=where,
            why="One compiled program serves all patients and all times, so a law has no `if`.",
            hint="write where(condition, value, otherwise), minimum(a, b), maximum(a, b), from pbpk.model; "
            "conditions join by &, |",
        ) from None
    except Exception as e:  # whatever the modeller's code calls
        raise BadInput(
            f"{_name_of(law)} cannot be compiled: {type(e).__name__}",
            where=where,
            why=str(e).splitlines()[0][:160] if str(e) else "",
            hint=f"a law is plain arithmetic on its arguments, with {_FUNCTIONS}; math's and NumPy's know no derivative",
        ) from None


def describe_bindings(law: Callable, bindings: Bindings, table: Mapping[str, Parameter]) -> str:
    """What each argument is bound to, and its unit, for a message."""
    parts = []
    for name, b in bindings:
        if isinstance(b, str):
            of = f"`{b}`"
        elif isinstance(b, TotalAmount):
            of = "total of " + ", ".join(f"`{c.name}`" for c in b.compartments)
        else:
            of = f"{type(b).__name__.lower()} of `{b.compartment.name}`"
        parts.append(f'{name} = {of} in "{_unit_of(b, table)}"')
    return f"{_name_of(law)}: " + ", ".join(parts)


def _unit_of(binding: Any, table: Mapping[str, Parameter]) -> str:
    if isinstance(binding, str):
        return table[binding].unit
    if isinstance(binding, TotalAmount):
        return binding.compartments[0].unit
    unit = binding.compartment.unit
    if isinstance(binding, Concentration):
        return f"({unit})/({table[binding.compartment.volume or ''].unit})"
    return unit


def _name_of(law: Callable) -> str:
    return getattr(law, "__name__", None) or repr(law)[:40]
