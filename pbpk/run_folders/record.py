"""What a run folder says of how it was made: command.txt, run.json, and copies of its inputs with their hashes."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbpk.errors import BadInput
from pbpk.run_folders.read import read_json_object

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.run_folders.claim import OutputFolder


def write_record(folder: OutputFolder, record: Mapping[str, Any]) -> None:
    """Write command.txt, and run.json with `record` and the environment."""
    folder.write("command.txt", read_command_line() + "\n")
    folder.write_json("run.json", {**record, **read_environment()})


def read_command_line() -> str:
    """The command of this process, as it can be typed again."""
    return shlex.join(["pbpk", *sys.argv[1:]])


def current_time() -> str:
    """Now, UTC, as run.json has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


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


def copy_files(folder: OutputFolder, sources: Mapping[str, Path]) -> dict[str, str]:
    """Copy files in under the given names, passing over those that do not exist; returns the sha256 of each."""
    hashes = {}
    for name, source in sources.items():
        if not source.is_file():
            continue
        target = folder.partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        hashes[name] = sha256(target.read_bytes()).hexdigest()
    return hashes


def list_model_sources(model: Model, home: str) -> dict[str, Path]:
    """The files that a model is loaded from, by their names in a copy of it at `home`."""
    return {f"{home}/{n}": model.folder / n for n in (*model.files, "README.md")}


def hash_files(files: Iterable[Path]) -> dict[str, str]:
    """The sha256 of each of the files that exist, by its name without folders."""
    return {f.name: sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}


def verify_inputs(folder: Path, record: Mapping[str, Any]) -> None:
    """Raise `BadInput` at the first frozen input of a run that is not as its run.json hashed it when it was started."""
    for name, expected in dict(record.get("sha256") or {}).items():
        file = folder / str(name)
        if file.is_file() and sha256(file.read_bytes()).hexdigest() == expected:
            continue
        raise BadInput(
            "is not as it was when the run was started" if file.is_file() else "is missing",
            where=str(file),
            why="The run's results and whatever is computed now would be of different inputs.",
            hint="put the file back as it was (run.json has its sha256), or fit again with the new one",
        )


def identify_run(run: Path) -> dict[str, str]:
    """What tells a run from another: when it was started, and the hash of its results."""
    started = read_json_object(run / "run.json").get("started", "") if (run / "run.json").is_file() else ""
    return {"started": str(started), "sha256": sha256((run / "results.json").read_bytes()).hexdigest()}


def check_same_run(folder: Path, run: Path) -> None:
    """Raises `BadInput` where what is in `folder` was not made from this run as it is."""
    record = read_json_object(folder / "run.json") if (folder / "run.json").is_file() else {}
    if record.get("of") != identify_run(run):
        hint = f"it was made from {record['run']}" if record.get("run") else ""
        raise BadInput(f"is not of {run} as it is now", where=str(folder), hint=hint)
