"""Rate laws and their derivatives on operands: traced by JAX, then only arithmetic.

A law is plain Python on scalars, so JAX's trace of it is a list of operations, and so is that of its derivatives, which
are then JAX's own. What a law cannot contain here (a loop, a gather, a special function) is an `UnsupportedOperation`:
solvers keep to JAX's arrays then. Truth is 1.0, falsehood 0.0.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.compile.backend import functions
from pbpk.compile.backend.base import Backend, NumpyBackend, Operand

_TO_EVEN = jax.lax.RoundingMethod.TO_NEAREST_EVEN
Value = int | float
"""The number of a value of an expression, arguments first; or a constant, which is a float."""


class UnsupportedOperation(Exception):
    """A function uses an operation that operands do not have; the message is the name of JAX's primitive."""


@dataclass(frozen=True)
class Operation:
    """One operation of an expression: a JAX primitive by `name`, what else it needs (`extra`), the numbers of its `inputs`,
    and the number of the value that it computes."""

    name: str
    extra: Any
    inputs: tuple[Value, ...]
    output: int


@dataclass(frozen=True)
class TracedExpression:
    """A function as a list of operations: of `argument_count` scalars, the first values; every operation computes one more.
    Only what the results need is kept."""

    argument_count: int
    operations: tuple[Operation, ...]
    results: tuple[Value, ...]


def trace_function(function: Callable, arguments: int) -> TracedExpression:
    """The operations of a function of so many scalars to a scalar or a sequence of them. Raises
    `UnsupportedOperation`."""
    scalar = jax.ShapeDtypeStruct((), np.float64)
    closed = jax.make_jaxpr(lambda *a: [jnp.asarray(r, np.float64) for r in _as_sequence(function(*a))])(
        *[scalar] * arguments
    )
    builder = _ExpressionBuilder(arguments)
    results = builder.inline(closed.jaxpr, closed.consts, tuple(range(arguments)))
    needed, kept_operations = {v for v in results if isinstance(v, int)}, []
    for op in reversed(builder.operations):
        if op.output in needed:
            kept_operations.append(op)
            needed |= {v for v in op.inputs if isinstance(v, int)}
    return TracedExpression(arguments, tuple(reversed(kept_operations)), results)


def _as_sequence(value) -> Sequence:
    """Results of a function as a sequence, also where there is one."""
    return value if isinstance(value, tuple | list) else [value]


class _ExpressionBuilder:
    """Writes a trace as operations in order; the same one is not written twice."""

    def __init__(self, arguments: int):
        self.operations: list[Operation] = []
        self._number_of: dict[tuple, int] = {}
        self._count = arguments

    def inline(self, jaxpr: Any, constants: Sequence, arguments: Sequence[Value]) -> tuple[Value, ...]:
        """Writes a trace's operations, those of the functions that it calls among them; gives its results."""
        value: dict[Any, Value] = dict(zip(jaxpr.invars, arguments, strict=True))
        for v, c in zip(jaxpr.constvars, constants, strict=True):
            value[v] = _as_float(c)

        def operand_of(v) -> Value:
            return _as_float(v.val) if hasattr(v, "val") else value[v]

        for eqn in jaxpr.eqns:
            inputs = tuple(operand_of(v) for v in eqn.invars)
            inner = next((eqn.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in eqn.params), None)
            if inner is not None and eqn.primitive.name not in ("while", "scan", "cond"):
                closed = hasattr(inner, "consts")
                outputs = self.inline(inner.jaxpr if closed else inner, inner.consts if closed else (), inputs)
            else:
                outputs = (self._add_equation(eqn, inputs),)
            value |= dict(zip(eqn.outvars, outputs, strict=False))
        return tuple(operand_of(v) for v in jaxpr.outvars)

    def _add_equation(self, eqn: Any, inputs: tuple[Value, ...]) -> Value:
        """Writes one equation of a trace. Raises `UnsupportedOperation`."""
        name, types = eqn.primitive.name, [v.aval for v in (*eqn.invars, *eqn.outvars)]
        unsupported = any(t.shape or t.dtype == np.float32 for t in types) or len(eqn.outvars) != 1
        if unsupported or (name == "select_n" and len(inputs) != 3):
            raise UnsupportedOperation(name)
        if name == "convert_element_type":
            if types[0].dtype.kind == "f" and types[1].dtype.kind != "f":
                raise UnsupportedOperation(name)
            return inputs[0]
        if name in _IDENTITIES:
            return inputs[0]
        if name not in _OPERATIONS or (name == "round" and eqn.params["rounding_method"] != _TO_EVEN):
            raise UnsupportedOperation(name)
        extra = eqn.params.get("y")
        if name == "integer_pow" and extra < 0:  # as a division, which others may share
            name, extra, inputs = "integer_pow", -extra, (self._add_operation("div", None, (1.0, *inputs)),)
        return self._add_operation(name, extra, inputs)

    def _add_operation(self, name: str, extra: Any, inputs: tuple[Value, ...]) -> Value:
        """Writes an operation, unless it is written already, changes nothing, or is of constants alone."""
        if (simplified := _simplify(name, inputs)) is not None:
            return simplified
        if all(isinstance(v, float) for v in inputs):
            with np.errstate(all="ignore"):
                return float(_OPERATIONS[name](NumpyBackend({}), extra, *map(np.float64, inputs)))
        key = (name, extra, repr(inputs))  # 1 is a value's number, 1.0 a constant
        if key not in self._number_of:
            self.operations.append(Operation(name, extra, inputs, self._count))
            self._number_of[key] = self._count
            self._count += 1
        return self._number_of[key]


def _as_float(value: Any) -> float:
    """A constant of a trace. Raises `UnsupportedOperation` for an array."""
    if np.ndim(value):
        raise UnsupportedOperation("array")
    return float(value)


def _simplify(name: str, inputs: tuple[Value, ...]) -> Value | None:
    """The input that an operation with a neutral element leaves as it is; None where it does something."""
    if name == "mul" and 1.0 in inputs:
        a, b = inputs
        return b if _is_constant(a, 1.0) else a if _is_constant(b, 1.0) else None
    if name in ("add", "add_any") and 0.0 in inputs:
        a, b = inputs
        return b if _is_constant(a, 0.0) else a if _is_constant(b, 0.0) else None
    return inputs[0] if name == "div" and _is_constant(inputs[1], 1.0) else None


def _is_constant(value: Value, number: float) -> bool:
    """Whether a value is this constant."""
    return isinstance(value, float) and value == number


@dataclass(frozen=True)
class PreparedExpression:
    """An expression ready for many evaluations: the values that no loop changes are computed, and wait in scratch."""

    machine: Backend
    operations: tuple[Operation, ...]
    results: tuple[Value, ...]
    scratch: Any
    slot_of: dict[int, int]

    def run_steps(self, arguments: dict[int, Operand]) -> Generator[tuple[Operand, Operand], Operand, list[Operand]]:
        """Computes the results. A generator, so that divisions of several expressions can be done as one: it yields every
        division (numerator, denominator), and is sent the quotient."""
        m, value = self.machine, dict(arguments)

        def of(v: Value) -> Operand:
            if isinstance(v, float):
                return v
            if v not in value:
                value[v] = m.get(self.scratch, self.slot_of[v])
            return value[v]

        for op in self.operations:
            inputs = [of(v) for v in op.inputs]
            if op.name == "div":
                value[op.output] = yield inputs[0], inputs[1]
            else:
                value[op.output] = _OPERATIONS[op.name](m, op.extra, *inputs)
        return [of(v) for v in self.results]


def evaluate_expressions(
    m: Backend, expressions: Sequence[tuple[PreparedExpression, dict[int, Operand]]], *, common_division: bool = True
) -> list[list[Operand]]:
    """The results of several expressions with their arguments, side by side. With `common_division`, what they divide at the
    same time is divided by one division: not where denominators of 1e±38 may occur."""
    running = [prepared.run_steps(arguments) for prepared, arguments in expressions]
    results: list[list[Operand]] = [[] for _ in running]
    quotients_to_send: dict[int, Any] = dict.fromkeys(range(len(running)))
    while quotients_to_send:
        divisions: dict[int, tuple[Operand, Operand]] = {}
        for k, quotient in quotients_to_send.items():
            try:
                divisions[k] = running[k].send(quotient)
            except StopIteration as done:
                results[k] = done.value
        quotients = (
            functions.divide(m, list(divisions.values())) if common_division else [a / b for a, b in divisions.values()]
        )
        quotients_to_send = dict(zip(divisions, quotients, strict=True))
    return results


def prepare_expression(m: Backend, e: TracedExpression, known: dict[int, Operand]) -> PreparedExpression:
    """An expression ready for many evaluations, from the arguments that are `known` now, by their numbers; the others are
    given later. What is known is divided by once, and multiplied by later: a division takes as long as thirty products."""
    value, remaining, inverse = dict(known), [], {}
    count = e.argument_count + len(e.operations) + 1 + max((op.output for op in e.operations), default=0)
    for op in e.operations:
        if all(isinstance(v, float) or v in value for v in op.inputs):
            value[op.output] = _OPERATIONS[op.name](
                m, op.extra, *(v if isinstance(v, float) else value[v] for v in op.inputs)
            )
            continue
        denominator = op.inputs[-1]
        if op.name == "div" and not isinstance(denominator, float) and denominator in value:
            if denominator not in inverse:
                inverse[denominator] = count + len(inverse)
                value[inverse[denominator]] = 1.0 / value[denominator]
            op = Operation("mul", None, (op.inputs[0], inverse[denominator]), op.output)
        remaining.append(op)
    remaining = _share_inverses(remaining, count + len(inverse))
    needed = {v for op in remaining for v in op.inputs} | set(e.results)
    slot_of = {v: k for k, v in enumerate(v for v in value if v in needed)}
    scratch = m.scratch(len(slot_of))
    for v, k in slot_of.items():
        m.put(scratch, k, value[v])
    return PreparedExpression(m, tuple(remaining), e.results, scratch, slot_of)


def _share_inverses(operations: list[Operation], next_number: int) -> list[Operation]:
    """The same operations, with what is divided by more than once, as in a law's derivatives, inverted once. From
    `next_number` on, numbers are no values' yet."""
    denominators = [op.inputs[1] for op in operations if op.name == "div"]
    shared = {v for v in denominators if isinstance(v, int) and denominators.count(v) > 1}
    inverse_of = {v: next_number + k for k, v in enumerate(denominators) if v in shared}
    inverted = set()
    result = []
    for op in operations:
        denominator = op.inputs[-1]
        if op.name != "div" or not isinstance(denominator, int) or denominator not in inverse_of:
            result.append(op)
            continue
        if denominator not in inverted:
            result.append(Operation("div", None, (1.0, denominator), inverse_of[denominator]))
            inverted.add(denominator)
        result.append(Operation("mul", None, (op.inputs[0], inverse_of[denominator]), op.output))
    return result


def _maximum(m: Backend, a: Operand, b: Operand) -> Operand:
    """The larger; NaN where either is."""
    return m.compare(m.size(a), -1.0, m.larger(a, b), a)  # NaN whichever is


def _is_greater(m: Backend, a: Operand, b: Operand) -> Operand:
    """1 where a > b, else 0."""
    return m.compare(a, b, 1.0, 0.0)


def _is_equal(m: Backend, a: Operand, b: Operand) -> Operand:
    """1 where equal; NaN equals nothing."""
    differs = m.compare(a, b, 0.0, m.compare(b, a, 0.0, 1.0))
    return m.compare(m.size(a), -1.0, m.compare(m.size(b), -1.0, differs, 0.0), 0.0)


def _integer_power(m: Backend, n: int, a: Operand) -> Operand:
    """aⁿ by squaring."""
    if n < 0:
        return 1.0 / _integer_power(m, -n, a)
    product: Operand = None
    while n:
        product = (a if product is None else product * a) if n & 1 else product
        n >>= 1
        a = a * a if n else a
    return 1.0 if product is None else product


_IDENTITIES = ("copy", "copy_p", "broadcast_in_dim", "reshape", "squeeze", "real", "optimization_barrier")
_OPERATIONS: dict[str, Callable[..., Operand]] = {
    "add": lambda m, _, a, b: a + b,
    "add_any": lambda m, _, a, b: a + b,
    "sub": lambda m, _, a, b: a - b,
    "mul": lambda m, _, a, b: a * b,
    "div": lambda m, _, a, b: a / b,
    "neg": lambda m, _, a: -a,
    "square": lambda m, _, a: a * a,
    "one_minus_square": lambda m, _, a: (1.0 - a) * (1.0 + a),
    "integer_pow": _integer_power,
    "pow": lambda m, _, a, b: functions.power(m, a, b),
    "sqrt": lambda m, _, a: m.root(a),
    "rsqrt": lambda m, _, a: 1.0 / m.root(a),
    "exp": lambda m, _, a: functions.exp(m, a),
    "log": lambda m, _, a: functions.log(m, a),
    "expm1": lambda m, _, a: functions.expm1(m, a),
    "log1p": lambda m, _, a: functions.log1p(m, a),
    "tanh": lambda m, _, a: functions.tanh(m, a),
    "sin": lambda m, _, a: functions.sin(m, a),
    "cos": lambda m, _, a: functions.cos(m, a),
    "erf": lambda m, _, a: functions.erf(m, a),
    "erfc": lambda m, _, a: functions.erfc(m, a),
    "lgamma": lambda m, _, a: functions.lgamma(m, a),
    "digamma": lambda m, _, a: functions.digamma(m, a),
    "round": lambda m, _, a: functions.round_to_nearest(m, a),
    "logistic": lambda m, _, a: 1.0 / (1.0 + functions.exp(m, -a)),
    "abs": lambda m, _, a: m.size(a),
    "sign": lambda m, _, a: m.compare(a, 0.0, 1.0, m.compare(0.0, a, -1.0, m.fixed(a))),
    "max": lambda m, _, a, b: _maximum(m, a, b),
    "min": lambda m, _, a, b: -_maximum(m, -a, -b),
    "clamp": lambda m, _, low, a, high: -_maximum(m, -_maximum(m, a, low), -high),
    "gt": lambda m, _, a, b: _is_greater(m, a, b),
    "lt": lambda m, _, a, b: _is_greater(m, b, a),
    "ge": lambda m, _, a, b: m.larger(_is_greater(m, a, b), _is_equal(m, a, b)),
    "le": lambda m, _, a, b: m.larger(_is_greater(m, b, a), _is_equal(m, a, b)),
    "eq": lambda m, _, a, b: _is_equal(m, a, b),
    "ne": lambda m, _, a, b: 1.0 - _is_equal(m, a, b),
    "and": lambda m, _, a, b: a * b,
    "or": lambda m, _, a, b: m.larger(a, b),
    "not": lambda m, _, a: 1.0 - a,
    "is_finite": lambda m, _, a: m.compare(float("inf"), m.size(a), 1.0, 0.0),
    "select_n": lambda m, _, which, no, yes: m.choose(which, yes, no),
}
