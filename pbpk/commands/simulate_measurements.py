"""What `pbpk simulate --measure` adds: which observables it needs, and its measurements as JSON, text and files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbpk.commands.simulate_request import SimulationRequest
    from pbpk.model.load import Model
    from pbpk.observe.base import Measurement
    from pbpk.observe.measure import SimulatedMeasurements
    from pbpk.population.simulate import Simulation as Simulated
    from pbpk.report.simulation_files import SolvedScenario
    from pbpk.run_folders.claim import OutputFolder


def read_plan(
    file: Path | None, model: Model, wanted: Sequence[str] | None, times: np.ndarray
) -> tuple[tuple[Measurement, ...], list[str] | None]:
    """The measurements declared in `file`, and the observables to simulate for them and for the user."""
    from pbpk.observe.declared import read_measurements
    from pbpk.observe.measure import find_measured_rows
    from pbpk.observe.readings import select_observables

    if file is None:
        return (), list(wanted) if wanted else None
    measurements = read_measurements(file)
    names = select_observables(model.system, wanted)
    for m in measurements:
        find_measured_rows(m, times)  # before any time is spent on solving
        names += [n for n in select_observables(model.system, m.regions) if n not in names]
    return measurements, names


def take_measurements(
    solved: SolvedScenario, measurements: Sequence[Measurement], request: SimulationRequest
) -> tuple[SimulatedMeasurements, list[SolvedScenario]]:
    """Measure a simulation; also gives the simulation without the observables that only the measurements needed."""
    from pbpk.nuclides import load_nuclide
    from pbpk.observe.measure import measure

    model, nuclide = solved.model, None
    if model.nuclide:
        rate = model.parameters["decay.k"].internal  # which --set may have changed
        nuclide = dataclasses.replace(load_nuclide(model.nuclide), half_life=np.log(2) / rate if rate else np.inf)
    measured = measure(solved.path, measurements, seed=request.seed, nuclide=nuclide)
    return measured, [solved._replace(path=_select_curves(solved.path, model, request.observables))]


def _select_curves(path: Simulated, model: Model, wanted: Sequence[str] | None) -> Simulated:
    """The simulation without the observables that only the measurements needed."""
    from pbpk.observe.readings import select_observables

    names = select_observables(model.system, wanted)

    def select(curves: dict[str, Any] | None) -> Any:
        return None if curves is None else {n: curves[n] for n in names}

    return dataclasses.replace(
        path,
        observables=select(path.observables),
        unit=select(path.unit),
        integral=select(path.integral),
        to_infinity=select(path.to_infinity),
    )


def describe_measurements(path: Simulated, measured: SimulatedMeasurements) -> dict[str, dict[str, Any]]:
    """The JSON of measurements: one patient's numbers, or medians over the patients that were solved."""
    from pbpk.population.bands import compute_medians

    described = {}
    for m in measured.measurements:
        curves = {"value": measured.value[m.name], "expected": measured.expected[m.name]}
        if (sd := measured.sd[m.name]) is not None:
            curves["sd"] = sd
        described[m.name] = {
            "unit": measured.unit[m.name],
            "time": {"unit": "h", "values": measured.time[m.name]},
            "decay_corrected": m.decay_corrected,
            "reference": m.reference,
            **compute_medians(path, {k: np.asarray(v) for k, v in curves.items()}),
        }
    return described


def format_measurements(described: dict[str, dict[str, Any]]) -> str:
    """A table of them for the terminal."""
    width = max(14, *(len(n) + 2 for n in described))
    lines = [f"{'measurement':<{width}}{'time (h)':>10}{'value':>14}{'expected':>14}{'sd':>12}  unit"]
    for name, m in described.items():
        unit = m["unit"] + (f", decay-corrected to {m['reference']:g} h" if m["decay_corrected"] else "")
        for i, t in enumerate(m["time"]["values"]):
            sd = f"{m['sd'][i]:.4g}" if "sd" in m else "-"
            lines.append(f"{name:<{width}}{t:>10.6g}{m['value'][i]:>14.5g}{m['expected'][i]:>14.5g}{sd:>12}  {unit}")
    return "\n".join(lines)


def write_measured(folder: OutputFolder, measured: SimulatedMeasurements, file: Path, *, population: bool) -> None:
    """The measurements, beside the file that declared them."""
    frame = measured.frame()
    folder.write("measurements.toml", file.read_text(encoding="utf-8-sig"))
    if population:
        frame.to_parquet(folder.partial / "measurements.parquet", index=False)
    else:
        folder.write("measurements.csv", frame.to_csv(index=False))
