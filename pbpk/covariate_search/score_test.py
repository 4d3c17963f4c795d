"""The score test: what each candidate promises, from one evaluation at the model without any of them.

With s_i = −g_i/2 the gradients of the subjects' log-likelihoods in the parameters estimated so far and the candidate's
coefficients, all exact, the statistic is S'(Σ s_i s_i')⁻¹S with S = Σ s_i, against χ² with a degree of freedom for each
coefficient (Rao 1948, Proc Camb Phil Soc 44:50; the information from the cross-products as Berndt et al. 1974). It asks for
many subjects: with few of them it can be far from the likelihood ratio, which alone decides.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pbpk.estimation.criteria import chi2_tail


class ScoreTest(NamedTuple):
    """The score statistic of a candidate and its p."""

    statistic: float
    p: float


def compute_score_test(gradient: np.ndarray, estimated: np.ndarray, candidate: list[int]) -> ScoreTest:
    """Test the coefficients at positions `candidate` of ψ, without fitting them.

    `gradient` (P, N) is of the subjects' objectives; `estimated` (P,) marks the parent's parameters. NaN where singular.
    """
    rows = np.concatenate([np.flatnonzero(estimated), candidate]).astype(int)
    s = -gradient[rows] / 2
    information = s @ s.T
    if not np.isfinite(information).all() or np.linalg.matrix_rank(information) < len(rows):
        return ScoreTest(float("nan"), float("nan"))
    total = s.sum(axis=1)
    total[: -len(candidate)] = 0.0  # at the parent's optimum they are
    statistic = float(total @ np.linalg.solve(information, total))
    return ScoreTest(statistic, chi2_tail(statistic, len(candidate)))
