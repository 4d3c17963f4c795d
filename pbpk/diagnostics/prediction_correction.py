"""The prediction-corrected VPC: what doses, covariates and times make differ within a bin is taken out of data and replicates.

Bergstrand, Hooker, Wallin & Karlsson 2011 (AAPS J 13:143), with 0 as the lower bound of what is positive:

    pcY = Y · P̃/P                    P: the typical prediction of the observation; P̃: its median in the bin
    pcY = Y + (P̃ − P)                where the data are on a logarithmic (or another transformed) scale
    pvcY = P̃ + (pcY − P̃) · s̃/s       with variability correction; s: SD of pcY over the replicates, s̃ its median in the bin
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pbpk.errors import BadInput


class PredictionCorrection(NamedTuple):
    """Corrected = factor · y + shift, elementwise (n,). `kept`: False where it has no meaning (a typical prediction of 0)."""

    factor: np.ndarray
    shift: np.ndarray
    kept: np.ndarray

    def __call__(self, y: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(y), self.factor * np.where(np.isfinite(y), y, 0.0) + self.shift, y)


def compute_correction(
    pred: np.ndarray, bin_index: np.ndarray, additive: bool, simulated: np.ndarray, variability: bool, name: str
) -> PredictionCorrection:
    """`pred` (n,), `where` (n,) the bin of each, `simulated` (R, n) before any limit."""
    n = len(pred)
    factor, shift, kept = np.ones(n), np.zeros(n), np.ones(n, dtype=bool)
    if not additive and (pred < 0).any():
        raise BadInput(
            f"`{name}` has negative predictions, so it cannot be prediction-corrected",
            why="the correction is a ratio of predictions, which are taken to be positive",
        )
    for b in np.unique(bin_index[bin_index >= 0]):
        own = bin_index == b
        typical = float(np.median(pred[own]))
        if additive:
            shift[own] = typical - pred[own]
        else:
            flat = pred[own] == typical  # among them 0 in a bin of zeros, where there is nothing to correct
            some = pred[own] > 0
            factor[own] = np.where(flat, 1.0, np.divide(typical, pred[own], out=np.ones(own.sum()), where=some))
            kept[own] = flat | (some & (typical > 0))
        if variability:
            sd = (factor[own] * simulated[:, own] + shift[own]).std(axis=0, ddof=1)
            usable = (sd > 0) & kept[own]
            ratio = np.divide(np.median(sd[usable]) if usable.any() else 1.0, sd, out=np.ones(own.sum()), where=usable)
            factor[own], shift[own] = factor[own] * ratio, typical + (shift[own] - typical) * ratio
    return PredictionCorrection(factor, shift, kept)
