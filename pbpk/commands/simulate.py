"""`pbpk simulate MODEL`: one typical patient, N virtual ones, or the records of a data file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from pbpk.model.load import Model
    from pbpk.population.simulate import Path as Simulated
    from pbpk.report.writing import Folder

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MOST_CURVES = 20_000_000  # rows of curves.parquet written unless asked for


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
    settings: list[str] = typer.Option(None, "--set", help='NAME=VALUE, such as CL=3 or "CL=50 mL/min".'),
    patients: int = typer.Option(None, help="Draw this many virtual patients from the model's spreads and covariates."),
    seed: int = typer.Option(1, help="Of the virtual patients; patient n of a seed is always the same."),
    data: Path = typer.Option(None, help="An event table (NONMEM style); predictions at each of its records."),
    column: list[str] = typer.Option(None, "--column", help="NAME=HEADER: which column of the data holds NAME."),
    unit: list[str] = typer.Option(None, "--unit", help="COLUMN=UNIT of the data, such as AMT=mg."),
    solver: str = typer.Option(None, help="Solve by this method instead of the model's own choice."),
    keep: str = typer.Option("auto", help="Of a virtual population: curves, bands, or auto (curves unless huge)."),
    out: Path = typer.Option(None, help="A new folder for the files; default for --patients: simulations/MODEL/NNN."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Simulate a model: a table for one patient, or parquet files with quantile bands and a figure for many."""
    from pbpk.commands.shared import read_list, read_pairs
    from pbpk.errors import WrongUsage
    from pbpk.model.load import load_model

    loaded = load_model(model, nuclide=nuclide, values=read_pairs(settings, "--set"))
    wanted = read_list(observe)
    if data is not None:
        if dose or times or patients is not None:
            raise WrongUsage(
                "--data brings its own doses, times and patients", hint="leave --dose, --times, --patients out"
            )
        _from_data(
            loaded, data, wanted, read_pairs(column, "--column"), read_pairs(unit, "--unit"), solver, out, as_json
        )
        return
    if not dose or not times:
        missing = "--dose" if not dose else "--times"
        raise WrongUsage(f"{missing} is missing", hint='pbpk simulate MODEL --dose "100 mg oral" --times "0:24:1 h"')
    if keep not in ("auto", "curves", "bands"):
        raise WrongUsage(f'--keep "{keep}" is not known', hint="auto, curves or bands")
    _from_words(loaded, dose, times, wanted, patients, seed, solver, keep, out, as_json)


def _from_words(
    model: Model,
    doses: list[str],
    times: str,
    wanted: list[str] | None,
    patients: int | None,
    seed: int,
    solver: str | None,
    keep: str,
    out: Path | None,
    as_json: bool,
) -> None:
    import time

    import numpy as np

    from pbpk.commands.shared import print_json, say
    from pbpk.population.patients import virtual_patients
    from pbpk.population.simulate import simulate as run
    from pbpk.regimen import parse_dose, parse_times
    from pbpk.report.writing import claim
    from pbpk.units import factor

    at = parse_times(times)
    regimen = sum((parse_dose(d) for d in doses[1:]), parse_dose(doses[0]))
    who = virtual_patients(model, patients, seed) if patients is not None else None
    folder = None
    if out is not None or who is not None:
        folder = claim(Path("simulations") / model.name, out)
    shown = at / factor(model.time_unit)
    begun = time.perf_counter()
    try:
        path = run(model, regimen, at, patients=who, observe=wanted, solver=solver, progress=_progress(patients or 1))
        seconds = time.perf_counter() - begun
        written = _write(folder, model, path, shown, keep, who is not None) if folder else None
    except BaseException:
        if folder:
            folder.abandon()
        raise
    failed = _report_failures(path)
    result = {
        "model": model.name,
        "nuclide": model.nuclide,
        "solver": solver or _solver_name(model),
        "time": {"unit": model.time_unit, "values": shown},
        "units": path.unit,
        "observables": {k: np.asarray(v)[:, 0] for k, v in path.observables.items()} if who is None else _medians(path),
        "patients": len(path.patients),
        "failed": failed,
        "seconds": seconds,
    }
    if who is not None:
        result |= {"seed": seed, "statistic": "median over patients", "quantiles": _quantile_json(path)}
    if written:
        result["folder"] = str(written)
        say(f"wrote {written}")
    if as_json:
        print_json(result)
    else:
        _print_table(result)
    if failed:
        raise typer.Exit(1)


def _solver_name(model: Model) -> str:
    from pbpk.solve.choose import choose_solver

    return choose_solver(model.system).name


def _progress(patients: int):
    from pbpk.commands.shared import say

    reported = [0]

    def progress(done: int, of: int) -> None:
        if patients >= 1000 and (done - reported[0] >= patients / 10 or done == of):
            reported[0] = done
            say(f"  {done:,} of {of:,} patients")

    return progress


def _report_failures(path: Simulated) -> int:
    import numpy as np

    from pbpk.commands.shared import say
    from pbpk.solve.base import explain

    codes = np.asarray(path.result)
    bad = np.flatnonzero(codes)
    for i in bad[:5]:
        say(f"warning: patient {path.patients.ids[i]}: {explain(int(codes[i]))}")
    if len(bad) > 5:
        say(f"warning: and {len(bad) - 5} more patients failed")
    return len(bad)


def _quantiles(path: Simulated) -> dict[str, np.ndarray]:
    """(quantiles, T) for each observable, over the patients that were solved."""
    import numpy as np

    good = np.asarray(path.result) == 0
    if not good.any():
        return {k: np.full((len(QUANTILES), len(path.time)), np.nan) for k in path.observables}
    return {k: np.quantile(np.asarray(v)[:, good], QUANTILES, axis=1) for k, v in path.observables.items()}


def _medians(path: Simulated) -> dict[str, np.ndarray]:
    return {k: q[QUANTILES.index(0.5)] for k, q in _quantiles(path).items()}


def _quantile_json(path: Simulated) -> dict:
    return {k: {f"q{q * 100:02.0f}": v[i] for i, q in enumerate(QUANTILES)} for k, v in _quantiles(path).items()}


def _print_table(result: dict) -> None:
    names = list(result["observables"])
    width = max(12, *(len(n) + 2 for n in names))
    first = f"time ({result['time']['unit']})"
    if "statistic" in result:
        print(f"{result['statistic']} ({result['patients']:,} patients)")
    print(f"{first:>12}" + "".join(f"{n:>{width}}" for n in names))
    print(f"{'':>12}" + "".join(f"{'(' + result['units'][n] + ')':>{width}}" for n in names))
    for i, t in enumerate(result["time"]["values"]):
        print(f"{t:>12.6g}" + "".join(f"{result['observables'][n][i]:>{width}.5g}" for n in names))


def _write(folder: Folder, model: Model, path: Simulated, shown: np.ndarray, keep: str, population: bool) -> Path:
    """simulation.csv for one patient; bands, patients and curves as parquet and a figure for many; then the final name."""
    import numpy as np
    import pandas as pd

    from pbpk.commands.shared import say
    from pbpk.errors import MissingExtra
    from pbpk.report.writing import command_line, environment

    folder.write("command.txt", command_line() + "\n")
    folder.write_json("run.json", {"model": model.name, "nuclide": model.nuclide, "units": path.unit, **environment()})
    if not population:
        table = pd.DataFrame({"time": shown} | {k: np.asarray(v)[:, 0] for k, v in path.observables.items()})
        folder.write("simulation.csv", table.to_csv(index=False))
        return folder.finish()
    names = [f"q{q * 100:02.0f}" for q in QUANTILES]
    bands = pd.concat(
        [
            pd.DataFrame({"time": shown, "observable": k} | {n: q[i] for i, n in enumerate(names)})
            for k, q in _quantiles(path).items()
        ],
        ignore_index=True,
    )
    bands.to_parquet(folder.partial / "bands.parquet", index=False)
    _patients_table(model, path).to_parquet(folder.partial / "patients.parquet", index=False)
    rows = len(path.patients) * len(shown)
    if keep == "curves" or (keep == "auto" and rows <= _MOST_CURVES):
        curves = pd.DataFrame(
            {"patient": np.repeat(path.patients.ids, len(shown)), "time": np.tile(shown, len(path.patients))}
            | {k: np.asarray(v).T.ravel() for k, v in path.observables.items()}
        )
        curves.to_parquet(folder.partial / "curves.parquet", index=False)
    elif keep == "auto":
        say(f"  curves.parquet left out: {rows:,} rows (ask with --keep curves)")
    try:
        from pbpk.report.quantiles import quantile_figure

        for k in path.observables:
            figure = quantile_figure(bands, k, path.unit[k], model.time_unit)
            (folder.partial / f"{k}.png").write_bytes(figure)
    except MissingExtra as e:
        say(f"  no figure: {e.what} ({e.hint})")
    return folder.finish()


def _patients_table(model: Model, path: Simulated) -> pd.DataFrame:
    """One line per patient: covariates and drawn parameters in their own units, and the result code."""
    import numpy as np
    import pandas as pd

    from pbpk.units import factor

    who, table = path.patients, model.parameters
    changed = [n for n, r in table.rows.items() if r.spread or r.effects]
    values = {n: who.values[model.system.parameter_index(n)] / factor(table[n].unit) for n in changed}
    covariates = {n: who.covariates[n].to_numpy() for n in who.covariates}
    return pd.DataFrame({"patient": who.ids, "result": np.asarray(path.result)} | covariates | values)


def _from_data(
    model: Model,
    data: Path,
    wanted: list[str] | None,
    columns: dict[str, str],
    given: dict[str, str],
    solver: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    from pbpk.commands.shared import print_json, say
    from pbpk.data.events import read_events
    from pbpk.population.records import check_dose_unit, coherent_overrides
    from pbpk.population.simulate import simulate_table
    from pbpk.report.writing import claim, command_line
    from pbpk.solve.base import explain
    from pbpk.units import factor

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
    events = coherent_overrides(events, model, given)
    check_dose_unit(events, model, given)
    for note in events.notes:
        say(f"note: {note}")
    folder = claim(Path("simulations") / model.name, out) if out is not None else None
    try:
        table, units, codes = simulate_table(model, events, observe=wanted, solver=solver)
        table["TIME"] /= factor(model.time_unit)
        text = table.to_csv(index=False)
        if folder:
            folder.write("command.txt", command_line() + "\n")
            folder.write("simulation.csv", text)
            say(f"wrote {folder.finish()}")
    except BaseException:
        if folder:
            folder.abandon()
        raise
    for subject, code in zip(events.frame["ID"].unique(), codes, strict=True):
        if code:
            say(f"warning: ID {subject}: {explain(int(code))}")
    if as_json:
        print_json(
            {
                "model": model.name,
                "time": {"unit": model.time_unit, "values": table["TIME"].to_numpy()},
                "ID": table["ID"].tolist(),
                "units": units,
                "observables": {k: table[k].to_numpy() for k in units},
                "failed": int((codes != 0).sum()),
            }
        )
    else:
        print(text, end="")
    if codes.any():
        raise typer.Exit(1)
