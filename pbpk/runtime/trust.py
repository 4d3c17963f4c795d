"""Whose Python runs: a model is code, and a folder of data that carries one would run it unasked.

A library call names a model in a program that runs anyway, so nothing is asked of it. The command line asks
(`ask_before_running`) before it runs the code of a folder that is neither installed with pbpk nor part of the current
project, unless the same code has been trusted before: trust is remembered by the hash of a model's Python files.
"""

from __future__ import annotations

import contextlib
import os
from functools import cache
from hashlib import sha256
from pathlib import Path

from pbpk.errors import BadInput
from pbpk.runtime.owned_files import read_owned_bytes
from pbpk.runtime.process import open_cache_folder

_asking = {"ask": False, "trust": False}


def ask_before_running(*, trust: bool) -> None:
    """From now on ask before unknown code runs in this process; with `trust` the answer is yes, and is remembered."""
    _asking.update(ask=True, trust=trust)


def stop_asking() -> None:
    """From now on this process runs what its program names, as it did before `ask_before_running`."""
    _asking.update(ask=False, trust=False)


def require_trust(folder: Path, *, named: bool) -> None:
    """Raise `BadInput` for a model's folder whose Python this process must not run without being told to.

    `named`: the user named this folder, and below the current folder that is enough; a study or a run that carries a
    model does not name it.
    """
    if not _asking["ask"] or is_installed(folder):
        return
    code = hash_code(folder)
    if code in _list_remembered() or code in _hash_installed_code():
        return
    if _asking["trust"] or _is_in_project(folder, named):
        _remember_code(code)
        return
    files = ", ".join(sorted(str(p.relative_to(folder)) for p in folder.rglob("*.py"))[:5])
    raise BadInput(
        f"the model here is Python code ({files}), which pbpk has not been told to run",
        where=str(folder),
        why="It would run with your rights, and it lies outside this project's models/ and fits/ and the installed package.",
        hint="read it, then add --trust: it is remembered for exactly this code",
    )


def hash_code(folder: Path) -> str:
    """The hash of all Python files below a model's folder, by their names and contents."""
    digest = sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode() + sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def is_installed(folder: Path) -> bool:
    """Whether a folder is part of what came with pbpk."""
    return any(folder.is_relative_to(root) for root in _list_installed_roots())


def _is_in_project(folder: Path, named: bool) -> bool:
    here = Path.cwd().resolve()
    return any(
        folder.resolve().is_relative_to(root) for root in ((here,) if named else (here / "models", here / "fits"))
    )


@cache
def _list_installed_roots() -> tuple[Path, ...]:
    """The folders of models and studies that came with pbpk: the checkout's, or the wheel's."""
    package = Path(__file__).resolve().parent.parent
    above = package.parent if (package.parent / "pyproject.toml").exists() else package / "_bundled"
    return above / "models", above / "fits", package / "_bundled"


@cache
def _hash_installed_code() -> frozenset[str]:
    """The code of the models that came with pbpk, of which runs hold copies."""
    roots = [root for root in _list_installed_roots() if root.is_dir()]
    return frozenset(hash_code(p.parent) for root in roots for p in root.glob("*/structure.py"))


def _remembered_file() -> Path | None:
    folder = open_cache_folder("trusted")
    return None if folder is None else folder / "models.txt"


def _list_remembered() -> set[str]:
    """The hashes of code that was trusted before; of a file that others could have written, none."""
    file = _remembered_file()
    content = None if file is None else read_owned_bytes(file)
    return set() if content is None else set(content.decode("ascii", "replace").split())


def _remember_code(code: str) -> None:
    """Add a hash to the file; where it cannot be written, the question comes again."""
    file = _remembered_file()
    if file is not None:
        with contextlib.suppress(OSError):
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "a") as lines:
                lines.write(f"{code}\n")
