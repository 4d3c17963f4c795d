"""The likelihood-ratio test of two runs, where one is nested in the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbpk.estimation import criteria
from pbpk.report.numbers import finite
from pbpk.run_comparison.nested import nesting

if TYPE_CHECKING:
    from pbpk.run_comparison.candidate import Candidate

_SLACK = 0.01
"""Of OFV, below which a larger model that fits worse is a matter of the optimiser's tolerance."""


@dataclass(frozen=True)
class RatioTest:
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


def ratio_test(first: Candidate, other: Candidate) -> RatioTest:
    found = nesting(first, other)
    if found.reason:
        return RatioTest(first.label, other.label, nested=False, reason=found.reason)
    small, large = found.smaller, found.larger
    statistic = finite(small.results["ofv"]) - finite(large.results["ofv"])
    known = RatioTest(
        first.label, other.label, True, small.label, large.label, found.freed, statistic, len(found.freed)
    )
    for c in (small, large):
        if not c.minimised:
            return replace(known, reason=f"{c.label} is not minimised")
    if statistic < -_SLACK:
        worse = f"{large.label} has all that {small.label} has and fits worse by {-statistic:.3f}: it stands at a local minimum"
        return replace(known, reason=f"{worse}. Start it at the estimates of {small.label}")
    tail = criteria.chi2_tail(statistic, len(found.freed))
    edge = criteria.edge_tail(statistic, len(found.freed)) if len(found.edges) == 1 else None
    return replace(known, p_value=tail, edges=found.edges, p_value_on_edge=edge)
