"""Dose to lesions: spheres of any mass, anywhere in the phantom.

A lesion is a sphere for its own radiation. To photons from the body it is a part of the region it lies in, and to the body its
photons come from there. What its surroundings' charged particles bring in at its rim is left out.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.charged.bodies import sphere_radius
from pbpk.dosimetry.constants import GY_PER_MEV_G
from pbpk.dosimetry.phantom.body import load_regions
from pbpk.dosimetry.spheres import sphere_absorbed_energy
from pbpk.dosimetry.svalues import RADIATIONS, SValues

if TYPE_CHECKING:
    from pbpk.dosimetry.region_map import Lesion
    from pbpk.nuclides import Evaluation

_PHOTON_TARGET = {"bone": "endosteum"}  # whose photons stand for those of a region that is no target
_MASSES = np.geomspace(1e-4, 1e4, 65)  # g


@cache
def tabulate_spheres(
    nuclide: str, recoil: bool = False, evaluation: Evaluation = "ensdf", followed: frozenset[str] = frozenset()
) -> dict[str, np.ndarray]:
    """Energy absorbed per decay in spheres of `_MASSES`, Gy·g/(Bq·s), by radiation (masses,)."""
    with jax.ensure_compile_time_eval():
        rows = [
            sphere_absorbed_energy(nuclide, float(sphere_radius(m)), "water", recoil, evaluation, followed)
            for m in _MASSES
        ]
    return {k: np.array([row[k] for row in rows]) * GY_PER_MEV_G for k in RADIATIONS}


def lesion_dose(
    lesion: Lesion, hours: jax.Array, elsewhere: jax.Array, table: SValues, spheres: dict[str, np.ndarray]
) -> jax.Array:
    """Dose to a lesion, (radiations, N), Gy·h/(Bq·s).

    `hours` (N,) in the lesion; `elsewhere` (sources, N) of the body, with the lesion's own among those of the region it is
    within; `spheres` of `tabulate_spheres`.
    """
    mass = jnp.atleast_1d(jnp.asarray(lesion.mass, float))
    itself = {r: hours * jnp.interp(jnp.log(mass), np.log(_MASSES), spheres[r]) / mass for r in RADIATIONS}
    known = load_regions(table.phantom)
    target = (
        lesion.within if lesion.within in table.targets else _PHOTON_TARGET.get(known[lesion.within].kind, "muscle")
    )
    rest = elsewhere.at[table.sources.index(lesion.within)].add(-hours)
    photons = itself["photon"] + table.s[2, table.targets.index(target)] @ rest
    return jnp.stack(jnp.broadcast_arrays(itself["alpha"], itself["electron"], photons))
