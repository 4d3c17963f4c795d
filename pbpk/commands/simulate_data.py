"""`pbpk simulate MODEL --data FILE`: predictions at the records of an event table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pbpk.commands.simulate_request import SimulationRequest
    from pbpk.data.events import EventTable
    from pbpk.model.load import Model
    from pbpk.regimen.regimen import Regimen
    from pbpk.solve.timeline import Between


def simulate_data(
    model: Model,
    data: Path,
    request: SimulationRequest,
    columns: dict[str, str],
    unit_of_column: dict[str, str],
    voids: Regimen,
    covariates_over_time: Between,
) -> None:
    """Solve the records of the event table `data`, and show or write a row for each of them."""
    from pbpk.commands.shared import print_json, say
    from pbpk.commands.simulate_output import report_retries
    from pbpk.population.simulate_records import simulate_records
    from pbpk.results import explain
    from pbpk.run_folders.claim import claim_folder
    from pbpk.run_folders.record import read_command_line
    from pbpk.units import unit_factor

    events = _read_records(model, data, columns, unit_of_column)
    folder = (
        claim_folder(Path("simulations") / model.name, request.out, resumable=None) if request.out is not None else None
    )
    try:
        table, units, codes, again = simulate_records(
            *(model, events),
            observe=request.observables,
            solver=request.solver,
            voids=voids,
            covariates_over_time=covariates_over_time,
            dtype=request.precision,
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
    report_retries(again, codes, "subject")
    if request.as_json:
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


def _read_records(model: Model, data: Path, columns: dict[str, str], unit_of_column: dict[str, str]) -> EventTable:
    """The event table, with columns that override parameters in coherent units."""
    from pbpk.commands.shared import say
    from pbpk.data.events import read_events
    from pbpk.population.records import check_dose_unit, convert_overrides

    routes = {c.name for c in model.system.block.routes.values()}
    events = read_events(
        data,
        compartments=model.system.held_names,
        parameters=model.system.parameter_names,
        default_compartment=next(iter(routes)) if len(routes) == 1 else None,
        columns=columns,
        units=unit_of_column,
        need_dv=False,
    )
    events = convert_overrides(events, model, unit_of_column)
    check_dose_unit(events, model, unit_of_column, events.source)
    for note in events.notes:
        say(f"note: {note}")
    return events
