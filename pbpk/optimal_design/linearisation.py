"""Where a model is linearised for a design: at η = 0 or at simulated η, at the study's own values or at draws of a prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from pbpk.optimal_design.coordinates import build_coordinates

if TYPE_CHECKING:
    from pbpk.optimal_design.spec import DesignSpec
    from pbpk.study.load import Study

APPROXIMATIONS = ("fo", "foce")


@dataclass(frozen=True, eq=False)
class LinearisationPoints:
    """D vectors psi (D, P), for each S vectors eta (D, S, q) that all subjects share, and ∂ψ/∂coordinate (D, P, P).

    `form` is that of the information ("reduced" or "full"); `centred`: eta is 0; `interest`: positions of the parameters
    whose criterion counts, () for all.
    """

    psi: np.ndarray
    eta: np.ndarray
    psi_per_coordinate: np.ndarray
    form: str
    centred: bool
    interest: tuple[int, ...]


def choose_linearisation_points(
    study: Study, psi: np.ndarray, spec: DesignSpec, interest: Sequence[int]
) -> LinearisationPoints:
    """The points for vectors `psi` (D, P): η = 0 for "fo", a scrambled Sobol' sequence of `spec.etas` draws for "foce"."""
    from scipy.stats import norm, qmc

    layout, initial = study.problem.structure.layout, np.asarray(study.problem.initial)
    omegas = [np.asarray(layout.unpack(jnp.asarray(x), jnp.asarray(initial))[1]) for x in psi]
    q = len(omegas[0])
    eta = np.zeros((len(psi), 1, q))
    if spec.approximation == "foce":
        sobol = qmc.Sobol(q, seed=np.random.default_rng(spec.seed + 1))
        u = sobol.random_base2(max(int(np.ceil(np.log2(spec.etas))), 0))[: spec.etas]
        z = norm.ppf(np.clip(u, 1e-9, 1 - 1e-9))
        eta = np.stack([z @ np.linalg.cholesky(omega).T for omega in omegas])
    psi_per_coordinate = np.stack([build_coordinates(study, x).psi_per_coordinate for x in psi])
    return LinearisationPoints(psi, eta, psi_per_coordinate, spec.form, spec.approximation == "fo", tuple(interest))
