"""A fresh process: what importing loads, what it sets before JAX, and that no home folder is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SLOW = ("jax", "pint", "matplotlib", "sympy", "arviz", "petab", "pandas")
OURS = ("PBPK", "JAX_", "EQX_", "XDG_CACHE")  # what a test's own process has set already


def python(code: str, **env: str | None) -> str:
    """stdout of `python -c code` without our settings; `env` adds variables, or removes those that are None."""
    base = {k: v for k, v in os.environ.items() if not k.startswith(OURS)} | {"PBPK_CACHE": os.environ["PBPK_CACHE"]}
    merged = {k: v for k, v in (base | {"PYTHONPATH": str(ROOT)} | env).items() if v is not None}
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], env=merged, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout


def loaded_after(statement: str) -> set[str]:
    code = f"""
import contextlib, io, json, sys
with contextlib.redirect_stdout(io.StringIO()):
    {statement}
print(json.dumps(sorted(sys.modules)))
"""
    return set(json.loads(python(code)))


def test_importing_loads_nothing_slow():
    assert loaded_after("import pbpk").isdisjoint(SLOW)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["fit", "--help"], ["simulate", "-h"]])
def test_help_and_version_load_no_jax(words):
    statement = f"""
    sys.argv = ["pbpk", *{words!r}]
    from pbpk.commands import main
    try:
        main()
    except SystemExit as e:
        assert not e.code
    """
    assert loaded_after(statement.strip()).isdisjoint(SLOW)


def test_version_and_front_door():
    ran = subprocess.run([sys.executable, ROOT / "cli.py", "--version"], capture_output=True, text=True)
    import pbpk

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"pbpk {pbpk.__version__}\n", "")


REPORT = """
import os, jax, jax.numpy as jnp
print(jax.config.jax_enable_x64, jnp.ones(1).dtype, os.environ["EQX_ON_ERROR"], jax.config.jax_compilation_cache_dir)
"""


@pytest.mark.parametrize("code", ["import pbpk, jax", "import jax, pbpk", "import pbpk.study.load"])
def test_float64_and_the_cache_are_on_in_any_order_of_import(code, tmp_path):
    told = python(code + REPORT, PBPK_CACHE=str(tmp_path)).split()
    assert told == ["True", "float64", "nan", str(tmp_path / "programs")]


def test_what_the_user_has_set_stands(tmp_path):
    told = python("import pbpk" + REPORT, EQX_ON_ERROR="raise", JAX_COMPILATION_CACHE_DIR=str(tmp_path)).split()
    assert told[2:] == ["raise", str(tmp_path)]


def test_the_cache_is_private_and_follows_xdg(tmp_path):
    told = python("import pbpk" + REPORT, PBPK_CACHE=None, XDG_CACHE_HOME=str(tmp_path)).split()
    assert told[3] == str(tmp_path / "pbpk" / "programs")
    assert (tmp_path / "pbpk" / "programs").stat().st_mode & 0o077 == 0


NO_HOME = """
import pathlib
def home(cls):
    raise RuntimeError("Could not determine home directory.")
pathlib.Path.home = classmethod(home)
"""  # what pathlib does for an account without one; the password file of this machine names one for us


@pytest.mark.parametrize(
    ("home", "before"), [("/proc/nothing", ""), ("/dev/null", ""), (None, NO_HOME)], ids=["unwritable", "file", "unset"]
)
def test_a_home_that_cannot_be_written_to_costs_the_cache_alone(home, before):
    """`/proc` and `/dev/null` refuse root too."""
    code = """
import os, pbpk, jax
model = pbpk.load_model("iv_one_compartment")
print(float(jax.jit(lambda x: 2 * x)(model.values[0])) > 0, "JAX_COMPILATION_CACHE_DIR" in os.environ)
"""
    told = python(before + code, HOME=home, PBPK_CACHE=None, XDG_CACHE_HOME=None).split()
    assert told == ["True", "False"]
