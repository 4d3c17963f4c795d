"""Absorbed dose: D(target) = Σ Ã(source) · S(target ← source), in JAX, for any number of patients at once.

A region's mass acts on what is diluted in it: charged particles by m_ref/m, its own photons by (m_ref/m)^(2/3); photons
from elsewhere stay. Activity in `blood` is spread over the organs by their share of blood, `other` over all tissue not
named, by mass. Doses are kept by radiation, alpha, electron and photon: which of them weighs how much is for the biology
that follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.constants import MGY_PER_MBQ, SECONDS
from pbpk.dosimetry.lesions import lesion_dose, tabulate_spheres
from pbpk.dosimetry.phantom.body import BLOOD_MASS, Phantom, PhantomRegion, check_phantom, load_regions
from pbpk.dosimetry.progeny import find_omitted_daughters
from pbpk.dosimetry.region_map import BLOOD, OTHER, Lesion, RegionMap, check_region
from pbpk.dosimetry.svalues import BODY, LUNG_BLOOD, RADIATIONS, SValues, list_targets, s_values
from pbpk.dosimetry.tiac import Tiac, compartments, tiac_from_hours, tiac_from_simulation
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.load import Model
from pbpk.nuclides import Evaluation, load_nuclide
from pbpk.population.batch import is_traced
from pbpk.population.simulate import Simulation, simulate
from pbpk.regimen.dose import dose
from pbpk.regimen.regimen import Regimen

if TYPE_CHECKING:
    from pbpk.compile.engine import Engine


@dataclass(frozen=True, eq=False)
class AbsorbedDose:
    """`coefficient[target]` (N,) mGy per MBq given; `by_radiation[radiation][target]` the same in parts, which add up to it;
    `tiac`; `masses` (g) that differ from the phantom's; `error[target]` the relative statistical error that our photon tables
    bring (one standard deviation). `gray()` needs the activity given."""

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
        given = self.tiac.administered if activity is None else jnp.asarray(activity)
        if given is None:
            raise BadInput("the activity given is not known", hint="gray(activity) in MBq")
        return {t: v * given * 1e-3 for t, v in self.coefficient.items()}


Dose = AbsorbedDose  # the documented name


def absorbed_dose(
    of: Simulation | Model | Tiac | Mapping[str, Any],
    nuclide: str | None = None,
    phantom: str = "adult-male",
    *,
    regimen: Regimen | None = None,
    masses: Mapping[str, Any] | None = None,
    lesions: Sequence[Lesion] = (),
    recoil: bool = False,
    evaluation: Evaluation = "ensdf",
    table: SValues | None = None,
    engine: Engine | None = None,
) -> AbsorbedDose:
    """Doses of a simulation, of a model, or of time-integrated activities.

    `of` is a simulation of `compartments(model)` with `integrate=True`; a model, given 1 MBq by its first route or
    `regimen`; a `Tiac`; or hours by region ({"thyroid": 76.6}; "76.6 h" too), numbers or arrays (N,). `nuclide` is needed
    with hours alone. `masses` (g, with blood; numbers or arrays) replaces the phantom's reference masses. `lesions` are
    spheres, sources by their own name, which take what the region they are `within` takes from elsewhere. `recoil` adds
    the energy of recoiling nuclei to alphas (+1.9 % for 211At), which most tables leave out. `table` replaces our S
    values by the user's own (custom_svalues.py). `engine` is what solves a model (docs/kernels.md). Pure in the activities and
    masses: jit, grad and vmap work.

    Raises `BadInput` for a region the phantom lacks, a mass of 0, a nuclide without data, or more decays than were given.
    """
    body, placement = check_phantom(phantom), None
    if isinstance(of, Model):
        model = of if nuclide is None else of.with_nuclide(nuclide)
        given = regimen or dose("1 MBq", into=next(iter(model.system.block.routes)))
        last = max(d.at + d.addl * d.ii + d.over for d in given.doses)
        of = simulate(model, given, [last], observe=compartments(model, body), integrate=True, engine=engine)
    if isinstance(of, Simulation):
        own = of.model.nuclide if of.model else None
        if nuclide is not None and own is not None and load_nuclide(nuclide).name != own:
            raise BadInput(f"this was simulated with {own}, not {nuclide}", hint=f"load_model(…, nuclide={nuclide!r})")
        tiac, placement = tiac_from_simulation(of, body)
        masses = {**_model_masses(of, placement), **(masses or {})}
        lesions = (*_model_lesions(of, placement), *lesions)
    elif isinstance(of, Tiac):
        tiac = of
    else:
        if nuclide is None:
            raise BadInput("time-integrated activities need a nuclide", hint='nuclide="I-131"')
        tiac = tiac_from_hours(of, nuclide, body, frozenset(x.name for x in lesions))
    return _doses(tiac, body, placement, masses or {}, tuple(lesions), recoil, evaluation, table)


def sum_simulation_doses(
    tiac: Tiac,
    path: Simulation,
    placement: RegionMap,
    phantom: Phantom,
    masses: Mapping[str, Any],
    recoil: bool = False,
    evaluation: Evaluation = "ensdf",
    repeat: int = 1,
    only: Sequence[str] | None = None,
) -> AbsorbedDose:
    """Of a simulation's activities as they stand, each patient `repeat` times over: for what is not yet a whole course.
    `only` these targets, or all."""

    def again(value: Any) -> Any:
        return jnp.tile(jnp.atleast_1d(value), repeat) if jnp.ndim(value) else value

    own = {k: again(v) for k, v in _model_masses(path, placement).items()}
    lesions = tuple(replace(x, mass=again(x.mass)) for x in _model_lesions(path, placement))
    return _doses(tiac, phantom, placement, {**own, **masses}, lesions, recoil, evaluation, only=only)


def _model_masses(path: Simulation, placement: RegionMap) -> dict[str, Any]:
    return {
        region: _row(path, row)
        for region, row in placement.mass_rows.items()
        if region in list_placed_regions(placement)
    }


def list_placed_regions(placement: RegionMap) -> set[str]:
    return {r for by_region in placement.compartments.values() for r in by_region}


def _model_lesions(path: Simulation, placement: RegionMap) -> tuple[Lesion, ...]:
    return tuple(replace(x, mass=_row(path, str(x.mass))) for x in placement.lesions)


def _row(path: Simulation, row: str) -> Any:
    """A mass of the model, g (N,)."""
    assert path.model is not None
    return jnp.asarray(path.patients.values)[path.model.system.parameter_index(row)] / 1e3  # mg inside


def _doses(
    tiac: Tiac,
    phantom: Phantom,
    placement: RegionMap | None,
    masses: Mapping[str, Any],
    lesions: tuple[Lesion, ...],
    recoil: bool,
    evaluation: Evaluation,
    own_table: SValues | None = None,
    only: Sequence[str] | None = None,
) -> AbsorbedDose:
    known = load_regions(phantom)
    for name, value in masses.items():
        check_region(name, phantom, "masses")
        _check_mass(name, value)
    own = {x.name: x for x in lesions}
    every = (*list_targets(phantom), *own)
    targets = every if only is None else tuple(only)
    for name in targets:
        if name not in every:
            raise BadInput(f"there is no target `{name}`", hint=did_you_mean(name, every))
    for x in lesions:
        check_region(x.within, phantom, f"lesion {x.name}")
        _check_mass(x.name, x.mass)
    apart = frozenset(n for n in tiac.hours if n != tiac.nuclide)
    blood_is = placement.blood_is if placement else "all"
    parts: dict[tuple[str, str], Any] = {}
    variance: dict[str, float] = {}
    if own_table is not None and (own_table.phantom, own_table.nuclide) != (phantom, tiac.nuclide):
        what = f"these S values are for {own_table.nuclide} in the {own_table.phantom}"
        raise BadInput(what, hint=f"give those for {tiac.nuclide} in the {phantom}")
    for nuclide, by_region in tiac.hours.items():
        ours = own_table is None or nuclide != tiac.nuclide
        table = s_values(nuclide, phantom, recoil, evaluation, apart) if ours else own_table
        assert table is not None
        for x in own.values():  # as a source of what goes elsewhere, a lesion is its surroundings
            if x.name in by_region and x.within not in table.sources:
                raise BadInput(f"lesion {x.name} cannot lie within `{x.within}`", hint="name one region of the phantom")
        held = _blood_held(known, masses)
        activity, outside = _spread(table, known, by_region, own, blood_is, set(tiac.regions), held)
        rows = _rows(table, targets)
        found = _sum(rows, activity, outside, _ratios(table, masses))
        for key, each in zip(product(RADIATIONS, rows.targets), _apart(found), strict=True):
            parts[key] = parts.get(key, 0.0) + each
        if not is_traced(found):
            each = np.asarray(outside + activity)[:, :1].T * rows.s[2] * rows.error
            for k, target in enumerate(rows.targets):
                variance[target] = variance.get(target, 0.0) + float((each[k] ** 2).sum())
        for x in (x for x in own.values() if x.name in targets):
            hours = by_region.get(x.name, jnp.zeros(1))
            dose_of = lesion_dose(
                x, hours, activity + outside, table, tabulate_spheres(nuclide, recoil, evaluation, apart)
            )
            for radiation, value in dose_of.items():
                parts[radiation, x.name] = parts.get((radiation, x.name), 0.0) + value
    scale = SECONDS * MGY_PER_MBQ
    by_radiation = {r: {t: parts[r, t] * scale for t in targets} for r in RADIATIONS}
    whole: dict[str, Any] = {t: sum(by_radiation[r][t] for r in RADIATIONS) for t in targets}
    error = (
        {}
        if is_traced(whole)
        else {
            t: (variance[t] ** 0.5 * scale / float(np.asarray(whole[t])[0]) if float(np.asarray(whole[t])[0]) else 0.0)
            for t in variance
        }
    )
    return AbsorbedDose(
        tiac.nuclide, phantom, tiac, targets, whole, by_radiation, dict(masses), error, recoil, _notes(tiac, apart)
    )


def _notes(tiac: Tiac, apart: frozenset[str]) -> tuple[str, ...]:
    gone = find_omitted_daughters(tiac.nuclide, apart)
    told = (f"{', '.join(gone)}, which outlive{'s' if len(gone) == 1 else ''} the parent, left out",) if gone else ()
    return (*tiac.notes, *told)


def _check_mass(name: str, value: Any) -> None:
    if isinstance(value, str):
        raise BadInput(f"the mass of {name} must be a number of grams")
    if not is_traced(value) and not bool(np.all(np.isfinite(np.asarray(value)) & (np.asarray(value) > 0))):
        raise BadInput(f"the mass of {name} must be above 0 g", why="A dose is energy per mass.")


def _spread(
    table: SValues,
    known: Mapping[str, PhantomRegion],
    by_region: Mapping[str, jax.Array],
    lesions: Mapping[str, Lesion],
    blood_is: str,
    named: set[str],
    held: Mapping[str, Any],
) -> tuple[jax.Array, jax.Array]:
    """Hours in each of the table's sources, (sources, N): of the body, and of lesions, whose charged particles stay in them."""
    n = max((v.shape[0] for v in by_region.values()), default=1)
    rows: dict[str, Any] = {s: jnp.zeros(n) for s in table.sources}
    apart: dict[str, Any] = {s: jnp.zeros(n) for s in table.sources}
    blood = by_region.get(BLOOD)
    if blood is not None and blood_is == "rest":
        inside = {r for r in by_region if r in known}
        blood = blood / (1 - sum(held[r] for r in inside))
        by_region = {r: v - held[r] * blood if r in inside and known[r].blood else v for r, v in by_region.items()}
    for region, hours in by_region.items():
        if region in lesions:
            within = lesions[region].within
            apart[within] = apart[within] + hours
        elif region == OTHER:
            free = {k: r for k, r in known.items() if k not in named and r.kind in ("tissue", "wall", "marrow", "bone")}
            whole = sum(r.mass for r in free.values())
            for k, r in free.items():
                inside = r.blood * BLOOD_MASS[table.phantom] if k == "lungs" else 0.0
                rows[k] = rows[k] + hours * ((r.mass - inside) / whole)
                if inside:  # lungs are half blood, which the airways have little of
                    rows[LUNG_BLOOD] = rows[LUNG_BLOOD] + hours * (inside / whole)
        elif region != BLOOD:
            rows[region] = rows[region] + hours
    if blood is not None:
        for k in known:
            at = LUNG_BLOOD if k == "lungs" else k
            rows[at] = rows[at] + blood * held[k]
    return jnp.stack([rows[s] for s in table.sources]), jnp.stack([apart[s] for s in table.sources])


def _blood_held(known: Mapping[str, PhantomRegion], masses: Mapping[str, Any]) -> dict[str, Any]:
    """Shares of all blood by region: an organ of half the mass holds half its blood, and great vessels what others then leave.
    A thyroid remnant of 1 g would else take the dose of the 3.4 g of blood that are in a whole gland."""
    held: dict[str, Any] = {
        k: r.blood * (jnp.asarray(masses[k]) / r.mass if k in masses else 1.0) for k, r in known.items()
    }
    left = sum((known[k].blood - held[k] for k in masses if k in known), 0.0)
    return held | {"vessels": held["vessels"] + left}


def _ratios(table: SValues, masses: Mapping[str, Any]) -> Any:
    """m_ref/m by source, (sources, N) or (sources, 1)."""
    rows = []
    for source, reference in zip(table.sources, table.mass, strict=True):
        name = "lungs" if source == LUNG_BLOOD else source
        changed = name in masses and np.isfinite(reference)
        rows.append(jnp.atleast_1d(reference / jnp.asarray(masses[name], float)) if changed else jnp.ones(1))
    n = max(len(r) for r in rows)
    return jnp.stack([jnp.broadcast_to(r, (n,)) for r in rows])


def _rows(table: SValues, targets: Sequence[str]) -> SValues:
    """Of some targets alone."""
    k = [i for i, t in enumerate(table.targets) if t in targets]
    names = tuple(table.targets[i] for i in k)
    return replace(table, targets=names, s=table.s[:, k], own=table.self_irradiation[k], error=table.error[k])


def _apart(found: jax.Array) -> list[jax.Array]:
    """Each row (N,) of (radiations, targets, N). By split, whose derivative puts all together at once: those of slices would
    each be as large as the whole."""
    flat = found.reshape(-1, found.shape[-1])
    return [x[0] for x in jax.lax.split(flat, [1] * len(flat), axis=0)] if len(flat) else []


def _sum(table: SValues, activity: jax.Array, outside: jax.Array, ratio: jax.Array) -> jax.Array:
    """(radiations, targets, N), Gy·h/(Bq·s)."""
    body = np.array([t == BODY for t in table.targets], bool)[:, None]
    charged = jnp.einsum("its,sn->itn", table.s[:2] * ~body, activity * ratio)
    charged = charged + jnp.einsum("its,sn->itn", table.s[:2] * body, activity + outside)
    photons = table.s[2] @ (activity + outside)
    own = (table.s[2] * table.self_irradiation) @ (activity * (ratio ** (2 / 3) - 1))
    return jnp.concatenate([charged, (photons + own)[None]])
