"""Time-integrated activity coefficients (TIAC): hours by region, from a simulation, from numbers, or from a file.

A TIAC is the number of decays over the activity given, Ã/A₀: MBq·h for each MBq, so hours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk import units
from pbpk.dosimetry.region_map import OUTSIDE, RegionMap, check_region, read_region_map, spell_region
from pbpk.errors import BadInput
from pbpk.model.parameters import read_number
from pbpk.nuclides import load_nuclide
from pbpk.observe.readings import name_amount
from pbpk.tables import read_csv
from pbpk.tracing import is_traced

if TYPE_CHECKING:
    from pbpk.dosimetry.phantom.body import Phantom
    from pbpk.population.simulate import Simulation

LARGEST_TAIL = 0.05  # of a region's decays, that may come after the last time of a model that is not linear


@dataclass(frozen=True, eq=False)
class Tiac:
    """Time-integrated activity over the activity given.

    `hours[nuclide][region]` (N,), of the parent `nuclide` and of daughters that are followed apart; `administered` (N,) MBq,
    None where it is not known; `notes` on how the hours were found.
    """

    nuclide: str
    hours: Mapping[str, Mapping[str, jax.Array]]
    administered: Any = None
    notes: tuple[str, ...] = ()

    @property
    def given(self) -> Any:
        """The earlier name of `administered`."""
        return self.administered

    @property
    def regions(self) -> tuple[str, ...]:
        """All regions and lesions, of any nuclide, each once."""
        return tuple(dict.fromkeys(r for by_region in self.hours.values() for r in by_region))


def tiac_from_simulation(simulation: Simulation, phantom: Phantom) -> tuple[Tiac, RegionMap]:
    """Integrate a simulation of a model's compartments; also which compartments lie where.

    Exact to infinity where the model is linear; else up to the last time and as if nothing but decay came after, refused
    where that is over 5 %. Raises `BadInput` where the simulation lacks compartments or integrals.
    """
    if simulation.model is None or simulation.model.nuclide is None:
        raise BadInput("this simulation has no nuclide, so no doses", hint="simulate a model with physical decay")
    region_map = read_region_map(simulation.model, phantom)
    _check_simulation(simulation, region_map)
    notes: list[str] = []
    sums = sum_regions(simulation, region_map, lambda nuclide, n: _integrate_to_infinity(simulation, nuclide, n, notes))
    hours = {k: {r: v / simulation.administered for r, v in by_region.items()} for k, by_region in sums.items()}
    tiac = Tiac(simulation.model.nuclide, hours, simulation.administered, tuple(dict.fromkeys(notes)))
    check_tiac(tiac)
    return tiac, region_map


def _check_simulation(simulation: Simulation, region_map: RegionMap) -> None:
    """Raise `BadInput` that says what to add to `simulate`."""
    missing = [n for n in region_map.observed_amounts if n not in simulation.observables]
    if missing or simulation.integral is None:
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        lacking = [", ".join(missing[:4]) + more] if missing else []
        lacking += ["time-integrals"] if simulation.integral is None else []
        add = ["observe=pbpk.dosimetry.compartments(model)"] if missing else []
        add += ["integrate=True"] if simulation.integral is None else []
        raise BadInput(
            "the simulation lacks what doses need: " + ", and ".join(lacking),
            hint=f"add {', '.join(add)} to simulate(…), or leave simulating to absorbed_dose(model, regimen, patients=…)",
        )
    if simulation.administered is None:
        raise BadInput("what was given has no end (a steady state), so nothing can be given per MBq")


def sum_regions(
    simulation: Simulation, region_map: RegionMap, find_amount: Callable[[str, str], Any]
) -> dict[str, dict[str, Any]]:
    """By nuclide and region, the sum of `find_amount(nuclide, observable)` over the compartments in it, as an activity."""
    assert simulation.model is not None
    system, p = simulation.model.system, jnp.asarray(simulation.patients.values)
    sums: dict[str, dict[str, Any]] = {}
    for nuclide, by_region in region_map.compartments.items():
        row = region_map.activity_rows.get(nuclide)
        factor = 1.0 if row is None else p[system.parameter_index(row)]
        sums[nuclide] = {
            region: sum(find_amount(nuclide, name_amount(n)) for n in names) * factor
            for region, names in by_region.items()
            if region != OUTSIDE
        }
    return sums


def _integrate_to_infinity(simulation: Simulation, nuclide: str, name: str, notes: list[str]) -> jax.Array:
    """The integral (N,) of one observable to infinity; adds to `notes` where it is not exact."""
    assert simulation.model is not None and simulation.integral is not None
    if simulation.to_infinity is not None:
        return simulation.to_infinity[name]
    last = f"{simulation.time[-1]:g} h"
    until, rest = simulation.integral[name][-1], simulation[name][-1] / load_nuclide(nuclide).decay_constant
    if not is_traced((until, rest)):
        share = float(jnp.max(jnp.where(until > 0, rest / jnp.where(until > 0, until + rest, 1.0), 0.0)))
        if share > LARGEST_TAIL and nuclide != simulation.model.nuclide:
            notes.append(f"{nuclide} is taken to stay after {last} where it is then: at most its dose")
        elif share > LARGEST_TAIL:
            raise BadInput(
                f"{share:.0%} of the decays in `{name}` may come after {last}, the last time simulated",
                why=f"There is no exact integral to infinity: {simulation.no_infinity}.",
                hint="simulate for longer",
            )
        else:
            notes.append(f"no exact integral to infinity ({simulation.no_infinity}); after {last} decay alone")
    return until + rest


def compartments(model: Any, phantom: Phantom = "adult-male") -> tuple[str, ...]:
    """What a simulation must `observe` for doses: the amounts in every compartment of activity."""
    return read_region_map(model, phantom).observed_amounts


def tiac_from_hours(
    hours: Mapping[str, Any], nuclide: str, phantom: Phantom, lesions: frozenset[str] = frozenset()
) -> Tiac:
    """Take hours by region or lesion; text brings its unit, which must be one of time (MBq·h per MBq is).

    Raises `BadInput` for a region the phantom lacks, and for hours that cannot be.
    """
    name = load_nuclide(nuclide).name
    by_region = {}
    for region, value in hours.items():
        if region not in lesions:
            check_region(region, phantom)
        by_region[region] = jnp.atleast_1d(_read_hours(region, value))
    if not by_region:
        raise BadInput("no time-integrated activities are given")
    tiac = Tiac(name, {name: by_region})
    check_tiac(tiac)
    return tiac


def _read_hours(region: str, value: Any) -> Any:
    if not isinstance(value, str):
        return jnp.asarray(value, float)
    try:
        number, unit = read_number(value)
    except ValueError:
        raise BadInput(f'the time-integrated activity "{value}" cannot be read', where=region) from None
    hint = "a time-integrated activity coefficient is a time, as in 76.6 h: MBq·h for each MBq given"
    try:
        return jnp.asarray(
            number * units.require_dimension(unit or "h", "h", f"the time-integrated activity of {region}")
        )
    except BadInput as e:
        raise BadInput(e.what, where=region, hint=hint) from None


def read_tiac(path: File | str, nuclide: str, phantom: Phantom, lesions: frozenset[str] = frozenset()) -> Tiac:
    """Read a CSV file with the columns region, value, unit (as `write_tiac` has it); regions in any spelling of their words.

    Raises `BadInput`, for a region that stands twice too: which of its rows is meant, or whether their sum is, the file does
    not say.
    """
    rows = read_csv(File(path))
    for column in ("region", "value", "unit"):
        if column not in rows:
            raise BadInput(f"no column `{column}`", where=str(path), hint="columns: region, value, unit")
    regions = [name if name in lesions else spell_region(name, phantom) for name in rows["region"].astype(str)]
    rows = rows.assign(region=regions)
    again = rows[rows["region"].duplicated()]
    if len(again):
        first = rows.index[rows["region"] == again["region"].iloc[0]][0]
        raise BadInput(
            f"`{again['region'].iloc[0]}` stands again; it is in row {first} already",
            where=f"{path} row {again.index[0]}",
            why="A dose from one of them, or from both, would look as right as the other.",
            hint="write their sum in one row (of a left and a right organ), or remove one",
        )
    texts = {str(r["region"]): f"{r['value']} {r['unit']}" for r in rows.to_dict("records")}
    try:
        return tiac_from_hours(texts, nuclide, phantom, lesions)
    except BadInput as e:
        raise BadInput(e.what, where=f"{path} {e.where}".strip(), why=e.why, hint=e.hint) from None


def write_tiac(tiac: Tiac) -> str:
    """CSV text of the first patient's hours, with the columns nuclide, region, value, unit."""
    lines = ["nuclide,region,value,unit"]
    for nuclide, by_region in tiac.hours.items():
        lines += [f"{nuclide},{r},{float(np.asarray(v)[0]):.6g},h" for r, v in by_region.items()]
    return "\n".join(lines) + "\n"


def check_tiac(tiac: Tiac) -> None:
    """Raise `BadInput` for what cannot be: not finite, below 0, or more decays of the parent than atoms were given."""
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
    largest = 1 / parent.decay_constant
    total = float(np.nanmax(np.asarray(sum(tiac.hours[tiac.nuclide].values()))))
    if total > largest * (1 + 1e-3):
        raise BadInput(
            f"time-integrated activities add up to {total:.6g} h, and {tiac.nuclide} decays within {largest:.6g} h",
            why="More would decay than was given (half-life / ln 2 per MBq).",
            hint="are they in hours, per activity given, and of this nuclide?",
        )
