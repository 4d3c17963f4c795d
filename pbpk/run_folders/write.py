"""The run folder being written: claimed at the start as NAME.partial, renamed when whole. Nothing is ever overwritten.

Holds what repeats the run elsewhere: command.txt, run.json, the study and model as used, and the results.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pbpk.errors import BadInput
from pbpk.estimation.base import Info, State
from pbpk.estimation.multistart import End


class OutputFolder:
    """A folder being written at `partial`, to become `final`. `made`: folders made to hold it, innermost first."""

    def __init__(self, final: Path, partial: Path, made: Sequence[Path] = ()):
        self.final, self.partial, self.created_parents = final, partial, made

    def write(self, name: str, text: str) -> None:
        """Write whole or not at all: a reader never sees half a file."""
        target = self.partial / name
        temporary = target.with_name(target.name + ".tmp")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, target)

    def write_json(self, name: str, data: Any) -> None:
        self.write(name, json.dumps(replace_nonfinite(data), indent=1) + "\n")

    def finish(self) -> Path:
        if self.final.exists():
            raise _exists_error(self.final)
        self.partial.rename(self.final)
        return self.final

    def abandon(self) -> None:
        """Leave nothing behind: neither the folder nor those made to hold it, unless another run is in them."""
        shutil.rmtree(self.partial, ignore_errors=True)
        _remove_empty(self.created_parents)


def claim_folder(base: Path, out: Path | None) -> OutputFolder:
    """A new folder: `out` itself, which must not exist, or the next number under `base`."""
    if out is not None:
        final = Path(out)
        if final.exists():
            raise _exists_error(final)
        partial = final.with_name(final.name + ".partial")
        if partial.exists():
            hint = f"go on with it:  pbpk fit {partial} --resume   (or remove it)"
            raise BadInput("an unfinished run is there", where=str(partial), hint=hint)
        return OutputFolder(final, partial, _make_folder(partial)[1:])
    created = _make_folder(base)
    while True:
        taken = [int(n) for p in base.iterdir() if (n := p.name.removesuffix(".partial")).isdigit()]
        name = f"{max(taken, default=0) + 1:03d}"
        partial = base / f"{name}.partial"
        try:
            partial.mkdir()
            return OutputFolder(base / name, partial, created)
        except FileExistsError:
            continue  # another process took the number between the look and the making
        except OSError as e:
            raise _unwritable_error(partial, e) from e


def resume_folder(partial: Path) -> OutputFolder:
    """The unfinished folder of an interrupted run."""
    if not partial.name.endswith(".partial") or not (partial / "run.json").exists():
        raise BadInput("is not an unfinished run", where=str(partial), hint="its name ends in .partial")
    return OutputFolder(partial.with_name(partial.name.removesuffix(".partial")), partial)


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder and what is missing above it; what was made, innermost first."""
    try:
        created = [p for p in (folder, *folder.parents) if not p.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise _unwritable_error(folder, e) from e
    if not os.access(folder, os.W_OK):
        _remove_empty(created)
        raise BadInput("cannot be written to", where=str(folder), hint="choose another place:  --out DIR")
    return created


def _remove_empty(created: Sequence[Path]) -> None:
    for folder in created:
        try:
            folder.rmdir()
        except OSError:  # not empty: someone else's by now
            return


def _unwritable_error(folder: Path, error: OSError) -> BadInput:
    hint = "choose a place you can write to:  --out DIR"
    return BadInput(f"cannot be made ({error.strerror})", where=str(folder), hint=hint)


def _exists_error(folder: Path) -> BadInput:
    hint = "choose another --out, or leave it out for a numbered folder"
    return BadInput("exists already, and runs are never overwritten", where=str(folder), hint=hint)


def copy_files(folder: OutputFolder, sources: dict[str, Path]) -> dict[str, str]:
    """Copy files in under the given names; returns the sha256 of each."""
    hashes = {}
    for name, source in sources.items():
        target = folder.partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        hashes[name] = sha256(target.read_bytes()).hexdigest()
    return hashes


def write_method_files(folder: OutputFolder, files: Mapping[str, pd.DataFrame | Mapping[str, np.ndarray]]) -> None:
    """A method's own tables (CSV) and arrays by name (npz)."""
    for name, content in files.items():
        if isinstance(content, Mapping):
            np.savez_compressed(folder.partial / name, **content)  # type: ignore[arg-type]
        else:
            folder.write(name, content.to_csv(index=False))


def read_environment() -> dict[str, Any]:
    """Versions and machine, as run.json keeps them."""
    import jax

    packages = ("pbpk", "jax", "jaxlib", "diffrax", "equinox", "llvmlite", "numpy", "scipy", "pandas")
    return {
        "versions": {"python": platform.python_version()} | {p: _package_version(p) for p in packages},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "devices": [str(d) for d in jax.devices()],
        "float64": bool(jax.config.read("jax_enable_x64")),
    }


def _package_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def replace_nonfinite(data: Any) -> Any:
    """JSON has no NaN: what is not finite becomes null."""
    if isinstance(data, dict):
        return {str(k): replace_nonfinite(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [replace_nonfinite(v) for v in data]
    if isinstance(data, np.ndarray):
        return replace_nonfinite(data.tolist())
    if isinstance(data, np.generic):
        return replace_nonfinite(data.item())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def save_state(folder: OutputFolder, state: State, infos: list[Info]) -> None:
    """The checkpoint: all of a method's state, so that a resumed fit goes on bit for bit."""
    temporary = folder.partial / "checkpoint.tmp.npz"
    more = {f"more.{k}": v for k, v in state.more.items()}
    plain = {k: v for k, v in vars(state).items() if k != "more"}
    np.savez(temporary, infos=np.array(infos, dtype=float).reshape(-1, 6), **plain, **more)
    os.replace(temporary, folder.partial / "checkpoint.npz")


def load_state(folder: OutputFolder) -> tuple[State, list[Info]] | None:
    """The last checkpoint, or None when the run had not got that far."""
    path = folder.partial / "checkpoint.npz"
    if not path.exists():
        return None
    with np.load(path) as saved:
        numbers = {"ofv": float, "iteration": int, "evaluations": int, "status": str}
        plain = [k for k in State.__dataclass_fields__ if k != "more"]
        fields = {k: numbers[k](saved[k]) if k in numbers else saved[k] for k in plain}
        fields["more"] = {k.removeprefix("more."): saved[k] for k in saved.files if k.startswith("more.")}
        infos = [Info(int(i[0]), i[1], i[2], i[3], i[4], int(i[5])) for i in saved["infos"].tolist()]
    return State(**fields), infos


def save_ends(folder: OutputFolder, ends: Sequence[End]) -> None:
    """Where the starts of a multistart that have come to their end went."""
    temporary = folder.partial / "ends.tmp.npz"
    np.savez(temporary, **{k: np.array([getattr(e, k) for e in ends]) for k in End.__dataclass_fields__})  # type: ignore[arg-type]
    os.replace(temporary, folder.partial / "ends.npz")


def load_ends(folder: OutputFolder) -> list[End]:
    path = folder.partial / "ends.npz"
    if not path.exists():
        return []
    with np.load(path) as saved:
        columns = {k: saved[k] for k in End.__dataclass_fields__}
    plain = {"number": int, "ofv": float, "cause": str, "iterations": int}
    return [
        End(**{k: plain[k](v[i]) if k in plain else v[i] for k, v in columns.items()}) for i in range(len(columns["number"]))
    ]


def command_line() -> str:
    return shlex.join(["pbpk", *sys.argv[1:]])
