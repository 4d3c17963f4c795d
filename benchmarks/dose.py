"""How long from kinetics to absorbed doses? A whole body of 50 compartments with a lesion, 211At, for many virtual patients.

python benchmarks/dose.py --json [--quick]

Drawn, solved with exact integrals to infinity, and turned into doses of 29 targets, warm; what is done once (tables of S
values, compiling) apart. Gradients of a dose by two kinetic parameters of each patient through all of it, and of the sum of all
doses by activities and masses. Memory is the process's most at the end of each step, so it only rises.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from typing import Any

import clock
import jax
import jax.numpy as jnp
import numpy as np

import pbpk
from pbpk.dosimetry import compartments, s_values
from pbpk.dosimetry.lesions import tabulate_spheres
from pbpk.dosimetry.tiac import Tiac

NUCLIDE, PHANTOM = "At-211", "adult-male"
KINETICS = ("astatide.salivary.Vmax", "lesion_1.expression")


def once(run: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds, and what came of it."""
    begun = time.perf_counter()
    found = jax.block_until_ready(run())
    return clock.figures(time.perf_counter() - begun), found


def peak_mb() -> float:
    return clock.figures(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def tables() -> dict[str, float]:
    """Seconds for the S values of the phantom, and for those of lesions of every mass: once for each nuclide of a process."""
    body, _ = once(lambda: s_values(NUCLIDE, PHANTOM).s)
    lesions, _ = once(lambda: tabulate_spheres(NUCLIDE))
    return {"phantom_s": body, "lesions_s": lesions, "peak_mb": peak_mb()}


def chain(patients: int) -> dict[str, Any]:
    """Each step the first time and, at its best, again; the dose of one patient alone against that among all."""
    model = pbpk.load_model("nis_body")
    given, asked = pbpk.dose("1 MBq/kg", into="iv"), compartments(model)

    def draw(seed: int = 1) -> Any:
        return pbpk.virtual_patients(model, patients, seed)

    def solve(who: Any) -> Any:
        return pbpk.simulate(model, given, [0.0], patients=who, observe=asked, integrate=True)

    def doses(path: Any) -> Any:
        return pbpk.absorbed_dose(path).coefficient

    first, warm = {}, {}
    first["draw_s"], _ = once(lambda: draw().values)
    who = draw()
    first["solve_s"], _ = once(lambda: solve(who).to_infinity)
    path = solve(who)
    first["dose_s"], found = once(lambda: doses(path))
    warm["draw_s"] = clock.best(lambda: draw().values)["wall_s"]
    warm["solve_s"] = clock.best(lambda: jax.block_until_ready(solve(who).to_infinity))["wall_s"]
    warm["dose_s"] = clock.best(lambda: jax.block_until_ready(doses(path)))["wall_s"]
    warm = {k: clock.figures(v) for k, v in warm.items()}
    alone = doses(solve(who[np.array([patients - 1])]))
    apart = max(abs(float(alone[t][0] / v[-1]) - 1) for t, v in found.items() if float(alone[t][0]) > 0)
    bad = int((np.asarray(path.result) != 0).sum())
    whole = sum(warm.values())
    return {
        "patients": patients,
        "targets": len(found),
        "first_time": first,
        "warm": warm,
        "whole_s": clock.figures(whole),
        "patients_per_s": clock.figures(patients / whole),
        "failed": bad,
        "one_alone_against_all": apart,
        "peak_mb": peak_mb(),
    }


def slope_by_kinetics(patients: int) -> dict[str, Any]:
    """Of the summed doses to glands and lesion, by two parameters of each patient, through the solver, against their value."""
    model = pbpk.load_model("nis_body")
    given, asked, who = pbpk.dose("1 MBq/kg", into="iv"), compartments(model), pbpk.virtual_patients(model, patients, 1)
    at = {name: jnp.asarray(who.values[model.system.parameter_index(name)]) for name in KINETICS}
    at = {name: v / _unit(model, name) for name, v in at.items()}

    def total(values: dict[str, Any]) -> Any:
        path = pbpk.simulate(model, given, [0.0], patients=who, observe=asked, integrate=True, values=values)
        dose = pbpk.absorbed_dose(path)
        return (dose["salivary_glands"] + dose["lesion_1"]).sum()

    return _slope(total, at, patients)


def slope_by_activities(patients: int) -> dict[str, Any]:
    """Of the sum of all doses, compiled, by hours in nine regions and two masses of each patient, against their value."""
    rng = np.random.default_rng(1)
    regions = ("thyroid", "salivary_glands", "stomach_wall", "kidneys", "liver", "spleen", "lungs", "blood", "other")
    hours = {r: jnp.asarray(rng.lognormal(-2, 0.5, patients)) for r in regions}
    grams = {"thyroid": 20.0, "kidneys": 300.0}
    mass = {r: jnp.asarray(g * rng.lognormal(0, 0.2, patients)) for r, g in grams.items()}

    def total(both: tuple[Any, Any]) -> Any:
        found = pbpk.absorbed_dose(Tiac(NUCLIDE, {NUCLIDE: both[0]}), masses=both[1])
        return sum(v.sum() for v in found.coefficient.values())

    return _slope(jax.jit(total), (hours, mass), patients, jax.jit(jax.grad(total)))


def _slope(of: Callable, at: Any, patients: int, by: Callable | None = None) -> dict[str, Any]:
    by = by or jax.grad(of)
    compiling = once(lambda: (of(at), by(at)))[0]
    value = clock.best(lambda: jax.block_until_ready(of(at)))["wall_s"]
    slope = clock.best(lambda: jax.block_until_ready(by(at)))["wall_s"]
    return {
        "patients": patients,
        "first_time_s": compiling,
        "value_s": clock.figures(value),
        "gradient_s": clock.figures(slope),
        "gradient_over_value": clock.figures(slope / value),
        "peak_mb": peak_mb(),
    }


def _unit(model: Any, name: str) -> float:
    """Coherent units in one of the row's own."""
    return model.with_values({name: 1.0}).values[model.system.parameter_index(name)]


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--json", action="store_true", help="one object with versions and machine")
    ask.add_argument("--quick", action="store_true", help="10,000 patients alone")
    given = ask.parse_args()
    sizes = (10_000,) if given.quick else (10_000, 100_000)
    found = {
        "tables": tables(),
        "chain": [chain(n) for n in sizes],
        "gradient_by_activities_and_masses": slope_by_activities(sizes[-1]),
        "gradient_by_kinetics": slope_by_kinetics(2_000 if given.quick else 10_000),
    }
    found |= {"machine": clock.machine(), "versions": clock.versions("pbpk", "jax", "numpy")}
    print(json.dumps(found, indent=1 if given.json else 2))


if __name__ == "__main__":
    main()
