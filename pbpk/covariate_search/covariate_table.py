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

_COLLINEAR = 0.9
_MOST_CATEGORIES = 10
_FEW = 5  # subjects in a category, below which its effect rests on hardly anyone


@dataclass(frozen=True, eq=False)
class Column:
    """A covariate: `first` (N,) at each subject's first record, of which the reference and percentiles are taken; every value
    that occurs, sorted; whether it changes within subjects."""

    name: str
    first: np.ndarray
    values: np.ndarray
    changes: bool

    @property
    def median(self) -> float:
        return float(np.median(self.first))

    @property
    def most_common(self) -> float:
        """Of subjects; the lowest, where two are as common."""
        found, counts = np.unique(self.first, return_counts=True)
        return float(found[counts.argmax()])

    def percentile(self, share: float) -> float:
        return float(np.percentile(self.first, share))


def column(study: Study, name: str) -> Column:
    """Raises `BadInput` for a covariate that the data have not, or that is the same for all."""
    frame, where = study.events.frame, study.events.source
    if name not in study.events.covariates:
        left_out = [n for n in study.events.notes if f"`{name}`" in n]
        hint = left_out[0] if left_out else did_you_mean(name, study.events.covariates)
        raise BadInput(f"the data have no covariate `{name}`", where=where, hint=hint)
    values = np.unique(frame[name].to_numpy(dtype=float))
    if len(values) == 1:
        raise BadInput(
            f"the covariate `{name}` is constant: {values[0]:g} in every subject, at every time",
            where=where,
            why="what is the same for all explains no difference between them",
            hint="leave its relations out",
        )
    by_subject = frame.groupby("ID", sort=False)[name]
    return Column(name, by_subject.first().to_numpy(dtype=float), values, bool((by_subject.nunique() > 1).any()))


def reference_of(c: Column, r: Relation, given: dict[str, float]) -> float:
    """The relation's own, the plan's, or that of the data. Raises `BadInput` where the form has no meaning there."""
    asked = r.reference if r.reference is not None else given.get(c.name)
    if r.form == CATEGORICAL:
        if len(c.values) > _MOST_CATEGORIES:
            raise BadInput(
                f"`{r.name}`: {c.name} has {len(c.values)} different values, too many to be categories",
                hint="a continuous form is power, linear, exponential or hockey",
            )
        found = c.most_common if asked is None else asked
        if found not in c.values:
            known = ", ".join(f"{v:g}" for v in c.values)
            raise BadInput(f"`{r.name}`: no record has the reference category {found:g}", hint=f"there are {known}")
        return found
    found = c.median if asked is None else asked
    if r.form == "power" and (found <= 0 or c.values[0] <= 0):
        raise BadInput(
            f"`{r.name}`: a power needs a covariate above zero, and {c.name} goes down to {min(found, c.values[0]):g}",
            hint="linear or exponential take any value",
        )
    return found


def collinear(columns: list[Column], categorical: set[str]) -> list[tuple[str, str, float]]:
    """Pairs of covariates with |r| above 0.9 between subjects; of categories, the largest of their indicators."""
    shown = {c.name: _indicators(c) if c.name in categorical else c.first[None] for c in columns}
    out = []
    for a, b in combinations(shown, 2):
        known_a, known_b = (shown[n][np.ptp(shown[n], axis=1) > 0] for n in (a, b))
        if len(known_a) and len(known_b) and len(known_a[0]) > 2:
            r = np.corrcoef(known_a, known_b)[: len(known_a), len(known_a) :]
            worst = float(r.flat[np.abs(r).argmax()])
            out += [(a, b, worst)] if abs(worst) > _COLLINEAR else []
    return out


def _indicators(c: Column) -> np.ndarray:
    return (c.values[:, None] == c.first[None]).astype(float)


def sparse_categories(c: Column, reference: float) -> list[str]:
    """Words on categories of few subjects."""
    counts = pd.Series(c.first).value_counts()
    few = [(v, int(counts.get(v, 0))) for v in c.values if v != reference and counts.get(v, 0) < _FEW]
    return [f"{c.name} is {v:g} in only {n} subject{'s' * (n != 1)}" for v, n in few]
