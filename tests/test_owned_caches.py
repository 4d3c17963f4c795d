"""Caches of machine code: never run where another user could have written it, mended where damaged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pbpk import runtime
from pbpk.compile.xla import cache
from pbpk.runtime import process
from pbpk.runtime.owned_files import find_foreign_access, frame, read_framed, read_owned_bytes

ROOT = Path(__file__).resolve().parents[1]
STRANGER = 54321
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes are POSIX's")


@pytest.fixture
def give_away(monkeypatch):
    """`give_away(path)`: from now on it belongs to somebody else, by `chown` for root and by a changed user for others."""

    def give(path):
        if os.geteuid() == 0:
            os.chown(path, STRANGER, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: STRANGER)

    return give


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """The folder of kernels of a cache of this test's own, with one kernel in it."""
    monkeypatch.setenv("PBPK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(process, "_refused", {})
    cache.keep_code("kernel", b"code")
    assert cache.load_code("kernel") == b"code" and not runtime.list_refused_caches()
    return tmp_path / "cache" / "kernels"


@posix
def test_what_another_user_owns_is_not_run(kernels, give_away):
    give_away(kernels)
    assert cache.load_code("kernel") is None
    cache.keep_code("more", b"code")
    assert [f.name for f in kernels.iterdir()] == ["kernel"]
    [said] = runtime.list_refused_caches()
    assert str(kernels) in said and "belongs to user" in said


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_to_is_refused(kernels, mode):
    kernels.chmod(mode)
    assert cache.load_code("kernel") is None
    assert "other users can write to it" in runtime.list_refused_caches()[0]


@posix
def test_one_file_of_another_user_is_refused(kernels, give_away):
    give_away(kernels / "kernel")
    assert read_owned_bytes(kernels / "kernel") is None


@posix
def test_a_link_is_not_followed(kernels):
    (kernels / "linked").symlink_to(kernels / "kernel")
    assert read_owned_bytes(kernels / "linked") is None
    assert find_foreign_access(kernels) == ""


def test_code_under_another_name_is_not_run(kernels):
    """A whole and owned file that was renamed is the code of another program."""
    (kernels / "kernel").rename(kernels / "other")
    assert cache.load_code("other") is None


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:]])
def test_a_damaged_frame_has_no_content(damage):
    framed = frame("name", b"0123456789 abcdef")
    assert read_framed("name", framed) == b"0123456789 abcdef"
    assert read_framed("name", damage(framed)) is None


PROGRAM = """
import json, os, pathlib, sys, warnings
import pbpk, jax, jax.numpy as jnp
from pbpk.runtime.owned_files import read_framed
f = jax.jit(lambda x: jnp.sin(x) * 3)
folder = pathlib.Path(os.environ["PBPK_CACHE"]) / "programs"
x = jnp.arange(3.0)
def files():
    return {p.name: p.read_bytes() for p in folder.glob("jit__lambda*")} if folder.exists() else {}
first = f(x)
kept = files()
for p in folder.glob("jit__lambda*"):
    p.write_bytes(kept[p.name][:-20])
jax.clear_caches()
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    again = f(x)
print(json.dumps({
    "kept": len(kept), "same": bool((first == again).all()),
    "mended": all(read_framed(name.removesuffix("-cache"), content) for name, content in files().items()),
    "warnings": [str(w.message) for w in said], "refused": pbpk.runtime.list_refused_caches(),
    "log": os.environ["TF_CPP_MIN_LOG_LEVEL"], "cache": os.environ.get("JAX_COMPILATION_CACHE_DIR")}))
"""


def run_program(folder: Path, **env: str) -> dict:
    ours = ("PBPK", "JAX_", "TF_CPP")
    base = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    settings = {"PBPK_CACHE": str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=base | settings | env, capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stderr == "", ran.stderr
    return json.loads(ran.stdout)


def test_a_damaged_program_of_jax_is_replaced_without_a_word(tmp_path):
    ran = run_program(tmp_path / "cache")
    assert ran["kept"] == 1 and ran["same"] and ran["mended"]
    assert ran["warnings"] == [] and ran["refused"] == []
    assert ran["log"] == "3", "XLA's own log stays off the terminal"


@posix
def test_jax_reads_no_program_from_a_folder_that_others_can_write_to(tmp_path):
    programs = tmp_path / "cache" / "programs"
    programs.mkdir(parents=True)
    programs.chmod(0o777)
    ran = run_program(tmp_path / "cache")
    assert ran["cache"] is None and ran["kept"] == 0 and ran["same"]
    assert len(ran["refused"]) == 1 and str(programs) in ran["refused"][0]
    theirs = run_program(tmp_path / "own", JAX_COMPILATION_CACHE_DIR=str(programs))
    assert theirs["cache"] is None, "nor from one that the user named"
