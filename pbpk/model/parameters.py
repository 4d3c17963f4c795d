"""The table of numbers: name, meaning, value, unit, spread, source. A row without a source is refused.

    [tumour]
    Vmax = { value = 0.5, unit = "nmol/min", about = "maximal uptake", source = "smith2020, table 2", status = "fitted" }

`source` is a key of references.bib and the place in it; where `status = "assumed"`, it says why in words.
Optional: `spread` (between patients, with its own source), `covariates` (effects), `status`, `range` (least, greatest).
The table `[covariates]` declares the patient's covariates in the same form; `[model]` the model's title and settings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.tables import read_text, read_toml

STATUSES = ("measured", "fitted", "fixed", "assumed", "surrogate")
DERIVED = "derived"
_KEYS = ("value", "unit", "about", "source", "spread", "status", "covariates", "range")


@dataclass(frozen=True)
class Spread:
    """How a number differs between patients. `size`: CV (lognormal); SD (normal) or (low, high) (uniform) in its unit."""

    distribution: str
    size: tuple[float, ...]
    source: str


@dataclass(frozen=True)
class CovariateEffect:
    """A covariate's factor on a parameter, 1 at the reference. `form` is a key of `population.covariates.FORMS`."""

    covariate: str
    form: str
    reference: float
    coefficient: float
    source: str


@dataclass(frozen=True)
class Parameter:
    """One row. `value` and `range` (what is possible at all) are in `unit`; `internal` in coherent units."""

    name: str
    value: float
    unit: str
    about: str
    source: str
    status: str = "measured"
    spread: Spread | None = None
    effects: tuple[CovariateEffect, ...] = ()
    range: tuple[float, float] | None = None

    @property
    def internal(self) -> float:
        """The value in coherent units."""
        return units.to_internal(self.value, self.unit)


@dataclass(frozen=True)
class ParameterTable(Mapping[str, Parameter]):
    """Rows by dotted name, the patient's covariates, and the model's settings."""

    rows: dict[str, Parameter]
    covariates: dict[str, Parameter]
    settings: dict[str, Any]
    path: str

    def __getitem__(self, name: str) -> Parameter:
        return self.rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def with_values(self, values: Mapping[str, float | str]) -> ParameterTable:
        """A copy with other values: a number in the row's unit, or text with a unit, such as `"30 mL/min"`."""
        rows, covariates = dict(self.rows), dict(self.covariates)
        for name, value in values.items():
            table = rows if name in rows else covariates
            if name in rows and rows[name].status == DERIVED:
                raise BadInput(f"`{name}` follows from other parameters", where=self.path, hint=rows[name].source)
            if name not in table:
                known = [*rows, *covariates]
                raise BadInput(f"no parameter `{name}`", where=self.path, hint=did_you_mean(name, known))
            table[name] = replace(table[name], value=_convert_value(value, table[name]))
        return replace(self, rows=rows, covariates=covariates)

    def with_numbered_parts(self, names: Iterable[str]) -> ParameterTable:
        """With rows for the numbered parts among `names`: `lesion_2.mass` is a copy of `lesion.mass` until it is set."""
        rows = dict(self.rows)
        for name in names:
            part = re.fullmatch(r"(.+)_\d+(\..+)", name)
            if name not in rows and part and part[1] + part[2] in self.rows:
                rows[name] = replace(self.rows[part[1] + part[2]], name=name)
        return replace(self, rows=rows)

    def restrict_to(self, names: Iterable[str]) -> ParameterTable:
        """A copy with the rows of these names alone."""
        wanted = set(names)
        return replace(self, rows={n: row for n, row in self.rows.items() if n in wanted})


def read_number(text: str) -> tuple[float, str]:
    """`"3.7 GBq"` as (3.7, "GBq"); the unit is "" when there is none. Raises ValueError when no number leads."""
    match = re.fullmatch(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*", text)
    if match is None:
        raise ValueError(text)
    return float(match[1]), match[2]


def _convert_value(value: float | str, row: Parameter) -> float:
    if isinstance(value, str):
        try:
            value, unit = read_number(value)
        except ValueError:
            raise BadInput(
                f'"{value}" is not a number', where=f"`{row.name}`", hint=f"its unit is {row.unit}"
            ) from None
        if unit:
            value *= units.require_dimension(unit, row.unit, f"the value given for `{row.name}`") / units.unit_factor(
                row.unit
            )
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadInput(
            f"{value!r:.40} is not a number", where=f"`{row.name}`", hint=f"its unit is {row.unit}"
        ) from None
    if not math.isfinite(number):
        raise BadInput(f"{value} is not a finite number", where=f"`{row.name}`")
    return number


def read_parameters(path: Path) -> ParameterTable:
    """Read and check `parameters.toml` (see the module's words for its form)."""
    data = read_toml(path)
    settings = _require_table(data.pop("model", {}), "model", path)
    _check_settings(settings, path)
    covariate_rows = _require_table(data.pop("covariates", {}), "covariates", path)
    covariates = {n: _read_row(n, _require_table(row, n, path), path) for n, row in covariate_rows.items()}
    rows = {name: _read_row(name, row, path) for name, row in _flatten_tables(data, path)}
    table = ParameterTable(rows, covariates, settings, str(path))
    _check_sources(table, path)
    for row in rows.values():
        for effect in row.effects:
            if effect.covariate not in covariates:
                hint = did_you_mean(effect.covariate, covariates) or "declare it under [covariates]"
                raise BadInput(f"no covariate `{effect.covariate}`", where=f"{path}: `{row.name}`", hint=hint)
    return table


_SETTINGS = {"title": str, "time": str, "nuclide": str, "nuclides": dict, "report": dict}


def _require_table(item: object, name: str, path: Path) -> dict:
    if not isinstance(item, dict):
        raise BadInput(f"`{name}` is not a table", where=str(path), hint=f"it begins with [{name}]")
    return item


def _check_settings(settings: dict, path: Path) -> None:
    """Raise `BadInput` where a setting of `[model]` that pbpk reads is of another kind."""
    for name, kind in _SETTINGS.items():
        if name in settings and not isinstance(settings[name], kind):
            word = "text" if kind is str else "a table"
            raise BadInput(f"`model.{name}` is not {word}: {settings[name]!r:.40}", where=str(path))


def _flatten_tables(data: dict, path: Path, prefix: str = "") -> Iterator[tuple[str, dict]]:
    for key, item in data.items():
        name = f"{prefix}{key}"
        if not isinstance(item, dict):
            raise BadInput(
                f"`{name}` is a bare value; a parameter is a row",
                where=str(path),
                hint=f'write {key} = {{ value = …, unit = "…", about = "…", source = "…" }}',
            )
        if any(not isinstance(v, dict) for v in item.values()):
            yield name, item
        else:
            yield from _flatten_tables(item, path, f"{name}.")


def _read_row(name: str, row: dict, path: Path) -> Parameter:
    where = f"{path}: `{name}`"
    for key in row:
        if key not in _KEYS:
            raise BadInput(f"has a field `{key}` that no parameter has", where=where, hint=did_you_mean(key, _KEYS))
    for key in ("value", "unit", "about", "source"):
        if row.get(key) in (None, ""):
            raise BadInput(
                f"has no `{key}`",
                where=where,
                why="Every number carries its meaning, unit and source; a dose cannot be traced to its origin otherwise.",
                hint='an honest guess is allowed: status = "assumed", source = "assumed: why"'
                if key == "source"
                else "",
            )
    for key in ("unit", "about", "source", "status"):
        if not isinstance(row.get(key, ""), str):
            raise BadInput(f"has a {key} that is no text: {row[key]!r:.40}", where=where)
    value = _read_finite(row, "value", where)
    status = row.get("status", "measured")
    if status not in STATUSES:
        raise BadInput(f'has the status "{status}"', where=where, hint=did_you_mean(status, STATUSES))
    unit = str(row["unit"])
    units.read_quantity(unit, where)
    return Parameter(
        name,
        value,
        unit,
        str(row["about"]),
        str(row["source"]),
        status,
        _read_spread(row["spread"], value, where) if "spread" in row else None,
        tuple(_read_effect(e, value, where) for e in _require_tables(row.get("covariates", []), where)),
        _read_range(row, where),
    )


def _read_range(row: dict, where: str) -> tuple[float, float] | None:
    if "range" not in row:
        return None
    ends = row["range"]
    if not isinstance(ends, list) or len(ends) != 2 or not all(isinstance(x, int | float) for x in ends):
        raise BadInput("`range` is the least and the greatest possible value", where=where, hint="range = [0, 1]")
    return float(ends[0]), float(ends[1])


def _read_finite(row: dict, key: str, where: str) -> float:
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"has a {key} that is not a finite number: {value!r}", where=where)
    return float(value)


def _require_tables(items, where: str) -> list[dict]:
    if not isinstance(items, list) or not all(isinstance(e, dict) for e in items):
        raise BadInput("`covariates` is a list of effects", where=where, hint="covariates = [ { covariate = …, … } ]")
    return items


def _read_spread(row: dict, value: float, where: str) -> Spread:
    needs = {"lognormal": ("cv",), "normal": ("sd",), "uniform": ("low", "high")}
    kind = row.get("distribution") if isinstance(row, dict) else row
    if not isinstance(kind, str) or kind not in needs:
        raise BadInput(f"spread has the distribution {kind!r}", where=where, hint=did_you_mean(str(kind), needs))
    wanted = {"distribution", "source", *needs[kind]}
    if set(row) != wanted or not row["source"]:
        raise BadInput(f"a {kind} spread needs exactly: {', '.join(sorted(wanted))}", where=where)
    size = tuple(_read_finite(row, k, where) for k in needs[kind])
    if (kind != "uniform" and size[0] < 0) or (kind == "uniform" and size[0] > size[1]):
        raise BadInput(f"spread cannot be {size}", where=where)
    if kind == "lognormal" and value <= 0:
        raise BadInput("a log-normal spread needs a value above zero", where=where)
    return Spread(kind, size, str(row["source"]))


def _read_effect(row: dict, typical: float, where: str) -> CovariateEffect:
    """`value` in place of `coefficient`: what the parameter is where the condition of a categorical form holds."""
    for key in ("covariate", "form", "source"):
        if not isinstance(row.get(key, ""), str):
            raise BadInput(f"a covariate effect has a {key} that is no text: {row[key]!r:.40}", where=where)
    wanted = {"covariate", "form", "reference", "value" if "value" in row else "coefficient", "source"}
    if set(row) != wanted:
        odd = set(row) ^ wanted
        raise BadInput(
            f"a covariate effect needs exactly {', '.join(sorted(wanted))}; see {', '.join(odd)}", where=where
        )
    reference = _read_finite(row, "reference", where)
    if "coefficient" in row:
        return CovariateEffect(
            row["covariate"], row["form"], reference, _read_finite(row, "coefficient", where), row["source"]
        )
    if row["form"] not in ("equals", "below", "above") or typical == 0:
        raise BadInput(
            "gives an effect as a `value`, which only a categorical form can have, on a typical value other than 0",
            where=where,
            hint="give its coefficient",
        )
    return CovariateEffect(
        row["covariate"], row["form"], reference, _read_finite(row, "value", where) / typical - 1, row["source"]
    )


def _check_sources(table: ParameterTable, path: Path) -> None:
    """Every source key must stand in a references.bib beside the model or one folder up; "assumed" needs words."""
    keys: set[str] = set()
    for bib in (path.parent / "references.bib", path.parent.parent / "references.bib"):
        if bib.exists():
            keys |= set(re.findall(r"@\w+\s*\{\s*([^,\s]+)\s*,", read_text(bib)))
    for row in (*table.rows.values(), *table.covariates.values()):
        cited = [row.source, *(e.source for e in row.effects), *([row.spread.source] if row.spread else [])]
        for source in cited:
            key = re.split(r"[,\s:;]", source, maxsplit=1)[0]
            if key == "assumed" and len(source) > len("assumed: "):
                continue
            if key not in keys:
                raise BadInput(
                    f"cites `{key}`, which references.bib does not hold",
                    where=f"{path}: `{row.name}`",
                    hint=did_you_mean(key, keys) or 'an assumption is written "assumed: why"',
                )
