"""What every model in models/ must do; a new folder is found and held to it without a line here."""

import ast
import re

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from pbpk.model import OUT
from pbpk.model.load import list_models, load_model
from pbpk.solve.choose import choose_solver
from pbpk.solve.general import General
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.timeline import build_timeline

NAMES = sorted(list_models())
every_model = pytest.mark.parametrize("name", NAMES)
LINEAR = [n for n in NAMES if not load_model(n).system.nonlinear]
DOSE, TIMES = 100.0, [0.1, 1.0, 6.0, 24.0, 120.0]


def solved(model, solver):
    """Amounts (T, n) after one bolus by the model's first route."""
    into = next(iter(model.system.block.routes.values())).name
    empty = {"RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": into}
    rows = [{"TIME": 0.0, "EVID": 1, "AMT": DOSE, "MDV": 1, **empty}]
    rows += [{"TIME": t, "EVID": 0, "AMT": 0.0, "MDV": 0, **empty} for t in TIMES]
    timeline = build_timeline([pd.DataFrame(rows)], model.system)
    p = jnp.asarray(model.values)[None, :, None]
    done = jax.jit(lambda q: solver.solve(model.system, timeline, q))(p)
    assert done.result.tolist() == [0]
    return np.asarray(done.amounts)[: len(TIMES), :, 0]


@every_model
def test_loads_without_remarks(name):
    assert load_model(name).remarks == ()


@every_model
def test_structure_imports_the_declarations_alone(name):
    """And, where it is split over several files, these."""
    for file in list_models()[name].glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.Import), f"{file.name} line {node.lineno}: import {node.names[0].name}"
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module == "pbpk.model", f"{file.name} line {node.lineno}"


@every_model
def test_every_source_can_be_looked_up(name):
    """Loading refuses a key that no bibliography holds; here, that each entry says enough to be found."""
    model = load_model(name)
    text = (model.folder.parent / "references.bib").read_text(encoding="utf-8")
    entries = dict(re.findall(r"@\w+\{(\w+),(.*?)\}\n(?=@|\Z)", text, flags=re.DOTALL))
    table = model.parameters
    rows = [r for r in (*table.values(), *table.covariates.values()) if r.status != "derived"]
    sources = [r.source for r in rows] + [r.spread.source for r in rows if r.spread]
    sources += [e.source for r in rows for e in r.effects]
    for source in sources:
        if not source.startswith("assumed: "):
            entry = entries[re.split(r"[,\s:;]", source, maxsplit=1)[0]]
            assert all(f"{key} =" in entry for key in ("author", "title", "year")), source


@every_model
def test_has_a_readme(name):
    text = (list_models()[name] / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) > 30


@every_model
def test_has_a_title_routes_and_observables(name):
    model = load_model(name)
    assert model.title != name
    assert model.system.block.routes
    assert model.system.block.observables
    assert all(o.about for o in model.system.block.observables)


@every_model
def test_every_arrow_keeps_what_it_moves(name):
    system = load_model(name).system
    for f, total in zip(system.fluxes, system.stoichiometry.sum(axis=0), strict=True):
        assert total == (f.path.source is OUT) - (f.path.target is OUT)


@every_model
def test_balances(name):
    """Nothing appears, and what is gone is what the arrows to outside carried away."""
    model = load_model(name)
    amounts = solved(model, choose_solver(model.system))
    outward = [f for f in model.system.fluxes if OUT in (f.path.source, f.path.target)]
    lost = DOSE - amounts.sum(axis=1)
    assert (amounts > -1e-8 * DOSE).all()
    if not outward:
        np.testing.assert_allclose(lost, 0.0, atol=1e-10 * DOSE)
    elif all(f.path.target is OUT for f in outward):
        assert (np.diff([0.0, *lost]) > -1e-9 * DOSE).all()
        column = np.array([f in outward for f in model.system.fluxes])
        slope = np.asarray(jax.vmap(lambda y: model.system.rates(0.0, y, jnp.asarray(model.values)))(amounts))
        field = np.asarray(jax.vmap(lambda y: model.system.vector_field(0.0, y, jnp.asarray(model.values)))(amounts))
        np.testing.assert_allclose(field.sum(axis=1), -slope[:, column].sum(axis=1), atol=1e-9 * DOSE)


@pytest.mark.parametrize("name", LINEAR)
def test_the_exact_solver_and_diffrax_agree(name):
    model = load_model(name)
    tight = General("kvaerno5" if len(model.system.names) > 4 else "tsit5", rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(solved(model, Resolvent()), solved(model, tight), atol=1e-8 * DOSE, rtol=0)
