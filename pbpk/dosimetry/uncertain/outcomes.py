"""Doses and effects as functions of standard normals: the outcomes that are propagated or drawn.

Whoever supplies the activities (`ActivitySource`: a model, or hours as they are given) turns the normals of kinetics into
hours; masses, S values and RBEs act on those here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp

from pbpk.dosimetry.effect.bed import rbe_bed
from pbpk.dosimetry.effect.rbe import rbe_weighted, split
from pbpk.dosimetry.effect.targets import find_biology
from pbpk.dosimetry.phantom.body import load_regions
from pbpk.dosimetry.svalues import BODY, LUNG_BLOOD, RADIATIONS, s_values
from pbpk.dosimetry.uncertain.inputs import MASS, MASS_SD, RBE, S_SD, S, check_relative_sd, log_sd, rbe_at
from pbpk.dosimetry.uncertain.result import BED, DOSE, WEIGHTED
from pbpk.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    from pbpk.dosimetry.phantom.body import Phantom
    from pbpk.dosimetry.target_doses import AbsorbedDose
    from pbpk.dosimetry.uncertain.inputs import UncertainKinetics
    from pbpk.dosimetry.uncertain.result import UncertaintyMethod
    from pbpk.dosimetry.uncertain.spread import StandardNormals

Hours = Mapping[str, Mapping[str, Any]]  # by nuclide and region, (N,)


class ActivitySource(Protocol):
    """Where time-integrated activities come from, as functions of the normals z (len(kinetics.origins), N) of the kinetics."""

    @property
    def kinetics(self) -> UncertainKinetics:
        """What is not known of the activities."""
        ...

    @property
    def base(self) -> AbsorbedDose:
        """The doses with everything as usual."""
        ...

    @property
    def administered(self) -> Any:
        """The activity given, (1,) MBq."""
        ...

    @property
    def masses(self) -> Mapping[str, float]:
        """Masses (g) that are given, by region."""
        ...

    @property
    def lesions(self) -> tuple[str, ...]:
        """Names of the lesions."""
        ...

    @property
    def model_masses(self) -> Collection[str]:
        """Regions and lesions whose mass is a row of the model, and as uncertain as that row."""
        ...

    @property
    def protraction(self) -> Mapping[str, float] | None:
        """G by target; None where no dose rates are known, so that there is no BED."""
        ...

    def rows(self, z: Any, linear: bool) -> dict[str, Any]:
        """The uncertain rows (N,)."""
        ...

    def hours(self, z: Any, linear: bool) -> Hours:
        """The time-integrated activities; `linear`: their tangent at the usual kinetics."""
        ...

    def dose(
        self, hours: Hours, rows: Mapping[str, Any], masses: Mapping[str, Any], factors: Mapping[str, Any]
    ) -> AbsorbedDose:
        """The doses of such hours, with `masses` (g) by region, and those of lesions times `factors`."""
        ...


class DoseOutcomes:
    """Doses and effects by target, of normals for rows, masses, S by radiation, S's photon statistics and RBE.

    `mass_sd` and `s_sd` are relative SDs as in `dose_uncertainty`. `origins` has for each group its normals' origins: the
    groups' names seed their random numbers (spread.py).
    """

    def __init__(
        self,
        source: ActivitySource,
        phantom: Phantom,
        mass_sd: Mapping[str, float] | float,
        s_sd: Mapping[str, float],
    ) -> None:
        known = load_regions(phantom)
        self.source = source
        self.mass_sds = _list_mass_sds(source, phantom, mass_sd)
        self.reference_masses = {k: source.masses.get(k, known[k].mass) for k in self.mass_sds if k in known}
        for r in s_sd:
            if r not in RADIATIONS:
                raise BadInput(f"S values have no radiation `{r}`", hint="alpha, electron, photon")
        self.s_sds = {r: check_relative_sd(f"S of {r}s", s_sd.get(r, S_SD[r])) for r in RADIATIONS}
        self.targets = [t for t in source.base.targets if float(source.base[t][0]) > 0]
        self.tissues = [t for t in self.targets if t != BODY]  # what has a radiobiology
        self.origins: Mapping[str, tuple[str, ...]] = {
            "rows": source.kinetics.origins,
            "masses": (MASS,) * len(self.mass_sds),
            "s": (S,) * len(RADIATIONS),
            "statistics": (S,) * len(self.targets),
            "rbe": (RBE,) * len(self.tissues),
        }
        self._effects = jax.jit(self._compute_effects, static_argnames="linear")

    def __call__(self, z: StandardNormals, linear: bool) -> dict[tuple[str, str], Any]:
        """By (quantity, target), Gy (N,); NaN where a row of the model leaves the range it can have at all."""
        hours = self.source.hours(z["rows"], linear)
        outcomes = self._effects(hours, z, linear=linear)
        if linear:
            return outcomes
        outside = jnp.zeros(z["rows"].shape[1], bool)
        rows = self.source.rows(z["rows"], linear)
        for name, (low, high) in self.source.kinetics.ranges.items():
            outside = outside | (rows[name] < low) | (rows[name] > high)
        return {k: jnp.where(outside, jnp.nan, v) for k, v in outcomes.items()}

    def _compute_effects(self, hours: Hours, z: StandardNormals, linear: bool) -> dict[tuple[str, str], Any]:
        source = self.source
        rows = source.rows(z["rows"], linear)
        factors = {k: jnp.exp(log_sd(v) * z["masses"][i]) for i, (k, v) in enumerate(self.mass_sds.items())}
        masses = {k: v * factors[k] for k, v in self.reference_masses.items()}
        dose = source.dose(hours, rows, {**source.masses, **masses}, factors)
        gray = jnp.asarray(source.administered) * 1e-3
        scale = {r: jnp.exp(log_sd(self.s_sds[r]) * z["s"][i]) * gray for i, r in enumerate(RADIATIONS)}
        outcomes = {}
        for i, t in enumerate(self.targets):
            parts = {r: {t: dose.by_radiation[r][t] * scale[r]} for r in RADIATIONS}
            alpha, low = split(parts, t)
            low = low + source.base.error.get(t, 0.0) * (source.base[t][0] * gray) * z["statistics"][i]
            outcomes[DOSE, t] = alpha + low
            if t in self.tissues:
                biology = find_biology(t, source.lesions)
                rbe = rbe_at(biology.rbe, z["rbe"][self.tissues.index(t)], linear)
                outcomes[WEIGHTED, t] = rbe_weighted(alpha, low, rbe)
                if source.protraction is not None:
                    outcomes[BED, t] = rbe_bed(alpha, low, rbe, biology["alpha_beta"], source.protraction[t])
        return outcomes

    def notes(self, method: UncertaintyMethod) -> tuple[str, ...]:
        """In words, what was done and what is assumed."""
        sds = sorted({*self.mass_sds.values()}) or [0.0]
        mass_sds = " to ".join(f"{v:.0%}" for v in dict.fromkeys((sds[0], sds[-1])))
        s_sds = ", ".join(f"{r}s {v:.0%}" for r, v in self.s_sds.items())
        how = (
            "first order on the logarithm; intervals are those of a log-normal"
            if method == "propagate"
            else "Monte Carlo; shares are those of one origin at a time"
        )
        return (
            how,
            f"kinetics: {self.source.kinetics.about}",
            f"masses: relative SD {mass_sds} (assumed unless given), but those that are rows of the model",
            f"S: {s_sds} (assumed unless given), and the statistics of our photons",
            "RBE: the distributions on file, whose median is in `value`; G, α/β and repair as usual, without uncertainty",
        )


def _list_mass_sds(source: ActivitySource, phantom: Phantom, mass_sd: Mapping[str, float] | float) -> dict[str, float]:
    """Relative SDs by region and lesion: of all masses that a dose may be diluted in, but those that are rows of the model."""
    table, known = s_values(source.base.nuclide, phantom), load_regions(phantom)
    diluting = {"lungs" if n == LUNG_BLOOD else n for n, m in zip(table.sources, table.mass, strict=True) if m > 0}
    used = [n for n in known if n in diluting and (n in source.base.targets or n in source.base.tiac.regions)]
    names = [n for n in (*used, *source.lesions) if n not in source.model_masses]
    if isinstance(mass_sd, Mapping):
        for n in mass_sd:
            if n not in names and n != "*":
                why = "Its mass is a row of the model." if n in source.model_masses else ""
                raise BadInput(f"no mass of `{n}` to be uncertain", why=why, hint=did_you_mean(n, names))
        sds = {n: mass_sd.get(n, mass_sd.get("*", MASS_SD)) for n in names}
    else:
        sds = dict.fromkeys(names, mass_sd)
    return {n: v for n, v in sds.items() if check_relative_sd(f"the mass of {n}", v) > 0}
