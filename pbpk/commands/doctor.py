"""`pbpk doctor`: versions, devices, precision, cache; what a bug report should carry."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("doctor")(doctor)


def doctor(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """Print versions, devices, precision and where compiled programs are kept."""
    import importlib.util
    import os
    from pathlib import Path

    from pbpk.commands.shared import print_json
    from pbpk.model.load import list_models
    from pbpk.run_folders.record import read_environment
    from pbpk.study.load import list_studies

    findings = read_environment()
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", "")
    folder = Path(cache) if cache else None
    findings["compile_cache"] = cache or None
    findings["compile_cache_programs"] = len(list(folder.glob("*-cache"))) if folder and folder.is_dir() else 0
    findings["extras"] = {
        extra: all(importlib.util.find_spec(p) is not None for p in needs)
        for extra, needs in {"report": ("matplotlib", "jinja2")}.items()
    }
    findings["models"], findings["studies"] = list(list_models()), list(list_studies())
    problems = [] if findings["float64"] else ["float64 is off: import pbpk before jax, or unset JAX_ENABLE_X64"]
    if not cache:
        problems.append("no place to keep compiled programs: set PBPK_CACHE to a folder you can write to")
    findings["problems"] = problems
    if as_json:
        print_json(findings)
    else:
        for package, number in findings["versions"].items():
            print(f"{package:<12} {number}")
        print(f"{'platform':<12} {findings['platform']}, {findings['cores']} cores")
        print(f"{'devices':<12} {', '.join(findings['devices'])}")
        print(f"{'precision':<12} {'float64' if findings['float64'] else 'float32'}")
        print(f"{'cache':<12} {cache or 'none'} ({findings['compile_cache_programs']} programs)")
        for extra, there in findings["extras"].items():
            print(
                f"{'extra':<12} {extra}: {'installed' if there else 'not installed (pip install pbpk[' + extra + '])'}"
            )
        print(f"{'models':<12} {', '.join(findings['models'])}")
        print(f"{'studies':<12} {', '.join(findings['studies'])}")
        print("no problems found" if not problems else "\n".join(f"problem: {p}" for p in problems))
    if problems:
        raise typer.Exit(1)
