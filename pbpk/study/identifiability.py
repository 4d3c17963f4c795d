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
def expected_information(problem: Problem, psi: jax.Array) -> jax.Array:
    """(P, P) in ψ; only the rows of free θ have anything to see."""
    theta, omega, _ = problem.unpack(psi)
    eta = jnp.zeros((len(problem.structure.layout.etas), problem.subjects))
    jet = first_order_jet(problem, problem.individual_parameters(theta, eta))
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=False)

    def one(e, s):
        _, mean, r = terms.moments(psi, e, s)
        known = (s.seen & jnp.isfinite(mean))[:, None]
        g = jnp.where(known, jax.jacfwd(lambda x: terms.moments(x, e, s)[1])(psi), 0.0)
        a = jnp.where(known, jax.jacfwd(lambda x: terms.moments(psi, x, s)[1])(e), 0.0)
        v = a @ omega @ a.T + jnp.diag(r)
        return g.T @ jnp.linalg.solve(v, g)

    return jnp.sum(jax.vmap(one, in_axes=-1)(eta, subject_arrays(problem, jet)), axis=0)


def describe_precision(problem: Problem) -> list[str]:
    """A line on each θ's expected relative standard error, and one naming any direction that cannot be seen."""
    layout = problem.structure.layout
    free = [t for t in layout.thetas if not t.fixed]
    if not free:
        return ["no θ is estimated"]
    m = np.asarray(expected_information(problem, problem.initial_unconstrained))[: len(free), : len(free)]
    if not np.isfinite(m).all():
        return ["the predictions are not finite at the starting values"]
    size = np.sqrt(np.maximum(np.diag(m), 1e-300))
    values, vectors = np.linalg.eigh(m / np.outer(size, size))
    if values[0] < 1e-8:
        mixed = [t.name for t, w in zip(free, vectors[:, 0], strict=True) if abs(w) > 0.3]
        return [f"these data cannot tell {' from '.join(mixed)} at the starting values: fix one of them"]
    sd = np.sqrt(np.diag(np.linalg.inv(m)))
    lines = [
        f"{t.name}: expected {'RSE' if t.positive else 'SE'} {100 * s if t.positive else s:.3g}{' %' if t.positive else ''}"
        for t, s in zip(free, sd, strict=True)
    ]
    return [*lines, f"condition number {values[-1] / values[0]:.3g}"]
