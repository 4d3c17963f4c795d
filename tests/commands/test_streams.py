"""Streams, disks and terminals as they are: closed, full, without a letter; and two processes that want one folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .invoke import ROOT

CLI = [sys.executable, str(ROOT / "cli.py")]
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")


def shell(line, **env):
    """What bash says to a line in which `pbpk` is the command line's own."""
    line = line.replace("pbpk", f'"{CLI[0]}" "{CLI[1]}"')
    return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, env=os.environ | env)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_without_all_letters(encoding):
    ran = shell("pbpk models oral_one_compartment", PYTHONIOENCODING=encoding)
    assert ran.returncode == 0 and ran.stderr == b"" and b"central" in ran.stdout


def test_a_reader_that_goes_away():
    ran = shell("pbpk models nis_body | head -1")
    assert ran.returncode == 0 and ran.stderr == b""


def test_a_closed_stdout():
    ran = shell("pbpk models oral_one_compartment >&-")
    assert ran.returncode == 0 and ran.stderr == b""


@needs_full
@pytest.mark.parametrize("words", ["models oral_one_compartment", "models oral_one_compartment --json"])
def test_a_full_disk(words):
    ran = shell(f"pbpk {words} > /dev/full")
    assert ran.returncode == 3 and b"no space left on the disk" in ran.stderr
    assert b"Traceback" not in ran.stderr and b"fault of pbpk" not in ran.stderr


CLAIM = """
import sys
from pathlib import Path
from pbpk.errors import BadInput
from pbpk.run_folders.claim import claim_folder
base, out = Path(sys.argv[1]), [Path(p) for p in sys.argv[2:]]
print("ready", flush=True)
sys.stdin.read()
for place in out:
    try:
        claim_folder(base, place)
        print(place.name)
    except BadInput:
        pass
for _ in out:
    print(claim_folder(base, None).final.name)
"""


def test_a_folder_is_claimed_by_one_process_alone(tmp_path):
    """Four processes want the same 50 names, and 50 numbers each, from one moment on: each is won once."""
    names = [str(tmp_path / "out" / f"run{k}") for k in range(50)]
    command = [sys.executable, "-c", CLAIM, str(tmp_path / "base"), *names]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes) for _ in range(4)]
    for p in running:
        assert p.stdout.readline() == "ready\n"
    for p in running:
        p.stdin.close()
        p.stdin = None
    won = [line for p in running for line in p.communicate()[0].split()]
    assert sorted(won) == sorted([f"run{k}" for k in range(50)] + [f"{k:03d}" for k in range(1, 201)])


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v is Linux's")
@pytest.mark.parametrize("kilobytes", [600_000, 1_500_000, 3_000_000])
def test_too_little_address_space_is_one_message(tmp_path, kilobytes):
    """JAX would end the process with a C++ exception, or an import that fails."""
    command = f'ulimit -v {kilobytes}; exec "{sys.executable}" "{ROOT / "cli.py"}" models iodide'
    ran = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1 and ran.stdout == ""
    assert "address space" in ran.stderr and "ulimit -v unlimited" in ran.stderr
    assert "Traceback" not in ran.stderr and "fault of pbpk" not in ran.stderr
