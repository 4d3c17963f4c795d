"""One Rosenbrock step for all patients at once, on the sparse elimination (pbpk.linalg.tableau has the methods), and its
adjoint.

Stages are a scan over rows of the tableau: written out one after another, XLA on a CPU compiles them for minutes and
duplicates their work. The integral of the amounts is a set of states that nothing depends on; its stages follow from the
others without a solve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pbpk.solve.right_hand_side import BoundParameters, VectorField

if TYPE_CHECKING:
    from pbpk.linalg.tableau import RosenbrockTableau


def take_step(
    field: VectorField,
    tableau: RosenbrockTableau,
    x: jax.Array,
    h: jax.Array,
    inflow: jax.Array | None,
    bound: BoundParameters,
    integrals: bool,
) -> tuple[jax.Array, jax.Array | None, jax.Array]:
    """(x after h, ∫x over h or None, error estimate), all (n, N), from x (n, N), h (N,) and inflow (n, N) or None."""
    n = x.shape[0]
    *_, u = _compute_stages(field, tableau, x, h, inflow, bound, integrals)
    gain = jnp.tensordot(jnp.asarray(tableau.a[-1], x.dtype), u, 1) + u[-1]
    return x + gain[:n], gain[n:] if integrals else None, u[-1, :n]


def _step_matrix(field: VectorField, tableau: RosenbrockTableau, x, h, bound: BoundParameters) -> jax.Array:
    """I − γhJ, packed."""
    return field.elimination.shifted(-(tableau.gamma * h) * field.jacobian(x, bound), 1.0)


def _stage_weights(tableau: RosenbrockTableau, dtype) -> jax.Array:
    """(stages, 2, stages): of each stage, how earlier ones move where it evaluates (a), and what they add to it (c)."""
    return jnp.stack([jnp.asarray(tableau.a), jnp.asarray(tableau.c)], axis=1).astype(dtype)


def _compute_stages(
    field: VectorField, tableau: RosenbrockTableau, x, h, inflow, bound: BoundParameters, integrals: bool
):
    """Where each stage evaluates and what earlier stages add to it, γ Σ cᵢⱼuⱼ, both (stages, n, N), and the stages u
    (stages, n or 2n, N)."""
    gamma, gh, n = tableau.gamma, tableau.gamma * h, x.shape[0]
    solve = field.elimination.solver(_step_matrix(field, tableau, x, h, bound))
    slope = field.make_slope(bound)
    fixed = 0.0 if inflow is None else inflow
    weights = _stage_weights(tableau, x.dtype)

    def stage(u, row):
        i, weight = row
        sums = jnp.tensordot(weight, u, 1)
        y = x + sums[0, :n]
        pushed = gamma * sums[1, :n]
        new = solve(gh * (slope(y) + fixed) + pushed)
        if integrals:
            new = jnp.concatenate([new, gh * (y + new) + gamma * sums[1, n:]])
        return lax.dynamic_update_index_in_dim(u, new, i, 0), (y, pushed)

    empty = jnp.zeros((len(weights), 2 * n if integrals else n, *x.shape[1:]), x.dtype)
    u, (y, pushed) = lax.scan(stage, empty, (jnp.arange(len(weights)), weights))
    return y, pushed, u


class _StepCotangents(NamedTuple):
    """Cotangents while going back through the stages: of the state, the step's length, and the bound parameters; `nonlinear` is
    that of the nonlinear arrows' part of the matrix. None where all arrows are linear."""

    x: jax.Array
    h: jax.Array
    linear: jax.Array
    constant: jax.Array
    arguments: Any = None
    nonlinear: jax.Array | None = None


def step_adjoint(
    field: VectorField, tableau: RosenbrockTableau, x, h, inflow, bound: BoundParameters, of_x, of_integral
):
    """Cotangents (x, h, inflow or None, BoundParameters) of a step whose results have cotangents `of_x` and `of_integral` or
    None.

    Mᵀλᵢ = ūᵢ stage by stage backwards; λᵢ acts on the right-hand side as an evaluation of the field does, and λᵢuᵢ' on
    the matrix, so that both meet in one product by (yᵢ + uᵢ) for the linear arrows.
    """
    integrals, gamma, gh, n = of_integral is not None, tableau.gamma, tableau.gamma * h, x.shape[0]
    elimination, is_nonlinear = field.elimination, bool(field.nonlinear_groups)
    y, pushed, u = _compute_stages(field, tableau, x, h, inflow, bound, integrals)
    solve_transposed = elimination.transposed_solver(_step_matrix(field, tableau, x, h, bound))
    multiply_transposed = elimination.transposed_product(bound.linear)
    column, slots = elimination.column, np.unique(field.nonlinear_entries.slot)
    per_h = jnp.where(h > 0, 1 / jnp.where(h > 0, h, 1.0), 0.0)  # a step of no length moves nothing, however stretched

    def stage_back(carry, stage):
        bar_u, bar = carry
        weight, y, pushed, u, i = stage
        of_stage = lax.dynamic_index_in_dim(bar_u, i, 0, keepdims=False)
        of_u, of_y, of_h = of_stage[:n], jnp.zeros_like(x), bar.h
        if integrals:
            of_u, of_y = of_u + gh * of_stage[n:], gh * of_stage[n:]
            of_h = of_h + gamma * jnp.sum(of_stage[n:] * (y + u[:n]), axis=0)
        to = solve_transposed(of_u)
        of_f = gh * to
        of_h = of_h + per_h * jnp.sum(to * (u[:n] - pushed), axis=0)
        of_y = of_y + multiply_transposed(of_f)
        difference = elimination.differences(of_f)
        of_linear = bar.linear + difference * (y + u[:n])[column]
        of_constant, of_arguments, of_nonlinear = bar.constant + of_f, bar.arguments, bar.nonlinear
        if is_nonlinear:
            _, pull = jax.vjp(field.nonlinear_slope, y, bound.arguments)
            of_y_by_laws, more = pull(of_f)
            of_y = of_y + of_y_by_laws
            of_arguments = jax.tree.map(jnp.add, of_arguments, more)
            of_nonlinear = of_nonlinear + difference[slots] * u[:n][column[slots]]
        rest = gamma * jnp.concatenate([to, of_stage[n:]]) if integrals else gamma * to
        of_place = jnp.concatenate([of_y, jnp.zeros_like(of_y)]) if integrals else of_y
        shape = (-1, *([1] * rest.ndim))
        bar_u = bar_u + weight[0].reshape(shape) * of_place + weight[1].reshape(shape) * rest
        bar = _StepCotangents(bar.x + of_y, of_h, of_linear, of_constant, of_arguments, of_nonlinear)
        return (bar_u, bar), None

    ends = of_x if not integrals else jnp.concatenate([of_x, of_integral])
    last = jnp.asarray(tableau.a[-1], x.dtype).at[-1].add(1.0).reshape((-1, *([1] * ends.ndim)))
    bar = _StepCotangents(of_x, jnp.zeros_like(h), jnp.zeros_like(bound.linear), jnp.zeros_like(x))
    if is_nonlinear:
        none = jax.tree.map(jnp.zeros_like, bound.arguments)
        bar = bar._replace(arguments=none, nonlinear=jnp.zeros_like(bound.linear[: len(slots)]))
    stages = (_stage_weights(tableau, x.dtype), y, pushed, u, jnp.arange(len(u)))
    (_, bar), _ = lax.scan(stage_back, (last * ends, bar), stages, reverse=True)
    of_x, of_arguments = bar.x, bound.arguments
    if is_nonlinear:  # the matrix's own dependence on where the step began
        _, pull = jax.vjp(lambda x, arguments: field.nonlinear_jacobian(x, arguments)[slots], x, bound.arguments)
        of_x_by_matrix, more = pull(bar.nonlinear)
        of_x, of_arguments = of_x + of_x_by_matrix, jax.tree.map(jnp.add, bar.arguments, more)
    of_bound = BoundParameters(bar.linear, bar.constant, of_arguments)
    return of_x, bar.h, None if inflow is None else bar.constant, of_bound
