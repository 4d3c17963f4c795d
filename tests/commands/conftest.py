"""Fixtures of the command line's tests: commands in this process or in their own, a model and a study to spoil."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import start_process

from .invoke import ROOT, Ran, invoke, tree

Pbpk = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback mode left over from another test, and help texts of one width without colour."""
    monkeypatch.delenv("PBPK_DEBUG", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def pbpk(tmp_path: Path) -> Pbpk:
    """`pbpk("models", "--json")` runs that command in `tmp_path`."""
    return lambda *args: invoke(*args, cwd=tmp_path)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """`process("fit", "theophylline")` starts that command in `tmp_path`; what still runs at the end is killed."""
    env = {k: v for k, v in os.environ.items() if k != "PBPK_DEBUG"}
    with contextlib.ExitStack() as started:

        def start(*args: str | Path) -> subprocess.Popen:
            command = [sys.executable, ROOT / "cli.py", *args]
            return started.enter_context(start_process(command, cwd=tmp_path, env=env))

        yield start


@pytest.fixture
def refused(pbpk: Pbpk, tmp_path: Path) -> Callable[..., Ran]:
    """`refused(code, *words)(*args)` runs a command that must fail with one message holding `words` and touch nothing."""

    def expect(code: int, *words: str) -> Callable[..., Ran]:
        def run(*args: str | Path) -> Ran:
            before = tree(tmp_path)
            ran = pbpk(*args)
            assert ran.code == code, ran
            assert ran.out == "", "an error prints nothing on stdout"
            assert "Traceback" not in ran.err
            assert "fault of pbpk" not in ran.err, ran.err
            assert len(re.findall(r"^error: |─ Error ─", ran.err, re.MULTILINE)) == 1, ran.err
            for word in words:
                assert word in ran.err, ran.err
            assert tree(tmp_path) == before, "a refused command leaves everything as it was"
            return ran

        return run

    return expect


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Path]:
    """`pbpk fit theophylline --json`, run once: what it gave, and the folder it was typed in. Not to be written to."""
    home = tmp_path_factory.mktemp("fitted")
    return invoke("fit", "theophylline", "--json", cwd=home), home


@pytest.fixture
def finished(fitted: tuple[Ran, Path], tmp_path: Path) -> Path:
    """A copy of that finished run, as `finished` in `tmp_path`."""
    ran, home = fitted
    return Path(shutil.copytree(home / ran.json["run"], tmp_path / "finished"))


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    """`study("mine", {"old": "new"})` copies theophylline to fits/mine, replacing texts of fit.toml."""

    def copy(name: str, changes: dict[str, str] | None = None, data: str | bytes | None = None) -> Path:
        folder = tmp_path / "fits" / name
        folder.mkdir(parents=True)
        text = (ROOT / "fits/theophylline/fit.toml").read_text()
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        (folder / "fit.toml").write_text(text)
        given = (ROOT / "fits/theophylline/data.csv").read_bytes() if data is None else data
        (folder / "data.csv").write_bytes(given.encode() if isinstance(given, str) else given)
        return folder

    return copy


STRUCTURE = """
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, observe, saturable

central = Compartment("central", "mg", volume="V")
model = Block(
    (central,),
    (flux(central >> OUT, {law}),),
    observables=(observe("cp", conc(central), "plasma concentration"),),
    routes={{"iv": central}},
)
"""
LAWS = {
    "linear": 'first_order, a=amount(central), k="K"',
    "saturable": 'saturable, c=conc(central), vmax="Vmax", km="Km"',
}


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """`model("mine", law="saturable", K=…)` writes models/mine; keywords replace a row of its parameters.toml."""

    def write(name: str, law: str = "linear", **rows: str) -> Path:
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "structure.py").write_text(STRUCTURE.format(law=LAWS[law]))
        tail = 'about = "a number", source = "assumed: for a test", status = "assumed"'
        known = {"V": f'{{ value = 10.0, unit = "L", {tail} }}'}
        if law == "linear":
            known["K"] = f'{{ value = 0.1, unit = "1/h", {tail} }}'
        else:
            known["Vmax"] = f'{{ value = 5.0, unit = "mg/h", {tail} }}'
            known["Km"] = f'{{ value = 1.0, unit = "mg/L", {tail} }}'
        text = "".join(f"{n} = {row}\n" for n, row in (known | rows).items())
        (folder / "parameters.toml").write_text(text)
        return folder

    return write
