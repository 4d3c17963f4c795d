"""The covariates of a study as a search needs them: one value a subject, references, categories, and which go together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.covariate_search.relations import CATEGORICAL, Relation
from pbpk.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    from pbpk.study.load import Study

_COLLINEAR_CORRELATION = 0.9
_MOST_CATEGORIES = 10
_FEW_SUBJECTS = 5  # subjects in a category, below which its effect rests on hardly anyone


@dataclass(frozen=True, eq=False)
class CovariateColumn:
    """One covariate of the study's data.

    `by_subject` (N,) is the value at each subject's first record, from which the reference and percentiles are taken;
    `values` is every value that occurs, sorted; `changes` says whether it changes within a subject.
    """

    name: str
    by_subject: np.ndarray
    values: np.ndarray
    changes: bool

    @property
    def median(self) -> float:
        """The median of subjects."""
        return float(np.median(self.by_subject))

    @property
    def most_common(self) -> float:
        """The value of most subjects; the lowest of them where several are as common."""
        categories, counts = np.unique(self.by_subject, return_counts=True)
        return float(categories[counts.argmax()])

    def percentile(self, share: float) -> float:
        """The percentile of subjects; `share` in percent."""
        return float(np.percentile(self.by_subject, share))


def read_column(study: Study, name: str) -> CovariateColumn:
    """Read one covariate. Raises `BadInput` for one that the data do not have, or that is the same for all."""
    frame, where = study.events.frame, study.events.source
    if name not in study.events.covariates:
        exclusion_notes = [n for n in study.events.notes if f"`{name}`" in n]
        hint = exclusion_notes[0] if exclusion_notes else did_you_mean(name, study.events.covariates)
        raise BadInput(f"the data have no covariate `{name}`", where=where, hint=hint)
    values = np.unique(frame[name].to_numpy(dtype=float))
    if len(values) == 1:
        raise BadInput(
            f"the covariate `{name}` is constant: {values[0]:g} in every subject, at every time",
            where=where,
            why="what is the same for all explains no difference between them",
            hint="leave its relations out",
        )
    groups = frame.groupby("ID", sort=False)[name]
    return CovariateColumn(name, groups.first().to_numpy(dtype=float), values, bool((groups.nunique() > 1).any()))


def choose_reference(c: CovariateColumn, r: Relation, stated_references: dict[str, float]) -> float:
    """The reference at which an effect is 1: that of the relation, else of the options, else the median or the most common
    category of the data. Raises `BadInput` where the form has no meaning for it."""
    stated = r.reference if r.reference is not None else stated_references.get(c.name)
    if r.form == CATEGORICAL:
        if len(c.values) > _MOST_CATEGORIES:
            raise BadInput(
                f"`{r.name}`: {c.name} has {len(c.values)} different values, too many to be categories",
                hint="a continuous form is power, linear, exponential or hockey",
            )
        reference = c.most_common if stated is None else stated
        if reference not in c.values:
            known = ", ".join(f"{v:g}" for v in c.values)
            raise BadInput(f"`{r.name}`: no record has the reference category {reference:g}", hint=f"there are {known}")
        return reference
    reference = c.median if stated is None else stated
    if r.form == "power" and (reference <= 0 or c.values[0] <= 0):
        raise BadInput(
            f"`{r.name}`: a power needs a covariate above zero, and {c.name} goes down to {min(reference, c.values[0]):g}",
            hint="linear or exponential take any value",
        )
    return reference


def find_collinear_pairs(columns: list[CovariateColumn], categorical: set[str]) -> list[tuple[str, str, float]]:
    """Pairs of covariates with |r| above 0.9 between subjects; of categories, the largest of their indicators."""
    values_by_covariate = {
        c.name: _mark_categories(c) if c.name in categorical else c.by_subject[None] for c in columns
    }
    pairs = []
    for a, b in combinations(values_by_covariate, 2):
        varying_a, varying_b = (values_by_covariate[n][np.ptp(values_by_covariate[n], axis=1) > 0] for n in (a, b))
        if len(varying_a) and len(varying_b) and len(varying_a[0]) > 2:
            r = np.corrcoef(varying_a, varying_b)[: len(varying_a), len(varying_a) :]
            strongest = float(r.flat[np.abs(r).argmax()])
            pairs += [(a, b, strongest)] if abs(strongest) > _COLLINEAR_CORRELATION else []
    return pairs


def _mark_categories(c: CovariateColumn) -> np.ndarray:
    """Indicators (categories, N) of each subject's category."""
    return (c.values[:, None] == c.by_subject[None]).astype(float)


def describe_sparse_categories(c: CovariateColumn, reference: float) -> list[str]:
    """A sentence for each category of fewer than 5 subjects: its effect rests on hardly any data."""
    counts = pd.Series(c.by_subject).value_counts()
    few = [(v, int(counts.get(v, 0))) for v in c.values if v != reference and counts.get(v, 0) < _FEW_SUBJECTS]
    return [f"{c.name} is {v:g} in only {n} subject{'s' * (n != 1)}" for v, n in few]
