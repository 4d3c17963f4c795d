"""Small tables and model folders, written for one test."""

from pathlib import Path

import pytest

from pbpk.model.parameters import Parameter, ParameterTable, read_number

STRUCTURE = """\
from pbpk.model import OUT, Block, Compartment, clearance, conc, flux, observe

central = Compartment("central", "mg", volume="V")
model = Block(
    (central,),
    (flux(central >> OUT, clearance, c=conc(central), cl="CL"),),
    observables=(observe("cp", conc(central), "plasma concentration"),),
    routes={"iv": central},
)
"""

ROWS = """\
CL = { value = 2.0, unit = "L/h", about = "clearance", source = "smith2020, table 1" }
V = { value = 10.0, unit = "L", about = "volume", source = "assumed: for a test", status = "assumed" }
"""

BIBLIOGRAPHY = "@article{smith2020, title = {A}}\n@article{jones1999, title = {B}}\n"


@pytest.fixture
def table():
    """A table from names and numbers with units: `table(CL="2 L/h")`; dotted names through a dict."""

    def make(rows: dict[str, str] | None = None, **more: str) -> ParameterTable:
        texts = {**(rows or {}), **more}
        parsed = {name: read_number(text) for name, text in texts.items()}
        made = {n: Parameter(n, v, unit or "1", "of a test", "assumed: a test") for n, (v, unit) in parsed.items()}
        return ParameterTable(made, {}, {}, "parameters.toml")

    return make


@pytest.fixture
def folder(tmp_path):
    """Writes a model's folder, `models/NAME` under the temporary folder, and gives its path."""

    def make(structure: str = STRUCTURE, rows: str = ROWS, name: str = "mine") -> Path:
        made = tmp_path / "models" / name
        made.mkdir(parents=True, exist_ok=True)
        (made / "structure.py").write_text(structure, encoding="utf-8")
        (made / "parameters.toml").write_text(rows, encoding="utf-8")
        (made.parent / "references.bib").write_text(BIBLIOGRAPHY, encoding="utf-8")
        return made

    return make
