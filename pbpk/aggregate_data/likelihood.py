"""−2 ln likelihood of published aggregates, row by row, from the quantities of each arm's virtual patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.aggregate_data.blocks import Block, Correlated, Moments, Numbers, Orders, Plan, Share
from pbpk.aggregate_data.moments import moment_rows
from pbpk.aggregate_data.order_statistics import order_rows
from pbpk.aggregate_data.proportions import correlation_row, probability, share_row


def block_rows(block: Block, x: jax.Array, theta: Mapping[str, Any], numbers: Numbers):
    """(J,) −2 ln likelihood of each of the block's rows, given those before it; predictions and sampling SDs (J,), both as
    the likelihood has them. x (K, A, M): quantity, arm, patient."""
    rows = np.array(block.rows)
    value, error, n = (jnp.asarray(a)[rows] for a in numbers[:3])
    mine = x[:, block.arm]
    if isinstance(block, Moments):
        features = jnp.stack([jnp.log(mine[q]) if log else mine[q] for q, log in block.features])
        return moment_rows(features, np.array(block.feature), np.array(block.is_sd), value, n, error)
    if isinstance(block, Orders):
        return order_rows(mine[block.quantity], value, jnp.asarray(numbers.rank)[rows], n[0])
    if isinstance(block, Share):
        p = probability(
            block.form, mine[block.exposure], theta[f"{block.response}.E50"], theta[f"{block.response}.slope"]
        )
        return tuple(jnp.atleast_1d(a) for a in share_row(p, value[0], n[0]))
    assert isinstance(block, Correlated)
    a, b = block.quantities
    return tuple(jnp.atleast_1d(c) for c in correlation_row(mine[a], mine[b], value[0], n[0]))


def columns(plan: Plan, x: jax.Array, theta: Mapping[str, Any], numbers: Numbers) -> jax.Array:
    """(R,) of the used rows, in the order of `plan.order`; their sum is −2 ln likelihood, densities without ln 2π."""
    return jnp.concatenate([jnp.zeros(0), *(block_rows(b, x, theta, numbers)[0] for b in plan.used)])


def predictions(plan: Plan, x: jax.Array, theta: Mapping[str, Any], numbers: Numbers) -> tuple[jax.Array, jax.Array]:
    """Of every row, used or not (R,), and its sampling SD (R,)."""
    predicted = spread = jnp.zeros(len(numbers.value))
    for block in (*plan.used, *plan.shown):
        _, p, s = block_rows(block, x, theta, numbers)
        at = np.array(block.rows)
        predicted, spread = predicted.at[at].set(p), spread.at[at].set(s)
    return predicted, spread
