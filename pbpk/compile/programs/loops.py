"""Loops and sums that programs on operands are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from pbpk.compile.backend.base import Backend, Index, Operand

_UNROLLED = 8  # passes of a loop written out: enough to keep a processor busy, few enough to be compiled quickly


def for_each(m: Backend, count: int, do: Callable[[Index], None]) -> None:
    """`do(k)` for all k, as a loop, a few at a time."""

    def some(first: Index, width: int) -> None:
        for k in range(width):
            do(first + k)

    for_blocks(m, count, some)


def for_blocks(m: Backend, count: int, do: Callable[[Index, int], None]) -> None:
    """`do(first, width)` for all, a few at a time."""
    blocks, rest = divmod(count, _UNROLLED)
    if blocks:
        m.loop(blocks, lambda t: do(t * _UNROLLED, _UNROLLED) or [])
    if rest:
        do(blocks * _UNROLLED, rest)


def dot_product(pairs: Iterable[tuple[Operand, Operand]], chains: int = 4) -> Operand:
    """Σ a·b, some sums side by side, so that none waits long for the last addition."""
    sums: list[Operand] = [0.0] * chains
    for k, (a, b) in enumerate(pairs):
        sums[k % chains] = a * b + sums[k % chains]
    return (sums[0] + sums[1]) + sum(sums[2:])


def weighted_sum(weights: np.ndarray, values: Sequence[Operand]) -> Operand:
    """Σ weight · value, of weights that are known when the program is written: those of 0 cost nothing."""
    result: Operand = 0.0
    for weight, value in zip(weights, values, strict=True):
        if weight:
            result = float(weight) * value + result
    return result


def split_evenly(items: Sequence, most: int) -> Iterable[Sequence]:
    """As few parts of at most `most` items as there must be, and as even."""
    parts = -(-len(items) // most)
    for p in range(parts):
        yield items[p * len(items) // parts : (p + 1) * len(items) // parts]
