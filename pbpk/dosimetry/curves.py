"""Dose rate and accumulated dose over time, also where masses change on the way; and the curve whose protraction is wanted.

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
from pbpk.dosimetry.region_map import OUTSIDE
from pbpk.dosimetry.target_doses import sum_partial_doses
from pbpk.dosimetry.tiac import Tiac, tiac_from_simulation
from pbpk.errors import BadInput
from pbpk.nuclides import load_nuclide
from pbpk.observe import name_amount

if TYPE_CHECKING:
    from pbpk.population.simulate import Simulation


@dataclass(frozen=True, eq=False)
class DoseCourse:
    """By radiation and target, (T, N): `rate` in Gy/h at each time, `dose` in Gy from the first dose to each time. `decay`
    1/h of the nuclide."""

    time: np.ndarray
    targets: tuple[str, ...]
    rate_by_radiation: Mapping[str, Mapping[str, jax.Array]]
    dose_by_radiation: Mapping[str, Mapping[str, jax.Array]]
    decay: float

    def rate(self, target: str) -> jax.Array:
        """Gy/h (T, N), all radiations."""
        return sum((v[target] for v in self.rate_by_radiation.values()), jnp.zeros(()))

    def dose(self, target: str) -> jax.Array:
        """Gy (T, N), all radiations."""
        return sum((v[target] for v in self.dose_by_radiation.values()), jnp.zeros(()))

    def sampled(self, target: str) -> Sampled:
        """The dose rate as a curve, which after the last time falls as it did before it, by physical decay at least."""
        rate = self.rate(target)
        there = (rate[-2] > 0) & (rate[-1] > 0)
        fall = jnp.log(jnp.where(there, rate[-2], 1.0) / jnp.where(there, rate[-1], 1.0))
        return Sampled(self.time, rate, jnp.maximum(fall / (self.time[-1] - self.time[-2]), self.decay))


def dose_over_time(
    path: Simulation,
    phantom: str = "adult-male",
    masses: Mapping[str, Any] | None = None,
    recoil: bool = False,
    targets: Sequence[str] | None = None,
) -> DoseCourse:
    """Of a simulation of `compartments(model)` with integrals. `masses` (g) by region: numbers, (N,), or (T, N) over time.
    `targets` alone where many patients' curves would not fit into memory.

    Daughters that decay where their parent does are taken to be in equilibrium with it.
    """
    body = check_phantom(phantom)
    whole, placement = tiac_from_simulation(path, body)
    if path.integral is None:
        raise BadInput("the simulation has no time-integrals", hint="integrate=True")
    times, n = len(path.time), len(path.patients)
    given = {k: _broadcast_mass(v, times, n, k) for k, v in (masses or {}).items()}
    ends = {k: 1 / v for k, v in given.items()}
    between = {k: 2 / (v + jnp.concatenate([v[:1], v[:-1]])) for k, v in ends.items()}
    system, p = path.model.system, jnp.asarray(path.patients.values)  # type: ignore[union-attr]

    def spread(of: Mapping[str, jax.Array], at: Mapping[str, Any]) -> Mapping[str, Mapping[str, jax.Array]]:
        hours = {}
        for nuclide, by_region in placement.compartments.items():
            factor = (
                p[system.parameter_index(placement.activity_rows[nuclide])]
                if nuclide in placement.activity_rows
                else 1.0
            )
            hours[nuclide] = {
                region: (sum(of[name_amount(c)] for c in names) * factor).reshape(-1)  # type: ignore[union-attr]
                for region, names in by_region.items()
                if region != OUTSIDE
            }
        tiac = Tiac(whole.nuclide, hours)
        flat = {k: v.reshape(-1) for k, v in at.items()}
        found = sum_partial_doses(tiac, path, placement, body, flat, recoil, repeat=times, only=targets)
        return {r: {t: v.reshape(times, n) * 1e-3 for t, v in of_r.items()} for r, of_r in found.by_radiation.items()}

    integral = path.integral
    steps = {c: jnp.diff(integral[c], axis=0, prepend=0.0) for c in placement.observed_amounts}
    rate = spread({c: path[c] for c in placement.observed_amounts}, given)
    dose = spread(steps, between)
    summed = {r: {t: jnp.cumsum(v, axis=0) for t, v in of.items()} for r, of in dose.items()}
    named = tuple(next(iter(rate.values())))
    return DoseCourse(path.time, named, rate, summed, load_nuclide(whole.nuclide).decay_constant)


def _broadcast_mass(value: Any, times: int, n: int, name: str) -> jax.Array:
    array = jnp.asarray(value, float)
    if array.ndim > 2 or (array.ndim == 2 and array.shape[0] != times):
        raise BadInput(f"the mass of {name} has the shape {array.shape}", hint=f"a number, ({n},) or ({times}, {n})")
    return jnp.broadcast_to(array, (times, n))
