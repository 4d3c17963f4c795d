"""The uncertainty of doses and of their effects, from a model's kinetics or from time-integrated activities.

Activities come from the engine, once a draw or by its derivatives; masses, S values and RBEs act on what it gives. In BED the
Lea–Catcheside factor is held at that of the usual kinetics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from pbpk import units
from pbpk.dosimetry.absorbed import Dose, absorbed_dose, sum_simulation_doses
from pbpk.dosimetry.effect.bed import rbe_bed
from pbpk.dosimetry.effect.rbe import rbe_weighted, split
from pbpk.dosimetry.effect.targets import find_biology
from pbpk.dosimetry.patient.course import compute_protractions, default_regimen, simulate_treatment
from pbpk.dosimetry.phantom.body import Phantom, check_phantom, load_regions
from pbpk.dosimetry.region_map import Lesion, RegionMap, read_region_map
from pbpk.dosimetry.svalues import BODY, LUNG_BLOOD, RADIATIONS, list_targets, s_values
from pbpk.dosimetry.tiac import Tiac, tiac_from_hours, tiac_from_simulation
from pbpk.dosimetry.uncertain import inputs
from pbpk.dosimetry.uncertain.inputs import KINETICS, MASS, MASS_SD, RBE, S_SD, S, UncertainKinetics, log_sd
from pbpk.dosimetry.uncertain.spread import DoseSpread, StandardNormals, propagate, run_montecarlo
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.load import Model
from pbpk.population.patients import Patients, build_typical_patient
from pbpk.population.simulate import Simulation, simulate

if TYPE_CHECKING:
    from pbpk.regimen.regimen import Regimen

UncertaintyMethod = Literal["propagate", "montecarlo"]
DOSE, WEIGHTED, BED = "absorbed_dose", "rbe_weighted_dose", "bed"
Hours = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class DoseUncertainty:
    """`spreads[quantity][target]`: absorbed_dose, rbe_weighted_dose and bed (with RBE), Gy. `lost`: draws without a number."""

    method: UncertaintyMethod
    level: float
    draws: int | None
    failed_draws: int
    spreads: Mapping[str, Mapping[str, DoseSpread]]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "level": self.level,
            "draws": self.draws,
            "lost": self.failed_draws,
            **{
                q: {
                    t: {
                        "value": s.value,
                        "mean": s.mean,
                        "sd": s.sd,
                        "interval": [s.low, s.high],
                        "unit": "Gy",
                        "share_of_variance": {o: s.share.get(o, 0.0) for o in inputs.ORIGINS},
                    }
                    for t, s in of.items()
                }
                for q, of in self.spreads.items()
            },
            "notes": list(self.notes),
        }


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
    mass_sd: Mapping[str, float] | float = MASS_SD,
    s_sd: Mapping[str, float] = S_SD,
    lesions: Sequence[Lesion] = (),
    recoil: bool = False,
    draws: int = 2000,
    seed: int = 1,
    level: float = 0.9,
) -> DoseUncertainty:
    """Doses of `of` with what is not known of them: mean, SD, interval, and the share of each origin.

    `of` is a model, given `regimen` (1 MBq by its first route) to its typical patient, or hours by region with a `nuclide` and
    the `activity` given in MBq, or a `Tiac`. `kinetics`: relative SDs by parameter of the model, on top of the spreads that its
    table states, or by region of the hours; or `Kinetics`, such as a fit's (`pbpk.run_folders.fitted_kinetics.fitted_kinetics`). `mass_sd`:
    relative SDs of masses, one for all or by region or lesion, others then that of `*`, or 20 %; a mass that is a row of the
    model is as uncertain as that row. `s_sd`: by radiation, the same error in all regions; our photon tables' statistics are
    added. RBEs have the distributions on file.

    Raises `BadInput` for a name that nothing has.
    """
    body = check_phantom(phantom)
    if method not in get_args(UncertaintyMethod):
        raise BadInput(f"no method `{method}`", hint="propagate or montecarlo")
    if method == "montecarlo" and draws < 2:
        raise BadInput(f"{draws} draws have no spread", hint="2000 is usual")
    given = dict(masses or {})
    if isinstance(of, Model):
        if lesions:
            raise BadInput("a model's lesions are its own", hint="choose them by its options, or give hours by region")
        source: _OfModel | _OfHours = _OfModel.of(of, regimen or default_regimen(of), body, kinetics, given, recoil)
    else:
        if isinstance(kinetics, UncertainKinetics):
            raise BadInput("parameters that are uncertain belong to a model", hint="relative SDs by region")
        tiac = of if isinstance(of, Tiac) else _hours(of, nuclide, body, lesions)
        source = _OfHours.of(tiac, activity, body, kinetics or {}, given, tuple(lesions), recoil)
    outcomes = _Outcomes(source, body, mass_sd, s_sd)
    if method == "propagate":
        source.ready()
        found, lost = propagate(outcomes, level), {}
    else:
        found, lost = run_montecarlo(outcomes, draws, seed, level)
    spreads: dict[str, dict[str, DoseSpread]] = {}
    for (quantity, target), spread in found.items():
        spreads.setdefault(quantity, {})[target] = spread
    order = [*list_targets(body), *(x for x in source.lesions)]
    ordered = {q: {t: v[t] for t in order if t in v} for q in (DOSE, WEIGHTED, BED) if (v := spreads.get(q))}
    drawn = draws if method == "montecarlo" else None
    return DoseUncertainty(method, level, drawn, max(lost.values(), default=0), ordered, outcomes.notes(method))


def _hours(of: Mapping[str, Any], nuclide: str | None, phantom: Phantom, lesions: Sequence[Lesion]) -> Tiac:
    if nuclide is None:
        raise BadInput("time-integrated activities need a nuclide", hint='nuclide="I-131"')
    return tiac_from_hours(of, nuclide, phantom, frozenset(x.name for x in lesions))


@dataclass(frozen=True, eq=False)
class _OfModel:
    """Hours by the engine. `base` and `protraction` are those of the usual kinetics."""

    model: Model
    regimen: Regimen
    phantom: Phantom
    placement: RegionMap
    kinetics: UncertainKinetics
    masses: Mapping[str, float]
    recoil: bool
    base: Dose
    path: Simulation
    protraction: Mapping[str, float] | None

    @classmethod
    def of(cls, model: Model, regimen: Regimen, phantom: Phantom, kinetics: Any, masses: Any, recoil: bool) -> _OfModel:
        placement = read_region_map(model, phantom)
        own = {row for region, row in placement.mass_rows.items() if region not in masses}
        held = own | {str(x.mass) for x in placement.lesions}
        known = (
            kinetics if isinstance(kinetics, UncertainKinetics) else inputs.kinetics_from_table(model, held, kinetics)
        )
        still = np.zeros((len(known.origins), 1))
        who = _moved(model, build_typical_patient(model), known.values(still, False))
        path, base, course = simulate_treatment(model, regimen, phantom, masses=masses, recoil=recoil, patients=who)
        assert course is not None
        lesions = tuple(x.name for x in placement.lesions)
        hit = [t for t in base.targets if t != BODY and float(base[t][0]) > 0]
        slow = compute_protractions(course, {t: find_biology(t, lesions)["t_repair"] for t in hit})
        slow = {t: float(g[0]) for t, g in slow.items()}
        return cls(model, regimen, phantom, placement, known, masses, recoil, base, path, slow)

    @property
    def lesions(self) -> tuple[str, ...]:
        return tuple(x.name for x in self.placement.lesions)

    @property
    def held(self) -> set[str]:
        """Regions and lesions whose mass is a row of the model."""
        return {r for r in self.placement.mass_rows if r not in self.masses} | set(self.lesions)

    def ready(self) -> None:
        """Slopes are numbers, so they must not be made while something else is traced."""
        _ = self._slopes

    @property
    def given(self) -> Any:
        return self.base.tiac.administered

    def rows(self, z: Any, linear: bool) -> dict[str, Any]:
        return self.kinetics.values(z, linear)

    def hours(self, z: Any, linear: bool) -> Hours:
        n = z.shape[1]
        if linear:
            return self._line(z)
        if not len(z) or not np.asarray(z).any():
            return {k: {r: jnp.repeat(v, n) for r, v in of.items()} for k, of in self.base.tiac.hours.items()}
        values = {
            k: np.clip(np.asarray(v), *self.kinetics.ranges.get(k, (-np.inf, np.inf)))
            for k, v in self.rows(z, False).items()
        }
        return self._solve(values, n, forward=False)

    def _solve(self, values: Mapping[str, Any], n: int, forward: bool) -> Hours:
        one = build_typical_patient(self.model)
        who = Patients(np.arange(n), np.repeat(one.values, n, axis=1), one.covariates.iloc[[0] * n])
        path = simulate(
            *(self.model, self.regimen, self.path.time if self.model.system.nonlinear else self.path.time[-1:]),
            patients=who,
            observe=self.placement.observed_amounts,
            values=values,
            integrate=True,
            forward=forward,
        )
        return tiac_from_simulation(path, self.phantom)[0].hours

    @cached_property
    def _slopes(self) -> Hours:
        def one(z: Any) -> Hours:
            found = self._solve(self.rows(z[:, None], True), 1, forward=True)
            return {k: {r: v[0] for r, v in of.items()} for k, of in found.items()}

        return jax.jit(jax.jacfwd(one))(jnp.zeros(len(self.kinetics.origins)))

    def _line(self, z: Any) -> Hours:
        """The tangent of the hours at the usual kinetics."""
        base = self.base.tiac.hours
        if not len(z):
            return base
        slopes = self._slopes
        return {k: {r: v + slopes[k][r] @ z for r, v in of.items()} for k, of in base.items()}

    def dose(self, hours: Hours, rows: Mapping[str, Any], masses: Mapping[str, Any], lesions: Any) -> Dose:
        who = _moved(self.model, self.path.patients, rows)
        path = replace(self.path, patients=who)
        return sum_simulation_doses(
            Tiac(self.base.nuclide, hours), path, self.placement, self.phantom, masses, self.recoil
        )


def _moved(model: Model, who: Patients, rows: Mapping[str, Any]) -> Patients:
    """Patients with rows of the model, in their own units, in place, as many as those are."""
    n = max((np.shape(v)[0] for v in rows.values()), default=1)
    p = jnp.broadcast_to(jnp.asarray(who.values)[:, :1], (len(who.values), n))
    for name, value in rows.items():
        row = model.parameters[name]
        p = p.at[model.system.parameter_index(name)].set(jnp.asarray(value) * units.unit_factor(row.unit))
    p = model.system.derive(p) if rows else p
    return Patients(np.arange(n), p, who.covariates.iloc[[0] * n])  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class _OfHours:
    """Hours as they are given."""

    tiac: Tiac
    given: Any
    phantom: Phantom
    relative: Mapping[str, float]
    masses: Mapping[str, float]
    bodies: tuple[Lesion, ...]
    recoil: bool
    base: Dose
    protraction: Mapping[str, float] | None = None

    @classmethod
    def of(
        cls, tiac: Tiac, activity: Any, phantom: Phantom, relative: Any, masses: Any, lesions: Any, recoil: bool
    ) -> _OfHours:
        if activity is None and tiac.administered is None:
            raise BadInput("the activity given is not known", hint="activity=…, in MBq")
        for name, value in relative.items():
            if name not in tiac.regions:
                raise BadInput(f"no time-integrated activity of `{name}`", hint=did_you_mean(name, tiac.regions))
            inputs.check_relative_sd(name, value)
        base = absorbed_dose(tiac, phantom=phantom, masses=masses, lesions=lesions, recoil=recoil)
        given = tiac.administered if activity is None else jnp.asarray([activity])
        return cls(tiac, given, phantom, relative, masses, lesions, recoil, base)

    def ready(self) -> None:
        """Nothing to prepare."""

    @property
    def lesions(self) -> tuple[str, ...]:
        return tuple(x.name for x in self.bodies)

    @property
    def held(self) -> set[str]:
        return set()

    @property
    def kinetics(self) -> UncertainKinetics:
        told = ", ".join(f"{k} {v:.0%}" for k, v in self.relative.items()) or "known exactly"
        return UncertainKinetics((KINETICS,) * len(self.relative), self.rows, {}, f"time-integrated activities: {told}")

    def rows(self, z: Any, linear: bool) -> dict[str, Any]:
        return {k: jnp.exp(log_sd(v) * z[i]) for i, (k, v) in enumerate(self.relative.items())}

    def hours(self, z: Any, linear: bool) -> Hours:
        factor, n = self.rows(z, linear), z.shape[1]
        return {
            k: {r: jnp.broadcast_to(v * factor.get(r, 1.0), (n,)) for r, v in of.items()}
            for k, of in self.tiac.hours.items()
        }

    def dose(self, hours: Hours, rows: Mapping[str, Any], masses: Mapping[str, Any], lesions: Any) -> Dose:
        bodies = tuple(replace(x, mass=x.mass * lesions.get(x.name, 1.0)) for x in self.bodies)
        tiac = Tiac(self.tiac.nuclide, hours)
        return absorbed_dose(tiac, phantom=self.phantom, masses=masses, lesions=bodies, recoil=self.recoil)


class _Outcomes:
    """Doses and effects by target, of normals for rows, masses, S by radiation, S's photon statistics and RBE."""

    def __init__(
        self,
        source: _OfModel | _OfHours,
        phantom: Phantom,
        mass_sd: Mapping[str, float] | float,
        s_sd: Mapping[str, float],
    ) -> None:
        self.source = source
        self.mass = _mass_sds(source, phantom, mass_sd)
        self.reference = {
            k: source.masses.get(k, load_regions(phantom)[k].mass) for k in self.mass if k in load_regions(phantom)
        }
        for r in s_sd:
            if r not in RADIATIONS:
                raise BadInput(f"S values have no radiation `{r}`", hint="alpha, electron, photon")
        self.s = {r: inputs.check_relative_sd(f"S of {r}s", s_sd.get(r, S_SD[r])) for r in RADIATIONS}
        self.targets = [t for t in source.base.targets if float(source.base[t][0]) > 0]
        self.judged = [t for t in self.targets if t != BODY]
        self.origins: Mapping[str, tuple[str, ...]] = {
            "rows": source.kinetics.origins,
            "masses": (MASS,) * len(self.mass),
            "s": (S,) * len(RADIATIONS),
            "statistics": (S,) * len(self.targets),
            "rbe": (RBE,) * len(self.judged),
        }
        self._effects = jax.jit(self._of_hours, static_argnames="linear")

    def __call__(self, z: StandardNormals, linear: bool) -> dict[tuple[str, str], Any]:
        hours = self.source.hours(z["rows"], linear)
        found = self._effects(hours, z, linear=linear)
        if linear:
            return found
        outside = jnp.zeros(z["rows"].shape[1], bool)
        rows = self.source.rows(z["rows"], linear)
        for name, (low, high) in self.source.kinetics.ranges.items():
            outside = outside | (rows[name] < low) | (rows[name] > high)
        return {k: jnp.where(outside, jnp.nan, v) for k, v in found.items()}

    def _of_hours(self, hours: Hours, z: StandardNormals, linear: bool) -> dict[tuple[str, str], Any]:
        source = self.source
        rows = source.rows(z["rows"], linear)
        factor = {k: jnp.exp(log_sd(v) * z["masses"][i]) for i, (k, v) in enumerate(self.mass.items())}
        masses = {k: v * factor[k] for k, v in self.reference.items()}
        dose = source.dose(hours, rows, {**source.masses, **masses}, factor)
        given = jnp.asarray(source.given) * 1e-3
        scale = {r: jnp.exp(log_sd(self.s[r]) * z["s"][i]) * given for i, r in enumerate(RADIATIONS)}
        found = {}
        for i, t in enumerate(self.targets):
            parts = {r: {t: dose.by_radiation[r][t] * scale[r]} for r in RADIATIONS}
            alpha, low = split(parts, t)
            low = low + source.base.error.get(t, 0.0) * (source.base[t][0] * given) * z["statistics"][i]
            found[DOSE, t] = alpha + low
            if t in self.judged:
                known = find_biology(t, source.lesions)
                rbe = inputs.rbe_at(known.rbe, z["rbe"][self.judged.index(t)], linear)
                found[WEIGHTED, t] = rbe_weighted(alpha, low, rbe)
                if source.protraction is not None:
                    found[BED, t] = rbe_bed(alpha, low, rbe, known["alpha_beta"], source.protraction[t])
        return found

    def notes(self, method: UncertaintyMethod) -> tuple[str, ...]:
        each = sorted({*self.mass.values()}) or [0.0]
        sds = " to ".join(f"{v:.0%}" for v in dict.fromkeys((each[0], each[-1])))
        s = ", ".join(f"{r}s {v:.0%}" for r, v in self.s.items())
        how = (
            "first order on the logarithm; intervals are those of a log-normal"
            if method == "propagate"
            else "Monte Carlo; shares are those of one origin at a time"
        )
        return (
            how,
            f"kinetics: {self.source.kinetics.about}",
            f"masses: relative SD {sds} (assumed unless given), but those that are rows of the model",
            f"S: {s} (assumed unless given), and the statistics of our photons",
            "RBE: the distributions on file, whose median is in `value`; G, α/β and repair as usual, without uncertainty",
        )


def _mass_sds(source: _OfModel | _OfHours, phantom: Phantom, given: Mapping[str, float] | float) -> dict[str, float]:
    """By region and lesion: all that a dose may be diluted in, but what is a row of the model."""
    table, known = s_values(source.base.nuclide, phantom), load_regions(phantom)
    named = {"lungs" if n == LUNG_BLOOD else n for n, m in zip(table.sources, table.mass, strict=True) if m > 0}
    used = [n for n in known if n in named and (n in source.base.targets or n in source.base.tiac.regions)]
    names = [n for n in (*used, *source.lesions) if n not in source.held]
    if isinstance(given, Mapping):
        for n in given:
            if n not in names and n != "*":
                why = "Its mass is a row of the model." if n in source.held else ""
                raise BadInput(f"no mass of `{n}` to be uncertain", why=why, hint=did_you_mean(n, names))
    each = {n: given.get(n, given.get("*", MASS_SD)) if isinstance(given, Mapping) else given for n in names}
    return {n: v for n, v in each.items() if inputs.check_relative_sd(f"the mass of {n}", v) > 0}
