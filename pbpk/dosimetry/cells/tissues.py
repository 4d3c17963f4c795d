"""Tissues around a nucleus, and what it gets per gray of the tissue's mean dose.

A region filled like everything around it gives a nucleus φ of the dose that is everywhere; over all regions φ adds up to 1.
Where a share f of the tissue's decays is in a region with a share v of its volume, it holds f/v times the mean, and the nucleus
gets Σ φ f/v per Gy. Microscopic dimensions are typical ones from histology, assumed, not measured in patients: give your own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp

from pbpk.dosimetry.cells.cell import cell_part
from pbpk.dosimetry.cells.hits import Hits, alpha_energy, compute_hits
from pbpk.dosimetry.cells.source_distances import FAR, SourceDistances, ball, outside, shell, slab, tube
from pbpk.dosimetry.constants import MEV
from pbpk.errors import BadInput, did_you_mean

_FILLED = 1e-15  # kg/µm³


@dataclass(frozen=True, eq=False)
class Tissue:
    """A tissue around one nucleus: its regions as sources, and how it is filled.

    `regions` as sources, per decay/µm³; `volume` their shares of the tissue; `around` is all else of it, with the tissue's mean
    concentration where it is more of the same ("mean"), or with what the regions leave ("rest"); `beyond` is not part of the
    tissue: contents, bone. `cell` whose nucleus it is, `nucleus` its radius, `dimensions` in words.
    """

    name: str
    cell: str
    nucleus: float  # µm, radius
    regions: Mapping[str, SourceDistances]
    volume: Mapping[str, float]
    around: SourceDistances | None
    surroundings: Literal["mean", "rest"]
    beyond: Mapping[str, SourceDistances]
    dimensions: str

    def even_shares(self) -> dict[str, float]:
        """Shares of decays by region where all is filled evenly."""
        return dict(self.volume)

    def concentrations(self, shares: Mapping[str, float]) -> dict[str, float]:
        """Decays per volume in each region and `around`, relative to the tissue's mean."""
        for name in shares:
            if name not in self.volume:
                what = f"{self.name} has no region `{name}`"
                raise BadInput(what, hint=did_you_mean(name, self.volume))
        placed = sum(shares.values())
        if min(shares.values(), default=0.0) < 0 or placed > 1 + 1e-9:
            raise BadInput(
                f"shares of decays in the {self.name} add up to {placed:.4g}", hint="0 or more each, at most 1 in all"
            )
        relative = {k: shares.get(k, 0.0) / v for k, v in self.volume.items()}
        room = 1 - sum(self.volume.values())
        if self.surroundings == "mean":
            return relative | {"around": 1.0}
        if room < 1e-9 and placed < 1 - 1e-9:
            raise BadInput(
                f"{placed:.4g} of the decays are placed, and the {self.name} has nothing else", hint="add up to 1"
            )
        return relative | {"around": (1 - placed) / room if room > 1e-9 else 0.0}

    def hits(
        self,
        shares: Mapping[str, float] | None = None,
        beyond: Mapping[str, float] | None = None,
        nuclide: str = "At-211",
    ) -> Hits:
        """Per Gy of the tissue's mean alpha dose: `.dose` is the nucleus's dose, Gy/Gy, `.count` its hits.

        `shares` of the tissue's decays by region (evenly, if None). `beyond`: what contents or bone hold, as the alpha dose
        within them relative to the tissue's mean; their decays are not among the tissue's.
        """
        relative = self.concentrations(self.even_shares() if shares is None else shares)
        for name in beyond or {}:
            if name not in self.beyond:
                raise BadInput(
                    f"nothing called `{name}` lies beyond the {self.name}", hint=did_you_mean(name, self.beyond)
                )
        parts = [(self.regions[k], v) for k, v in relative.items() if k in self.regions]
        parts += [(self.around, relative["around"])] if self.around is not None else []
        parts += [(self.beyond[k], v) for k, v in (beyond or {}).items()]
        per_gray = _FILLED / (alpha_energy(nuclide) * MEV)  # decays/µm³ for 1 Gy
        all_hits = [compute_hits(source, self.nucleus, nuclide).scaled(per_gray * c) for source, c in parts]
        often, enter, leave = (jnp.concatenate([h[i] for h in all_hits]) for i in range(3))
        return Hits(often, enter, leave, all_hits[0].mass)


def follicle(lumen: float = 100.0, height: float = 10.0, nucleus: float = 3.5, stroma: float = 0.1) -> Tissue:
    """Thyroid: the nucleus in the middle of a follicular cell, colloid on one side, more thyroid on the other."""
    away, outer, parenchyma = lumen + height / 2, lumen + height, 1 - stroma
    share = (lumen / outer) ** 3
    return Tissue(
        "thyroid follicle",
        "follicular cell",
        nucleus,
        {"lumen": ball(lumen, away, nucleus), "epithelium": shell(lumen, outer, away, nucleus)},
        {"lumen": parenchyma * share, "epithelium": parenchyma * (1 - share), "stroma": stroma},
        outside(outer, away, nucleus),
        "mean",
        {},
        f"lumen of radius {lumen:g} µm, cells {height:g} µm high, nucleus {nucleus:g} µm, {stroma:.0%} stroma (assumed)",
    )


def acinus(lumen: float = 2.0, outer: float = 18.0, nucleus: float = 3.5, share: float = 0.85) -> Tissue:
    """Salivary: a secretory cell, its nucleus towards the base."""
    away = outer - 5.0
    inside = (lumen / outer) ** 3
    return Tissue(
        "salivary acinus",
        "acinar cell",
        nucleus,
        {"lumen": ball(lumen, away, nucleus), "epithelium": shell(lumen, outer, away, nucleus)},
        {"lumen": share * inside, "epithelium": share * (1 - inside), "ducts and stroma": 1 - share},
        outside(outer, away, nucleus),
        "mean",
        {},
        f"radii {lumen:g} and {outer:g} µm, nucleus {nucleus:g} µm; acini {share:.0%} of the gland (assumed)",
    )


def duct(lumen: float = 8.0, outer: float = 28.0, nucleus: float = 3.5, share: float = 0.06) -> Tissue:
    """Salivary: a striated duct, where NIS is; around it are acini, which hold what the ducts do not."""
    away, inside = (lumen + outer) / 2, (lumen / outer) ** 2
    return Tissue(
        "salivary duct",
        "striated duct cell",
        nucleus,
        {"lumen": tube(0.0, lumen, away, nucleus), "epithelium": tube(lumen, outer, away, nucleus)},
        {"lumen": share * inside, "epithelium": share * (1 - inside)},
        tube(outer, jnp.inf, away, nucleus),
        "rest",
        {},
        f"radii {lumen:g} and {outer:g} µm, nucleus {nucleus:g} µm; ducts {share:.0%} of the gland (assumed)",
    )


def build_layered_tissue(
    name: str,
    cell: str,
    depth: float,
    layers: Mapping[str, tuple[float, float]],
    thick: float,
    gap: float,
    nucleus: float,
) -> Tissue:
    """A wall: layers by their depths (µm), the nucleus at `depth`, `contents` beyond a `gap` of inactive mucus."""
    regions = {k: slab(a - depth, b - depth, nucleus) for k, (a, b) in layers.items()}
    last = max(b for _, b in layers.values())
    below = None if last >= thick else slab(last - depth, max(thick - depth, FAR), nucleus)
    return Tissue(
        name,
        cell,
        nucleus,
        regions,
        {k: (b - a) / thick for k, (a, b) in layers.items()},
        below,
        "rest",
        {"contents": slab(-2 * FAR - depth - gap, -depth - gap, nucleus)},
        f"nucleus {nucleus:g} µm at a depth of {depth:g} µm, contents {gap:g} µm away, {thick:g} µm thick (assumed)",
    )


def gastric_mucosa(depth: float = 80.0, gap: float = 0.0, thick: float = 1000.0, nucleus: float = 3.5) -> Tissue:
    """Stomach: stem cells at 60 to 100 µm (ICRP 133), or surface cells with `depth=10`. Its mean dose is the mucosa's."""
    return build_layered_tissue(
        "gastric mucosa",
        "stem cell" if depth > 20 else "surface cell",
        depth,
        {"surface": (0.0, 20.0), "pits": (20.0, 200.0)},
        thick,
        gap,
        nucleus,
    )


def urothelium(depth: float = 60.0, gap: float = 0.0, thick: float = 3000.0, nucleus: float = 3.5) -> Tissue:
    """Bladder: basal cells, or umbrella cells with `depth=8`. Its mean dose is the wall's."""
    return build_layered_tissue(
        "urothelium",
        "basal cell" if depth > 30 else "umbrella cell",
        depth,
        {"urothelium": (0.0, 70.0)},
        thick,
        gap,
        nucleus,
    )


def marrow(from_bone: float = 100.0, nucleus: float = 3.5) -> Tissue:
    """Active marrow: a stem cell in a space filled evenly, one flat face of bone at a distance."""
    return Tissue(
        "active marrow",
        "stem cell",
        nucleus,
        {"marrow": slab(-from_bone, 2 * FAR, nucleus)},
        {"marrow": 1.0},
        None,
        "rest",
        {"bone": slab(-from_bone - 2 * FAR, -from_bone, nucleus)},
        f"nucleus {nucleus:g} µm, {from_bone:g} µm from a flat face of bone (assumed)",
    )


def tumour(cell: float = 7.0, nucleus: float = 5.0, cells: float = 0.7) -> Tissue:
    """A cell among its like, deep in a lesion; `cells` of the volume is cells."""
    inside = (nucleus / cell) ** 3
    volume = 4 / 3 * jnp.pi
    cubes = {"nucleus": nucleus**3, "cytoplasm": cell**3 - nucleus**3}
    return Tissue(
        "tumour",
        "tumour cell",
        nucleus,
        {k: cell_part(k, cell, nucleus).scaled(volume * v) for k, v in cubes.items()},  # type: ignore[arg-type]
        {"nucleus": cells * inside, "cytoplasm": cells * (1 - inside), "interstitium": 1 - cells},
        outside(cell),
        "mean",
        {},
        f"radii {cell:g} and {nucleus:g} µm, {cells:.0%} of the volume cells (assumed)",
    )
