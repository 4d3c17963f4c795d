"""The benchmark's body: 24 compartments like a NIS carrier's, linear or saturable, and a population of them.

Blood plasma and cells, eight organs in exchange with plasma, a thyroid with an organified pool, three lesions, stomach
wall and salivary glands that secrete into the gut, two colon pools, kidney tubule, bladder and urine; six uptakes from
plasma through NIS; decay of 211At everywhere. Rates are a physiological sketch, log-normal between patients: they are
there to be stiff in the way such bodies are (fastest 100–400 per h, slowest 0.1), not to describe anyone.

Other sizes than 24 are for scaling: fewer keep the first names, more hang further organs on the plasma.
"""

from __future__ import annotations

import numpy as np

from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, observe, physical_decay
from pbpk.model.laws import saturable
from pbpk.model.system import System, build_system

ORGANS = ("liver", "kidney", "muscle", "gut", "fat", "skin", "lung", "rest")
TRAPS = ("thyroid", "lesion1", "lesion2", "lesion3", "stomach_wall", "salivary")
NAMES = (
    *("plasma", "cells", *ORGANS, "thyroid", "organified", "lesion1", "lesion2", "lesion3"),
    *("stomach_wall", "salivary", "stomach", "intestine", "colon1", "colon2", "tubule", "bladder", "urine"),
)
DECAY = float(np.log(2) / 7.214)  # per h, 211At
DOSE = 100.0
TIMES = np.array([0.5, 1, 2, 4, 6, 8, 12, 18, 24, 36, 48, 72.0])

# First-order transfers per h besides the organs' (typical value); flow and volume set the organs' below.
TRANSFERS = (
    *(("plasma", "cells", 0.6), ("cells", "plasma", 1.0)),
    *(("thyroid", "plasma", 0.02), ("thyroid", "organified", 0.15), ("organified", "plasma", 0.004)),
    *(("lesion1", "plasma", 0.35), ("lesion2", "plasma", 0.25), ("lesion3", "plasma", 0.15)),
    *(("stomach_wall", "stomach", 0.6), ("salivary", "stomach", 0.8), ("stomach", "intestine", 1.2)),
    *(("intestine", "plasma", 1.0), ("intestine", "colon1", 0.08), ("colon1", "colon2", 0.1), ("colon2", "out", 0.05)),
    *(("plasma", "tubule", 0.73), ("tubule", "bladder", 12.0), ("bladder", "urine", 0.35)),
)
FLOW = dict(zip(ORGANS, (25, 40, 32, 28, 8, 8, 10, 20), strict=True))  # l/h
VOLUME = dict(zip(ORGANS, (0.36, 0.54, 0.15, 4.4, 1.3, 1.5, 0.15, 3.0), strict=True))  # l, apparent
VMAX = dict(zip(TRAPS, (2.5, 1.2, 0.6, 0.3, 6.0, 3.0), strict=True))  # amount/h
KM = 4.0  # amount/l


def names(compartments: int) -> tuple[str, ...]:
    return (*NAMES, *(f"organ{i}" for i in range(len(NAMES), compartments)))[:compartments]


def body(*, nonlinear: bool, compartments: int = 24) -> System:
    """Both kinds have the same parameters; the linear one's uptakes are CLNIS·c with the parameter set to Vmax/Km."""
    part = {n: Compartment(n, "nmol", volume="V" if n == "plasma" else None) for n in names(compartments)}
    plasma = part["plasma"]
    fluxes = [
        flux(part[a] >> (OUT if b == "out" else part[b]), first_order, a=amount(part[a]), k=f"{a}.{b}")
        for a, b, _ in TRANSFERS
        if a in part and (b in part or b == "out")
    ]
    for organ in (*ORGANS, *(n for n in part if n not in NAMES)):
        fluxes.append(flux(plasma >> part[organ], first_order, a=amount(plasma), k=f"plasma.{organ}"))
        fluxes.append(flux(part[organ] >> plasma, first_order, a=amount(part[organ]), k=f"{organ}.plasma"))
    for trap in (t for t in TRAPS if t in part):
        if nonlinear:
            taken = flux(plasma >> part[trap], saturable, c=conc(plasma), vmax=f"{trap}.Vmax", km=f"{trap}.Km")
        else:
            taken = flux(plasma >> part[trap], first_order, a=amount(plasma), k=f"plasma.{trap}")
        fluxes.append(taken)
    seen = (observe("cp", conc(plasma), "plasma concentration"),)
    return build_system(Block(tuple(part.values()), (*fluxes, *physical_decay(*part.values())), seen))


def population(system: System, n: int, seed: int = 0) -> np.ndarray:
    """Parameters (1, m, n) of the body's system, the same patients for both kinds and, as far as they go, all sizes."""
    rng = np.random.default_rng(seed)

    def spread(mean: float, cv: float) -> np.ndarray:
        s2 = np.log1p(cv**2)
        return mean * np.exp(rng.standard_normal(n) * np.sqrt(s2) - s2 / 2)

    volume, output = spread(3.0, 0.2), spread(1.0, 0.25)
    value = {"V": volume, "decay.k": np.full(n, DECAY)}
    for a, b, k in TRANSFERS:
        value[f"{a}.{b}"] = spread(k, 0.3)
    for organ in ORGANS:
        flow, own = FLOW[organ] * output * spread(1.0, 0.15), VOLUME[organ] * spread(1.0, 0.2)
        value[f"plasma.{organ}"], value[f"{organ}.plasma"] = flow / volume, flow / own
    for trap in TRAPS:
        vmax, km = spread(VMAX[trap], 0.6), spread(KM, 0.3)
        value[f"{trap}.Vmax"], value[f"{trap}.Km"] = vmax, km
        value[f"plasma.{trap}"] = vmax / (km * volume)
    further = [name.removeprefix("plasma.") for name in system.parameter_names if name.startswith("plasma.organ")]
    for i, organ in enumerate(further):
        flow, own = FLOW[ORGANS[i % 8]] * output * spread(0.2, 0.15), VOLUME[ORGANS[i % 8]] * spread(0.2, 0.2)
        value[f"plasma.{organ}"], value[f"{organ}.plasma"] = flow / volume, flow / own
    return np.stack([value[name] for name in system.parameter_names])[None]
