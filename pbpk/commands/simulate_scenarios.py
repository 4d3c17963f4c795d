"""`pbpk simulate MODEL --dose … --times …`: scenarios solved, written and shown; one simulation is a list of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pbpk.errors import BadInput, WrongUsage

if TYPE_CHECKING:
    from pbpk.commands.scenarios import Scenario
    from pbpk.commands.simulate_request import SimulationRequest
    from pbpk.observe.measure import SimulatedMeasurements
    from pbpk.report.simulation_files import SolvedScenario


def simulate_scenarios(scenarios: Sequence[Scenario], request: SimulationRequest) -> None:
    """Solve the scenarios, write their files, print them. A scenario without a name is the only one."""
    import time

    from pbpk.commands.shared import print_json
    from pbpk.commands.simulate_measurements import describe_measurements, read_plan, take_measurements, write_measured
    from pbpk.commands.simulate_output import print_table, report_failures, summarise_simulation
    from pbpk.report.simulation_files import write_simulation
    from pbpk.run_folders.claim import claim_folder
    from pbpk.units import unit_factor

    assert request.times is not None
    several, model, population = bool(scenarios[0].name), scenarios[0].model, request.is_population
    if several and request.measure is not None:
        raise WrongUsage("--measure and --vary do not go together", hint="measure one scenario at a time")
    measurements, names = read_plan(request.measure, model, request.observables, request.times)
    observed = select_by_scenario(scenarios, request.observables) if several else {}
    folder, measured, written = None, None, None
    if request.out is not None or population:
        folder = claim_folder(Path("simulations") / model.name, request.out, resumable=None)
    shown, notes = request.times / unit_factor(model.time_unit), _note_absences(observed)
    begun = time.perf_counter()
    try:
        solved = [_solve_scenario(s, observed.get(s.name, names), request) for s in scenarios]
        if measurements:
            measured, solved = take_measurements(solved[0], measurements, request)
        seconds = time.perf_counter() - begun
        if folder:
            notes += write_simulation(folder, solved, shown, request.keep, population=population)
            if measured and request.measure:
                write_measured(folder, measured, request.measure, population=population)
            written = folder.finish()
    except BaseException:
        if folder:
            folder.abandon()
        raise
    for s in solved:
        report_failures(s.path, s.name)
    parts = {s.name: summarise_simulation(s.model, s.path, request.solver, population=population) for s in solved}
    result: dict[str, Any] = {"model": model.name, "time": {"unit": model.time_unit, "values": shown}}
    if several:
        result |= _join_parts(scenarios, parts, observed) | {"patients": request.patients or 1, "seconds": seconds}
        result["notes"] = notes
    else:
        result |= parts[""] | {"seconds": seconds}
    if measured:
        result |= {"measurements": describe_measurements(solved[0].path, measured), "notes": list(measured.notes)}
    if measured or population:
        result["seed"] = request.seed
    if request.run is not None:
        result |= {"run": request.run, "estimates": getattr(solved[0].path, "source", "")}
    _report_files(result, notes, written, measured, several)
    if request.as_json:
        print_json(result)
    else:
        print_table(result["time"], parts)
        _print_measurements(result)
    if result["failed"]:
        raise typer.Exit(1)


def _solve_scenario(scenario: Scenario, names: list[str] | None, request: SimulationRequest) -> SolvedScenario:
    from pbpk.commands.simulate_output import make_progress
    from pbpk.population.patients import virtual_patients
    from pbpk.report.simulation_files import SolvedScenario
    from pbpk.run_folders.simulate import simulate

    count = request.patients
    assert request.times is not None
    if request.run is not None:
        return _solve_run(request.run, scenario, names, request)
    path = simulate(
        *(scenario.model, scenario.regimen, request.times),
        patients=None if count is None else virtual_patients(scenario.model, count, request.seed),
        observe=names,
        progress=make_progress(count or 1, scenario.name),
        **request.solver_options(),
    )
    return SolvedScenario(scenario.name, scenario.model, path, scenario.settings)


def _solve_run(run: str, scenario: Scenario, names: list[str] | None, request: SimulationRequest) -> SolvedScenario:
    from pbpk.commands.simulate_output import make_progress
    from pbpk.report.simulation_files import SolvedScenario
    from pbpk.run_folders.simulate import simulate

    assert request.times is not None
    path = simulate(
        *(run, scenario.regimen, request.times),
        patients=request.patients,
        observe=names,
        values=request.values,
        seed=request.seed,
        uncertainty=request.uncertainty,
        progress=make_progress(request.patients or 1),
        **request.solver_options(),
    )
    return SolvedScenario("", scenario.model, path, scenario.settings)


def _join_parts(
    scenarios: Sequence[Scenario], parts: dict[str, dict[str, Any]], observed: dict[str, list[str]]
) -> dict[str, Any]:
    """What the JSON of several scenarios says: units of all, each scenario's own part, and sums over them."""
    units: dict[str, str] = {}
    for part in parts.values():
        units |= part["units"]
    return {
        "units": {k: units[k] for names in observed.values() for k in names},
        "scenarios": [{"name": s.name, "settings": s.settings, **parts[s.name]} for s in scenarios],
        "failed": sum(part["failed"] for part in parts.values()),
        "solved_again": sum(part["solved_again"] for part in parts.values()),
    }


def _report_files(
    result: dict[str, Any],
    notes: Sequence[str],
    written: Path | None,
    measured: SimulatedMeasurements | None,
    several: bool,
) -> None:
    """Say on stderr what is to be known, and add the folder to the result."""
    from pbpk.commands.shared import say

    for note in notes if several else measured.notes if measured else ():
        say(f"note: {note}")
    if written:
        result["folder"] = str(written)
        for note in () if several else notes:
            say(f"  {note}")
        say(f"wrote {written}")


def _print_measurements(result: dict[str, Any]) -> None:
    from pbpk.commands.simulate_measurements import format_measurements

    if "measurements" in result:
        print(format_measurements(result["measurements"]))


def select_by_scenario(scenarios: Sequence[Scenario], wanted: Sequence[str] | None) -> dict[str, list[str]]:
    """By scenario, those of `wanted` that it has, or all of its own. Raises `BadInput` for one that none has."""
    from pbpk.observe.readings import find_observable_unit, select_observables

    observed: dict[str, list[str]] = {}
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
            unit_here = find_observable_unit(system, s.model.parameters, n)
            if unit.setdefault(n, unit_here) != unit_here:
                what = f"`{n}` is in {unit[n]} in one scenario and in {unit_here} in {s.name}"
                raise BadInput(what, hint="simulate them one at a time")
        observed[s.name] = names
    return observed


def _note_absences(observed: dict[str, list[str]]) -> list[str]:
    notes = []
    for n in dict.fromkeys(n for names in observed.values() for n in names):
        lacking = [scenario for scenario, names in observed.items() if n not in names]
        if lacking:
            notes.append(f"{n} is left out where there is none: {'; '.join(lacking)}")
    return notes
