"""`pbpk models [NAME]`: what models there are; one model's equations, parameters and graph."""

from __future__ import annotations

from pathlib import Path

import typer

from pbpk.errors import PbpkError


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("models")(models)


def models(
    name: str = typer.Argument(None, help="A model's name or folder; all models are listed without one."),
    nuclide: str = typer.Option(None, help="Show it for this nuclide, such as I-131."),
    option: list[str] = typer.Option(None, "--option", help="NAME=CHOICE of a model that comes in variants."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """List models, or show one: its graph, equations, parameters with units and sources."""
    if name is None:
        _print_models(as_json)
    else:
        _print_model(name, nuclide, option, as_json)


def _print_models(as_json: bool) -> None:
    from pbpk.commands.shared import print_json
    from pbpk.model.load import list_models

    rows = [_describe_model(name, folder) for name, folder in list_models().items()]
    if as_json:
        print_json({"models": rows})
        return
    for r in rows:
        size = "" if r["compartments"] is None else f"{r['compartments']:>3} compartments, "
        kind = {None: "yours; not run for this list", True: "linear", False: "nonlinear"}[r["linear"]]
        shadows = "  (in place of the bundled one)" if r["shadows"] else ""
        print(f"{r['name']:<24} {size + kind:<29} {r['title']}{shadows}")


def _describe_model(name: str, folder: Path) -> dict:
    """A line of the list. A model that did not come with pbpk is listed by its table alone: its Python is not run for it."""
    from pbpk.model.load import load_model, model_folders
    from pbpk.model.parameters import read_parameters
    from pbpk.runtime.trust import is_installed

    shadows = [root for root in model_folders() if (root / name / "structure.py").exists()][1:]
    row = {"name": name, "folder": str(folder), "bundled": is_installed(folder), "shadows": bool(shadows)}
    if row["bundled"]:
        m = load_model(folder)
        return row | {"title": m.title, "compartments": len(m.system.held_names), "linear": not m.system.nonlinear}
    try:
        title = read_parameters(folder / "parameters.toml").settings.get("title", name)
    except PbpkError as e:
        title = f"cannot be read: {e.what}"
    return row | {"title": title, "compartments": None, "linear": None}


def _print_model(name: str, nuclide: str | None, option: list[str] | None, as_json: bool) -> None:
    from pbpk.commands.shared import print_json, read_pairs
    from pbpk.model.draw import draw_system
    from pbpk.model.equations import write_equations
    from pbpk.model.load import load_model
    from pbpk.solve.choose import choose_solver

    m = load_model(name, nuclide=nuclide, options=read_pairs(option, "--option"))
    system = m.system
    if as_json:
        print_json(
            {
                "name": m.name,
                "title": m.title,
                "nuclide": m.nuclide,
                "options": {
                    o.name: {"chosen": m.options[o.name], "choices": list(o.choices), "about": o.about}
                    for o in m.choices
                },
                "compartments": [{"name": c.name, "unit": c.unit} for c in system.compartments if c.clock is None],
                "routes": {word: c.name for word, c in system.block.routes.items()},
                "observables": {o.name: o.about for o in system.block.observables},
                "equations": write_equations(system),
                "parameters": {n: _describe_row(row) for n, row in m.parameters.items()},
                "covariates": {n: _describe_row(row) for n, row in m.parameters.covariates.items()},
                "linear": not system.nonlinear,
                "nonlinear_fluxes": [str(f) for f in system.nonlinear],
                "sparsity": sorted(system.sparsity),
                "solver": choose_solver(system).name,
                "remarks": list(m.remarks),
            }
        )
        return
    print(f"{m.name}: {m.title}" + (f" ({m.nuclide})" if m.nuclide else ""))
    print(f"{m.folder / 'README.md'}\n")
    print(draw_system(system))
    print("\nEquations (h, L, mg, nmol, MBq)")
    for line in write_equations(system):
        print(f"  {line}")
    if m.choices:
        print("\nOptions (--option NAME=CHOICE)")
    for o in m.choices:
        print(f"  {o.name:<14} {m.options[o.name]:<20} {o.about}")
        print(
            f"  {'':<14} {'':<20} [{' | '.join(o.choices)}]" + ("  several, separated by commas" if o.several else "")
        )
    print("\nParameters")
    for n, row in (*m.parameters.items(), *m.parameters.covariates.items()):
        spread = ""
        if row.spread:
            size = " to ".join(f"{x:g}" for x in row.spread.size)
            spread = f"   spread: {row.spread.distribution} {size}"
        print(f"  {n:<38} {row.value:>12.6g} {row.unit:<10} {row.status:<9} {row.about}")
        print(f"  {'':<38} {'':>12} {'':<10} [{row.source}]{spread}")
    routes = ", ".join(f"{word} → {c.name}" for word, c in system.block.routes.items())
    print(f"\nRoutes       {routes or 'none named; dose a compartment by its name'}")
    print("Observables  " + ", ".join(system.observables))
    kind = "linear" if not system.nonlinear else "nonlinear: " + ", ".join(str(f) for f in system.nonlinear)
    print(f"Kinetics     {kind}; solved by {choose_solver(system).name}")
    filled, size = len(system.sparsity), len(system.names)
    print(f"Jacobian     {filled} of {size * size} entries can be nonzero")
    for remark in m.remarks:
        print(f"Remark       {remark}")


def _describe_row(row) -> dict:
    out = {"value": row.value, "unit": row.unit, "about": row.about, "source": row.source, "status": row.status}
    if row.spread:
        out["spread"] = {"distribution": row.spread.distribution, "size": row.spread.size, "source": row.spread.source}
    return out
