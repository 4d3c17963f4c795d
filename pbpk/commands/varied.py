"""`pbpk simulate --vary`: each scenario solved, and all of them shown side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pbpk.errors import BadInput, WrongUsage

if TYPE_CHECKING:
    import numpy as np

    from pbpk.commands.scenarios import Scenario
    from pbpk.commands.simulate import How
    from pbpk.report.simulation_files import Solved


def simulate_scenarios(
    scenarios: Sequence[Scenario],
    at: np.ndarray,
    wanted: list[str] | None,
    patients: int | None,
    seed: int,
    how: How,
    keep: str,
    out: Path | None,
    as_json: bool,
) -> None:
    import time

    from pbpk.commands.shared import print_json, say
    from pbpk.commands.simulate_output import print_table, report_failures, summary
    from pbpk.report.simulation_files import write_simulation
    from pbpk.run_folders.claim import claim_folder
    from pbpk.units import unit_factor

    if how.measure is not None:
        raise WrongUsage("--measure and --vary do not go together", hint="measure one scenario at a time")
    observed = observables(scenarios, wanted)
    model, population = scenarios[0].model, patients is not None
    folder, written, notes = None, None, _only_in_some(observed)
    if out is not None or population:
        folder = claim_folder(Path("simulations") / model.name, out)
    shown, begun = at / unit_factor(model.time_unit), time.perf_counter()
    try:
        solved = [_solve(s, at, observed[s.name], patients, seed, how) for s in scenarios]
        seconds = time.perf_counter() - begun
        if folder:
            notes += write_simulation(folder, solved, shown, keep, population=population)
            written = folder.finish()
    except BaseException:
        if folder:
            folder.abandon()
        raise
    parts: dict[str, dict[str, Any]] = {}
    for s in solved:
        report_failures(s.path, s.name)
        parts[s.name] = summary(s.model, s.path, how.solver, population=population)
    units: dict[str, str] = {}
    for part in parts.values():
        units |= part["units"]
    result: dict[str, Any] = {
        "model": model.name,
        "time": {"unit": model.time_unit, "values": shown},
        "units": {k: units[k] for names in observed.values() for k in names},
        "scenarios": [{"name": s.name, "settings": s.settings, **parts[s.name]} for s in scenarios],
        "patients": patients or 1,
        "failed": sum(part["failed"] for part in parts.values()),
        "solved_again": sum(part["solved_again"] for part in parts.values()),
        "seconds": seconds,
        "notes": notes,
    }
    if population:
        result["seed"] = seed
    for note in notes:
        say(f"note: {note}")
    if written:
        result["folder"] = str(written)
        say(f"wrote {written}")
    if as_json:
        print_json(result)
    else:
        print_table(result["time"], parts)
    if result["failed"]:
        raise typer.Exit(1)


def _solve(scenario: Scenario, at: np.ndarray, names: list[str], patients: int | None, seed: int, how: How) -> Solved:
    from pbpk.commands.simulate_output import progress
    from pbpk.population.patients import virtual_patients
    from pbpk.population.simulate import simulate as run
    from pbpk.report.simulation_files import Solved

    path = run(
        *(scenario.model, scenario.regimen, at),
        patients=None if patients is None else virtual_patients(scenario.model, patients, seed),
        observe=names,
        progress=progress(patients or 1, scenario.name),
        **how.options(),
    )
    return Solved(scenario.name, scenario.model, path, scenario.settings)


def observables(scenarios: Sequence[Scenario], wanted: Sequence[str] | None) -> dict[str, list[str]]:
    """By scenario, those of `wanted` that it has, or all of its own. Raises `BadInput` for one that none has."""
    from pbpk.observe.readings import find_observable_unit, select_observables

    found: dict[str, list[str]] = {}
    unit: dict[str, str] = {}
    if wanted:
        known = {n for s in scenarios for n in (*s.model.system.observables, *s.model.system.names)}
        select_observables(scenarios[0].model.system, [n for n in wanted if n not in known] or None)
    for s in scenarios:
        system = s.model.system
        has = {*system.observables, *system.names}
        names = [n for n in wanted if n in has] if wanted else select_observables(system)
        if not names:
            raise BadInput(f"the scenario {s.name} has nothing of what is to be observed", hint="leave it out")
        for n in names:
            own = find_observable_unit(system, s.model.parameters, n)
            if unit.setdefault(n, own) != own:
                what = f"`{n}` is in {unit[n]} in one scenario and in {own} in {s.name}"
                raise BadInput(what, hint="simulate them one at a time")
        found[s.name] = names
    return found


def _only_in_some(observed: dict[str, list[str]]) -> list[str]:
    notes = []
    for n in dict.fromkeys(n for names in observed.values() for n in names):
        lacking = [scenario for scenario, names in observed.items() if n not in names]
        if lacking:
            notes.append(f"{n} is left out where there is none: {'; '.join(lacking)}")
    return notes
