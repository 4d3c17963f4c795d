"""`pbpk simulate MODEL`: one typical patient, N virtual ones, or the records of a data file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import typer

from pbpk.commands.simulate_request import SimulationRequest

if TYPE_CHECKING:
    import numpy as np

    from pbpk.commands.scenarios import CommonSettings, Factors
    from pbpk.model.load import Model
    from pbpk.population.options import Precision
    from pbpk.regimen.regimen import Regimen
    from pbpk.solve.timeline import Between


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("simulate")(simulate)


def simulate(
    model: str = typer.Argument(..., help="A model's name or folder, or a finished fit's run (STUDY, STUDY/NUMBER)."),
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
    patients: int = typer.Option(
        None, help="Draw this many virtual patients: from the model's spreads and covariates, or a run's Ω."
    ),
    uncertainty: str = typer.Option(
        "none", help="Of a run's estimates, in each patient: none, covariance, bootstrap, sir or posterior."
    ),
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
    from pbpk.commands.scenarios import CommonSettings, read_factors
    from pbpk.commands.shared import choose_engine, read_list, read_pairs

    choose_engine(engine)
    values, options = read_pairs(settings, "--set"), read_pairs(option, "--option")
    run, factors = _find_run(model), read_factors(vary or [])
    _check_run_flags(run, uncertainty, {"--nuclide": nuclide, "--option": option, "--vary": vary, "--data": data})
    request = SimulationRequest(
        *(None, read_list(observe), patients, seed, solver, _check_precision(precision)),
        *(integrate, processes, measure, keep, out, as_json),
        *(run, uncertainty, values),
    )
    common = CommonSettings(model, nuclide, values, options, _read_regimen(dose, void))
    if data is not None:
        _refuse_beside_data(request, bool(dose or times), bool(factors))
        columns, units = read_pairs(column, "--column"), read_pairs(unit, "--unit")
        _simulate_table(common, data, request, columns, units, covariates_over_time)
        return
    request = replace(request, times=_read_times(times, bool(dose or "dose" in factors), keep))
    _simulate_regimens(common, factors, request)


def _simulate_table(
    common: CommonSettings,
    data: Path,
    request: SimulationRequest,
    columns: dict[str, str],
    units: dict[str, str],
    covariates_over_time: str,
) -> None:
    """Predictions at the records of a data file."""
    from pbpk.commands.simulate_data import simulate_data
    from pbpk.model.load import load_model

    loaded = load_model(common.model, nuclide=common.nuclide, values=common.values, options=common.options)
    between = cast("Between", covariates_over_time)
    simulate_data(loaded, data, request, columns, units, common.regimen, between)


def _simulate_regimens(common: CommonSettings, factors: Factors, request: SimulationRequest) -> None:
    """The regimen for one patient or many, in one scenario or several."""
    from pbpk.commands.scenarios import Scenario, build_scenarios
    from pbpk.commands.simulate_scenarios import simulate_scenarios
    from pbpk.model.load import load_model

    if factors:
        simulate_scenarios(build_scenarios(factors, common), request)
        return
    if request.run:
        loaded = _load_run_model(request.run)
    else:
        loaded = load_model(common.model, nuclide=common.nuclide, values=common.values, options=common.options)
    simulate_scenarios([Scenario("", {}, loaded, common.regimen)], request)


def _find_run(name: str) -> str | None:
    """The name of a finished run, where it is one and no model."""
    from pbpk.model.load import list_models

    if (Path(name) / "results.json").exists():
        return name
    if name in list_models() or (Path(name) / "structure.py").exists():
        return None
    study, _, number = name.rpartition("/")
    places = [Path("fits") / name / "runs", *([Path("fits") / study / "runs" / number] if study else [])]
    return name if any(p.is_dir() for p in places) else None


def _check_run_flags(run: str | None, uncertainty: str, beside: dict[str, object]) -> None:
    """Raise `WrongUsage` for flags that mean nothing with a run, or without one."""
    from pbpk.errors import WrongUsage
    from pbpk.run_folders.fitted_vectors import check_uncertainty

    check_uncertainty(uncertainty)
    if run is None and uncertainty != "none":
        raise WrongUsage("--uncertainty is that of a finished run's estimates", hint="name the run instead of a model")
    needless = [flag for flag, value in beside.items() if run and value]
    if needless:
        raise WrongUsage(f"{needless[0]} goes with a model, and `{run}` is a run", hint=f"leave {needless[0]} out")


def _load_run_model(run: str) -> Model:
    """The model of a run's own copy: what was fitted."""
    from pbpk.run_folders.find import find_run
    from pbpk.study.load import load_study

    return load_study(find_run(run)).model


def _read_regimen(doses: Sequence[str] | None, voids: Sequence[str] | None) -> Regimen:
    from pbpk.regimen.dose import parse_dose
    from pbpk.regimen.regimen import Regimen
    from pbpk.regimen.void import parse_void

    return sum((parse_dose(d) for d in doses or ()), sum((parse_void(v) for v in voids or ()), Regimen(())))


def _check_precision(precision: str) -> Precision:
    from pbpk.errors import WrongUsage
    from pbpk.population.options import Precision

    if precision not in get_args(Precision):
        raise WrongUsage(f'--precision "{precision}" is not known', hint="float64 or float32")
    return cast("Precision", precision)


def _refuse_beside_data(request: SimulationRequest, dosed: bool, varied: bool) -> None:
    """Raise `WrongUsage` for flags that mean nothing beside --data."""
    from pbpk.errors import WrongUsage

    if dosed or request.is_population:
        raise WrongUsage(
            "--data brings its own doses, times and patients", hint="leave --dose, --times, --patients out"
        )
    if request.integrate or request.processes != 1:
        raise WrongUsage("--integrate and --processes go with --dose and --times", hint="leave them out with --data")
    for flag, used in (("--measure", request.measure is not None), ("--vary", varied)):
        if used:
            raise WrongUsage(f"{flag} goes with --dose and --times", hint="leave it out with --data")


def _read_times(times: str | None, dosed: bool, keep: str) -> np.ndarray:
    """The times in h. Raises `WrongUsage` where doses or times are missing, or `keep` is none of its words."""
    from pbpk.errors import WrongUsage
    from pbpk.regimen.times import parse_times

    if not dosed or not times:
        missing = "--times" if dosed else "--dose"
        raise WrongUsage(f"{missing} is missing", hint='pbpk simulate MODEL --dose "100 mg oral" --times "0:24:1 h"')
    if keep not in ("auto", "curves", "bands"):
        raise WrongUsage(f'--keep "{keep}" is not known', hint="auto, curves or bands")
    return parse_times(times)
