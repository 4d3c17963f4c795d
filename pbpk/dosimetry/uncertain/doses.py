"""The uncertainty of doses and of their effects, from a model's kinetics or from time-integrated activities.

Activities come from the engine, once for each draw or by its derivatives; outcomes.py lets masses, S values and RBEs act on
them. In BED the Lea–Catcheside factor is held at that of the usual kinetics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict, get_args

import jax
import jax.numpy as jnp
import numpy as np

from pbpk import units
from pbpk.dosimetry.curves import compute_protractions, dose_over_time
from pbpk.dosimetry.effect.targets import find_biology
from pbpk.dosimetry.phantom.body import check_phantom
from pbpk.dosimetry.region_map import read_region_map
from pbpk.dosimetry.svalues import BODY, list_targets
from pbpk.dosimetry.target_doses import dose_of_simulation, sum_doses, sum_partial_doses
from pbpk.dosimetry.tiac import Tiac, tiac_from_hours, tiac_from_simulation
from pbpk.dosimetry.treatment_plan import default_regimen, dose_rate_times
from pbpk.dosimetry.uncertain.inputs import (
    KINETICS,
    MASS_SD,
    S_SD,
    UncertainKinetics,
    check_relative_sd,
    kinetics_from_table,
    log_sd,
)
from pbpk.dosimetry.uncertain.outcomes import DoseOutcomes, Hours
from pbpk.dosimetry.uncertain.result import BED, DOSE, WEIGHTED, DoseUncertainty, UncertaintyMethod
from pbpk.dosimetry.uncertain.spread import DoseSpread, propagate, run_montecarlo
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.load import Model
from pbpk.population.patients import Patients, build_typical_patient
from pbpk.population.simulate import simulate

if TYPE_CHECKING:
    from typing import Unpack

    from pbpk.dosimetry.phantom.body import Phantom
    from pbpk.dosimetry.region_map import Lesion, RegionMap
    from pbpk.dosimetry.target_doses import AbsorbedDose
    from pbpk.population.simulate import Simulation
    from pbpk.regimen.regimen import Regimen


class UncertaintyOptions(TypedDict, total=False):
    """Keywords of `dose_uncertainty` that are seldom used.

    `mass_sd`: relative SDs of masses, one for all or by region or lesion, others then that of `*`, or 20 %. `s_sd`: of S
    values by radiation, the same error in all regions; 2 % of alphas, 5 % of electrons, 25 % of photons. `draws` (2000) and
    `seed` (1) of Monte Carlo. `level` (0.9) of the intervals.
    """

    mass_sd: Mapping[str, float] | float
    s_sd: Mapping[str, float]
    draws: int
    seed: int
    level: float


@dataclass(frozen=True)
class _Settings:
    """`UncertaintyOptions` with what was left out at its default."""

    mass_sd: Mapping[str, float] | float = MASS_SD
    s_sd: Mapping[str, float] = field(default_factory=lambda: S_SD)
    draws: int = 2000
    seed: int = 1
    level: float = 0.9


def dose_uncertainty(
    of: Model | Tiac | Mapping[str, Any],
    regimen: Regimen | None = None,
    *,
    nuclide: str | None = None,
    activity: float | None = None,
    phantom: str = "adult-male",
    method: UncertaintyMethod = "propagate",
    kinetics: UncertainKinetics | Mapping[str, float] | None = None,
    masses: Mapping[str, float] | None = None,
    lesions: Sequence[Lesion] = (),
    recoil: bool = False,
    **options: Unpack[UncertaintyOptions],
) -> DoseUncertainty:
    """Doses of `of` with what is not known of them: mean, SD, interval, and the share of each origin.

    `of` is a model, given `regimen` (1 MBq by its first route) to its typical patient, or hours by region with a `nuclide` and
    the `activity` given in MBq, or a `Tiac`. `kinetics`: relative SDs by parameter of the model, on top of the spreads that its
    table states, or by region of the hours; or `UncertainKinetics`, such as a fit's
    (`pbpk.run_folders.fitted_kinetics.fitted_kinetics`). `options` are those of `UncertaintyOptions`: `mass_sd`, `s_sd`,
    `draws`, `seed`, `level`. A mass that is a row of the model is as uncertain as that row; our photon tables' statistics are
    added to `s_sd`. RBEs have the distributions on file.

    Raises `BadInput` for a name that nothing has.
    """
    body, settings = check_phantom(phantom), _Settings(**options)
    if method not in get_args(UncertaintyMethod):
        raise BadInput(f"no method `{method}`", hint="propagate or montecarlo")
    if method == "montecarlo" and settings.draws < 2:
        raise BadInput(f"{settings.draws} draws have no spread", hint="2000 is usual")
    grams = dict(masses or {})
    if isinstance(of, Model):
        if lesions:
            raise BadInput("a model's lesions are its own", hint="choose them by its options, or give hours by region")
        treatment = regimen or default_regimen(of)
        source = ModelActivities.simulate(of, treatment, body, kinetics, grams, recoil)
    else:
        if isinstance(kinetics, UncertainKinetics):
            raise BadInput("parameters that are uncertain belong to a model", hint="relative SDs by region")
        tiac = of if isinstance(of, Tiac) else _read_hours(of, nuclide, body, lesions)
        source = GivenActivities.read(tiac, activity, body, kinetics or {}, grams, tuple(lesions), recoil)
    outcomes = DoseOutcomes(source, body, settings.mass_sd, settings.s_sd)
    if method == "propagate":
        source.prepare_slopes()
        spreads, failed = propagate(outcomes, settings.level), {}
    else:
        spreads, failed = run_montecarlo(outcomes, settings.draws, settings.seed, settings.level)
    return DoseUncertainty(
        method,
        settings.level,
        settings.draws if method == "montecarlo" else None,
        max(failed.values(), default=0),
        _order_spreads(spreads, (*list_targets(body), *source.lesions)),
        outcomes.notes(method),
    )


def _read_hours(of: Mapping[str, Any], nuclide: str | None, phantom: Phantom, lesions: Sequence[Lesion]) -> Tiac:
    if nuclide is None:
        raise BadInput("time-integrated activities need a nuclide", hint='nuclide="I-131"')
    return tiac_from_hours(of, nuclide, phantom, frozenset(x.name for x in lesions))


def _order_spreads(
    spreads: Mapping[tuple[str, str], DoseSpread], targets: Sequence[str]
) -> dict[str, dict[str, DoseSpread]]:
    """By quantity and target, in the order of `targets`; quantities that no target has are left out."""
    by_quantity = {q: {t: spreads[q, t] for t in targets if (q, t) in spreads} for q in (DOSE, WEIGHTED, BED)}
    return {q: by_target for q, by_target in by_quantity.items() if by_target}


@dataclass(frozen=True, eq=False)
class ModelActivities:
    """Activities of a model by the engine (an `ActivitySource`).

    `masses` (g) are given and go before the model's. `base`, `simulation` and `protraction` are those of the typical patient
    with the usual kinetics.
    """

    model: Model
    regimen: Regimen
    phantom: Phantom
    region_map: RegionMap
    kinetics: UncertainKinetics
    masses: Mapping[str, float]
    recoil: bool
    base: AbsorbedDose
    simulation: Simulation
    protraction: Mapping[str, float] | None

    @classmethod
    def simulate(
        cls, model: Model, regimen: Regimen, phantom: Phantom, kinetics: Any, masses: Any, recoil: bool
    ) -> ModelActivities:
        """Solve the usual kinetics. `kinetics` and `masses` as in `dose_uncertainty`."""
        region_map = read_region_map(model, phantom)
        mass_rows = {row for region, row in region_map.mass_rows.items() if region not in masses}
        mass_rows |= {str(x.mass) for x in region_map.lesions}
        if not isinstance(kinetics, UncertainKinetics):
            kinetics = kinetics_from_table(model, mass_rows, kinetics)
        usual = kinetics.values(np.zeros((len(kinetics.origins), 1)), False)
        patient = _set_rows(model, build_typical_patient(model), usual)
        times, observed = dose_rate_times(model, regimen), region_map.observed_amounts
        simulation = simulate(model, regimen, times, patients=patient, observe=observed, integrate=True)
        base = dose_of_simulation(simulation, phantom, masses, recoil=recoil)
        course = dose_over_time(simulation, phantom, masses, recoil)
        lesions = tuple(x.name for x in region_map.lesions)
        irradiated = [t for t in base.targets if t != BODY and float(base[t][0]) > 0]
        protractions = compute_protractions(course, {t: find_biology(t, lesions)["t_repair"] for t in irradiated})
        protraction = {t: float(g[0]) for t, g in protractions.items()}
        return cls(model, regimen, phantom, region_map, kinetics, masses, recoil, base, simulation, protraction)

    @property
    def lesions(self) -> tuple[str, ...]:
        """Names of the model's lesions."""
        return tuple(x.name for x in self.region_map.lesions)

    @property
    def model_masses(self) -> set[str]:
        """Regions and lesions whose mass is a row of the model."""
        return {r for r in self.region_map.mass_rows if r not in self.masses} | set(self.lesions)

    @property
    def administered(self) -> Any:
        """The activity given, (1,) MBq."""
        return self.base.tiac.administered

    def prepare_slopes(self) -> None:
        """Compute the slopes now: they are numbers, so they must not be made while something else is traced."""
        _ = self._slopes

    def rows(self, z: Any, linear: bool) -> dict[str, Any]:
        """The uncertain rows of the model (N,), in their own units."""
        return self.kinetics.values(z, linear)

    def hours(self, z: Any, linear: bool) -> Hours:
        """One solution for each column of z, with rows kept within their ranges; `linear`: the tangent."""
        n = z.shape[1]
        if linear:
            return self._tangent(z)
        if not len(z) or not np.asarray(z).any():
            return {k: {r: jnp.repeat(v, n) for r, v in hours.items()} for k, hours in self.base.tiac.hours.items()}
        values = {
            k: np.clip(np.asarray(v), *self.kinetics.ranges.get(k, (-np.inf, np.inf)))
            for k, v in self.rows(z, False).items()
        }
        return self._solve(values, n, forward=False)

    def _solve(self, values: Mapping[str, Any], n: int, forward: bool) -> Hours:
        typical = build_typical_patient(self.model)
        patients = Patients(np.arange(n), np.repeat(typical.values, n, axis=1), typical.covariates.iloc[[0] * n])
        times = self.simulation.time if self.model.system.nonlinear else self.simulation.time[-1:]
        simulation = simulate(
            *(self.model, self.regimen, times),
            patients=patients,
            observe=self.region_map.observed_amounts,
            values=values,
            integrate=True,
            forward=forward,
        )
        return tiac_from_simulation(simulation, self.phantom)[0].hours

    @cached_property
    def _slopes(self) -> Hours:
        """Slopes of the hours by the normals, (len(z),) by nuclide and region."""

        def solve_one(z: Any) -> Hours:
            hours = self._solve(self.rows(z[:, None], True), 1, forward=True)
            return {k: {r: v[0] for r, v in by_region.items()} for k, by_region in hours.items()}

        return jax.jit(jax.jacfwd(solve_one))(jnp.zeros(len(self.kinetics.origins)))

    def _tangent(self, z: Any) -> Hours:
        """The tangent of the hours at the usual kinetics."""
        base = self.base.tiac.hours
        if not len(z):
            return base
        slopes = self._slopes
        return {k: {r: v + slopes[k][r] @ z for r, v in by_region.items()} for k, by_region in base.items()}

    def dose(
        self, hours: Hours, rows: Mapping[str, Any], masses: Mapping[str, Any], factors: Mapping[str, Any]
    ) -> AbsorbedDose:
        """The doses of such hours in patients with such rows, whose masses those rows may be. `factors` change nothing: a
        model's lesions have masses of their own."""
        patients = _set_rows(self.model, self.simulation.patients, rows)
        simulation = replace(self.simulation, patients=patients)
        tiac = Tiac(self.base.nuclide, hours)
        return sum_partial_doses(tiac, simulation, self.region_map, self.phantom, masses, self.recoil)


def _set_rows(model: Model, patients: Patients, rows: Mapping[str, Any]) -> Patients:
    """The first patient with rows of the model, in their own units, in place, as often as those have values."""
    n = max((np.shape(v)[0] for v in rows.values()), default=1)
    p = jnp.broadcast_to(jnp.asarray(patients.values)[:, :1], (len(patients.values), n))
    for name, value in rows.items():
        row = model.parameters[name]
        p = p.at[model.system.parameter_index(name)].set(jnp.asarray(value) * units.unit_factor(row.unit))
    p = model.system.derive(p) if rows else p
    return Patients(np.arange(n), p, patients.covariates.iloc[[0] * n])  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class GivenActivities:
    """Time-integrated activities as they are given (an `ActivitySource`), with relative SDs by region.

    There are no dose rates, so `protraction` is None and there is no BED.
    """

    tiac: Tiac
    administered: Any
    phantom: Phantom
    relative_sds: Mapping[str, float]
    masses: Mapping[str, float]
    spheres: tuple[Lesion, ...]
    recoil: bool
    base: AbsorbedDose
    protraction: Mapping[str, float] | None = None

    @classmethod
    def read(
        cls, tiac: Tiac, activity: Any, phantom: Phantom, relative_sds: Any, masses: Any, lesions: Any, recoil: bool
    ) -> GivenActivities:
        """Check names and SDs. Raises `BadInput` where the activity given is not known."""
        if activity is None and tiac.administered is None:
            raise BadInput("the activity given is not known", hint="activity=…, in MBq")
        for name, value in relative_sds.items():
            if name not in tiac.regions:
                raise BadInput(f"no time-integrated activity of `{name}`", hint=did_you_mean(name, tiac.regions))
            check_relative_sd(name, value)
        base = sum_doses(tiac, phantom, masses, lesions, recoil=recoil)
        administered = tiac.administered if activity is None else jnp.asarray([activity])
        return cls(tiac, administered, phantom, relative_sds, masses, lesions, recoil, base)

    @property
    def lesions(self) -> tuple[str, ...]:
        """Names of the lesions."""
        return tuple(x.name for x in self.spheres)

    @property
    def model_masses(self) -> set[str]:
        """None: there is no model."""
        return set()

    @property
    def kinetics(self) -> UncertainKinetics:
        """The factors of the hours, log-normal about 1."""
        sds = ", ".join(f"{k} {v:.0%}" for k, v in self.relative_sds.items()) or "known exactly"
        about = f"time-integrated activities: {sds}"
        return UncertainKinetics((KINETICS,) * len(self.relative_sds), self.rows, {}, about)

    def prepare_slopes(self) -> None:
        """Nothing to prepare."""

    def rows(self, z: Any, linear: bool) -> dict[str, Any]:
        """The factor (N,) of each region's hours."""
        return {k: jnp.exp(log_sd(v) * z[i]) for i, (k, v) in enumerate(self.relative_sds.items())}

    def hours(self, z: Any, linear: bool) -> Hours:
        """The hours times their factors."""
        factors, n = self.rows(z, linear), z.shape[1]
        return {
            k: {r: jnp.broadcast_to(v * factors.get(r, 1.0), (n,)) for r, v in by_region.items()}
            for k, by_region in self.tiac.hours.items()
        }

    def dose(
        self, hours: Hours, rows: Mapping[str, Any], masses: Mapping[str, Any], factors: Mapping[str, Any]
    ) -> AbsorbedDose:
        """The doses of such hours, lesions' masses times `factors`."""
        lesions = tuple(replace(x, mass=x.mass * factors.get(x.name, 1.0)) for x in self.spheres)
        return sum_doses(Tiac(self.tiac.nuclide, hours), self.phantom, masses, lesions, recoil=self.recoil)
