"""A quantity written as text, `log(2)*V/CL`, as a function of parameters by name.

Python's own parser reads it. Of what that accepts, arithmetic, a few functions, names and numbers are allowed and nothing else,
so that no text can run code.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pbpk.errors import BadInput, did_you_mean

_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY = {ast.USub: operator.neg, ast.UAdd: operator.pos}
FUNCTIONS: dict[str, Callable] = {
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "pow": operator.pow,
    "min": lambda *xs: min(xs),
    "max": lambda *xs: max(xs),
}
_ARGUMENT_COUNTS = {"pow": 2, "min": None, "max": None}  # None: any number; functions that are not listed take one
_LONGEST_TEXT = 1000


@dataclass(frozen=True, eq=False)
class QuantityExpression:
    """`text`, read as `tree`, with the `names` it uses and its `unit_constants`, such as "1 L/h"."""

    text: str
    names: tuple[str, ...]
    unit_constants: tuple[str, ...]
    tree: ast.expr

    def evaluate(
        self,
        values: Mapping[str, Any],
        read_constant: Callable[[str], Any],
        functions: Mapping[str, Callable] | None = None,
    ) -> Any:
        """The value, with `values` by name. `read_constant` makes a value of a constant with a unit; `functions` replace the
        plain ones."""
        known = {**FUNCTIONS, **(functions or {})}

        def at(node: ast.AST) -> Any:
            if isinstance(node, ast.Constant):
                return read_constant(node.value) if isinstance(node.value, str) else node.value
            if isinstance(node, ast.BinOp):
                return _BINARY[type(node.op)](at(node.left), at(node.right))
            if isinstance(node, ast.UnaryOp):
                return _UNARY[type(node.op)](at(node.operand))
            if isinstance(node, ast.Call):
                return known[_join_dotted_name(node.func)](*(at(a) for a in node.args))
            return values[_join_dotted_name(node)]

        return at(self.tree)


def read_expression(text: str) -> QuantityExpression:
    """The expression that a text says. Raises `BadInput` for what is no arithmetic on names and numbers."""
    if len(text) > _LONGEST_TEXT:
        raise BadInput(f"an expression of {len(text)} characters is too long")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        raise BadInput(f'the expression "{text}" cannot be read', hint='write it as in "log(2)*V/CL"') from e
    names: dict[str, None] = {}
    unit_constants: dict[str, None] = {}
    try:
        _check_node(tree, text, names, unit_constants)
    except RecursionError as e:
        raise BadInput(f'the expression "{text}" is too deep') from e
    return QuantityExpression(text.strip(), tuple(names), tuple(unit_constants), tree)


def _check_node(node: ast.AST, text: str, names: dict[str, None], unit_constants: dict[str, None]) -> None:
    """Collect the names and constants of a tree, as keys. Raises `BadInput` for a node that is not allowed."""
    if isinstance(node, ast.Constant):
        if type(node.value) not in (int, float, str):
            raise _refuse(repr(node.value), text)
        if isinstance(node.value, str):
            unit_constants.setdefault(node.value)
    elif isinstance(node, ast.BinOp):
        if type(node.op) not in _BINARY:
            hint = "a power is written **" if isinstance(node.op, ast.BitXor) else ""
            raise _refuse(f"the operator {type(node.op).__name__}", text, hint)
        _check_node(node.left, text, names, unit_constants)
        _check_node(node.right, text, names, unit_constants)
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        _check_node(node.operand, text, names, unit_constants)
    elif isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if name not in FUNCTIONS:
            raise BadInput(f'"{text}": no function `{name}`', hint=did_you_mean(name, FUNCTIONS))
        argument_count = _ARGUMENT_COUNTS.get(name, 1)
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            raise _refuse("a named or starred argument", text)
        if len(node.args) != argument_count if argument_count else not node.args:
            raise BadInput(f'"{text}": {name} takes {argument_count or "at least 1"}; given {len(node.args)}')
        for a in node.args:
            _check_node(a, text, names, unit_constants)
    elif isinstance(node, ast.Name | ast.Attribute) and _join_dotted_name(node):
        names.setdefault(_join_dotted_name(node))
    else:
        raise _refuse(f"`{ast.unparse(node)}`" if isinstance(node, ast.expr) else type(node).__name__, text)


def _join_dotted_name(node: ast.AST) -> str:
    """`lesion_1.efflux`, whose dot is part of a parameter's name; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (head := _join_dotted_name(node.value)):
        return f"{head}.{node.attr}"
    return ""


def _refuse(part: str, text: str, hint: str = "") -> BadInput:
    """The error for a part of the text that is not allowed."""
    known = f"+ - * / **, {', '.join(FUNCTIONS)}, numbers and parameters"
    return BadInput(f'"{text}": {part} is not allowed', hint=hint or f"use {known}")
