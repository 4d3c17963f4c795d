"""What the data can tell, before any fit: the flat directions of the expected information on θ at the starting values.

First-order information of each subject, G'V⁻¹G with V = AΩA' + R (Retout & Mentré's FO matrix without the variance part).
A direction that the data hardly see is named by the parameters it mixes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.prediction_jets import first_order_jet
from pbpk.likelihood.subject import SubjectLikelihood, subject_arrays

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


@jax.jit
def expected_information(problem: Problem, unconstrained: jax.Array) -> jax.Array:
    """The information (P, P) on the unconstrained vector; only the rows of estimated θ hold any."""
    theta, omega, _ = problem.unpack(unconstrained)
    eta = jnp.zeros((len(problem.structure.layout.etas), problem.subjects))
    jet = first_order_jet(problem, problem.individual_parameters(theta, eta))
    likelihood = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=False)

    def one(e, s):
        _, mean, r = likelihood.moments(unconstrained, e, s)
        mask = (s.observed_mask & jnp.isfinite(mean))[:, None]
        g = jnp.where(mask, jax.jacfwd(lambda x: likelihood.moments(x, e, s)[1])(unconstrained), 0.0)
        a = jnp.where(mask, jax.jacfwd(lambda x: likelihood.moments(unconstrained, x, s)[1])(e), 0.0)
        v = a @ omega @ a.T + jnp.diag(r)
        return g.T @ jnp.linalg.solve(v, g)

    return jnp.sum(jax.vmap(one, in_axes=-1)(eta, subject_arrays(problem, jet)), axis=0)


def describe_precision(problem: Problem) -> list[str]:
    """A line on each θ's expected relative standard error, or one naming the direction that the data cannot see."""
    thetas = [t for t in problem.structure.layout.thetas if not t.fixed]
    if not thetas:
        return ["no θ is estimated"]
    k = len(thetas)
    m = np.asarray(expected_information(problem, problem.initial_unconstrained))[:k, :k]
    if not np.isfinite(m).all():
        return [
            "the expected precision is not known: a prediction, or its residual variance, is not usable at the starting values"
        ]
    size = np.sqrt(np.maximum(np.diag(m), 1e-300))
    values, vectors = np.linalg.eigh(m / np.outer(size, size))
    if values[0] < 1e-8:
        confounded = [t.name for t, w in zip(thetas, vectors[:, 0], strict=True) if abs(w) > 0.3]
        return [f"these data cannot tell {' from '.join(confounded)} at the starting values: fix one of them"]
    sd = np.sqrt(np.diag(np.linalg.inv(m)))
    # Of a positive θ the coordinate is its logarithm, whose SD is a relative standard error.
    lines = [
        f"{t.name}: expected {'RSE' if t.positive else 'SE'} {100 * s if t.positive else s:.3g}{' %' if t.positive else ''}"
        for t, s in zip(thetas, sd, strict=True)
    ]
    return [*lines, f"condition number {values[-1] / values[0]:.3g}"]
