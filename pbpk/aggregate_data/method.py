"""The methods of a fit to aggregates: `summary` alone, or a likelihood method of individual data and the aggregates together.

Each used row of the table is a column beside the subjects: its −2 ln likelihood given the rows before it, and the gradient of
that in ψ, forward through the solver. So the scores start the optimiser, and make the S matrix, as with subjects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.aggregate_data.problem import JointProblem, SummaryProblem
from pbpk.errors import WrongUsage
from pbpk.estimation.base import EstimationMethod
from pbpk.estimation.methods import list_methods_with
from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation


class RowEvaluation(NamedTuple):
    """The rows at one ψ: of the used rows −2 ln likelihood (R,) and its gradient (P, R); of all rows predictions and
    sampling SDs."""

    minus2ll: jax.Array
    gradient: jax.Array
    predicted: jax.Array
    spread: jax.Array


@jax.jit
def evaluate_rows(problem: SummaryProblem, psi: jax.Array) -> RowEvaluation:
    """Likelihood, gradient and predictions in one program, so that the virtual patients are compiled once and solved once."""

    def evaluate(x):
        value, predicted, spread = problem.evaluate(x)
        return value, (value, predicted, spread)

    slope, (value, predicted, spread) = jax.jacfwd(evaluate, has_aux=True)(psi)
    return RowEvaluation(value, slope.T, predicted, spread)


@dataclass(frozen=True)
class AggregateMethod(QuasiNewton):
    """Estimation from aggregates; `individual_method` evaluates the individual data beside them, None where there are
    none."""

    individual_method: Any = None

    def prepare(self, problem: Any) -> Any:
        """The problem, which must have aggregates. Raises `WrongUsage`."""
        if not isinstance(problem, JointProblem):
            raise WrongUsage("this study has no [summary]", hint="use focei, or another method of individual data")
        return problem

    def evaluate(self, problem: Any, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """The objective by column: the subjects first, then the used rows."""
        value, gradient, *_ = evaluate_rows(problem.summary, jnp.asarray(psi))
        good = jnp.isfinite(value)
        if self.individual_method is None:
            return Evaluation(value, gradient, jnp.asarray(eta), good)
        each = self.individual_method.evaluate(problem.individual, psi, eta)
        return Evaluation(
            jnp.concatenate([each.objective, value]),
            jnp.concatenate([each.gradient, gradient], axis=1),
            each.eta,
            jnp.concatenate([each.good, good]),
        )


SUMMARY = AggregateMethod("summary", "likelihood of published aggregates by virtual patients")


def combine_with_aggregates(method: EstimationMethod, problem: JointProblem) -> AggregateMethod:
    """The method that fits this problem, aggregates included. Raises `WrongUsage` for a method that cannot."""
    if problem.individual is None:
        if not isinstance(method, AggregateMethod):
            raise WrongUsage(f"{method.name} needs individual data, and this study has none", hint="--method summary")
        return SUMMARY
    if not method.takes_aggregates:
        raise WrongUsage(f"{method.name} cannot take individual data and aggregates together",
                         hint=f"one of {', '.join(list_methods_with('takes_aggregates'))}")  # fmt: skip
    return AggregateMethod(
        f"{method.name}+summary", f"{method.name} of the data with the likelihood of aggregates", method
    )
