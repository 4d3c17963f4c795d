"""A nucleus in a round cell: S from the nucleus, the cytoplasm, the cell's surface, the whole cell, and what lies around it."""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp

from pbpk.dosimetry.cells.hits import Hits, compute_hits
from pbpk.dosimetry.cells.source_distances import SourceDistances, ball, diffuse, outside, point_source, shell

CellPart = Literal["nucleus", "cytoplasm", "surface", "cell", "medium"]


def cell_part(name: CellPart, cell: Any, nucleus: Any) -> SourceDistances:
    """One part of a cell of radius `cell` with a nucleus of radius `nucleus` at its centre, µm, as a source.

    Per decay; the medium, which has no end, per decay/µm³.
    """
    volume = 4 / 3 * jnp.pi
    match name:
        case "nucleus":
            return ball(nucleus).scaled(1 / (volume * nucleus**3))
        case "cytoplasm":
            return shell(nucleus, cell).scaled(1 / (volume * (cell**3 - nucleus**3)))
        case "surface":
            return point_source(cell)
        case "cell":
            return ball(cell, cut=nucleus).scaled(1 / (volume * cell**3))
        case "medium":
            return outside(cell)


def cell_hits(name: CellPart, cell: Any, nucleus: Any, nuclide: str = "At-211", migration: Any = None) -> Hits:
    """Hits of the nucleus: `.dose` is S (Gy per decay), `.count` hits per decay, `.zf`, `.zd`.

    `migration` (µm): L = √(Dτ) of a daughter that wanders before it decays (`migration_length`); None: it stays.
    """
    source = cell_part(name, cell, nucleus)
    return compute_hits(source, nucleus, nuclide, None if migration is None else diffuse(source, migration))


def migration_length(diffusion: Any, half_life: Any = 0.516) -> Any:
    """L = √(Dτ), µm, of a daughter with `half_life` s (211Po's) and a diffusion coefficient in m²/s; the root of its mean
    square displacement is √6·L. 1e-9 is that of a small ion in water, less in a cell (Palm 2004, Med Phys 31:218)."""
    return jnp.sqrt(diffusion * half_life / jnp.log(2)) * 1e6
