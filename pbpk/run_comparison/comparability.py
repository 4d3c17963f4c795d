"""Whether two runs' likelihoods may be set against each other, and why not."""

from __future__ import annotations

from collections.abc import Iterable

from pbpk.run_comparison.candidate import NO_LIKELIHOOD, Candidate


def objections(first: Candidate, other: Candidate) -> list[str]:
    """Each a sentence that says what differs and why that matters; none: they may be compared."""
    found = []
    for c in dict.fromkeys((first, other)):
        if not c.has_likelihood:
            found.append(
                f"{c.label} was fitted by {c.method.upper()}: {NO_LIKELIHOOD[c.method]}, so there is no greatest likelihood "
                "to judge the model by. Fit it by focei"
            )
    if first.method != other.method and not found:
        found.append(
            f"{other.label} was fitted by {other.method.upper()} and {first.label} by {first.method.upper()}. Each method "
            "has its own approximation to the likelihood, so their OFVs differ for the same model and the same estimates. "
            "Fit both by one method"
        )
    here, there = first.observed, other.observed
    if here != there:
        found.append(
            f"{other.label} was fitted to other observations than {first.label}: {_difference(first, other)}. A likelihood "
            "measures fit to its own observations, and grows or falls with each of them whatever the model. Fit both to the "
            "same data"
        )
    return found


def cautions(first: Candidate, other: Candidate) -> list[str]:
    """What does not forbid comparing, but should be known."""
    if first.data_hash and other.data_hash and first.data_hash != other.data_hash and first.observed == other.observed:
        return [
            f"the data files of {first.label} and {other.label} differ, though every observation is the same: their doses or "
            "covariates may not be"
        ]
    return []


def _difference(first: Candidate, other: Candidate) -> str:
    """`6 only in 001 (ID 3 at 0.5 h, …), 4 only in 002 (…)`."""
    said = []
    for a, b in ((first, other), (other, first)):
        only = a.observed - b.observed
        if only:
            said.append(f"{only.total()} of {a.observed.total()} only in {a.label} ({_named(only)})")
    return ", ".join(said)


def _named(rows: Iterable[tuple[str, float, float]], most: int = 3) -> str:
    listed = [f"ID {who} at {time:.4g} h, DV {dv:.4g}" for who, time, dv in rows]
    return "; ".join(listed[:most]) + ("; …" if len(listed) > most else "")
