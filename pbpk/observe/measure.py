"""Measurements of a simulation: expected values, their standard deviations, and draws.

Randomness is counter-based: a draw's key is folded from the seed, the patient, the measurement's name and the time (to a
tenth of a second). So it does not depend on which other patients, measurements or times there are.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk.errors import BadInput
from pbpk.nuclides import Nuclide, load_nuclide
from pbpk.observe.base import Measurement, Seen, Simulated
from pbpk.observe.decay import correction
from pbpk.observe.declared import read_measurements
from pbpk.observe.noise import Shown
from pbpk.regimen.dose import hours


@dataclass(frozen=True, eq=False)
class Measured:
    """By name of the measurement: `time` (T,) in h, `expected`, `sd` and `value` (T, N) in `unit`. `sd` is None where no
    noise is declared; `value` is a draw where one is and a seed was given, else the expected value. `notes` say what is
    assumed."""

    measurements: tuple[Measurement, ...]
    time: dict[str, np.ndarray]
    expected: dict[str, jax.Array]
    sd: dict[str, jax.Array | None]
    value: dict[str, jax.Array]
    unit: dict[str, str]
    patients: np.ndarray
    seed: int | None
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> jax.Array:
        return self.value[name]

    def frame(self) -> pd.DataFrame:
        """A tidy table: one line per patient, measurement and time (h)."""
        return pd.concat([self._part(m) for m in self.measurements], ignore_index=True)

    def _part(self, m: Measurement) -> pd.DataFrame:
        times, n = self.time[m.name], len(self.patients)

        def column(values: Any) -> np.ndarray:
            return np.broadcast_to(np.asarray(values), (len(times), n)).T.ravel()

        sd = self.sd[m.name]
        return pd.DataFrame(
            {
                "patient": np.repeat(self.patients, len(times)),
                "measurement": m.name,
                "time_h": np.tile(times, n),
                "value": column(self.value[m.name]),
                "expected": column(self.expected[m.name]),
                "sd": column(np.nan if sd is None else sd),
                "unit": self.unit[m.name],
                "decay_corrected": m.decay_corrected,
                "reference_h": np.nan if m.reference is None else m.reference,
            }
        )


def measure(
    path: Simulated,
    measurements: Sequence[Measurement] | str | Path,
    *,
    seed: int | None = None,
    nuclide: str | Nuclide | None = None,
) -> Measured:
    """What instruments would show of a simulation. `measurements`: objects, or the file that declares them.

    `nuclide` is the simulation's own, and needed where decay matters: for decay correction, voids, counts and dose rates; None
    for amounts that do not decay. With a `seed` values are drawn from the declared noise. Expected values and standard
    deviations are differentiable in the simulation and in the measurements' numbers; draws are not.

    Raises `BadInput` for a region that was not simulated, units that do not fit, and times that are not among the simulated.
    """
    asked = read_measurements(measurements) if isinstance(measurements, (str, Path)) else tuple(measurements)
    if not asked:
        raise BadInput("nothing to measure: no measurements are given")
    names = [m.name for m in asked]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice:
        raise BadInput(f"two measurements are called `{twice}`")
    known = load_nuclide(nuclide) if isinstance(nuclide, str) else nuclide
    time, expected, sd, value, unit = ({} for _ in range(5))
    notes: list[str] = []
    for m in asked:
        rows = measured_rows(m, np.asarray(path.time))
        seen = Seen(path, rows, known, f"measurement `{m.name}`")
        unit[m.name], shown = _shown(m, seen)
        notes += [f"{m.name}: {text}" for text in m.assumed(seen)]
        time[m.name], expected[m.name] = np.asarray(path.time)[rows], shown.expected
        sd[m.name] = None if m.noise is None else m.noise.sd(shown)
        drawn = m.noise is not None and seed is not None
        value[m.name] = m.noise.draw(shown, _keys(m, seen, seed)) if drawn else shown.expected  # type: ignore[union-attr]
    return Measured(asked, time, expected, sd, value, unit, np.asarray(path.patients.ids), seed, tuple(notes))


def _shown(m: Measurement, seen: Seen) -> tuple[str, Shown]:
    unit, per = m.scale(seen)
    factor: Any = 1 / per
    if m.decay_corrected:
        factor = factor * correction(_nuclide(seen).decay_constant, seen.hours, m.reference)
    return unit, Shown(m.present(seen), factor, m.natural(seen), seen.nuclide)


def _nuclide(seen: Seen) -> Nuclide:
    if seen.nuclide is None:
        raise BadInput(
            "decay correction needs the nuclide",
            where=seen.where,
            why="A simulation of something that does not decay is as if corrected already.",
            hint='nuclide="At-211"; or decay_corrected = false',
        )
    return seen.nuclide


def measured_rows(m: Measurement, time: np.ndarray) -> np.ndarray:
    """Which of the simulated times (h) are measured. Raises `BadInput` where one of `at` is not among them."""
    if m.at is None:
        return np.arange(len(time))
    wanted = [hours(t, f"`at` of `{m.name}`") for t in m.at]
    if not wanted:
        raise BadInput("`at` is empty, so that nothing is measured", where=f"measurement `{m.name}`")
    rows = []
    for t in wanted:
        near = np.flatnonzero(np.abs(time - t) <= 1e-9 * max(1.0, t))
        if not len(near):
            raise BadInput(
                f"{t:g} h is not among the simulated times",
                where=f"measurement `{m.name}`",
                hint=f"simulate that time too, or leave it out of `at` ({len(time)} times from {time[0]:g} to {time[-1]:g} h)",
            )
        rows.append(near[-1])
    if sorted(wanted) != wanted:
        raise BadInput("`at` goes back in time", where=f"measurement `{m.name}`")
    return np.array(rows)


def _keys(m: Measurement, seen: Seen, seed: int | None) -> jax.Array:
    """A key for each time and patient (T, N)."""
    tenths = np.round(seen.path.time[seen.rows] * 36000).astype(np.int64) % 2**32
    tag = np.uint32(zlib.crc32(b"measurement " + m.name.encode()))  # a parameter of that name has other draws
    return _fold(seed, np.asarray(seen.path.patients.ids), tag, tenths.astype(np.uint32))


@jax.jit
def _fold(seed, patients, tag, ticks):
    def one(tick, patient):
        return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), patient), tag), tick)

    return jax.vmap(lambda tick: jax.vmap(lambda patient: one(tick, patient))(jnp.asarray(patients)))(ticks)
