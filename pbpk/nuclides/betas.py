"""Spectra of beta particles, from endpoint, charge of the daughter and degree of forbiddenness.

N(W) ∝ p W (W₀ − W)² F(Z, W) C(W), with W the electron's energy and p its momentum in units of mc² and mc. F is Fermi's
function with the finite radius of the nucleus, R = 0.42587 α A^(1/3); C is 1 for allowed transitions and for those of first
order that are not unique (ξ approximation), q² + p² for unique ones of first order. Screening is left out.
"""

from __future__ import annotations

import numpy as np
from scipy.special import loggamma

ALPHA, ELECTRON_KEV = 1 / 137.035999, 510.99895


def beta_spectrum(endpoint: float, z: int, mass: int, unique: bool, positron: bool = False, points: int = 128):
    """Energies (keV) and probabilities per energy cell, (points,) each; the probabilities add up to 1."""
    edges = np.linspace(0.0, endpoint, points + 1)
    energy = (edges[1:] + edges[:-1]) / 2
    w, w0 = 1 + energy / ELECTRON_KEV, 1 + endpoint / ELECTRON_KEV
    p, q = np.sqrt(w**2 - 1), w0 - w
    density = p * w * q**2 * fermi_function(w, -z if positron else z, mass) * ((q**2 + p**2) if unique else 1.0)
    return energy, density / density.sum()


def fermi_function(w: np.ndarray, z: int, mass: int) -> np.ndarray:
    """Fermi's function; z of the daughter, negative for positrons."""
    p = np.sqrt(w**2 - 1)
    g = np.sqrt(1 - (ALPHA * z) ** 2)
    eta, radius = ALPHA * z * w / p, 0.42587 * ALPHA * mass ** (1 / 3)
    log = (
        np.pi * eta
        + 2 * np.real(loggamma(g + 1j * eta))
        - 2 * loggamma(2 * g + 1)
        + (2 * g - 2) * np.log(2 * p * radius)
    )
    return 2 * (1 + g) * np.exp(log)


def mean_beta_energy(endpoint: float, z: int, mass: int, unique: bool, positron: bool = False) -> float:
    """The mean energy (keV) of a beta spectrum; arguments as `beta_spectrum`."""
    energy, share = beta_spectrum(endpoint, z, mass, unique, positron)
    return float(energy @ share)
