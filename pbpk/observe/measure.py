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
from pbpk.observe.base import Measurement, SampledSimulation, SimulationLike
from pbpk.observe.decay import decay_correction
from pbpk.observe.declared import read_measurements
from pbpk.observe.noise import ExpectedSignal
from pbpk.regimen.times import read_hours


@dataclass(frozen=True, eq=False)
class SimulatedMeasurements:
    """What instruments would show, by name of the measurement: `time` (T,) in h, `expected`, `sd` and `value` (T, N) in `unit`.

    `sd` is None where no noise is declared; `value` is a draw where noise is declared and there is a `seed`, else the expected
    value. `patients` (N,) are their numbers. `notes` say what is assumed.
    """

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
        return pd.concat([self._tabulate_one(m) for m in self.measurements], ignore_index=True)

    def _tabulate_one(self, m: Measurement) -> pd.DataFrame:
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
    path: SimulationLike,
    measurements: Sequence[Measurement] | str | Path,
    *,
    seed: int | None = None,
    nuclide: str | Nuclide | None = None,
) -> SimulatedMeasurements:
    """What instruments would show of a simulation. `measurements`: objects, or the file that declares them.

    `nuclide` is the simulation's own, and needed where decay matters: for decay correction, voids, counts and dose rates; None
    for amounts that do not decay. With a `seed` values are drawn from the declared noise. Expected values and standard
    deviations are differentiable in the simulation and in the measurements' numbers; draws are not.

    Raises `BadInput` for a region that was not simulated, units that do not fit, and times that are not among the simulated.
    """
    requested = read_measurements(measurements) if isinstance(measurements, (str, Path)) else tuple(measurements)
    if not requested:
        raise BadInput("nothing to measure: no measurements are given")
    names = [m.name for m in requested]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice:
        raise BadInput(f"two measurements are called `{twice}`")
    known = load_nuclide(nuclide) if isinstance(nuclide, str) else nuclide
    time, expected, sd, value, unit = ({} for _ in range(5))
    notes: list[str] = []
    for m in requested:
        rows = find_measured_rows(m, np.asarray(path.time))
        sampled = SampledSimulation(path, rows, known, f"measurement `{m.name}`")
        unit[m.name], signal = _find_signal(m, sampled)
        notes += [f"{m.name}: {text}" for text in m.list_assumptions(sampled)]
        time[m.name], expected[m.name] = np.asarray(path.time)[rows], signal.expected
        sd[m.name] = None if m.noise is None else m.noise.sd(signal)
        drawn = m.noise is not None and seed is not None
        value[m.name] = m.noise.draw(signal, _make_keys(m, sampled, seed)) if drawn else signal.expected  # type: ignore[union-attr]
    return SimulatedMeasurements(
        requested, time, expected, sd, value, unit, np.asarray(path.patients.ids), seed, tuple(notes)
    )


def _find_signal(m: Measurement, sampled: SampledSimulation) -> tuple[str, ExpectedSignal]:
    """The shown unit, and what the error model acts on. Raises `BadInput`."""
    unit, per = m.find_scale(sampled)
    factor: Any = 1 / per
    if m.decay_corrected:
        factor = factor * decay_correction(_require_nuclide(sampled).decay_constant, sampled.hours, m.reference)
    return unit, ExpectedSignal(m.present_value(sampled), factor, m.natural_unit(sampled), sampled.nuclide)


def _require_nuclide(sampled: SampledSimulation) -> Nuclide:
    if sampled.nuclide is None:
        raise BadInput(
            "decay correction needs the nuclide",
            where=sampled.where,
            why="A simulation of something that does not decay is as if corrected already.",
            hint='nuclide="At-211"; or decay_corrected = false',
        )
    return sampled.nuclide


def find_measured_rows(m: Measurement, time: np.ndarray) -> np.ndarray:
    """Which of the simulated times (h) are measured. Raises `BadInput` where one of `at` is not among them."""
    if m.at is None:
        return np.arange(len(time))
    wanted = [read_hours(t, f"`at` of `{m.name}`") for t in m.at]
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


def _make_keys(m: Measurement, sampled: SampledSimulation, seed: int | None) -> jax.Array:
    """A key for each time and patient (T, N): a draw depends on these, the seed and the measurement's name alone."""
    tenths = np.round(sampled.simulation.time[sampled.rows] * 36000).astype(np.int64) % 2**32
    tag = np.uint32(zlib.crc32(b"measurement " + m.name.encode()))  # a parameter of that name has other draws
    return _fold_keys(seed, np.asarray(sampled.simulation.patients.ids), tag, tenths.astype(np.uint32))


@jax.jit
def _fold_keys(seed, patients, tag, ticks):
    def one(tick, patient):
        return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), patient), tag), tick)

    return jax.vmap(lambda tick: jax.vmap(lambda patient: one(tick, patient))(jnp.asarray(patients)))(ticks)
