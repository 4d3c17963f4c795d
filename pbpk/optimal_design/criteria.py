"""What makes one design better than another.

D: ln det M, the volume of the confidence region of all parameters. Ds: ln det M − ln det M₂₂, that of the parameters of
interest with the others unknown (M₂₂ is the others' block). ED: the mean of either over draws of the parameters from a prior,
so that a design need not be right for one guess alone (of the logarithm, so also called ELD or API; Pronzato & Walter 1985,
Math Biosci 75:103).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.errors import ScienceFailed
from pbpk.optimal_design.moments import ObservationMoments, compute_information_by_subject

CRITERIA = ("D", "Ds", "ED")
_CHOICES_AT_ONCE = 16
_SMALLEST_EIGENVALUE = 1e-10  # of the information's correlation; one below counts as none


def compute_criterion(m: Any, interest: tuple[int, ...]) -> jax.Array:
    """The criterion of M (..., P, P), to be maximised; −∞ where M is singular. `interest` () is D."""
    log_det = _log_det(m)
    others = np.setdiff1d(np.arange(m.shape[-1]), interest)
    if not interest or not len(others):
        return log_det
    return jnp.where(log_det > -jnp.inf, log_det - _log_det(m[..., others[:, None], others]), -jnp.inf)


def compute_mean_criterion(m: Any, interest: tuple[int, ...]) -> jax.Array:
    """The criterion of M (..., D, P, P), its mean over the D draws."""
    return jnp.mean(compute_criterion(m, interest), axis=-1)


def compute_sensitivity(m: np.ndarray, parts: np.ndarray, interest: tuple[int, ...]) -> np.ndarray:
    """The derivative of the criterion towards each of `parts` (E, D, P, P) from M (D, P, P), plus its dimension: (E,).

    tr(M⁻¹Mₑ), less tr(M₂₂⁻¹Mₑ₂₂) under Ds (Kiefer & Wolfowitz 1960, Can J Math 12:363; Silvey 1980, Optimal Design).
    """
    sensitivity = np.einsum("dij,edji->e", np.linalg.inv(m), parts)
    others = np.setdiff1d(np.arange(m.shape[-1]), interest)
    if interest and len(others):
        block = np.ix_(others, others)
        inverse = np.linalg.inv(m[:, *block])
        sensitivity = sensitivity - np.einsum("dij,edji->e", inverse, parts[:, :, *block])
    return sensitivity / len(m)


def count_parameters_of_interest(size: int, interest: tuple[int, ...]) -> int:
    """How many parameters the criterion is about: those of `interest`, or all `size`."""
    return len(interest) or size


@jax.jit
def sum_information(
    m: ObservationMoments, psi_per_coordinate: jax.Array, counts: jax.Array, rows: jax.Array
) -> jax.Array:
    """(B, D, P, P): the information of all subjects, `counts` (N,) of each kind, for each of B choices of `rows` (B, N, R).

    Moments carry two axes in front: D draws of the parameters, whose criteria are averaged, and S of η, whose information is.
    """

    def of_choice(choice):
        def of_draw(moments, psi_per_coordinate):
            by_eta = jax.vmap(lambda s: jnp.einsum("n,npq->pq", counts, compute_information_by_subject(s, choice)))(
                moments
            )
            return psi_per_coordinate.T @ jnp.mean(by_eta, axis=0) @ psi_per_coordinate

        return jax.vmap(of_draw)(m, psi_per_coordinate)

    return jax.lax.map(of_choice, rows, batch_size=min(_CHOICES_AT_ONCE, len(rows)))


def refuse_singular(m: np.ndarray, names: tuple[str, ...]) -> None:
    """Raises `ScienceFailed` naming the parameters that a design with information `m` (P, P) cannot tell."""
    if not np.isfinite(m).all():
        raise ScienceFailed(
            "the information is not finite", why="a prediction is not finite, or has no residual variance"
        )
    size = np.sqrt(np.diag(m))
    unseen = [n for n, s in zip(names, size, strict=True) if not s > 0]
    if unseen:
        raise ScienceFailed(
            f"these samples say nothing of {', '.join(unseen)}",
            hint="hold it (`fixed = true`), or sample something else",
        )
    values, vectors = np.linalg.eigh(m / np.outer(size, size))
    if values[0] < _SMALLEST_EIGENVALUE:
        mixed = [n for n, w in zip(names, vectors[:, 0], strict=True) if abs(w) > 0.25]
        raise ScienceFailed(
            f"the information matrix is singular: these samples cannot tell {' from '.join(mixed)}"
            if len(mixed) > 1
            else f"the information matrix is singular: these samples hardly see {mixed[0]}",
            why=f"its smallest eigenvalue is {values[0]:.1e} of what each parameter has by itself",
            hint="hold one of them, or take more samples",
        )


def _log_det(m: jax.Array) -> jax.Array:
    """ln det of (..., P, P), −∞ where it is singular. It is scaled to a correlation first, so that what counts as singular
    does not depend on units."""
    size = jnp.sqrt(jnp.maximum(jnp.diagonal(m, axis1=-2, axis2=-1), 1e-300))
    scaled = m / (size[..., :, None] * size[..., None, :])
    sign, log = jnp.linalg.slogdet(scaled)
    # The eigenvalue only decides which branch holds: without stop_gradient its derivative would be computed for nothing.
    is_regular = (sign > 0) & (jnp.linalg.eigvalsh(jax.lax.stop_gradient(scaled))[..., 0] > _SMALLEST_EIGENVALUE)
    return jnp.where(is_regular, log + 2 * jnp.sum(jnp.log(size), axis=-1), -jnp.inf)
