"""Whether the likelihoods of two runs may be compared, and if not, why not."""

from __future__ import annotations

from collections.abc import Iterable

from pbpk import units
from pbpk.estimation.methods import explain_no_likelihood
from pbpk.run_comparison.candidate import RunCandidate


def find_objections(first: RunCandidate, other: RunCandidate) -> list[str]:
    """Why the likelihoods of two runs cannot be compared: a sentence for each reason, with what to do. None: they can be."""
    objections = []
    for c in dict.fromkeys((first, other)):
        if not c.has_likelihood:
            objections.append(
                f"{c.label} was fitted by {c.method.upper()}: {explain_no_likelihood(c.method)}, so there is no greatest "
                "likelihood to judge the model by. Fit it by focei"
            )
    if first.method != other.method and not objections:
        objections.append(
            f"{other.label} was fitted by {other.method.upper()} and {first.label} by {first.method.upper()}. Each method "
            "has its own approximation to the likelihood, so their OFVs differ for the same model and the same estimates. "
            "Fit both by one method"
        )
    first_counts, other_counts = first.observation_counts, other.observation_counts
    if first_counts != other_counts:
        objections.append(
            f"{other.label} was fitted to other observations than {first.label}: {_describe_difference(first, other)}. "
            "A likelihood measures fit to its own observations, and grows or falls with each of them whatever the model. "
            "Fit both to the same data"
        )
    elif objection := _compare_scales(first, other) or _compare_censoring(first, other):
        objections.append(objection)
    return objections


def _compare_scales(first: RunCandidate, other: RunCandidate) -> str:
    """Why data in two units make two models: a power or shift of y means another thing in each. "" where none is taken."""
    for name, unit in _list_unit_changes(first, other):
        for c in (first, other):
            transform = c.spec.error[name].transform if c.spec and name in c.spec.error else None
            if transform in ("boxcox", "yeojohnson"):
                return (
                    f"{name} is in {unit} in one run and on the {transform} scale, which makes another model of it in each "
                    "unit. Give both runs the data in one unit"
                )
    return ""


def _list_unit_changes(first: RunCandidate, other: RunCandidate) -> list[tuple[str, str]]:
    """The endpoints whose density is in another unit in `other`, with that unit."""
    both = [(n, u, other.data_units[n]) for n, u in first.data_units.items() if n in other.data_units]
    return [(n, b) for n, a, b in both if units.unit_factor(a or "1") != units.unit_factor(b or "1")]


def _compare_censoring(first: RunCandidate, other: RunCandidate) -> str:
    """Why values that one run counts as censored, and another as measured, make two likelihoods; "" where they do not."""
    for name, treatment in first.censoring.items():
        if (in_other := other.censoring.get(name, treatment)) != treatment:
            return (
                f"{name} has {in_other} in {other.label} and {treatment} in {first.label}. A value below a limit counts with a "
                "probability and a measured one with a density, which cannot be set against one another. Treat both alike"
            )
    return ""


def find_cautions(first: RunCandidate, other: RunCandidate) -> list[str]:
    """What does not forbid a comparison of two runs, but should be known: a sentence each."""
    cautions = [
        f"{name} is in {unit or 'coherent units'} in {other.label}: its ΔOFV and criteria are in the unit of {first.label}"
        for name, unit in _list_unit_changes(first, other)
    ]
    if (
        first.data_hash
        and other.data_hash
        and first.data_hash != other.data_hash
        and first.observation_counts == other.observation_counts
    ):
        cautions.append(
            f"the data files of {first.label} and {other.label} differ, though every observation is the same: their doses or "
            "covariates may not be"
        )
    return cautions


def _describe_difference(first: RunCandidate, other: RunCandidate) -> str:
    """Which observations only one of the runs has: `6 of 20 only in 001 (ID 3 at 0.5 h, …), 4 of 18 only in 002 (…)`."""
    parts = []
    for a, b in ((first, other), (other, first)):
        only = a.observation_counts - b.observation_counts
        if only:
            parts.append(
                f"{only.total()} of {a.observation_counts.total()} only in {a.label} ({_list_observations(only)})"
            )
    return ", ".join(parts)


def _list_observations(rows: Iterable[tuple[str, float, float]], most: int = 3) -> str:
    """The first `most` observations in words."""
    listed = [f"ID {subject} at {time:.4g} h, DV {dv:.4g}" for subject, time, dv in rows]
    return "; ".join(listed[:most]) + ("; …" if len(listed) > most else "")
