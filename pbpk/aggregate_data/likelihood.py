"""−2 ln likelihood of published aggregates, row by row, from the quantities of each arm's virtual patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.aggregate_data.blocks import (
    CorrelationBlock,
    MomentBlock,
    OrderBlock,
    ProportionBlock,
    RowBlocks,
    RowNumbers,
    StatisticBlock,
)
from pbpk.aggregate_data.moments import evaluate_moments
from pbpk.aggregate_data.order_statistics import evaluate_order_statistics
from pbpk.aggregate_data.proportions import compute_response_probability, evaluate_correlation, evaluate_proportion


def evaluate_block(block: StatisticBlock, x: jax.Array, theta: Mapping[str, Any], numbers: RowNumbers):
    """Evaluate one block: −2 ln likelihood (J,) of each of its rows, given those before it; predictions and sampling SDs
    (J,), both as the likelihood has them. x (K, A, M): quantity, arm, patient."""
    rows = np.array(block.rows)
    value, error, n = (jnp.asarray(a)[rows] for a in numbers[:3])
    in_arm = x[:, block.arm]
    if isinstance(block, MomentBlock):
        features = jnp.stack([jnp.log(in_arm[q]) if log else in_arm[q] for q, log in block.features])
        return evaluate_moments(features, np.array(block.feature), np.array(block.is_sd), value, n, error)
    if isinstance(block, OrderBlock):
        return evaluate_order_statistics(in_arm[block.quantity], value, jnp.asarray(numbers.rank)[rows], n[0])
    if isinstance(block, ProportionBlock):
        p = compute_response_probability(
            block.form, in_arm[block.exposure], theta[f"{block.response}.E50"], theta[f"{block.response}.slope"]
        )
        return tuple(jnp.atleast_1d(a) for a in evaluate_proportion(p, value[0], n[0]))
    assert isinstance(block, CorrelationBlock)
    a, b = block.quantities
    return tuple(jnp.atleast_1d(c) for c in evaluate_correlation(in_arm[a], in_arm[b], value[0], n[0]))


def evaluate_used_rows(blocks: RowBlocks, x: jax.Array, theta: Mapping[str, Any], numbers: RowNumbers) -> jax.Array:
    """−2 ln likelihood of the used rows (R,), in the order of `blocks.order`; their sum is −2 ln likelihood, densities
    without ln 2π."""
    return jnp.concatenate([jnp.zeros(0), *(evaluate_block(b, x, theta, numbers)[0] for b in blocks.used)])


def predict_rows(
    blocks: RowBlocks, x: jax.Array, theta: Mapping[str, Any], numbers: RowNumbers
) -> tuple[jax.Array, jax.Array]:
    """The prediction of every row, used or not (R,), and its sampling SD (R,)."""
    predicted = spread = jnp.zeros(len(numbers.value))
    for block in (*blocks.used, *blocks.shown):
        _, p, s = evaluate_block(block, x, theta, numbers)
        at = np.array(block.rows)
        predicted, spread = predicted.at[at].set(p), spread.at[at].set(s)
    return predicted, spread
