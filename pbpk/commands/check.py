"""`pbpk check PATH`: may a model, a study, a data file, a VOI table or a file of measurements be used? Faults with row
numbers; what the data can tell."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("check")(check)


def check(
    path: str = typer.Argument(
        ..., help="A model or study, by name or folder; a data file, a VOI table (.csv) or measurements (.toml)."
    ),
    model: str = typer.Option(None, help="The model a file is meant for."),
    nuclide: str = typer.Option(None, help="Of a VOI table, such as At-211."),
    decay_corrected: bool = typer.Option(
        None, "--decay-corrected/--not-decay-corrected", help="How a VOI table without such a column has its values."
    ),
    administered: str = typer.Option(None, help='Of a VOI table: the activity given, such as "245 MBq".'),
    voi: list[str] = typer.Option(None, "--voi", help="NAME=OBSERVABLE: what a VOI called otherwise stands for."),
    events: Path = typer.Option(None, help="Write a VOI table as a new event table, for fit and simulate --data."),
    into: str = typer.Option(None, help="With --events: the compartment that the administered activity goes into."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Validate a model, a study, or a file; exit 3 at the first fault, 0 when there is none.

    A data file needs --model, a VOI table (a column `voi`) --nuclide.
    """
    from pbpk.commands.check_imaging import (
        ImagingOptions,
        check_measurements,
        check_voi,
        is_voi_file,
        refuse_imaging_options,
    )
    from pbpk.commands.shared import print_json, read_pairs
    from pbpk.errors import BadInput, PbpkError, did_you_mean
    from pbpk.model.load import list_models
    from pbpk.study.load import list_studies

    place, table = Path(path), ""
    how = ImagingOptions(nuclide, decay_corrected, administered, read_pairs(voi, "--voi"), events, into)
    voi_table = place.is_file() and place.suffix != ".toml" and is_voi_file(place)
    if not voi_table:
        refuse_imaging_options(how)
    try:
        if path in list_studies() or (place / "fit.toml").exists():
            findings = _check_study(path)
        elif path in list_models() or (place / "structure.py").exists():
            findings = _check_model(path)
        elif place.is_file() and place.suffix == ".toml":
            findings = check_measurements(place, model)
        elif voi_table:
            findings, table = check_voi(place, model, how)
        elif place.is_file():
            findings = _check_data(place, model)
        elif place.exists():
            raise BadInput("is neither a model (structure.py) nor a study (fit.toml) nor a file", where=path)
        else:
            raise BadInput(f"no `{path}`", hint=did_you_mean(path, [*list_models(), *list_studies()]))
    except PbpkError as e:
        if as_json:
            print_json({"path": path, "good": False, "error": e.what, "where": e.where, "why": e.why, "hint": e.hint})
            raise typer.Exit(e.exit_code) from None
        raise
    if as_json:
        print_json({"path": path, "good": True, **findings})
        return
    _print_findings(findings, table)


def _print_findings(findings: dict, table: str) -> None:
    """Print what was found, a line for each thing, and whether anything was wrong."""
    warnings = findings.pop("warning", [])
    for text in warnings if "study" in findings else []:  # those of a VOI table were given as it was read
        print(f"warning: {text}")
    warned = len(warnings)
    if table:
        print(table)
        findings.pop("rows")
    for key, value in findings.items():
        if isinstance(value, list):
            for item in value:
                print(f"{key}: {item}")
        else:
            print(f"{key}: {value}")
    print(f"no fault found, but {warned} warning{'s' * (warned > 1)}" if warned else "no problems found")


def _check_model(name: str) -> dict:
    from pbpk.model.load import load_model
    from pbpk.solve.choose import choose_solver

    m = load_model(name)
    return {
        "model": m.name,
        "compartments": len(m.system.held_names),
        "parameters": len(m.parameters),
        "linear": not m.system.nonlinear,
        "solver": choose_solver(m.system).name,
        "assumed": [n for n, r in m.parameters.items() if r.status == "assumed"],
        "remark": list(m.remarks),
    }


def _check_data(path: Path, model: str | None) -> dict:
    from pbpk.data.events import read_events
    from pbpk.errors import WrongUsage
    from pbpk.model.load import load_model

    if model is None:
        raise WrongUsage("--model is missing: a data file is checked against a model's compartments")
    m = load_model(model)
    routes = {c.name for c in m.system.block.routes.values()}
    observables = list(m.system.observables)
    events = read_events(
        path,
        compartments=m.system.held_names,
        parameters=m.system.parameter_names,
        observables=observables,
        default_compartment=next(iter(routes)) if len(routes) == 1 else None,
        default_observable=observables[0] if len(observables) == 1 else None,
    )
    return {"data": str(path), **_count_records(events)}


def _count_records(events) -> dict:
    frame = events.frame
    return {
        "subjects": int(frame["ID"].nunique()),
        "doses": int(frame["EVID"].isin((1, 4)).sum()),
        "observations": int((frame["MDV"] == 0).sum()),
        "censored": _count_censored(frame),
        "covariates": ", ".join(events.covariates) or "none",
        "overrides": ", ".join(events.overrides) or "none",
        "note": list(events.notes),
    }


def _count_censored(frame) -> list[str]:
    """By observable, how many values lie below or above a limit; nothing where none does."""
    counts = []
    for name, rows in frame[frame["MDV"] == 0].groupby("DVID", sort=False):
        for side, word in ((1, "below"), (-1, "above")):
            if count := int((rows["CENS"] == side).sum()):
                counts.append(f"{count} of {len(rows)} values of {name} {word} a limit")
    return counts


def _check_study(name: str) -> dict:
    from pbpk.estimation.preflight import warn_at_initial_values, warn_before_fit
    from pbpk.study.identifiability import describe_precision
    from pbpk.study.load import load_study

    study = load_study(name)
    aggregates = {}
    if study.spec.summary:
        from pbpk.aggregate_data.identifiability import describe_summary

        aggregates = describe_summary(study)
    weak = [] if aggregates else describe_precision(study.problem)
    concerns = [] if aggregates else [*warn_before_fit(study.problem), *warn_at_initial_values(study.problem)]
    return {
        "study": study.name,
        "model": study.model.name,
        "method": study.spec.estimation.method,
        "estimated": ", ".join(study.problem.structure.layout.names),
        **_count_records(study.events),
        "identifiability": weak,
        "warning": concerns,
        **aggregates,
    }
