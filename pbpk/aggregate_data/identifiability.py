"""What a table of aggregates can tell, before any fit: the expected information on every free number at the starting values.

The predicted statistics' slopes in ψ over their sampling SDs; rows as if independent, which changes no flat direction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from pbpk.study.identifiability import expected_information

if TYPE_CHECKING:
    from pbpk.aggregate_data.problem import JointProblem, SummaryProblem
    from pbpk.study.load import Study


@jax.jit
def _differentiate_predictions(problem: SummaryProblem, psi: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Slopes of the predictions in ψ (R, P), and their sampling SDs (R,)."""

    def predict(x):
        _, predicted, spread = problem.evaluate(x)
        return predicted, spread

    return jax.jacfwd(predict, has_aux=True)(psi)


def describe_identifiability(joint: JointProblem) -> list[str]:
    """What the used rows, and individual data where there are any, cannot determine at the starting values, in lines.

    A line names any undetermined direction; without one, a line gives the expected SE of each number. Of Ω and
    residual errors the individual data tell more than first-order information shows, so beside individual data only θ is
    looked at.
    """
    problem, layout = joint.summary, joint.summary.structure.layout
    names = [n for n, is_fixed in zip(layout.names, layout.fixed_mask, strict=True) if not is_fixed]
    if not names:
        return ["nothing is estimated"]
    slopes, spread = (np.asarray(a) for a in _differentiate_predictions(problem, joint.initial_unconstrained))
    used = np.array(problem.structure.blocks.order)
    j = slopes[used] / spread[used, None]
    if not np.isfinite(j).all():
        return ["the predictions are not finite at the starting values"]
    information = j.T @ j
    if joint.individual is not None:
        information = information + np.asarray(expected_information(joint.individual, joint.initial_unconstrained))
        thetas = sum(not t.fixed for t in layout.thetas)
        names, information = names[:thetas], information[:thetas, :thetas]
    size = np.maximum(np.sqrt(np.diag(information)), 1e-150)
    undetermined = [n for n, s in zip(names, size, strict=True) if s < 1e-6]
    if undetermined:
        which = "it" if len(undetermined) == 1 else "them"
        return [f"no row says anything of {', '.join(undetermined)} at the starting values: fix {which}"]
    values, vectors = np.linalg.eigh(information / np.outer(size, size))
    if values[0] < 1e-6:
        confounded = [n for n, w in zip(names, vectors[:, 0], strict=True) if abs(w) > 0.3]
        return [f"these rows cannot tell {' from '.join(confounded)} at the starting values: fix one of them"]
    sd = np.sqrt(np.diag(np.linalg.inv(information)))
    lines = [f"{n}: expected SE of its logarithm or coordinate {s:.3g}" for n, s in zip(names, sd, strict=True)]
    return [*lines, f"condition number {values[-1] / values[0]:.3g}"]


def describe_summary(study: Study) -> dict[str, Any]:
    """What `pbpk check` shows of the groups and rows of a study, by heading."""
    from pbpk.aggregate_data.run import read_study_rows

    problem: Any = study.problem
    rows = read_study_rows(study)
    used = [r for r in rows if r.used]
    return {
        "groups": ", ".join(f"{k} (n = {g.n})" if g.n else k for k, g in study.spec.summary.groups.items()),  # type: ignore[union-attr]
        "rows": f"{len(used)} fitted, {len(rows) - len(used)} predicted only",
        "row": [
            f"{r.label}: {r.value:g} {r.unit}, n = {r.n}, {r.status}{'' if r.used else ', predicted only'} ({r.source})"
            for r in rows
        ],
        "identifiability": describe_identifiability(problem),
    }
