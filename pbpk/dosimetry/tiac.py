"""Time-integrated activity coefficients: hours by region, from a simulation, from numbers, or from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk import units
from pbpk.dosimetry.region_map import OUTSIDE, RegionMap, check_region, read_region_map
from pbpk.errors import BadInput
from pbpk.model.parameters import read_number
from pbpk.nuclides import load_nuclide
from pbpk.observe import name_amount
from pbpk.tables import read_csv
from pbpk.tracing import is_traced

if TYPE_CHECKING:
    from pbpk.dosimetry.phantom.body import Phantom
    from pbpk.population.simulate import Simulation

LARGEST_TAIL = 0.05


@dataclass(frozen=True, eq=False)
class Tiac:
    """`hours[nuclide][region]` (N,): time-integrated activity over the activity given, of the parent `nuclide` and of daughters
    that are followed apart. `given` (N,) MBq, None where it is not known."""

    nuclide: str
    hours: Mapping[str, Mapping[str, jax.Array]]
    administered: Any = None
    notes: tuple[str, ...] = ()

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(r for by_region in self.hours.values() for r in by_region))


def tiac_from_simulation(path: Simulation, phantom: Phantom) -> tuple[Tiac, RegionMap]:
    """From a simulation of a model's compartments with their integrals (`compartments(model)`): exact to infinity where the
    model is linear; else up to the last time and as if nothing but decay came after, refused where that is over 5 %."""
    if path.model is None or path.model.nuclide is None:
        raise BadInput("this simulation has no nuclide, so no doses", hint="simulate a model with physical decay")
    placement = read_region_map(path.model, phantom)
    missing = [n for n in placement.observed_amounts if n not in path.observables]
    if missing or path.integral is None:
        raise BadInput(
            "the simulation lacks what doses need: " + (", ".join(missing[:4]) or "time-integrals"),
            hint="simulate(model, …, observe=pbpk.dosimetry.compartments(model), integrate=True)",
        )
    if path.administered is None:
        raise BadInput("what was given has no end (a steady state), so nothing can be given per MBq")
    notes: list[str] = []
    system, p = path.model.system, jnp.asarray(path.patients.values)
    hours: dict[str, dict[str, jax.Array]] = {}
    for nuclide, by_region in placement.compartments.items():
        factor = (
            p[system.parameter_index(placement.activity_rows[nuclide])] if nuclide in placement.activity_rows else 1.0
        )
        hours[nuclide] = {
            region: sum(_integrate_to_infinity(path, nuclide, name_amount(n), notes) for n in names)
            * factor
            / path.administered
            for region, names in by_region.items()
            if region != OUTSIDE
        }
    found = Tiac(path.model.nuclide, hours, path.administered, tuple(dict.fromkeys(notes)))
    check_tiac(found)
    return found, placement


def _integrate_to_infinity(path: Simulation, nuclide: str, name: str, notes: list[str]) -> jax.Array:
    assert path.model is not None and path.integral is not None
    if path.to_infinity is not None:
        return path.to_infinity[name]
    until, rest = path.integral[name][-1], path[name][-1] / load_nuclide(nuclide).decay_constant
    if not is_traced((until, rest)):
        share = float(jnp.max(jnp.where(until > 0, rest / jnp.where(until > 0, until + rest, 1.0), 0.0)))
        if share > LARGEST_TAIL and nuclide != path.model.nuclide:
            notes.append(f"{nuclide} is taken to stay after {path.time[-1]:g} h where it is then: at most its dose")
        elif share > LARGEST_TAIL:
            raise BadInput(
                f"{share:.0%} of the decays in `{name}` may come after {path.time[-1]:g} h, the last time simulated",
                why=f"There is no exact integral to infinity: {path.no_infinity}.",
                hint="simulate for longer",
            )
        else:
            notes.append(f"no exact integral to infinity ({path.no_infinity}); after {path.time[-1]:g} h decay alone")
    return until + rest


def compartments(model: Any, phantom: Phantom = "adult-male") -> tuple[str, ...]:
    """What a simulation must observe for doses."""
    return read_region_map(model, phantom).observed_amounts


def tiac_from_hours(
    given: Mapping[str, Any], nuclide: str, phantom: Phantom, lesions: frozenset[str] = frozenset()
) -> Tiac:
    """From hours by region or lesion; text brings its unit, which must be one of time (MBq·h per MBq is)."""
    name = load_nuclide(nuclide).name
    hours = {}
    for region, value in given.items():
        if region not in lesions:
            check_region(region, phantom)
        hours[region] = jnp.atleast_1d(_read_hours(region, value))
    if not hours:
        raise BadInput("no time-integrated activities are given")
    found = Tiac(name, {name: hours})
    check_tiac(found)
    return found


def _read_hours(region: str, value: Any) -> Any:
    if not isinstance(value, str):
        return jnp.asarray(value, float)
    try:
        number, unit = read_number(value)
    except ValueError:
        raise BadInput(f'the time-integrated activity "{value}" cannot be read', where=region) from None
    wanted = "a time-integrated activity coefficient is a time, as in 76.6 h: MBq·h for each MBq given"
    try:
        return jnp.asarray(
            number * units.require_dimension(unit or "h", "h", f"the time-integrated activity of {region}")
        )
    except BadInput as e:
        raise BadInput(e.what, where=region, hint=wanted) from None


def read_tiac(path: File | str, nuclide: str, phantom: Phantom, lesions: frozenset[str] = frozenset()) -> Tiac:
    """From a CSV file with the columns region, value, unit (as `write_tiac` has it)."""
    rows = read_csv(File(path))
    for column in ("region", "value", "unit"):
        if column not in rows:
            raise BadInput(f"no column `{column}`", where=str(path), hint="columns: region, value, unit")
    texts = {str(r["region"]): f"{r['value']} {r['unit']}" for r in rows.to_dict("records")}
    try:
        return tiac_from_hours(texts, nuclide, phantom, lesions)
    except BadInput as e:
        raise BadInput(e.what, where=f"{path} {e.where}".strip(), why=e.why, hint=e.hint) from None


def write_tiac(tiac: Tiac) -> str:
    """CSV text, of the first patient."""
    lines = ["nuclide,region,value,unit"]
    for nuclide, by_region in tiac.hours.items():
        lines += [f"{nuclide},{r},{float(np.asarray(v)[0]):.6g},h" for r, v in by_region.items()]
    return "\n".join(lines) + "\n"


def check_tiac(tiac: Tiac) -> None:
    """Raises `BadInput` for what cannot be: not finite, below 0, or more decays of the parent than atoms were given."""
    if is_traced(tiac.hours):
        return
    for nuclide, by_region in tiac.hours.items():
        for region, value in by_region.items():
            solved = np.asarray(value)[~np.isnan(np.asarray(value))]  # a patient that was not solved stays NaN
            if not len(solved) or not np.isfinite(solved).all() or (solved < -1e-9).any():
                raise BadInput(f"the time-integrated activity of {nuclide} in {region} is not a number from 0 on")
    parent = load_nuclide(tiac.nuclide)
    if parent.stable:
        raise BadInput(f"{parent.name} is stable and gives no dose")
    most = 1 / parent.decay_constant
    whole = float(np.nanmax(np.asarray(sum(tiac.hours[tiac.nuclide].values()))))
    if whole > most * (1 + 1e-3):
        raise BadInput(
            f"time-integrated activities add up to {whole:.6g} h, and {tiac.nuclide} decays within {most:.6g} h",
            why="More would decay than was given (half-life / ln 2 per MBq).",
            hint="are they in hours, per activity given, and of this nuclide?",
        )
