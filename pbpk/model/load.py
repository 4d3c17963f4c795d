"""From a folder to a Model: `models/NAME/structure.py`, `parameters.toml`, `README.md`.

A user's own `models/` under the current folder wins over the bundled ones. Loading runs structure.py, so models come
from people you trust. One structure is assembled once a process, whatever its numbers: compiled programs are shared.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from pbpk.errors import BadInput, did_you_mean
from pbpk.model.check import check_model
from pbpk.model.declare import Block
from pbpk.model.parameters import ParameterTable, read_parameters
from pbpk.model.system import System, build_system
from pbpk.nuclides import load_nuclide


@dataclass(frozen=True)
class Model:
    """A structure with its numbers. `with_values` and `with_nuclide` give copies that share the structure."""

    name: str
    system: System
    parameters: ParameterTable
    folder: Path
    nuclide: str | None = None
    remarks: tuple[str, ...] = field(default=())

    @property
    def title(self) -> str:
        return self.parameters.settings.get("title", self.name)

    @property
    def time_unit(self) -> str:
        """The unit in which times are shown."""
        return self.parameters.settings.get("time", "h")

    @cached_property
    def values(self) -> np.ndarray:
        """The typical parameters in coherent units, in the System's order."""
        return np.array([self.parameters[name].internal for name in self.system.parameter_names])

    def with_values(self, values: Mapping[str, float | str]) -> Model:
        return replace(self, parameters=self.parameters.with_values(values))

    def with_nuclide(self, nuclide: str) -> Model:
        """The same model for another nuclide: sets the row `decay.k` to ln 2 / half-life."""
        if "decay.k" not in self.parameters:
            raise BadInput(
                f"has no physical decay, so the nuclide {nuclide} cannot be set", where=f"model `{self.name}`"
            )
        known = load_nuclide(nuclide)
        table = self.parameters.with_values({"decay.k": f"{known.decay_constant!r} 1/h"})
        row = replace(table.rows["decay.k"], source=known.source, about=f"physical decay of {known.name}")
        return replace(self, parameters=replace(table, rows={**table.rows, "decay.k": row}), nuclide=known.name)


def model_folders() -> list[Path]:
    """Where models are looked for, in order: the user's, the checkout's, the wheel's."""
    return places("models")


def places(kind: str) -> list[Path]:
    package = Path(__file__).resolve().parent.parent
    candidates = [Path.cwd() / kind, package.parent / kind, package / "_bundled" / kind]
    found = [
        c
        for c in candidates
        if c.is_dir() and (c != package.parent / kind or (package.parent / "pyproject.toml").exists())
    ]
    return list(dict.fromkeys(p.resolve() for p in found))


def list_models() -> dict[str, Path]:
    """Every model that can be loaded by name."""
    found: dict[str, Path] = {}
    for root in model_folders():
        for folder in sorted(root.iterdir()):
            if (folder / "structure.py").exists():
                found.setdefault(folder.name, folder)
    return found


def load_model(
    name: str | Path, *, nuclide: str | None = None, values: Mapping[str, float | str] | None = None
) -> Model:
    """A model by name or by its folder, checked.

    `nuclide` ("I-131") sets its physical decay; `values` overrides parameters, as numbers in their own units or text with
    a unit. Raises `BadInput` naming the file and the row.
    """
    folder = _find(name)
    stamp = tuple((folder / f).stat().st_mtime_ns for f in ("structure.py", "parameters.toml") if (folder / f).exists())
    model = _load(folder, stamp)
    if "decay.k" in model.parameters:
        model = model.with_nuclide(nuclide or model.parameters.settings.get("nuclide", "I-131"))
    elif nuclide:
        model = model.with_nuclide(nuclide)
    return model.with_values(values) if values else model


def _find(name: str | Path) -> Path:
    known = list_models()
    if str(name) in known:
        return known[str(name)]
    folder = Path(name)
    if (folder / "structure.py").exists():
        return folder.resolve()
    if folder.exists():
        raise BadInput("holds no structure.py, so it is no model", where=str(name))
    raise BadInput(f"no model `{name}`", hint=did_you_mean(str(name), known))


@cache
def _load(folder: Path, stamp: tuple) -> Model:
    table = read_parameters(folder / "parameters.toml")
    block = _run_structure(folder / "structure.py")
    remarks = check_model(block, table)
    return Model(folder.name, build_system(block, tuple(table)), table, folder, remarks=tuple(remarks))


def _run_structure(path: Path) -> Block:
    spec = importlib.util.spec_from_file_location(f"_pbpk_model_{path.parent.name}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BadInput:
        raise
    except Exception as e:
        line = getattr(e, "lineno", None) or _line_in(path, e)
        raise BadInput(f"{type(e).__name__}: {e}", where=f"{path}:{line}" if line else str(path)) from e
    block = getattr(module, "model", None)
    if not isinstance(block, Block):
        raise BadInput("defines no Block called `model`", where=str(path))
    return block


def _line_in(path: Path, error: Exception) -> int | None:
    trace, line = error.__traceback__, None
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
