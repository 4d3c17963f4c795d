"""The unit of an expression, worked out from those of its parameters, and the checks that come with it.

The expression is run once on pint quantities at the estimates. What it adds or compares must be of one dimension; what it
takes a logarithm or an exponential of must be a pure number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pbpk import units
from pbpk.errors import BadInput
from pbpk.model.parameters import read_number

if TYPE_CHECKING:
    from pbpk.uncertainty.expression import QuantityExpression

_HINT = 'divide by a constant with a unit, as in log(CL/"1 L/h")'


def compile_with_units(
    expression: QuantityExpression, values: Mapping[str, float], shown: Mapping[str, str]
) -> tuple[Callable[[Mapping[str, float]], float], str]:
    """A function of coherent numbers by name, and the unit its value is in ("1": none).

    `values` are the estimates, in the units of `shown`. Raises `BadInput` where dimensions do not fit one another.
    """
    unit = _find_unit(expression, values, shown)
    size = units.unit_factor(unit)
    constants = {t: _read_constant(t, expression)[0] for t in expression.unit_constants}
    return lambda coherent: expression.evaluate(coherent, constants.__getitem__) / size, unit


def _find_unit(expression: QuantityExpression, values: Mapping[str, float], shown: Mapping[str, str]) -> str:
    """The unit of the value, "1" for none. Raises `BadInput` where dimensions do not fit, or there is no finite value."""
    import pint

    quantity = units.get_registry().Quantity

    def read_constant(text: str) -> Any:
        _, number, unit = _read_constant(text, expression)
        return quantity(number, unit)

    functions = {
        "exp": lambda x: math.exp(_as_pure_number(x)),
        "log": lambda x: math.log(_as_pure_number(x)),
        "sqrt": lambda x: x**0.5,
        "min": lambda *xs: min(quantity(x) for x in xs),
        "max": lambda *xs: max(quantity(x) for x in xs),
    }
    known = {n: quantity(values[n], "" if shown[n] == "1" else shown[n]) for n in expression.names}
    try:
        reduced = quantity(expression.evaluate(known, read_constant, functions)).to_reduced_units()
    except pint.DimensionalityError as e:
        raise BadInput(f'"{expression.text}": its units do not fit ({e})', hint=_HINT) from e
    except (ArithmeticError, ValueError, TypeError) as e:
        raise BadInput(f'"{expression.text}" has no value at the estimates ({e})') from e
    if isinstance(reduced.magnitude, complex) or not math.isfinite(reduced.magnitude):
        raise BadInput(f'"{expression.text}" has no finite value at the estimates')
    return format(reduced.units, "~C") or "1"


def _as_pure_number(x: Any) -> float:
    """A number without a unit; pint's own error where there is one."""
    return float(x.to("").magnitude) if hasattr(x, "to") else float(x)


def _read_constant(text: str, expression: QuantityExpression) -> tuple[float, float, str]:
    """A constant such as "1 L/h": coherent, as written, and its unit."""
    try:
        number, unit = read_number(text)
    except ValueError as e:
        raise BadInput(f'"{expression.text}": the constant "{text}" cannot be read', hint='write it as "1 L/h"') from e
    return units.to_internal(number, unit or "1", expression.text), number, unit or ""
