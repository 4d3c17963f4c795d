"""Spread activity over the sources of a table of S values: blood over the organs, `other` over all tissue not named.

Time-integrated activities come by region of a model or a patient; S values are by region of the phantom. What changes with
a patient's masses is made here too: how much blood an organ holds, and how much its activity is diluted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.phantom.body import BLOOD_MASS, PhantomRegion
from pbpk.dosimetry.region_map import BLOOD, OTHER, Lesion
from pbpk.dosimetry.svalues import LUNG_BLOOD, SValues

if TYPE_CHECKING:
    from collections.abc import Collection

_TISSUES = ("tissue", "wall", "marrow", "bone")  # kinds of region that `other` may lie in


def spread_activity(
    table: SValues,
    known: Mapping[str, PhantomRegion],
    by_region: Mapping[str, jax.Array],
    lesions: Mapping[str, Lesion],
    blood_is: str,
    named: Collection[str],
    blood_shares: Mapping[str, Any],
) -> tuple[jax.Array, jax.Array]:
    """Hours in each source of `table`, (sources, N): of the body, and of lesions, whose charged particles stay in them.

    `by_region` has the hours (N,) by region or lesion, `named` the regions that `other` does not reach. With `blood_is`
    "rest" an organ's hours are without its blood's, so that share is taken out of the blood first.
    """
    n = max((v.shape[0] for v in by_region.values()), default=1)
    body: dict[str, Any] = {s: jnp.zeros(n) for s in table.sources}
    in_lesions: dict[str, Any] = {s: jnp.zeros(n) for s in table.sources}
    blood = by_region.get(BLOOD)
    if blood is not None and blood_is == "rest":
        inside = {r for r in by_region if r in known}
        blood = blood / (1 - sum(blood_shares[r] for r in inside))
        by_region = {
            r: v - blood_shares[r] * blood if r in inside and known[r].blood else v for r, v in by_region.items()
        }
    for region, hours in by_region.items():
        if region in lesions:
            within = lesions[region].within
            in_lesions[within] = in_lesions[within] + hours
        elif region == OTHER:
            for source, share in _share_other(table, known, named).items():
                body[source] = body[source] + hours * share
        elif region != BLOOD:
            body[region] = body[region] + hours
    if blood is not None:
        for region in known:
            source = LUNG_BLOOD if region == "lungs" else region
            body[source] = body[source] + blood * blood_shares[region]
    return jnp.stack([body[s] for s in table.sources]), jnp.stack([in_lesions[s] for s in table.sources])


def _share_other(table: SValues, known: Mapping[str, PhantomRegion], named: Collection[str]) -> dict[str, float]:
    """By source, the share of `other`: by mass over all tissue that is not named."""
    free = {k: r for k, r in known.items() if k not in named and r.kind in _TISSUES}
    total = sum(r.mass for r in free.values())
    shares: dict[str, float] = {}
    for name, region in free.items():
        blood = region.blood * BLOOD_MASS[table.phantom] if name == "lungs" else 0.0
        shares[name] = (region.mass - blood) / total
        if blood:  # lungs are half blood, which the airways have little of
            shares[LUNG_BLOOD] = blood / total
    return shares


def share_blood(known: Mapping[str, PhantomRegion], masses: Mapping[str, Any]) -> dict[str, Any]:
    """Shares of all blood by region, numbers or (N,), for `masses` (g) that differ from the phantom's.

    An organ of half the mass holds half its blood, and the great vessels hold what others then leave. A thyroid remnant of
    1 g would otherwise take the dose of the 3.4 g of blood that are in a whole gland.
    """
    shares: dict[str, Any] = {
        k: r.blood * (jnp.asarray(masses[k]) / r.mass if k in masses else 1.0) for k, r in known.items()
    }
    left_over = sum((known[k].blood - shares[k] for k in masses if k in known), 0.0)
    return shares | {"vessels": shares["vessels"] + left_over}


def mass_ratios(table: SValues, masses: Mapping[str, Any]) -> jax.Array:
    """m_ref/m of each source, (sources, N) or (sources, 1); 1 where the mass is the phantom's or changes nothing."""
    ratios = []
    for source, reference in zip(table.sources, table.mass, strict=True):
        name = "lungs" if source == LUNG_BLOOD else source
        changed = name in masses and np.isfinite(reference)
        ratios.append(jnp.atleast_1d(reference / jnp.asarray(masses[name], float)) if changed else jnp.ones(1))
    n = max(len(r) for r in ratios)
    return jnp.stack([jnp.broadcast_to(r, (n,)) for r in ratios])
