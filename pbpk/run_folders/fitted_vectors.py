"""The population parameters of a finished run for each of N patients: the estimates, or vectors as uncertain as they are.

Patient n of a seed has the same vector however many are drawn: from the covariance by normal numbers of its own, from a
sample (bootstrap, SIR, a posterior) by a uniform number of its own.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pbpk.errors import BadInput, WrongUsage

if TYPE_CHECKING:
    from pbpk.diagnostics.fitted_model import FittedStudy
    from pbpk.uncertainty.finished_fit import FinishedFit

UNCERTAINTIES = ("none", "covariance", "bootstrap", "sir", "posterior")
DRAWS = "draws.npz"  # what a Bayesian run keeps of its posterior


class FittedVectors(NamedTuple):
    """ψ (N, P) of each patient, and in words where they come from."""

    psi: np.ndarray
    source: str


def check_uncertainty(word: str) -> None:
    """Raise `WrongUsage` for a word that names no uncertainty."""
    if word not in UNCERTAINTIES:
        raise WrongUsage(f'uncertainty "{word}" is not known', hint=f"it is one of {', '.join(UNCERTAINTIES)}")


def draw_vectors(
    run: str | Path | FittedStudy | FinishedFit, fit: FittedStudy | FinishedFit, ids: np.ndarray, seed: int, word: str
) -> FittedVectors:
    """The vectors of patients `ids` (N,). Raises `BadInput` where the run has no such uncertainty."""
    if word == "none":
        return FittedVectors(np.broadcast_to(fit.psi, (len(ids), len(fit.psi))), "the estimates")
    if word == "covariance":
        return _draw_from_covariance(run, ids, seed)
    sample, source = _read_sample(run, fit, word)
    psi = _to_unconstrained(fit, sample)
    valid = psi[np.isfinite(psi).all(axis=1)]
    if not len(valid):
        raise BadInput(f"no vector of {source} has a positive definite Ω", where=fit.study.name)
    chosen = np.minimum((draw_uniform(seed, ids, "vector") * len(valid)).astype(int), len(valid) - 1)
    return FittedVectors(valid[chosen], source)


def draw_normal(seed: int, ids: np.ndarray, names: list[str]) -> np.ndarray:
    """Standard normal numbers (names, N), each of its patient and its name alone."""
    from pbpk.population.patients import draw_numbers

    tags = np.array([zlib.crc32(n.encode()) for n in names], dtype=np.uint32)
    return np.asarray(draw_numbers(seed, ids, tags)[0]) if names else np.zeros((0, len(ids)))


def draw_uniform(seed: int, ids: np.ndarray, name: str) -> np.ndarray:
    """Uniform numbers (N,), each of its patient and the name alone."""
    from pbpk.population.patients import draw_numbers

    return np.asarray(draw_numbers(seed, ids, np.array([zlib.crc32(name.encode())], dtype=np.uint32))[1])[0]


def _draw_from_covariance(run: str | Path | FittedStudy | FinishedFit, ids: np.ndarray, seed: int) -> FittedVectors:
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.uncertainty.finished_fit import FinishedFit

    if not isinstance(run, FinishedFit | str | Path):
        raise BadInput("this run was opened without its covariance", hint="give its folder, or what reopen_fit gives")
    finished = reopen_fit(run)
    covariance = finished.psi_covariance
    if covariance is None:
        raise BadInput(
            "the fit has no covariance matrix, or a parameter on its edge",
            where=finished.study.name,
            hint="run pbpk bootstrap first, and ask for --uncertainty bootstrap",
        )
    z = draw_normal(seed, ids, [f"uncertainty of {k}" for k in range(len(finished.psi))])
    psi = finished.psi[:, None] + np.linalg.cholesky(covariance) @ z
    return FittedVectors(psi.T, f"the covariance ({finished.matrix})")


def _read_sample(
    run: str | Path | FittedStudy | FinishedFit, fit: FittedStudy | FinishedFit, word: str
) -> tuple[np.ndarray, str]:
    """Vectors (R, P) of the free parameters in shown units, and what they are."""
    from pbpk.run_folders.checkpoint import read_arrays
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.reopen import read_sample

    if not isinstance(run, str | Path):
        raise BadInput(f"a sample of the {word} is read from the run's folder", hint="give the folder")
    folder, names = find_run(run), _free_names(fit)
    if word != "posterior":
        sample = read_sample(folder, names, word)
        return sample.values, sample.source
    if not (folder / DRAWS).exists():
        raise BadInput("holds no draws of a posterior", where=str(folder), hint="fit with --method nuts or vi")
    try:
        with read_arrays(folder / DRAWS) as saved:
            columns, values = [str(n) for n in saved["names"]], saved["parameters"]
    except BadInput as e:
        raise BadInput(e.what, where=e.where, hint="fit the study again") from None
    if columns != list(names):
        raise BadInput("its draws are of other parameters than the study's", where=str(folder / DRAWS))
    values = values.reshape(-1, values.shape[-1])
    return values, f"{len(values)} draws of the posterior"


def _free_names(fit: FittedStudy | FinishedFit) -> tuple[str, ...]:
    layout = fit.problem.structure.layout
    return tuple(n for n, fixed in zip(layout.names, layout.fixed_mask, strict=True) if not fixed)


def _to_unconstrained(fit: FittedStudy | FinishedFit, sample: np.ndarray) -> np.ndarray:
    """ψ (R, P) of vectors of the free parameters in shown units; NaN where Ω is not positive definite."""
    layout, names = fit.problem.structure.layout, fit.study.problem.structure.layout.names
    scale = np.array([fit.study.scale[names.index(n)] for n in layout.names])
    natural, psi = np.array(fit.problem.initial, dtype=float), np.full((len(sample), len(fit.psi)), np.nan)
    for r, vector in enumerate(sample):
        natural[~layout.fixed_mask] = vector * scale[~layout.fixed_mask]
        try:
            psi[r] = layout.to_unconstrained(natural)
        except np.linalg.LinAlgError:
            continue
    return psi
