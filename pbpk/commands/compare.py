"""`pbpk compare RUN RUN …`: side by side, with what the differences mean."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    runs: list[str] = typer.Argument(..., help="Run folders, STUDY/NUMBER, or studies (their latest); two or more."),
    out: Path = typer.Option(None, help="Write the table of parameters to this CSV file."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Compare finished runs: OFV, AIC, BIC, Akaike weights, estimates, and likelihood-ratio tests of those that are nested.

    Exits 1 when the runs cannot be compared (other data, other methods) or one of them is not minimised.
    """
    from pbpk.commands.shared import print_json, say
    from pbpk.run_comparison.compare import compare as side_by_side

    found = side_by_side(runs)
    if out is not None:
        _write(out, found.table.to_csv(index=False))
        say(f"wrote {out}")
    if as_json:
        for warning in found.warnings:
            say(warning)
        print_json(found.to_dict())
    else:
        from pbpk.report.comparison_text import comparison_block

        print(comparison_block(found), end="")
    raise typer.Exit(0 if found.sound else 1)


def _write(out: Path, text: str) -> None:
    """Whole or not at all, and never over another file."""
    import os

    from pbpk.errors import BadInput

    if out.exists():
        raise BadInput("exists already", where=str(out), hint="choose another --out")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, out)
    except OSError as e:
        partial.unlink(missing_ok=True)
        raise BadInput(f"cannot be written ({e.strerror})", where=str(out)) from e
