"""What an effect amounts to: the factor it puts on its parameter, at the ends of the covariate's range and in each category.

The factor is 1 at the reference. Every form is monotone in its coefficient, so the ends of the coefficient's interval give
those of the factor. `relevance`: against bounds of no clinical relevance, by default 0.8 to 1.25, as bioequivalence has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.covariate_search.relations import CATEGORICAL
from pbpk.population.covariates import FORMS

if TYPE_CHECKING:
    from pbpk.covariate_search.candidates import CandidateRelation
    from pbpk.covariate_search.covariate_table import CovariateColumn
    from pbpk.study.schema import EffectPart

PERCENTILES = (5.0, 95.0)
# Forms with one factor on one side of the reference: shown at that end of the covariate's sorted values.
ONE_SIDED_ENDS = {"below": 0, "above": -1}
FOREST_COLUMNS = (
    "relation",
    "parameter",
    "covariate",
    "at",
    "value",
    "reference",
    "factor",
    "low",
    "high",
    "relevance",
)


def build_forest_table(
    chosen: tuple[CandidateRelation, ...],
    columns: Mapping[str, CovariateColumn],
    estimates: Mapping[str, float],
    errors: Mapping[str, float],
    bounds: tuple[float, float],
    z: float,
) -> pd.DataFrame:
    """One row for each point of each chosen relation: the factor there, its interval and its relevance.

    The interval is `z` standard errors to either side; a NaN standard error gives none.
    """
    rows = []
    for c in chosen:
        r = c.relation
        for at, value, effects in _list_points(c, columns[r.covariate]):
            low, factor, high = (_compute_factor(effects, value, estimates, errors, side * z) for side in (-1, 0, 1))
            low, high = min(low, high), max(low, high)
            cells = (r.name, r.parameter, r.covariate, at, value, c.reference, factor, low, high)
            rows.append((*cells, classify_relevance(low, high, bounds)))
    return pd.DataFrame(rows, columns=pd.Index(FOREST_COLUMNS))


def _list_points(c: CandidateRelation, covariate: CovariateColumn) -> list[tuple[str, float, tuple[EffectPart, ...]]]:
    """Where a relation's factor is shown: a label, the covariate's value, and the effects that act there."""
    if c.relation.form == CATEGORICAL:
        return [(f"{c.relation.covariate} = {float(e.reference):g}", float(e.reference), (e,)) for e in c.effects]
    if c.relation.form in ONE_SIDED_ENDS:
        end = covariate.values[ONE_SIDED_ENDS[c.relation.form]]
        return [(f"{c.relation.covariate} {c.relation.form} {c.reference:g}", float(end), c.effects)]
    return [(f"{p:g}th percentile", covariate.percentile(p), c.effects) for p in PERCENTILES]


def _compute_factor(
    effects: tuple[EffectPart, ...], x: float, estimates: Mapping[str, float], errors: Mapping[str, float], shift: float
) -> float:
    """The factor at x, with each coefficient moved by `shift` standard errors.

    Of a hockey stick's two slopes only one acts at any x, so that they need no covariance.
    """
    factor = 1.0
    for e in effects:
        name = str(e.estimate)
        b = estimates[name] + (shift * errors[name] if shift else 0.0)
        factor *= float(np.asarray(FORMS[e.form](np.float64(x), e.reference, b)))
    return factor


def classify_relevance(low: float, high: float, bounds: tuple[float, float]) -> str:
    """The relevance of an interval in words, against `bounds` of no relevance; unknown without an interval."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "unknown"
    if bounds[0] <= low and high <= bounds[1]:
        return "not relevant"
    return "relevant" if high < bounds[0] or low > bounds[1] else "uncertain"
