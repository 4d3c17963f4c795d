"""AGQ: the marginal likelihood itself, by adaptive Gauss–Hermite quadrature around each subject's mode.

    exp(−OFV_i/2) = (2π)^(−q/2) ∫ exp(−joint_i/2) dη ≈ π^(−q/2) |C| Σ_k w_k exp(x_k·x_k − ½ joint_i(η̂ + √2 C x_k))

with CC' the inverse of half the exact Hessian at the mode (Liu & Pierce 1994, Biometrika 81:624; Pinheiro & Bates 1995). The
gradient is Fisher's identity, the posterior mean of ∂joint/∂ψ over the same nodes: that of the integral, and of its
quadrature to the quadrature's own error. Nodes are a product grid, as many a dimension as keep within `_MOST_NODES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.errors import WrongUsage
from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.likelihood.conditional_modes import find_conditional_modes
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.mixture import combine_classes
from pbpk.likelihood.prediction_jets import first_order_jet
from pbpk.likelihood.subject import SubjectLikelihood, subject_arrays

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

_MOST_NODES = 3600  # in all
_MOST_PER_DIMENSION, _LEAST_PER_DIMENSION = 15, 3
_NODES_AT_ONCE = 64  # evaluated side by side, which bounds the memory


def count_nodes(dimensions: int) -> int:
    """Nodes for each random effect. Raises `WrongUsage` where even few would be too many."""
    count = next(
        (n for n in range(_MOST_PER_DIMENSION, _LEAST_PER_DIMENSION - 1, -2) if n**dimensions <= _MOST_NODES), 0
    )
    if count == 0:
        raise WrongUsage(
            f"quadrature over {dimensions} random effects takes too many nodes", hint="use laplace or focei"
        )
    return count


def build_grid(count: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (K, q) and ln(weight) + x·x (K,) of the product rule."""
    x, w = np.polynomial.hermite.hermgauss(count)
    nodes = np.stack(np.meshgrid(*[x] * dimensions, indexing="ij"), axis=-1).reshape(-1, dimensions)
    logs = np.stack(np.meshgrid(*[np.log(w) + x**2] * dimensions, indexing="ij"), axis=-1).reshape(-1, dimensions)
    return nodes, logs.sum(axis=1)


@jax.jit
def evaluate_quadrature(problem: Problem, psi: jax.Array, eta: jax.Array) -> Evaluation:
    """The marginal objective of every subject at ψ (P,) and its gradient; `eta` (q, N) is where the modes are sought from."""
    q = eta.shape[0]
    nodes, logs = build_grid(count_nodes(q), q)
    modes = find_conditional_modes(problem, psi, eta, interaction=True)
    theta, _, _ = problem.unpack(psi)
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=True)

    def root_at_mode(e, s):
        return jnp.linalg.cholesky(jnp.linalg.inv(jax.hessian(terms.joint_minus2ll, argnums=1)(psi, e, s) / 2))

    root = jax.vmap(root_at_mode, in_axes=-1, out_axes=-1)(modes.eta, subject_arrays(problem, modes.jet))
    points = modes.eta + jnp.sqrt(2.0) * jnp.einsum("ijn,kj->kin", root, nodes)

    def evaluate_node(point):
        subjects = subject_arrays(problem, first_order_jet(problem, problem.individual_parameters(theta, point)))
        return jax.vmap(jax.value_and_grad(terms.joint_minus2ll), in_axes=(None, -1, -1), out_axes=(0, -1))(
            psi, point, subjects
        )

    joint, slope = jax.lax.map(evaluate_node, points, batch_size=min(_NODES_AT_ONCE, len(nodes)))
    terms_of_sum = jnp.where(jnp.isfinite(joint), logs[:, None] - joint / 2, -jnp.inf)
    share = jax.nn.softmax(terms_of_sum, axis=0)
    log_root = jnp.sum(jnp.log(jnp.einsum("iin->in", root)), axis=0)
    value = q * jnp.log(jnp.pi) - 2 * log_root - 2 * jax.nn.logsumexp(terms_of_sum, axis=0)
    gradient = jnp.sum(jnp.where(share[:, None] > 0, share[:, None] * slope, 0.0), axis=0)
    return combine_classes(problem, psi, Evaluation(value, gradient, modes.eta, modes.converged))


@dataclass(frozen=True)
class AdaptiveQuadrature(QuasiNewton):
    """The marginal likelihood by quadrature, for as many random effects as the grid has nodes for."""

    takes_aggregates = True

    def prepare(self, problem: Problem) -> Problem:
        """The problem as it is. Raises `WrongUsage` for more random effects than the grid has nodes for."""
        count_nodes(len(problem.structure.layout.etas))
        return super().prepare(problem)

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """The marginal objective by subject."""
        return evaluate_quadrature(problem, psi, eta)


AGQ = AdaptiveQuadrature("agq", "the marginal likelihood by adaptive Gauss-Hermite quadrature")
