"""Columns beyond the reserved ones: covariates, and columns that stand for a model parameter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from pbpk.data.cells import parse_numbers
from pbpk.data.headers import find_name
from pbpk.errors import BadInput

if TYPE_CHECKING:
    from pbpk.data.sheet import DataSheet


@dataclass(frozen=True, eq=False)
class ExtraColumns:
    """Columns that are not reserved: `values` holds the covariates, then the overrides of parameters, in coherent units;
    `categories` are the words that the numbers of a text column stand for, from 0."""

    values: pd.DataFrame
    covariates: tuple[str, ...]
    overrides: tuple[str, ...]
    notes: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]


def read_extra_columns(
    sheet: DataSheet,
    free: Sequence[str],
    parameters: Sequence[str],
    scale: Mapping[str, float],
    stated: Collection[str] = (),
    text_covariates: Collection[str] = (),
) -> ExtraColumns:
    """Read the columns in `free` as covariates, or as overrides where they are called like one of `parameters`; `stated` are
    the headers that the user named, which may differ in case; `text_covariates` are columns of words.

    Raises `BadInput` for an override that is no number, or spelt in another case without being stated, a covariate that a
    subject lacks, and a number not finite.
    """
    overriding = _find_overrides(sheet, free, parameters)
    _refuse_other_case(sheet, overriding, stated)
    covariates, overrides, notes = {}, {}, []
    categories: dict[str, tuple[str, ...]] = {}
    for header in free:
        if header in overriding:
            read = sheet.parse_column(sheet.cells[header], f"parameter column {header}")
            overrides[overriding[header]], new_notes = _fill_gaps(sheet, header, read)
            new_notes = [f"column `{header}` replaces the parameter `{overriding[header]}` of the model", *new_notes]
        else:
            if header in text_covariates:
                read, categories[header], new_notes = _number_categories(sheet, header)
            else:
                read, new_notes = _read_covariate(sheet, header)
            if read is None:
                notes += new_notes
                continue
            covariates[header], new_notes = _fill_gaps(sheet, header, read)
            _require_every_subject(sheet, header, covariates[header])
            new_notes += [] if header in categories else _note_missing_code(sheet, header, covariates[header])
        notes += new_notes
    header_of = {name: header for header, name in overriding.items()}
    columns = {name: v * scale.get(header_of.get(name) or name, 1.0) for name, v in (covariates | overrides).items()}
    values = pd.DataFrame(columns, index=sheet.cells.index, dtype=float)
    return ExtraColumns(values, tuple(covariates), tuple(overrides), tuple(notes), categories)


def _find_overrides(sheet: DataSheet, free: Sequence[str], parameters: Sequence[str]) -> dict[str, str]:
    """Header -> parameter, for the headers that are called like one. Raises `BadInput` where two are."""
    out: dict[str, str] = {}
    for header in free:
        name = find_name(header, parameters)
        if name is not None and name in out.values():
            raise BadInput(f"two columns stand for the parameter `{name}`", where=f"{sheet.source} row 1")
        if name is not None:
            out[header] = name
    return out


def _refuse_other_case(sheet: DataSheet, overriding: Mapping[str, str], stated: Collection[str]) -> None:
    """Refuse a column whose name is a parameter's in another case: `v`, a visit, is not `V`, a volume."""
    headers = [str(h) for h in sheet.cells.columns]
    if all(h == h.lower() for h in headers):  # a file in small letters throughout means nothing by them
        return
    known = {word.lower() for word in stated}
    for header, name in overriding.items():
        if header != name and header.lower() not in known:
            raise BadInput(
                f"column `{header}` is spelt like the parameter `{name}`, save for the case",
                where=f"{sheet.source} row 1",
                why=f"As a column of that parameter its values would replace `{name}` in every prediction.",
                hint=f'say so: columns = {{ {name} = "{header}" }} (--column {name}={header}); or leave it out: '
                f'ignore = ["{header}"]',
            )


_CODES = (-9999.0, -999.0, -99.0, -9.0, 999.0, 9999.0, 99999.0)


def _note_missing_code(sheet: DataSheet, header: str, values: pd.Series) -> list[str]:
    """A note on values that look like a code for "missing": -99 beside weights, 999 far above all others."""
    notes = []
    for code in _CODES:
        coded = values == code
        others = values[~coded & values.notna()]
        if not coded.any() or others.empty:
            continue
        if (code < 0 and others.min() >= 0) or (code > 0 and code > 5 * others.abs().max()):
            row = coded.index[coded.to_numpy(dtype=bool)][0]
            notes.append(
                f"{header} of ID {sheet.ids[row]} is {code:g} (row {row:g}): is it a code for a missing value? Leave such "
                "cells empty, or leave the rows out by ignore_rows"
            )
    return notes


def _number_categories(sheet: DataSheet, header: str) -> tuple[pd.Series, tuple[str, ...], list[str]]:
    """The column as numbers of its words in alphabetical order, from 0; NaN where a cell is empty."""
    cells = sheet.cells[header].str.strip()
    words = tuple(sorted(w for w in cells.unique() if w))
    number = {w: float(k) for k, w in enumerate(words)}
    counts = ", ".join(f"{w} {int(sheet.ids[(cells == w).to_numpy()].nunique())}" for w in words[:8])
    more = f" and {len(words) - 8} more" if len(words) > 8 else ""
    return cells.map(number).astype(float), words, [f"{header} has the categories (subjects) {counts}{more}"]


def _read_covariate(sheet: DataSheet, header: str) -> tuple[pd.Series | None, list[str]]:
    """The column as numbers, or None and the reason why it is left out."""
    if header.startswith("Unnamed: "):  # pandas' word for an empty header, such as that of R's row names
        return None, ["a column without a name is left out"]
    cells = sheet.cells[header]
    values, bad = parse_numbers(cells)
    if bad.any():
        row = bad.index[bad.to_numpy(dtype=bool)][0]
        return None, [f'column `{header}` is left out: row {row} holds "{cells[row]}", which is not a number']
    if values.isna().all():
        return None, [f"column `{header}` is left out: it is empty"]
    return sheet.parse_column(cells, header), []


def _fill_gaps(sheet: DataSheet, header: str, values: pd.Series) -> tuple[pd.Series, list[str]]:
    """Gaps inside a subject take the last value before them, leading ones the next; a subject with none stays empty."""
    ids = sheet.ids
    forward = values.groupby(ids, sort=False).ffill()
    both = forward.groupby(ids, sort=False).bfill()
    ahead, back = int((values.isna() & forward.notna()).sum()), int((forward.isna() & both.notna()).sum())
    counts = [f"{ahead} carried forward"] * (ahead > 0) + [f"{back} carried back"] * (back > 0)
    return both, [f"{header}: missing values filled inside a subject ({', '.join(counts)})"] if counts else []


def _require_every_subject(sheet: DataSheet, header: str, values: pd.Series) -> None:
    ids = sheet.ids
    gap = values.isna()
    lacking = gap & ~ids.where(gap).duplicated()
    hint = f'fill it in, or drop the column: ignore=["{header}"]'
    sheet.forbid(
        lacking, lambda _: f"covariate {header} is missing on all rows of this subject", hint=hint, of="subject"
    )
