"""From a folder to a Model: `models/NAME/structure.py`, `parameters.toml`, `README.md`.

A user's own `models/` under the current folder wins over the bundled ones, with a note. Loading runs structure.py, so
models come from people you trust; the command line asks (`runtime/trust.py`). One structure is assembled once a process,
whatever its numbers: compiled programs are shared.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pbpk import units
from pbpk.errors import BadInput, Note, did_you_mean, require_name
from pbpk.model.check import add_derived_rows, check_model, check_values, list_parameter_names
from pbpk.model.clocks import add_clocks
from pbpk.model.parameters import ParameterTable, read_parameters
from pbpk.model.structure import list_model_files, run_structure
from pbpk.model.system import System, build_system
from pbpk.nuclides import load_nuclide
from pbpk.runtime.trust import require_trust

if TYPE_CHECKING:
    from pbpk.model.declare import ModelOption


@dataclass(frozen=True)
class Model:
    """A structure with its numbers. `with_values` and `with_nuclide` give copies that share the structure."""

    name: str
    system: System
    parameters: ParameterTable
    folder: Path
    nuclide: str | None = None
    remarks: tuple[str, ...] = field(default=())
    options: Mapping[str, str] = field(default_factory=dict)
    choices: tuple[ModelOption, ...] = ()

    @property
    def files(self) -> list[str]:
        """Names of the files in `folder` that say what the model is."""
        return list_model_files(self.folder)

    def __repr__(self) -> str:
        size = f"{len(self.system.names)} compartments, {len(self.parameters)} parameters"
        return f"Model({self.name!r}, {size}, nuclide={self.nuclide!r}, options={dict(self.options)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the parameters with units, meanings and sources."""
        import pandas as pd

        rows = [(p.name, p.value, p.unit, p.about, p.status, p.source) for p in self.parameters.values()]
        table = pd.DataFrame(rows, columns=["parameter", "value", "unit", "about", "status", "source"])
        return f"<p>{self!r}</p>\n{table.to_html(index=False, float_format='{:.6g}'.format)}"

    @property
    def title(self) -> str:
        """The model's name in words, for headings."""
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
        """A copy with other values, as numbers in their rows' units or text with a unit. Raises `BadInput`."""
        return self._with_table(self.parameters.with_values(values))

    def _with_table(self, table: ParameterTable, **more) -> Model:
        return replace(self, parameters=settle_derived(self.system, table), **more)

    def with_nuclide(self, nuclide: str) -> Model:
        """The same model for another nuclide: sets the row `decay.k` to ln 2 / half-life."""
        if "decay.k" not in self.parameters:
            raise BadInput(
                f"has no physical decay, so the nuclide {nuclide} cannot be set", where=f"model `{self.name}`"
            )
        known = load_nuclide(nuclide)
        table = self.parameters.with_values({"decay.k": f"{known.decay_constant!r} 1/h"})
        row = replace(table.rows["decay.k"], source=known.source, about=f"physical decay of {known.name}")
        return self._with_table(replace(table, rows={**table.rows, "decay.k": row}), nuclide=known.name)


def settle_derived(system: System, table: ParameterTable) -> ParameterTable:
    """The table with its derived rows computed from the others, and checked. Raises `BadInput`."""
    if not system.rules:
        check_values(system.block, table)
        return table
    values = np.array([table[name].internal for name in system.parameter_names])[:, None]
    values_of_all, rows = system.derive(values)[:, 0], dict(table.rows)
    for d in system.block.derived:
        value = float(values_of_all[system.parameter_index(d.name)])
        rows[d.name] = replace(rows[d.name], value=units.from_internal(value, rows[d.name].unit))
    table = replace(table, rows=rows)
    check_values(system.block, table)
    return table


def model_folders() -> list[Path]:
    """Where models are looked for, in order: the user's, the checkout's, the wheel's."""
    return list_folders("models")


def list_folders(kind: str) -> list[Path]:
    """The existing folders called `kind` in which a name is looked for, in order: the user's, the checkout's, the wheel's."""
    package = Path(__file__).resolve().parent.parent
    candidates = [Path.cwd() / kind, package.parent / kind, package / "_bundled" / kind]
    existing = [
        c
        for c in candidates
        if c.is_dir() and (c != package.parent / kind or (package.parent / "pyproject.toml").exists())
    ]
    return list(dict.fromkeys(p.resolve() for p in existing))


def list_models() -> dict[str, Path]:
    """The folders of all models that can be loaded by name: the user's `models/` first, then the bundled ones.

    >>> "nis_body" in pbpk.list_models()
    True
    """
    models: dict[str, Path] = {}
    for root in model_folders():
        for folder in sorted(root.iterdir()):
            if (folder / "structure.py").exists():
                models.setdefault(folder.name, folder)
    return models


def load_model(
    name: str | Path,
    *,
    nuclide: str | None = None,
    values: Mapping[str, float | str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Model:
    """Load a model by name or by its folder, and check it.

    `nuclide` ("I-131") sets its physical decay; `values` overrides parameters, as numbers in their own units or text with
    a unit; `options` chooses among the variants that the model declares. Raises `BadInput` naming the file and the row.

    >>> model = pbpk.load_model("iodide", nuclide="I-123", values={"iodine.blood_to_thyroid_iodide": 10.0})
    >>> model.nuclide, model.parameters["iodine.blood_to_thyroid_iodide"].value
    ('I-123', 10.0)
    """
    folder = _find_folder(name)
    require_trust(folder, named=True)
    stamp = tuple((folder / f).stat().st_mtime_ns for f in list_model_files(folder) if (folder / f).exists())
    model = _load_variant(folder, stamp, tuple(sorted((k, str(v)) for k, v in (options or {}).items())))
    if "decay.k" in model.parameters:
        model = model.with_nuclide(nuclide or _usual_nuclide(model))
    elif nuclide:
        model = model.with_nuclide(nuclide)
    return model.with_values(values) if values else model


def _usual_nuclide(model: Model) -> str:
    """The table's `nuclide`, or that of `nuclides` which belongs to a chosen option."""
    settings = model.parameters.settings
    by_choice = settings.get("nuclides", {})
    by_option = [by_choice[word] for word in model.options.values() if word in by_choice]
    return by_option[0] if by_option else settings.get("nuclide", "I-131")


def _find_folder(name: str | Path) -> Path:
    require_name(name, "a model")
    known = list_models()
    if str(name) in known:
        _note_shadowing(str(name), known[str(name)])
        return known[str(name)]
    folder = Path(name)
    if (folder / "structure.py").exists():
        return folder.resolve()
    if folder.exists():
        raise BadInput("holds no structure.py, so it is no model", where=str(name))
    raise BadInput(f"no model `{name}`", hint=did_you_mean(str(name), known))


@cache
def _note_shadowing(name: str, folder: Path) -> None:
    """Say, once a process, that a model of the current folder is used in place of a bundled one of the same name."""
    shadowed = [root / name for root in model_folders() if (root / name / "structure.py").exists()][1:]
    if shadowed:
        warnings.warn(f"model `{name}` is {folder}, in place of the bundled model of that name", Note, stacklevel=4)


@cache
def _load_variant(folder: Path, stamp: tuple, options: tuple[tuple[str, str], ...]) -> Model:
    table = read_parameters(folder / "parameters.toml")
    declared = run_structure(folder / "structure.py")
    block, chosen = declared.build(dict(options))
    block = add_clocks(block)
    names = list_parameter_names(block)
    table = table.with_numbered_parts(names)
    if declared.options:  # rows of other variants are no part of this one
        table = table.restrict_to(names)
    table = add_derived_rows(block, table)
    remarks = check_model(block, table)
    system = build_system(block, tuple(table))
    return Model(
        folder.name, system, settle_derived(system, table), folder, None, tuple(remarks), chosen, declared.options
    )
