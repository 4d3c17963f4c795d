"""Sum absorbed doses, D(target) = Σ Ã(source) · S(target ← source), in JAX, for any number of patients at once.

A region's mass acts on what is diluted in it: charged particles by m_ref/m, its own photons by (m_ref/m)^(2/3); photons
from elsewhere stay. Doses are kept by radiation, alpha, electron and photon: which of them weighs how much is for the
biology that follows. All sums are over arrays (radiations, targets, N); names are attached at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.constants import MGY_PER_MBQ, SECONDS
from pbpk.dosimetry.lesions import lesion_dose, tabulate_spheres
from pbpk.dosimetry.phantom.body import load_regions
from pbpk.dosimetry.progeny import find_omitted_daughters
from pbpk.dosimetry.region_map import Lesion, RegionMap, check_region
from pbpk.dosimetry.source_activity import mass_ratios, share_blood, spread_activity
from pbpk.dosimetry.svalues import BODY, RADIATIONS, SValues, list_targets, s_values
from pbpk.dosimetry.tiac import tiac_from_simulation
from pbpk.errors import BadInput, did_you_mean
from pbpk.tracing import is_traced

if TYPE_CHECKING:
    from pbpk.dosimetry.phantom.body import Phantom
    from pbpk.dosimetry.tiac import Tiac
    from pbpk.nuclides import Evaluation
    from pbpk.population.simulate import Simulation


@dataclass(frozen=True, eq=False)
class AbsorbedDose:
    """What `absorbed_dose` gives: doses by target, in mGy per MBq given, in all and by radiation.

    `coefficient[target]` (N,) mGy/MBq; `by_radiation[radiation][target]` the same in parts, which add up to it; `tiac` the
    time-integrated activities; `masses` (g) that differ from the phantom's; `error[target]` the relative statistical error
    that our photon tables bring (one standard deviation); `recoil` whether the energy of recoils is counted; `notes` on what
    is left out. `gray()` needs the activity given.
    """

    nuclide: str
    phantom: Phantom
    tiac: Tiac
    targets: tuple[str, ...]
    coefficient: Mapping[str, jax.Array]
    by_radiation: Mapping[str, Mapping[str, jax.Array]]
    masses: Mapping[str, Any]
    error: Mapping[str, float]
    recoil: bool
    notes: tuple[str, ...]

    def __getitem__(self, target: str) -> jax.Array:
        return self.coefficient[target]

    def gray(self, activity: Any = None) -> dict[str, jax.Array]:
        """Absorbed dose by target (N,), Gy, for `activity` MBq, or for what was given."""
        administered = self.tiac.administered if activity is None else jnp.asarray(activity)
        if administered is None:
            raise BadInput("the activity given is not known", hint="gray(activity) in MBq")
        return {t: v * administered * 1e-3 for t, v in self.coefficient.items()}


def dose_of_simulation(
    simulation: Simulation,
    phantom: Phantom,
    masses: Mapping[str, Any] | None = None,
    lesions: Sequence[Lesion] = (),
    recoil: bool = False,
    evaluation: Evaluation = "ensdf",
    table: SValues | None = None,
) -> AbsorbedDose:
    """Doses of a simulation of a model's compartments with their integrals, by the model's own masses and lesions.

    `masses` (g) go before the model's, `lesions` are added to its own, `table` replaces our S values. Raises `BadInput`
    where the simulation lacks what doses need.
    """
    tiac, region_map = tiac_from_simulation(simulation, phantom)
    model_masses = read_model_masses(simulation, region_map)
    every_lesion = (*read_model_lesions(simulation, region_map), *lesions)
    return sum_doses(
        *(tiac, phantom, {**model_masses, **(masses or {})}, every_lesion),
        blood_is=region_map.blood_is,
        recoil=recoil,
        evaluation=evaluation,
        custom_table=table,
    )


def sum_partial_doses(
    tiac: Tiac,
    simulation: Simulation,
    region_map: RegionMap,
    phantom: Phantom,
    masses: Mapping[str, Any],
    recoil: bool = False,
    repeat: int = 1,
    only: Sequence[str] | None = None,
) -> AbsorbedDose:
    """Doses of activities that need not be a whole course, in the patients of a simulation: for dose rates, and for draws.

    `tiac` has the hours (repeat · N,), each of the N patients `repeat` times over; `only` these targets, or all.
    """

    def tile(value: Any) -> Any:
        return jnp.tile(jnp.atleast_1d(value), repeat) if jnp.ndim(value) else value

    model_masses = {k: tile(v) for k, v in read_model_masses(simulation, region_map).items()}
    lesions = tuple(replace(x, mass=tile(x.mass)) for x in read_model_lesions(simulation, region_map))
    return sum_doses(
        *(tiac, phantom, {**model_masses, **masses}, lesions), blood_is=region_map.blood_is, recoil=recoil, only=only
    )


def read_model_masses(simulation: Simulation, region_map: RegionMap) -> dict[str, Any]:
    """By region, the masses (N,) g that are rows of the model, of the patients simulated."""
    placed = {r for by_region in region_map.compartments.values() for r in by_region}
    return {region: _read_mass(simulation, row) for region, row in region_map.mass_rows.items() if region in placed}


def read_model_lesions(simulation: Simulation, region_map: RegionMap) -> tuple[Lesion, ...]:
    """The model's lesions with their masses (N,) g, of the patients simulated."""
    return tuple(replace(x, mass=_read_mass(simulation, str(x.mass))) for x in region_map.lesions)


def _read_mass(simulation: Simulation, row: str) -> Any:
    """A mass of the model, g (N,)."""
    assert simulation.model is not None
    index = simulation.model.system.parameter_index(row)
    return jnp.asarray(simulation.patients.values)[index] / 1e3  # a model's masses are in mg inside


def sum_doses(
    tiac: Tiac,
    phantom: Phantom,
    masses: Mapping[str, Any],
    lesions: Sequence[Lesion] = (),
    *,
    blood_is: str = "all",
    recoil: bool = False,
    evaluation: Evaluation = "ensdf",
    custom_table: SValues | None = None,
    only: Sequence[str] | None = None,
) -> AbsorbedDose:
    """Doses of time-integrated activities to all targets of a phantom and all lesions, or to `only` some.

    `masses` (g; numbers or (N,)) and `lesions` as in `absorbed_dose`; `blood_is` as a model's dosimetry.toml has it;
    `custom_table` replaces our S values of the parent nuclide. Raises `BadInput` for a name that nothing has, a mass of 0
    and a table of something else.
    """
    known, by_name = load_regions(phantom), {x.name: x for x in lesions}
    _check_masses(masses, lesions, phantom)
    targets = _choose_targets(phantom, by_name, only)
    chosen = [x for x in by_name.values() if x.name in targets]
    _check_table(custom_table, tiac, phantom)
    followed = frozenset(n for n in tiac.hours if n != tiac.nuclide)
    blood_shares = share_blood(known, masses)
    total, variance, in_table = jnp.zeros(()), np.zeros(()), ()
    for nuclide, by_region in tiac.hours.items():
        custom = custom_table if nuclide == tiac.nuclide else None
        table = custom or s_values(nuclide, phantom, recoil, evaluation, followed)
        _check_surroundings(by_name, by_region, table)
        regions = (known, by_region, by_name, blood_is, tiac.regions, blood_shares)
        in_body, in_lesions = spread_activity(table, *regions)
        rows = _select_targets(table, targets)
        doses, in_table = _sum_over_sources(rows, in_body, in_lesions, mass_ratios(table, masses)), rows.targets
        if not is_traced(doses):
            variance = variance + _photon_variance(rows, in_body, in_lesions)
        if chosen:
            spheres = tabulate_spheres(nuclide, recoil, evaluation, followed)
            inside = [by_region.get(x.name, jnp.zeros(1)) for x in chosen]
            each = [
                lesion_dose(x, h, in_body + in_lesions, table, spheres) for x, h in zip(chosen, inside, strict=True)
            ]
            doses = _append_targets(doses, each)
        total = total + doses
    parts = total * (SECONDS * MGY_PER_MBQ)
    names = (*in_table, *(x.name for x in chosen))
    coefficient = _name_targets(parts[0] + parts[1] + parts[2], names, targets)
    rows_of_parts = _split_rows(parts.reshape(-1, parts.shape[-1]))
    by_radiation = {
        r: {t: rows_of_parts[i * len(names) + names.index(t)] for t in targets} for i, r in enumerate(RADIATIONS)
    }
    error = {} if is_traced(coefficient) else _relative_errors(variance, in_table, coefficient)
    return AbsorbedDose(
        *(tiac.nuclide, phantom, tiac, targets, coefficient, by_radiation, dict(masses), error),
        recoil=recoil,
        notes=(*tiac.notes, *_note_omitted(tiac.nuclide, followed)),
    )


def _choose_targets(phantom: Phantom, lesions: Mapping[str, Lesion], only: Sequence[str] | None) -> tuple[str, ...]:
    every = (*list_targets(phantom), *lesions)
    targets = every if only is None else tuple(only)
    for name in targets:
        if name not in every:
            raise BadInput(f"there is no target `{name}`", hint=did_you_mean(name, every))
    return targets


def _check_masses(masses: Mapping[str, Any], lesions: Sequence[Lesion], phantom: Phantom) -> None:
    for name, value in masses.items():
        check_region(name, phantom, "masses")
        _check_mass(name, value)
    for x in lesions:
        check_region(x.within, phantom, f"lesion {x.name}")
        _check_mass(x.name, x.mass)


def _check_mass(name: str, value: Any) -> None:
    if isinstance(value, str):
        raise BadInput(f"the mass of {name} must be a number of grams")
    if not is_traced(value) and not bool(np.all(np.isfinite(np.asarray(value)) & (np.asarray(value) > 0))):
        raise BadInput(f"the mass of {name} must be above 0 g", why="A dose is energy per mass.")


def _check_table(table: SValues | None, tiac: Tiac, phantom: Phantom) -> None:
    if table is not None and (table.phantom, table.nuclide) != (phantom, tiac.nuclide):
        what = f"these S values are for {table.nuclide} in the {table.phantom}"
        raise BadInput(what, hint=f"give those for {tiac.nuclide} in the {phantom}")


def _check_surroundings(lesions: Mapping[str, Lesion], by_region: Mapping[str, Any], table: SValues) -> None:
    """As a source of what goes elsewhere, a lesion is its surroundings: they must be one source of the table."""
    for x in lesions.values():
        if x.name in by_region and x.within not in table.sources:
            raise BadInput(f"lesion {x.name} cannot lie within `{x.within}`", hint="name one region of the phantom")


def _select_targets(table: SValues, targets: Sequence[str]) -> SValues:
    """The table's rows of these targets alone, in the table's order."""
    k = [i for i, t in enumerate(table.targets) if t in targets]
    names = tuple(table.targets[i] for i in k)
    return replace(
        table,
        targets=names,
        s=table.s[:, k],
        self_irradiation=table.self_irradiation[k],
        error=table.error[k],
    )


def _sum_over_sources(table: SValues, in_body: jax.Array, in_lesions: jax.Array, ratio: jax.Array) -> jax.Array:
    """Multiply hours (sources, N) by S: (radiations, targets, N), Gy·h/(Bq·s).

    The mean over the body has all charged particles, those of lesions too, undiluted.
    """
    body = np.array([t == BODY for t in table.targets], bool)[:, None]
    charged = jnp.einsum("its,sn->itn", table.s[:2] * ~body, in_body * ratio)
    charged = charged + jnp.einsum("its,sn->itn", table.s[:2] * body, in_body + in_lesions)
    photons = table.s[2] @ (in_body + in_lesions)
    rescaled = (table.s[2] * table.self_irradiation) @ (in_body * (ratio ** (2 / 3) - 1))
    return jnp.concatenate([charged, (photons + rescaled)[None]])


def _append_targets(doses: jax.Array, rows: Sequence[jax.Array]) -> jax.Array:
    """Rows (radiations, N) of lesions below those of the phantom's targets, for as many patients as any of them has."""
    n = max(x.shape[-1] for x in (doses, *rows))
    every = [doses, *(row[:, None] for row in rows)]
    return jnp.concatenate([jnp.broadcast_to(x, (*x.shape[:2], n)) for x in every], axis=1)


def _photon_variance(table: SValues, in_body: jax.Array, in_lesions: jax.Array) -> np.ndarray:
    """The statistical variance (targets,) of the first patient's photon dose, by that of our photon tables."""
    each = np.asarray(in_lesions + in_body)[:, :1].T * table.s[2] * table.error
    return (each**2).sum(axis=1)


def _relative_errors(
    variance: np.ndarray, names: Sequence[str], coefficient: Mapping[str, jax.Array]
) -> dict[str, float]:
    scale, errors = SECONDS * MGY_PER_MBQ, {}
    for target, v in zip(names, variance.tolist(), strict=True):
        dose = float(np.asarray(coefficient[target])[0])
        errors[target] = v**0.5 * scale / dose if dose else 0.0
    return errors


def _name_targets(doses: jax.Array, names: Sequence[str], targets: Sequence[str]) -> dict[str, jax.Array]:
    rows = dict(zip(names, _split_rows(doses), strict=True))
    return {t: rows[t] for t in targets}


def _split_rows(array: jax.Array) -> list[jax.Array]:
    """Each row (N,) of (rows, N). By split, whose derivative puts all together at once: those of slices would each be as
    large as the whole array."""
    return [x[0] for x in jax.lax.split(array, [1] * len(array), axis=0)] if len(array) else []


def _note_omitted(nuclide: str, followed: frozenset[str]) -> tuple[str, ...]:
    omitted = find_omitted_daughters(nuclide, followed)
    if not omitted:
        return ()
    return (f"{', '.join(omitted)}, which outlive{'s' if len(omitted) == 1 else ''} the parent, left out",)
