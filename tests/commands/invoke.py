"""Running the command line inside this process, so that JAX is imported and programs are compiled once for all tests."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Ran(NamedTuple):
    """What one command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """stdout as one strict JSON object: NaN and Infinity are no JSON."""
        return json.loads(self.out, parse_constant=_not_json)


def _not_json(word: str):
    raise ValueError(f"{word} is not JSON")


@contextlib.contextmanager
def _standing_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def invoke(*args: str | Path, cwd: Path) -> Ran:
    """`pbpk ARGS` as if typed in `cwd`."""
    from pbpk.commands import main

    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    code: object = 0
    with _standing_in(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = ["pbpk", *map(str, args)]
        try:
            main()
        except SystemExit as e:
            code = e.code
        finally:
            sys.argv = argv
    return Ran(code if isinstance(code, int) else 0 if code is None else 1, out.getvalue(), err.getvalue())


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below `folder`: files with their contents, folders with None. Python's own bytecode does not count."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() and not p.is_symlink() else None
        for p in sorted(folder.rglob("*"))
        if "__pycache__" not in p.parts
    }
