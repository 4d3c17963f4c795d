"""`pbpk design STUDY`: what the study will tell, and the sampling times that would tell most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pbpk.optimal_design.result import Design
    from pbpk.optimal_design.spec import DesignSpec


def register(app: typer.Typer) -> None:
    """Add `pbpk design` to the command line."""
    app.command("design")(design)


def design(
    study: str = typer.Argument(..., help="A study's name or folder; its data give doses and need no DV."),
    samples: str = typer.Option(None, help="How many samples of each subject: 3, or by arm 1=3,2=2."),
    times: str = typer.Option(None, "--times", "--candidates", help='Candidate times: "0.5:48:0.5" or "1,4,24 h".'),
    window: list[str] = typer.Option(
        None, help="LOW:HIGH in h, any time within; one for all samples, or one for each."
    ),
    spacing: float = typer.Option(0.0, help="The least time between two samples, h."),
    observable: str = typer.Option(None, help="Whose samples are placed (a,b: together); the others stay."),
    optimise: bool = typer.Option(False, "--optimise", "--optimize", help="Place the study's own number of samples."),
    criterion: str = typer.Option(None, help="D, Ds or ED; default: Ds with --interest, ED with --prior, else D."),
    interest: str = typer.Option(None, help="The parameters that count, by name: CL,V."),
    prior: str = typer.Option(None, help="Uncertainty of the values: CL=30%,KA=50% (relative) or EFFECT=0.2."),
    draws: int = typer.Option(16, min=1, help="Draws from the prior."),
    arms: str = typer.Option(None, help="A column of the data: subjects that differ in it may differ in schedule."),
    subjects: str = typer.Option(None, help="How many: 24, or by arm 1=12,2=6; default: as in the data."),
    split: bool = typer.Option(False, "--split", help="Split patients over several schedules, and prove the optimum."),
    form: str = typer.Option("reduced", help="reduced (variances do not depend on θ) or full."),
    approximation: str = typer.Option("fo", help="fo: linearised at η = 0; foce: at simulated η."),
    rse: list[str] = typer.Option(None, help="NAME=10%: how many patients for that relative standard error."),
    power: list[str] = typer.Option(None, help="NAME=80%: how many patients for that power to tell it from 0."),
    exact: bool = typer.Option(False, "--exact", help="The information by simulation too, without linearising."),
    marginal: str = typer.Option("agq", help="Its likelihood: agq, laplace or focei."),
    replicates: int = typer.Option(1000, min=40, help="Simulated subjects of each kind."),
    seed: int = typer.Option(1, help="Of starts, draws and simulated subjects."),
    settings: list[str] = typer.Option(None, "--set", help="NAME=VALUE: a parameter or any entry of fit.toml."),
    solver: str = typer.Option(None, help="Solve by this method instead of the model's own choice."),
    out: Path = typer.Option(None, help="Write design.json and parameters.csv into this new folder."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Evaluate a study's design, or find the best sampling times: criterion, expected errors, patients needed."""
    from pbpk.commands.shared import read_list, read_pairs, say
    from pbpk.optimal_design.spec import DesignSpec
    from pbpk.regimen.times import parse_times

    names, spread = read_list(interest) or [], _read_prior(prior)
    spec = DesignSpec(
        criterion=criterion or ("ED" if spread else "Ds" if names else "D"),
        interest=names,
        samples=_read_numbers(samples, "--samples", int),
        times=None if times is None else parse_times(times),
        windows=[_read_window(w) for w in window or ()] or None,
        spacing=spacing,
        observables=read_list(observable),
        arms=arms,
        subjects=_read_numbers(subjects, "--subjects", float),
        optimise=optimise,
        split_patients=split,
        prior=spread,
        draws=draws,
        form=form,
        approximation=approximation,
        rse=_read_shares(rse, "--rse"),
        power=_read_shares(power, "--power"),
        exact=exact,
        marginal=marginal,
        replicates=replicates,
        seed=seed,
        settings=read_pairs(settings, "--set"),
        solver=solver,
        progress=lambda text: say(f"  {text}"),
    )
    _design(study, spec, out, as_json)


def _design(study: str, spec: DesignSpec, out: Path | None, as_json: bool) -> None:
    """Find the design, write it into the folder `out` if there is one, and print it."""
    from pbpk.commands.shared import print_json, say
    from pbpk.optimal_design.design_study import design_study

    result = design_study(study, spec)
    if out is not None:
        _write(result, out)
    for warning in result.warnings:
        say(f"note: {warning}")
    if as_json:
        content = result.to_json()
        content.pop("schema_version")
        print_json(content)
    else:
        _show(result)


def _write(result: Design, out: Path) -> None:
    """Write design.json and parameters.csv into the new folder `out`."""
    from pbpk.commands.shared import say
    from pbpk.run_folders.claim import claim_folder

    folder = claim_folder(Path("designs") / result.study, out, resumable=None)
    try:
        folder.write_json("design.json", result.to_json())
        folder.write("parameters.csv", result.parameters.to_csv(index=False))
        say(f"wrote {folder.finish()}")
    except BaseException:
        folder.abandon()
        raise


def _show(d: Design) -> None:
    from pbpk.report.numbers import format_number

    name = d.criterion + (f" for {', '.join(d.interest)}" if d.interest else "")
    how = "first order" if d.approximation == "fo" else "first order around simulated η"
    print(f"{d.study}: {name}, {d.subjects:g} subjects; information by {how}, {d.form} form\n")
    rows = [("arm", "subjects", "samples of", "at (h)")]
    for s in d.schedules:
        at = "differs between subjects" if s.times is None else ", ".join(format_number(t) for t in s.times)
        rows.append((s.arm, f"{s.subjects:g}", ", ".join(s.observables), at))
    _print(rows, left=(0, 2, 3))
    print(f"\ncriterion {d.value:.4f}; −ln det of all the information {d.minus_log_det:.4f}")
    if d.optimised and d.own_value is not None:
        print(f"the study as it stands: {d.own_value:.4f}")
    if d.at_most is not None and d.efficiency is not None:
        what = "the best split over schedules on the candidate times"
        print(f"efficiency against {what}: {100 * d.efficiency:.1f} %")
    exact = d.exact or {}
    before = d.optimised and bool(d.parameters["own_rse"].notna().any())
    head = ["parameter", "value", "unit", "SE", "RSE %"] + ["RSE % as it stands"] * before
    head += ["exact SE", "± Monte Carlo"] * bool(exact) + ["power"] * bool(d.parameters["power"].notna().any())
    rows = [tuple(head)]
    for r in d.parameters.itertuples():
        row = [str(r.name), format_number(r.value), str(r.unit), format_number(r.se), format_number(r.rse, 3)]
        row += [format_number(r.own_rse, 3)] * before
        if exact:
            row += [
                format_number(exact["standard_errors"][r.name]),
                format_number(exact["monte_carlo_errors"][r.name], 2),
            ]
        row += [format_number(r.power, 3)] * ("power" in head)
        rows.append(tuple(row))
    print()
    _print(rows, left=(0, 2))
    if exact:
        print(
            f"\nexact: {exact['replicates']} simulated subjects of each kind, {exact['marginal']}; criterion "
            f"{exact['value']:.3f} ± {exact['value_error']:.3f}; mean score within {exact['mean_score_z']:.1f} of its errors"
        )
    for n in d.needed:
        goal = f"{100 * n['goal']:g} %"
        what = f"an RSE of {goal}" if n["wanted"] == "rse" else f"a power of {goal}"
        print(f"\n{n['parameter']}: {what} takes {n['subjects']} patients like these")


def _print(rows: Sequence[Sequence[str]], left: Sequence[int]) -> None:
    width = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        cells = [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(r, width, strict=True))]
        print("  ".join(cells).rstrip())


def _read_numbers(text: str | None, option: str, kind: type) -> Any:
    """One number, or {arm: number}."""
    from pbpk.commands.shared import read_list, read_pairs
    from pbpk.errors import WrongUsage

    if text is None:
        return None
    try:
        if "=" in text:
            return {k: kind(v) for k, v in read_pairs(read_list(text), option).items()}
        return kind(text)
    except ValueError:
        raise WrongUsage(f'{option} "{text}" cannot be read', hint=f"{option} 3, or by arm {option} 1=3,2=2") from None


def _read_window(text: str) -> tuple[float, float]:
    from pbpk.errors import WrongUsage

    low, colon, high = text.partition(":")
    try:
        return float(low), float(high if colon else "")
    except ValueError:
        raise WrongUsage(f'--window "{text}" cannot be read', hint="--window 0.5:48") from None


def _read_share(text: str, option: str) -> tuple[float, bool]:
    """A number and whether it was in percent."""
    from pbpk.errors import WrongUsage

    relative = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        raise WrongUsage(f'{option} "{text}" is not a number', hint=f"{option} CL=10%") from None
    if not value > 0:
        raise WrongUsage(f"{option}: {text} is not above zero")
    return (value / 100 if relative else value), relative


def _read_shares(pairs: list[str] | None, option: str) -> dict[str, float]:
    from pbpk.commands.shared import read_pairs

    return {k: _read_share(v, option)[0] for k, v in read_pairs(pairs, option).items()}


def _read_prior(text: str | None) -> dict[str, tuple[float, bool]]:
    from pbpk.commands.shared import read_list, read_pairs

    return {k: _read_share(v, "--prior") for k, v in read_pairs(read_list(text), "--prior").items()}
