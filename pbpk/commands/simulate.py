"""`pbpk simulate MODEL`: one typical patient, N virtual ones, or the records of a data file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args

import typer

if TYPE_CHECKING:
    import numpy as np

    from pbpk.model.load import Model
    from pbpk.population.options import Precision
    from pbpk.regimen.regimen import Regimen
    from pbpk.solve.timeline import Between


class How(NamedTuple):
    """How it is solved, and whether time-integrals are wanted."""

    solver: str | None
    precision: Precision
    integrate: bool
    processes: int
    measure: Path | None = None

    def options(self) -> dict[str, Any]:
        """The keywords of `pbpk.simulate`."""
        return {
            "solver": self.solver,
            "dtype": self.precision,
            "integrate": self.integrate,
            "processes": self.processes,
        }


def register(app: typer.Typer) -> None:
    app.command("simulate")(simulate)


def simulate(
    model: str = typer.Argument(..., help="A model's name or folder."),
    dose: list[str] = typer.Option(
        None, "--dose", help='Such as "3.7 GBq oral at 0 h" or "100 mg to depot every 24 h x 5".'
    ),
    times: str = typer.Option(None, help='Such as "1,6,24,120 h" or "0:72:1" (start:stop:step, h).'),
    observe: str = typer.Option(
        None, help="Observables or compartments, separated by commas; default: all observables."
    ),
    nuclide: str = typer.Option(None, help="Sets the physical decay, such as I-131."),
    option: list[str] = typer.Option(None, "--option", help="NAME=CHOICE of a model that comes in variants."),
    settings: list[str] = typer.Option(None, "--set", help='NAME=VALUE, such as CL=3 or "CL=50 mL/min".'),
    vary: list[str] = typer.Option(
        None,
        "--vary",
        help="NAME=A|B|C: a scenario for each value, in one figure; several cross. "
        "NAME is a parameter, a covariate, option.NAME, nuclide or dose.",
    ),
    patients: int = typer.Option(None, help="Draw this many virtual patients from the model's spreads and covariates."),
    seed: int = typer.Option(1, help="Of the virtual patients; patient n of a seed is always the same."),
    data: Path = typer.Option(None, help="An event table (NONMEM style); predictions at each of its records."),
    column: list[str] = typer.Option(None, "--column", help="NAME=HEADER: which column of the data holds NAME."),
    unit: list[str] = typer.Option(None, "--unit", help="COLUMN=UNIT of the data, such as AMT=mg."),
    void: list[str] = typer.Option(
        None, "--void", help='Such as "bladder to urine every 3.5 h leaving 5 %" or "bladder at 2, 5 h".'
    ),
    covariates_over_time: str = typer.Option(
        "nocb",
        help="Between records of --data: the next one's values hold (nocb, as in NONMEM) or the last one's (locf).",
    ),
    solver: str = typer.Option(None, help="Solve by this method instead of the model's own choice."),
    engine: str = typer.Option(None, help="What computes: kernel, jax or diffrax; default: kernels where they can."),
    integrate: bool = typer.Option(False, "--integrate", help="Time-integrals too: up to each time, and to infinity."),
    measure: Path = typer.Option(
        None, help="A TOML file of measurements: what instruments would show, with their noise."
    ),
    precision: str = typer.Option("float64", help="float64, or float32 where five digits are enough."),
    processes: int = typer.Option(1, help="Solve virtual patients in this many processes."),
    keep: str = typer.Option("auto", help="Of a virtual population: curves, bands, or auto (curves unless huge)."),
    out: Path = typer.Option(None, help="A new folder for the files; default for --patients: simulations/MODEL/NNN."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Simulate a model: a table for one patient, or parquet files with quantile bands and a figure for many."""
    from pbpk.commands.scenarios import Common, build_scenarios, read_factors
    from pbpk.commands.shared import choose_engine, read_list, read_pairs
    from pbpk.commands.varied import simulate_scenarios
    from pbpk.errors import WrongUsage
    from pbpk.model.load import load_model
    from pbpk.population.options import Precision
    from pbpk.regimen.dose import parse_dose
    from pbpk.regimen.regimen import Regimen
    from pbpk.regimen.times import parse_times
    from pbpk.regimen.void import parse_void

    choose_engine(engine)
    values, options, wanted = read_pairs(settings, "--set"), read_pairs(option, "--option"), read_list(observe)
    factors = read_factors(vary or [])
    loaded = None if factors else load_model(model, nuclide=nuclide, values=values, options=options)
    if precision not in get_args(Precision):
        raise WrongUsage(f'--precision "{precision}" is not known', hint="float64 or float32")
    how = How(solver, cast("Precision", precision), integrate, processes, measure)
    voids = sum((parse_void(words) for words in void or []), Regimen(()))
    if data is not None:
        if dose or times or patients is not None:
            raise WrongUsage(
                "--data brings its own doses, times and patients", hint="leave --dose, --times, --patients out"
            )
        if integrate or processes != 1:
            raise WrongUsage(
                "--integrate and --processes go with --dose and --times", hint="leave them out with --data"
            )
        for flag, given in (("--measure", measure is not None), ("--vary", loaded is None)):
            if given:
                raise WrongUsage(f"{flag} goes with --dose and --times", hint="leave it out with --data")
        assert loaded is not None
        columns, units = read_pairs(column, "--column"), read_pairs(unit, "--unit")
        _from_data(loaded, data, wanted, columns, units, voids, covariates_over_time, how, out, as_json)
        return
    if not (dose or "dose" in factors) or not times:
        missing = "--times" if dose or "dose" in factors else "--dose"
        raise WrongUsage(f"{missing} is missing", hint='pbpk simulate MODEL --dose "100 mg oral" --times "0:24:1 h"')
    if keep not in ("auto", "curves", "bands"):
        raise WrongUsage(f'--keep "{keep}" is not known', hint="auto, curves or bands")
    at = parse_times(times)
    regimen = sum((parse_dose(d) for d in dose or []), voids)
    if loaded is not None:
        _from_words(loaded, regimen, at, wanted, patients, seed, how, keep, out, as_json)
        return
    scenarios = build_scenarios(factors, Common(model, nuclide, values, options, regimen))
    simulate_scenarios(scenarios, at, wanted, patients, seed, how, keep, out, as_json)


def _from_words(
    model: Model,
    regimen: Regimen,
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
    from pbpk.commands.simulate_measurements import as_text, plan, taken, without, write_measured
    from pbpk.commands.simulate_measurements import summary as measured_summary
    from pbpk.commands.simulate_output import print_table, progress, report_failures, summary
    from pbpk.population.patients import virtual_patients
    from pbpk.population.simulate import simulate as run
    from pbpk.report.simulation_files import Solved, write_simulation
    from pbpk.run_folders.claim import claim_folder
    from pbpk.units import unit_factor

    asked, observed = plan(how.measure, model, wanted, at)
    who = virtual_patients(model, patients, seed) if patients is not None else None
    folder, notes, measured, written = None, [], None, None
    if out is not None or who is not None:
        folder = claim_folder(Path("simulations") / model.name, out)
    shown = at / unit_factor(model.time_unit)
    begun = time.perf_counter()
    try:
        path = run(
            *(model, regimen, at),
            patients=who,
            observe=observed,
            progress=progress(patients or 1),
            **how.options(),
        )
        if asked:
            measured = taken(path, asked, seed, model)
            path = without(path, model, wanted)
        seconds = time.perf_counter() - begun
        if folder:
            notes = write_simulation(folder, [Solved("", model, path)], shown, keep, population=who is not None)
            if measured and how.measure:
                write_measured(folder, measured, how.measure, population=who is not None)
            written = folder.finish()
    except BaseException:
        if folder:
            folder.abandon()
        raise
    report_failures(path)
    result = {"model": model.name, "time": {"unit": model.time_unit, "values": shown}}
    result |= summary(model, path, how.solver, population=who is not None) | {"seconds": seconds}
    if measured:
        result |= {"measurements": measured_summary(path, measured), "notes": list(measured.notes)}
        for note in measured.notes:
            say(f"note: {note}")
    if measured or who is not None:
        result["seed"] = seed
    if written:
        result["folder"] = str(written)
        for note in notes:
            say(f"  {note}")
        say(f"wrote {written}")
    if as_json:
        print_json(result)
    else:
        print_table(result["time"], {"": result})
        if measured:
            print(as_text(result["measurements"]))
    if result["failed"]:
        raise typer.Exit(1)


def _from_data(
    model: Model,
    data: Path,
    wanted: list[str] | None,
    columns: dict[str, str],
    given: dict[str, str],
    voids: Regimen,
    between: str,
    how: How,
    out: Path | None,
    as_json: bool,
) -> None:
    from pbpk.commands.shared import print_json, say
    from pbpk.commands.simulate_output import report_again
    from pbpk.data.events import read_events
    from pbpk.population.records import check_dose_unit, convert_overrides
    from pbpk.population.simulate_records import simulate_records
    from pbpk.results import explain
    from pbpk.run_folders.claim import claim_folder
    from pbpk.run_folders.record import read_command_line
    from pbpk.units import unit_factor

    routes = {c.name for c in model.system.block.routes.values()}
    events = read_events(
        data,
        compartments=model.system.names,
        parameters=model.system.parameter_names,
        default_compartment=next(iter(routes)) if len(routes) == 1 else None,
        columns=columns,
        units=given,
        need_dv=False,
    )
    events = convert_overrides(events, model, given)
    check_dose_unit(events, model, given, events.source)
    for note in events.notes:
        say(f"note: {note}")
    folder = claim_folder(Path("simulations") / model.name, out) if out is not None else None
    try:
        table, units, codes, again = simulate_records(
            *(model, events),
            observe=wanted,
            solver=how.solver,
            voids=voids,
            covariates_over_time=cast("Between", between),
            dtype=how.precision,
        )
        table["TIME"] /= unit_factor(model.time_unit)
        text = table.to_csv(index=False)
        if folder:
            folder.write("command.txt", read_command_line() + "\n")
            folder.write("simulation.csv", text)
            say(f"wrote {folder.finish()}")
    except BaseException:
        if folder:
            folder.abandon()
        raise
    for subject, code in zip(events.frame["ID"].unique(), codes, strict=True):
        if code:
            say(f"warning: ID {subject}: {explain(int(code))}")
    report_again(again, codes, "subject")
    if as_json:
        print_json(
            {
                "model": model.name,
                "time": {"unit": model.time_unit, "values": table["TIME"].to_numpy()},
                "ID": table["ID"].tolist(),
                "units": units,
                "observables": {k: table[k].to_numpy() for k in units},
                "failed": int((codes != 0).sum()),
                "solved_again": int((again > 0).sum()),
            }
        )
    else:
        print(text, end="")
    if codes.any():
        raise typer.Exit(1)
