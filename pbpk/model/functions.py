"""Functions for laws and rules that are more than arithmetic: exp, log, sqrt, cos, sin, minimum, maximum, where.

They do to numbers what JAX's do, in every engine and with every derivative. Beside that they know what a law meets before
it is compiled: quantities with units (an exponential of 3 mg is refused, a minimum of 1 h and 30 min is 30 min) and the
symbols of which equations are written. Python's own `if`, `max` and `math.exp` know neither.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

Value = Any
"""A number, an array, a quantity with its unit, or a symbol of an equation."""


def exp(x: Value) -> Value:
    """eˣ of a number without dimension."""
    return _apply_pure("exp", x)


def log(x: Value) -> Value:
    """The natural logarithm of a number without dimension."""
    return _apply_pure("log", x)


def cos(x: Value) -> Value:
    """The cosine of an angle in radians, as in cos(2π·t/period)."""
    return _apply_pure("cos", x)


def sin(x: Value) -> Value:
    """The sine of an angle in radians."""
    return _apply_pure("sin", x)


def sqrt(x: Value) -> Value:
    """The square root; of m², m."""
    if _is_quantity(x):
        return x**0.5
    return _write_call("sqrt", x) if _is_symbol(x) else _of_numbers("sqrt", x)(x)


def minimum(a: Value, b: Value) -> Value:
    """The smaller of two values of one dimension."""
    return _apply_alike("minimum", a, b)


def maximum(a: Value, b: Value) -> Value:
    """The larger of two values of one dimension."""
    return _apply_alike("maximum", a, b)


def where(condition: Value, yes: Value, no: Value) -> Value:
    """`yes` where the condition holds, else `no`. Both are computed, wherever the condition holds: neither may divide by
    zero. The derivative in what the condition compares is zero; for a time at which a law changes, see `after`."""
    if any(_is_symbol(x) for x in (condition, yes, no)):
        return _write_call("where", condition, yes, no)
    if _is_quantity(yes) or _is_quantity(no):
        alike = _make_alike(yes, no)
        return alike[0] if condition else alike[1]
    return _of_numbers("where", condition, yes, no)(condition, yes, no)


def _apply_pure(name: str, x: Value) -> Value:
    if _is_symbol(x):
        return _write_call(name, x)
    if _is_quantity(x):
        import pint

        if not x.dimensionless:
            raise pint.DimensionalityError(x.units, "dimensionless", extra_msg=f": {name} takes a number")
        return x._REGISTRY.Quantity(getattr(np, name)(x.to_base_units().magnitude), "")
    return _of_numbers(name, x)(x)


def _apply_alike(name: str, a: Value, b: Value) -> Value:
    if _is_symbol(a) or _is_symbol(b):
        return _write_call(name, a, b)
    if _is_quantity(a) or _is_quantity(b):
        a, b = _make_alike(a, b)
        return (builtins.min if name == "minimum" else builtins.max)(a, b)
    return _of_numbers(name, a, b)(a, b)


def _make_alike(a: Value, b: Value) -> tuple[Value, Value]:
    """Two quantities of one dimension; a plain 0 is one of any."""
    import pint

    quantity = a if _is_quantity(a) else b
    make = quantity._REGISTRY.Quantity
    a, b = (x if _is_quantity(x) else make(x, quantity.units if np.all(np.equal(x, 0)) else "") for x in (a, b))
    if a.dimensionality != b.dimensionality:
        raise pint.DimensionalityError(a.units, b.units, a.dimensionality, b.dimensionality)
    return a, b


def _is_quantity(x: Value) -> bool:
    return hasattr(x, "dimensionality")


def _is_symbol(x: Value) -> bool:
    return hasattr(x, "write_call")


def _write_call(name: str, *arguments: Value) -> Value:
    symbol = next(x for x in arguments if _is_symbol(x))
    return symbol.write_call(name, *arguments)


def _of_numbers(name: str, *arguments: Value) -> Callable[..., Value]:
    """NumPy's function for plain numbers and arrays, else JAX's: eager JAX costs a compilation for each shape."""
    if all(isinstance(x, int | float | np.ndarray | np.generic) for x in arguments):
        return getattr(np, name)
    import jax.numpy as jnp

    return getattr(jnp, name)


max, min = maximum, minimum
