"""The correction of a prediction-corrected VPC: it removes what doses, covariates and times change within a bin.

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
    """Corrected = factor · y + shift, elementwise (n,). `kept`: False where it has no meaning (a typical prediction of 0).
    What is not finite, beyond a limit, stays as it is."""

    factor: np.ndarray
    shift: np.ndarray
    kept: np.ndarray

    def __call__(self, y: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(y), self.factor * np.where(np.isfinite(y), y, 0.0) + self.shift, y)


def compute_correction(
    pred: np.ndarray, bin_index: np.ndarray, additive: bool, simulated: np.ndarray, variability: bool, name: str
) -> PredictionCorrection:
    """The correction of observations with typical predictions `pred` (n,) in the bins `bin_index` (n,), −1 for none.

    `additive`: residuals add, on a transformed scale. `simulated` (R, n) are replicates before any limit, from which
    `variability` takes the spread. Raises `BadInput` for predictions below zero, of which a ratio has no meaning.
    """
    n = len(pred)
    factor, shift, kept = np.ones(n), np.zeros(n), np.ones(n, dtype=bool)
    if not additive and (pred < 0).any():
        raise BadInput(
            f"`{name}` has negative predictions, so it cannot be prediction-corrected",
            why="the correction is a ratio of predictions, which are taken to be positive",
        )
    for b in np.unique(bin_index[bin_index >= 0]):
        in_bin = bin_index == b
        typical = float(np.median(pred[in_bin]))
        if additive:
            shift[in_bin] = typical - pred[in_bin]
        else:
            unchanged = pred[in_bin] == typical  # among them 0 in a bin of zeros, where there is nothing to correct
            positive = pred[in_bin] > 0
            factor[in_bin] = np.where(
                unchanged, 1.0, np.divide(typical, pred[in_bin], out=np.ones(in_bin.sum()), where=positive)
            )
            kept[in_bin] = unchanged | (positive & (typical > 0))
        if variability:
            sd = (factor[in_bin] * simulated[:, in_bin] + shift[in_bin]).std(axis=0, ddof=1)
            usable = (sd > 0) & kept[in_bin]
            ratio = np.divide(
                np.median(sd[usable]) if usable.any() else 1.0, sd, out=np.ones(in_bin.sum()), where=usable
            )
            factor[in_bin], shift[in_bin] = factor[in_bin] * ratio, typical + (shift[in_bin] - typical) * ratio
    return PredictionCorrection(factor, shift, kept)
