"""Running a structure.py: a Block called `model`, or a function `model(chosen)` of the `options` it declares."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from pbpk.errors import BadInput, did_you_mean
from pbpk.model.declare import Block, ModelOption


@dataclass(frozen=True)
class DeclaredStructure:
    """What a structure.py declares before its options are chosen."""

    model: Block | Callable
    options: tuple[ModelOption, ...]
    path: Path

    def build(self, options: Mapping[str, str]) -> tuple[Block, dict[str, str]]:
        """The Block of the chosen variant, and every option as it was chosen."""
        known = {o.name: o for o in self.options}
        for name in options:
            if name not in known:
                hint = did_you_mean(name, known) if known else "this model has none"
                raise BadInput(f"no option `{name}`", where=str(self.path), hint=hint)
        chosen = {o.name: _check_choice(o, options.get(o.name, o.default)) for o in self.options}
        if isinstance(self.model, Block):
            return self.model, chosen
        split = {o.name: _split_words(chosen[o.name]) if o.several else chosen[o.name] for o in self.options}
        block = _run_guarded(self.path, lambda: self.model(SimpleNamespace(**split)))  # type: ignore[operator]
        if not isinstance(block, Block):
            raise BadInput("`model(…)` returns no Block", where=str(self.path))
        return block, chosen


def _split_words(text: str) -> tuple[str, ...]:
    return tuple(w for w in (w.strip() for w in text.split(",")) if w and w != "none")


def _check_choice(option: ModelOption, text: str) -> str:
    words = _split_words(text) if option.several else (text.strip(),)
    for word in words:
        if word not in option.choices:
            raise BadInput(
                f'"{word}" is not a choice of `{option.name}`',
                why=option.about,
                hint=did_you_mean(word, option.choices) or f"it takes {', '.join(option.choices)}",
            )
    return ",".join(words) or "none"


def list_model_files(folder: Path) -> list[str]:
    """The names of the files that say what the model in `folder` is: structure.py, the files beside it that it is split
    over, and parameters.toml. Run folders keep copies of them, and their hashes tell whether two runs had one model."""
    parts = sorted(p.name for p in folder.glob("*.py") if p.name != "structure.py")
    return ["structure.py", *parts, "parameters.toml"]


def run_structure(path: Path) -> DeclaredStructure:
    """Run a structure.py, which may import from files beside it (`from .organs import liver`).

    Raises `BadInput` with the file and line of whatever goes wrong in them.
    """
    name = f"_pbpk_model_{path.parent.name}"
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
    assert spec and spec.loader
    for loaded in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
        del sys.modules[loaded]  # another model of this name, or this one before its files were changed
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    _run_guarded(path, lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]
    model, options = getattr(module, "model", None), tuple(getattr(module, "options", ()))
    if not all(isinstance(o, ModelOption) for o in options):
        raise BadInput("`options` is not a tuple of option(…)", where=str(path))
    if not isinstance(model, Block) and not (callable(model) and options):
        raise BadInput("defines no Block called `model`", where=str(path))
    return DeclaredStructure(model, options, path)


def _run_guarded(path: Path, run: Callable):
    """Run the modeller's code; what it raises becomes a `BadInput` with the file and line."""
    try:
        return run()
    except BadInput:
        raise
    except SystemExit as e:
        raise BadInput(
            "ends the process (SystemExit)", where=_locate_error(path, e), hint="a model only declares"
        ) from e
    except Exception as e:
        raise BadInput(f"{type(e).__name__}: {e}", where=_locate_error(path, e)) from e


def _locate_error(path: Path, error: BaseException) -> str:
    """`FILE:LINE` of the model's own files, innermost last, in which `error` was raised; the file alone if unknown."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{error.filename or path}:{error.lineno}"
    place, trace = str(path), error.__traceback__
    while trace:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.parent == path.parent:
            place = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
