"""Strata of subjects by a covariate: its values where these are few, else below and above its median."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pbpk.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    from pbpk.study.load import Study

MOST_VALUES = 6  # values of a covariate that are strata of their own


def stratify_subjects(study: Study, covariate: str | None) -> tuple[list[str], np.ndarray]:
    """The strata's names, and which of them each subject (N,) is in; without a covariate all are in one, "".

    Raises `BadInput` for a covariate that the data do not have.
    """
    count = len(study.subjects)
    if covariate is None:
        return [""], np.zeros(count, dtype=int)
    latent = study.spec.mixture.covariate if study.spec.mixture else None
    known = [c for c in study.events.covariates if c != latent]
    if covariate not in known:
        hint = did_you_mean(covariate, known) or "the data have no covariates"
        raise BadInput(f"no covariate `{covariate}` to tell subjects apart by", where=study.events.source, hint=hint)
    first = study.events.frame.groupby("ID", sort=False)[covariate].first().to_numpy(dtype=float)
    values = np.unique(first)
    if len(values) <= MOST_VALUES:
        return [f"{covariate} = {v:g}" for v in values], np.searchsorted(values, first)
    middle = float(np.median(first))
    return [f"{covariate} ≤ {middle:g}", f"{covariate} > {middle:g}"], (first > middle).astype(int)
