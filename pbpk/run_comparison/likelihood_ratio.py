"""The likelihood-ratio test of two runs, where one is nested in the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbpk.estimation import criteria
from pbpk.run_comparison.nested import find_nesting
from pbpk.run_folders.read import finite_or_nan

if TYPE_CHECKING:
    from pbpk.run_comparison.candidate import RunCandidate

_OFV_TOLERANCE = 0.01  # a larger model whose OFV is worse by less is as good, within the optimiser's tolerance


@dataclass(frozen=True)
class LikelihoodRatioTest:
    """A likelihood-ratio test of the first run against another; with `reason`, why there is none.

    `p_value` by χ² with `degrees` of freedom. Where parameters tested sit on an edge in the smaller model (`edges`, such as a
    variance at 0) that is too large; for one such, `p_value_on_edge` is right (Self & Liang 1987).
    """

    first: str
    other: str
    nested: bool
    smaller: str = ""
    larger: str = ""
    freed: tuple[str, ...] = ()
    statistic: float | None = None
    degrees: int | None = None
    p_value: float | None = None
    edges: tuple[str, ...] = ()
    p_value_on_edge: float | None = None
    reason: str = ""


def run_ratio_test(first: RunCandidate, other: RunCandidate) -> LikelihoodRatioTest:
    """Test two runs whose likelihoods may be compared. Where there is no test, `reason` says why."""
    nesting = find_nesting(first, other)
    if nesting.reason:
        return LikelihoodRatioTest(first.label, other.label, nested=False, reason=nesting.reason)
    small, large = nesting.smaller, nesting.larger
    smaller, larger = (finite_or_nan(c.results["ofv"]) + c.unit_shift for c in (small, large))
    statistic = smaller - larger
    test = LikelihoodRatioTest(
        first.label, other.label, True, small.label, large.label, nesting.freed, statistic, len(nesting.freed)
    )
    for c in (small, large):
        if not c.minimised:
            return replace(test, reason=f"{c.label} is not minimised")
    if statistic < -_OFV_TOLERANCE:
        worse = f"{large.label} has all that {small.label} has and fits worse by {-statistic:.3f}: it stands at a local minimum"
        return replace(test, reason=f"{worse}. Start it at the estimates of {small.label}")
    tail = criteria.chi2_tail(statistic, len(nesting.freed))
    edge = criteria.chi2_mixture_tail(statistic, len(nesting.freed)) if len(nesting.edges) == 1 else None
    return replace(test, p_value=tail, edges=nesting.edges, p_value_on_edge=edge)
