"""Makes the photon tables of a phantom by our own Monte Carlo: specific absorbed fractions with their statistical errors.

    python -m pbpk.dosimetry.tables.make_saf adult-male --histories 500000
    python -m pbpk.dosimetry.tables.make_saf --finish

writes saf_adult-male.raw.npz (as scored, into the current folder) and from it, at the end or by --finish,
saf_adult-male.npz: where source and target are both soft tissue, target ← source and source ← target are averaged by
what each scores, since they are the same number but for statistics (reciprocity). The shipped tables have 5·10⁵ histories
for each of 36 sources and 12 energies, a quarter of that at 20 keV and below: ten minutes of one core. JAX runs it on a
GPU too.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import pbpk  # noqa: F401
from pbpk.dosimetry.phantom.grid import VoxelGrid, build_grid
from pbpk.dosimetry.phantom.skeleton import share_among_bones
from pbpk.dosimetry.photons.transport import GROUPS, build_geometry, transport_photons

HERE, RAW = Path(__file__).parent, Path()
ENERGIES = (0.010, 0.015, 0.020, 0.030, 0.050, 0.100, 0.200, 0.500, 1.000, 1.500, 2.000, 4.000)  # MeV, of ORNL/TM-8381
BONES = ("red_marrow", "cortical_bone", "trabecular_bone")
BODY = "total_body"
_DRAWN = 1 << 19  # voxels of a source


def source_names(grid: VoxelGrid) -> list[str]:
    """Names of the photon sources: all regions but single bones, which are drawn from together, and the body."""
    of_bone = {n for n, m in zip(grid.names, grid.material[1:], strict=True) if m == 1}
    return [n for n in grid.names if n not in of_bone] + [*BONES, BODY]


def voxels(grid: VoxelGrid, name: str, seed: int) -> np.ndarray:
    """Flat places of voxels of a source, each with equal chance; always as many, so that one program serves all sources."""
    flat, draw = grid.label.ravel(), np.random.default_rng(seed)
    if name in grid.names:
        return _drawn(draw, np.flatnonzero(flat == grid.names.index(name) + 1), _DRAWN)
    if name == BODY:
        inside = np.flatnonzero(flat > 0)
        density = np.array([0.0, 1.04, 1.4, 0.296])[grid.material[flat[inside]] + 1]
        return _drawn(draw, inside[draw.random(len(inside)) < density / density.max()], _DRAWN)
    mass = dict(zip(grid.names, grid.mass().tolist(), strict=True))
    bone = {n: mass[n] for n, m in zip(grid.names, grid.material[1:], strict=True) if m == 1}
    drawn = [
        _drawn(draw, np.flatnonzero(flat == grid.names.index(part) + 1), round(share * _DRAWN))
        for part, share in share_among_bones(name, bone).items()
    ]
    return _drawn(draw, np.concatenate(drawn), _DRAWN)


def _drawn(draw: np.random.Generator, places: np.ndarray, count: int) -> np.ndarray:
    """So many of them: each as often as the next, but for the remainder, which is drawn."""
    times, rest = divmod(count, len(places))
    return np.concatenate([np.tile(places, times), draw.choice(places, rest, replace=False)])


def score(phantom: str, histories: int) -> None:
    """Run the Monte Carlo of all sources and energies, and write what was scored into the current folder."""
    grid = build_grid(phantom)
    sources, labels, mass = source_names(grid), len(grid.names) + 1, grid.mass()
    place, shape = build_geometry(grid), (len(sources), len(ENERGIES), GROUPS, labels)
    fraction, soft = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    began = time.time()
    for s, name in enumerate(sources):
        where = voxels(grid, name, s)
        for k, energy in enumerate(ENERGIES):
            few = histories // 4 if energy <= 0.02 else histories
            scored = transport_photons(place, where, energy, few, 1000 * s + k, labels)
            fraction[s, k], soft[s, k] = scored.fraction, scored.soft
        print(f"{phantom} {name} {time.time() - began:.0f} s", flush=True)
    np.savez_compressed(
        RAW / f"saf_{phantom}.raw.npz",
        sources=sources,
        regions=grid.names,
        material=grid.material[1:],
        mass=mass,
        energy=ENERGIES,
        histories=histories,
        fraction=fraction[..., 1:],
        soft=soft[..., 1:],
    )


def finish(phantom: str) -> None:
    """Make SAF (sources, targets, energies), 1/g, and its relative standard error of what was scored."""
    raw = np.load(RAW / f"saf_{phantom}.raw.npz")
    names, mass, bone = [str(n) for n in raw["regions"]], raw["mass"], raw["material"] == 1
    per_gram = raw["fraction"].astype(float) / mass
    of_bone = dict(zip(np.array(names)[bone].tolist(), mass[bone].tolist(), strict=True))
    in_marrow = np.array([share_among_bones("red_marrow", of_bone).get(n, 0.0) for n in names])
    marrow = raw["soft"].astype(float) / mass @ in_marrow
    endosteum = raw["fraction"].astype(float)[..., bone].sum(-1) / mass[bone].sum()
    body = raw["fraction"].astype(float).sum(-1) / mass.sum()
    targets = [*(n for n, b in zip(names, bone, strict=True) if not b), "red_marrow", "endosteum", BODY]
    scored = np.concatenate([per_gram[..., ~bone], np.stack([marrow, endosteum, body], -1)], -1)
    mean, error = scored.mean(2), scored.std(2, ddof=1) / np.sqrt(GROUPS)
    saf, se = mean.transpose(0, 2, 1), error.transpose(0, 2, 1)
    sources = [str(n) for n in raw["sources"]]
    soft = [n for n, m in zip(names, raw["material"], strict=True) if m == 0]
    both, variance = saf.copy(), se.copy() ** 2
    for i, a in enumerate(sources):
        for j, b in enumerate(targets):
            if a in soft and b in soft and a != b:
                other = (sources.index(b), targets.index(a))
                # the variances are themselves of 16 groups and go with the value: weighted by what each direction scores,
                # histories × mass of the target, not by its own estimate
                w, v = mass[names.index(b)], mass[names.index(a)]
                both[i, j] = (w * saf[i, j] + v * saf[other]) / (w + v)
                variance[i, j] = (w**2 * se[i, j] ** 2 + v**2 * se[other] ** 2) / (w + v) ** 2
    relative = np.sqrt(variance) / np.where(both > 0, both, 1.0)
    region_mass = dict(zip(names, mass.tolist(), strict=True)) | {BODY: float(mass.sum())}
    np.savez_compressed(
        HERE / f"saf_{phantom}.npz",
        sources=sources,
        targets=targets,
        energy=raw["energy"],
        mass=[region_mass.get(n, np.nan) for n in targets],
        saf=both.astype(np.float32),
        relative_error=relative.astype(np.float16),
        histories=raw["histories"],
    )


def main() -> None:
    """The command line."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("phantom", nargs="*", default=["adult-male", "adult-female"])
    ask.add_argument("--histories", type=int, default=500_000)
    ask.add_argument("--finish", action="store_true", help="only make the tables anew from what was scored")
    arguments = ask.parse_args()
    for phantom in arguments.phantom:
        if not arguments.finish:
            score(phantom, arguments.histories)
        finish(phantom)


if __name__ == "__main__":
    main()
