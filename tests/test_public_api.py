"""The names of the library: what type checkers see is what runs, the API page is what the docstrings say, examples run."""

import ast
import doctest
import importlib.util
import json
import subprocess
import sys

import pytest
from code_measures import ROOT

import pbpk


def imported_for_types() -> dict[str, str]:
    """Public name -> module:function, from the imports that type checkers read."""
    tree = ast.parse((ROOT / "pbpk/__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and isinstance(n.test, ast.Name))
    return {
        alias.asname or alias.name: f"{statement.module}:{alias.name}"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


def test_type_checkers_see_the_names_that_load():
    at_run_time = {name: home if ":" in home else f"{home}:{name}" for name, home in pbpk._HOME.items()}
    assert imported_for_types() == at_run_time
    assert sorted(pbpk.__all__) == sorted(at_run_time)
    assert (ROOT / "pbpk/py.typed").exists()


def test_users_type_checkers_see_signatures(tmp_path):
    program = tmp_path / "user.py"
    program.write_text(
        "import pbpk\n"
        "model = pbpk.load_model('iodide')\n"
        "reveal_type(model)\n"
        "reveal_type(pbpk.fit('theophylline').ofv)\n"
        "pbpk.simulate(model, pbpk.dose('1 MBq', into='blood'), [1.0], patiens=None)\n"
        "pbpk.simulat\n"
    )
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", str(program)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=None)
    messages = [d["message"] for d in json.loads(ran.stdout)["generalDiagnostics"]]
    assert any('Type of "model" is "Model"' in m for m in messages), messages
    assert any('is "float"' in m for m in messages), messages
    assert any("patiens" in m for m in messages), messages
    assert any("simulat" in m and "not a known attribute" in m for m in messages), messages


def test_the_api_page_is_made_from_the_docstrings():
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs/make_api.py")
    assert spec is not None and spec.loader is not None
    make_api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_api)
    assert (ROOT / "docs/api.md").read_text() == make_api.make_page(), "run: python docs/make_api.py"


EXAMPLES = [
    test
    for name in pbpk.__all__
    for test in doctest.DocTestFinder(recurse=False).find(getattr(pbpk, name), name, globs={"pbpk": pbpk})
    if test.examples
]


def test_most_names_have_an_example():
    assert len(EXAMPLES) >= 15


@pytest.mark.parametrize("example", EXAMPLES, ids=[test.name for test in EXAMPLES])
def test_examples_of_docstrings_run(example):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    failed, _ = runner.run(example, out=report.append)
    assert not failed, "".join(report)


def test_notebooks_show_tables():
    model = pbpk.load_model("oral_one_compartment")
    assert len(repr(model)) < 200 and "parameters" in repr(model)
    assert "<table" in model._repr_html_() and "clearance" in model._repr_html_()
    fit = pbpk.fit("theophylline")
    assert "116.803" in fit._repr_html_() and "OMEGA_KA" in fit._repr_html_()
