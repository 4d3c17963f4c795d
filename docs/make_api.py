"""Writes docs/api.md from the docstrings of the public names: `python docs/make_api.py`. A test compares the two."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import pbpk

GROUPS = {
    "Models": ("load_model", "list_models"),
    "Doses": ("dose", "parse_dose", "void", "parse_void", "parse_times"),
    "Simulation": ("simulate", "virtual_patients", "measure", "read_measurements"),
    "Data": ("read_events", "read_voi"),
    "Nuclides": ("load_nuclide", "chain", "activities"),
    "Estimation": ("load_study", "list_studies", "fit", "runs", "compare"),
    "Uncertainty": ("bootstrap", "profile", "sir", "derived"),
    "Diagnostics": ("vpc", "npde"),
    "Covariates and designs": ("covsearch", "design"),
    "Dose": ("absorbed_dose", "fitted_kinetics", "fitted_individuals"),
    "Errors": ("PbpkError",),
}
HEAD = """# The library, name by name

Made from the docstrings by `python docs/make_api.py`; the examples in it are run by the tests. Everything here is
used as `pbpk.NAME` after `import pbpk`. The other pages of this folder say what the objects mean.
"""


def find_options(name: str) -> Any:
    """The TypedDict of this name, wherever in the package it is declared."""
    for path in sorted(Path(pbpk.__file__).parent.rglob("*.py")):
        if f"class {name}(TypedDict" in path.read_text():
            parts = path.relative_to(Path(pbpk.__file__).parents[1]).with_suffix("").parts
            return getattr(importlib.import_module(".".join(parts)), name)
    raise LookupError(f"no TypedDict `{name}`")


def describe_options(function: Any) -> str:
    """The keyword options of a function that takes them as `**options: Unpack[SomeOptions]`, one a line."""
    hint = function.__annotations__.get("options")
    if hint is None or "Unpack" not in str(hint):
        return ""
    kind = find_options(str(hint).removeprefix("Unpack[").removesuffix("]"))
    lines = [f"    {name}: {annotation_text(hint)}" for name, hint in kind.__annotations__.items()]
    return "\n".join(["", f"    # options ({kind.__name__})", *lines])


def annotation_text(hint: Any) -> str:
    text = hint if isinstance(hint, str) else getattr(hint, "__forward_arg__", None) or inspect.formatannotation(hint)
    return str(text)


def describe_parameter(parameter: inspect.Parameter) -> str:
    """`name: type = default`, where the type is not quoted and a default that is text is."""
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = f"{stars}{parameter.name}"
    if parameter.annotation is not parameter.empty:
        text += f": {annotation_text(parameter.annotation)}"
    return text if parameter.default is parameter.empty else f"{text} = {parameter.default!r}"


def describe_signature(name: str, function: Any) -> str:
    """`pbpk.NAME(…) -> …`, a parameter a line where it is long."""
    signature, parts = inspect.signature(function), []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        parts.append(describe_parameter(parameter))
    kind, result = ("class ", "") if inspect.isclass(function) else ("", f" -> {signature.return_annotation}")
    one_line = f"{kind}pbpk.{name}({', '.join(parts)}){result}"
    if len(one_line) <= 100:
        return one_line
    lines = "".join(f"    {part},\n" for part in parts)
    return f"{kind}pbpk.{name}(\n{lines}){result}{describe_options(function)}"


def hide_addresses(text: str) -> str:
    """The text without what differs from process to process: where a default function stands in memory."""
    return re.sub(r"<function .*? at 0x[0-9a-f]+>", "…", text)


def describe(name: str) -> str:
    value = getattr(pbpk, name)
    text = inspect.cleandoc(value.__doc__ or "")
    prose, _, example = text.partition("\n>>> ")
    block = f"\n\n```python\n>>> {example}\n```" if example else ""
    return (
        f"### `{name}`\n\n```python\n{hide_addresses(describe_signature(name, value))}\n```\n\n{prose.strip()}{block}\n"
    )


def make_page() -> str:
    """The text of docs/api.md. Raises `KeyError` for a public name without a group."""
    missing = set(pbpk.__all__) - {name for names in GROUPS.values() for name in names}
    if missing:
        raise KeyError(f"no group in docs/make_api.py for {', '.join(sorted(missing))}")
    parts = [HEAD]
    for title, names in GROUPS.items():
        parts += [f"## {title}\n", *(describe(name) for name in names)]
    return textwrap.dedent("\n".join(parts))


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(make_page())
