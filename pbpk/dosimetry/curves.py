"""Dose rate and accumulated dose over time, also where masses change during the course; and the curve that protraction needs.

Activity is exact: each interval's decays are the difference of the simulation's integrals. The mass within an interval is taken
as the mean of m_ref/m at its ends, so the error goes with the square of the interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.effect.sampled import Sampled
from pbpk.dosimetry.phantom.body import check_phantom
from pbpk.dosimetry.target_doses import sum_partial_doses
from pbpk.dosimetry.tiac import Tiac, sum_regions, tiac_from_simulation
from pbpk.errors import BadInput
from pbpk.nuclides import load_nuclide

if TYPE_CHECKING:
    from pbpk.population.simulate import Simulation


@dataclass(frozen=True, eq=False)
class DoseCourse:
    """What `dose_over_time` gives, by radiation and target, (T, N).

    `time` h; `rate_by_radiation` Gy/h at each time; `dose_by_radiation` Gy from the first dose to each time; `decay` 1/h of
    the nuclide.
    """

    time: np.ndarray
    targets: tuple[str, ...]
    rate_by_radiation: Mapping[str, Mapping[str, jax.Array]]
    dose_by_radiation: Mapping[str, Mapping[str, jax.Array]]
    decay: float

    def rate(self, target: str) -> jax.Array:
        """Dose rate of all radiations, Gy/h (T, N)."""
        return sum((v[target] for v in self.rate_by_radiation.values()), jnp.zeros(()))

    def dose(self, target: str) -> jax.Array:
        """Accumulated dose of all radiations, Gy (T, N)."""
        return sum((v[target] for v in self.dose_by_radiation.values()), jnp.zeros(()))

    def sampled(self, target: str) -> Sampled:
        """The dose rate as a curve, which after the last time falls as it did before it, by physical decay at least."""
        rate = self.rate(target)
        positive = (rate[-2] > 0) & (rate[-1] > 0)
        fall = jnp.log(jnp.where(positive, rate[-2], 1.0) / jnp.where(positive, rate[-1], 1.0))
        return Sampled(self.time, rate, jnp.maximum(fall / (self.time[-1] - self.time[-2]), self.decay))


def dose_over_time(
    path: Simulation,
    phantom: str = "adult-male",
    masses: Mapping[str, Any] | None = None,
    recoil: bool = False,
    targets: Sequence[str] | None = None,
) -> DoseCourse:
    """Dose rates and accumulated doses of a simulation of `compartments(model)` with integrals.

    `masses` (g) by region: numbers, (N,), or (T, N) over time. `targets` alone where many patients' curves would not fit into
    memory. Daughters that decay where their parent does are taken to be in equilibrium with it.
    """
    body = check_phantom(phantom)
    tiac, region_map = tiac_from_simulation(path, body)
    integral = path.integral
    assert integral is not None  # else there were no time-integrated activities
    times, n = len(path.time), len(path.patients)
    masses_at = {k: _broadcast_mass(v, times, n, k) for k, v in (masses or {}).items()}
    inverse = {k: 1 / v for k, v in masses_at.items()}
    masses_between = {k: 2 / (v + jnp.concatenate([v[:1], v[:-1]])) for k, v in inverse.items()}

    def sum_at_times(amounts: Mapping[str, jax.Array], grams: Mapping[str, Any]) -> dict[str, dict[str, jax.Array]]:
        """Gy by radiation and target, (T, N): to the sum, each time of each patient is a patient of its own."""
        sums = sum_regions(path, region_map, lambda nuclide, name: amounts[name])
        flat_hours = {k: {r: v.reshape(-1) for r, v in by_region.items()} for k, by_region in sums.items()}
        flat_grams = {k: v.reshape(-1) for k, v in grams.items()}
        doses = sum_partial_doses(
            *(Tiac(tiac.nuclide, flat_hours), path, region_map, body, flat_grams, recoil), repeat=times, only=targets
        )
        return {r: {t: v.reshape(times, n) * 1e-3 for t, v in parts.items()} for r, parts in doses.by_radiation.items()}

    steps = {c: jnp.diff(integral[c], axis=0, prepend=0.0) for c in region_map.observed_amounts}
    rates = sum_at_times({c: path[c] for c in region_map.observed_amounts}, masses_at)
    doses = sum_at_times(steps, masses_between)
    summed = {r: {t: jnp.cumsum(v, axis=0) for t, v in parts.items()} for r, parts in doses.items()}
    names = tuple(next(iter(rates.values())))
    return DoseCourse(path.time, names, rates, summed, load_nuclide(tiac.nuclide).decay_constant)


def stack_dose_rates(course: DoseCourse, targets: Sequence[str]) -> Sampled:
    """The dose rates of several targets in one curve, (T, targets, N)."""
    curves = [course.sampled(t) for t in targets]
    rate, tail = (jnp.stack([jnp.asarray(getattr(c, k)) for c in curves], axis=-2) for k in ("rate", "tail"))
    return Sampled(course.time, rate, tail)


def compute_protractions(course: DoseCourse, t_repair: Mapping[str, float]) -> dict[str, np.ndarray]:
    """G (N,) of each target from its own dose rate, for its half-time of repair (h)."""
    half_times = np.array([*t_repair.values()])[:, None]
    protraction = np.asarray(stack_dose_rates(course, [*t_repair]).protraction(half_times))
    return dict(zip(t_repair, protraction, strict=True))


def _broadcast_mass(value: Any, times: int, n: int, name: str) -> jax.Array:
    """A mass at each time and patient, (T, N) g."""
    array = jnp.asarray(value, float)
    if array.ndim > 2 or (array.ndim == 2 and array.shape[0] != times):
        raise BadInput(f"the mass of {name} has the shape {array.shape}", hint=f"a number, ({n},) or ({times}, {n})")
    return jnp.broadcast_to(array, (times, n))
