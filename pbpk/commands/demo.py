"""`pbpk demo`: fit a bundled study, print the table, and say what to type next."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("demo")(demo)


def demo(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """Fit theophylline in twelve subjects and print the table and the next three commands."""
    from pbpk.commands.fit import fit_study
    from pbpk.commands.shared import say

    folder, code = fit_study("theophylline", as_json=as_json)
    say()
    say("Next:")
    say("  pbpk models iodide")
    say('  pbpk simulate iodide --nuclide I-131 --dose "1 MBq oral" --times "0:120:1 h" --observe whole_body,thyroid')
    say(f"  pbpk report {folder}")
    raise typer.Exit(code)
