"""Which column of a VOI table is which, and its unit: `time_h`, `activity_MBq`, or with brackets, `activity[kBq/cc]`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pbpk import units
from pbpk.errors import BadInput, nearest_names

PERCENT = "%IA"
"""Per cent of the administered activity."""

_NAMED = {
    "subject": ("subject", "id", "patient", "subj"),
    "voi": ("voi", "roi", "region"),
    "decay_corrected": ("decay_corrected",),
}
_MEASURED = {
    "time": ("time",),
    "activity": ("activity", "concentration", "uptake"),
    "sd": ("sd", "stdev", "uncertainty"),
    "volume": ("volume",),
    "administered": ("administered",),
}
_SUFFIXES = ("id", "name", "label", "number", "no")
_PERCENT = ("%ia", "pct_ia", "percent_ia", "%id", "pct_id", "percent_id")
_BRACKETS = re.compile(r"(.+?)\s*\[\s*(.*?)\s*\]")


@dataclass(frozen=True)
class VoiColumn:
    """A column that is used: its `header` as the file has it, and its `unit`, "" where the header has none."""

    header: str
    unit: str


def parse_header(header: str) -> tuple[str, str] | None:
    """The quantity that a header names and its unit, or None: ("activity", "kBq/cc")."""
    if header.lower() in _PERCENT:
        return "activity", PERCENT
    for quantity, names in _NAMED.items():
        if header.lower() in [*names, *(f"{n}_{s}" for n in names for s in _SUFFIXES)]:
            return quantity, ""
    bracketed = _BRACKETS.fullmatch(header)
    name, unit = (bracketed[1], bracketed[2]) if bracketed else (header, "")
    for quantity, names in _MEASURED.items():
        for known in names:
            if name.lower() == known:
                return quantity, PERCENT if unit.lower() in _PERCENT else unit
            if name.lower().startswith(known + "_") and _is_unit(name[len(known) + 1 :]):
                return quantity, name[len(known) + 1 :]
    return None


def _is_unit(text: str) -> bool:
    try:
        units.read_quantity(text)
    except BadInput:
        return False
    return True


def is_voi_table(headers: Sequence[str]) -> bool:
    """Whether the headers are those of a VOI table: it names volumes of interest, and is no event table."""
    named = [h for h in headers if h.lower() in _NAMED["voi"] or h.lower().startswith("voi_")]
    return bool(named) and not {"DV", "AMT", "EVID"} & {h.upper() for h in headers}


def read_voi_headers(headers: Sequence[str], source: str) -> tuple[dict[str, VoiColumn], list[str]]:
    """Quantity -> column, and the headers that are not used. Raises `BadInput` for what is missing, doubled or in no unit
    that fits."""
    columns: dict[str, VoiColumn] = {}
    unused = []
    for header in headers:
        meant = parse_header(header)
        if meant is None:
            unused.append(header)
        elif meant[0] in columns:
            both = f"columns `{columns[meant[0]].header}` and `{header}` both say the {meant[0]}"
            raise BadInput(both, where=f"{source} row 1", hint="keep one")
        else:
            columns[meant[0]] = VoiColumn(header, meant[1])
    for quantity in ("subject", "voi", "time", "activity"):
        if quantity not in columns:
            raise _missing_column(quantity, headers, source)
    _check_units(columns, source)
    return columns, unused


def _missing_column(quantity: str, headers: Sequence[str], source: str) -> BadInput:
    example = {"time": "time_h", "activity": "activity_MBq, activity[kBq/cc] or pct_IA"}.get(quantity, quantity)
    meant = nearest_names(example.split(",")[0], headers, count=1)
    hint = f"did you mean `{meant[0]}`? call it {example}" if meant else f"a column called {example}"
    if len(headers) == 1 and any(mark in headers[0] for mark in ";\t "):
        hint = "the cells must be separated by commas"
    return BadInput(
        f"no column for the {quantity}",
        where=f"{source} row 1",
        why="the file has " + ", ".join(f"`{h}`" for h in headers),
        hint=hint,
    )


def _check_units(columns: dict[str, VoiColumn], source: str) -> None:
    where = f"{source} row 1"
    for quantity, wanted, example in (("time", "h", "time_h"), ("volume", "mL", "volume_mL")):
        if quantity in columns:
            _check_unit(columns[quantity], (wanted,), example, where)
    activity = columns["activity"]
    if activity.unit != PERCENT:
        _check_unit(activity, ("MBq", "MBq/L"), "activity_MBq, activity[kBq/cc] or pct_IA", where)
    if "administered" in columns:
        _check_unit(columns["administered"], ("MBq",), "administered_MBq", where)
    sd = columns.get("sd")
    if sd is not None and sd.unit:
        if (sd.unit == PERCENT) != (activity.unit == PERCENT):
            raise _wrong_unit(sd, "that of the activity", where, f"sd[{activity.unit}]")
        if sd.unit != PERCENT:
            _check_unit(sd, (activity.unit,), f"sd[{activity.unit}]", where)


def _check_unit(column: VoiColumn, wanted: tuple[str, ...], example: str, where: str) -> None:
    if not column.unit:
        hint = f"call it {example}"
        raise BadInput(f"column `{column.header}` does not say its unit", where=where, hint=hint)
    dimensions = units.unit_dimensions(column.unit, f"{where}, column `{column.header}`")
    if dimensions not in [units.unit_dimensions(w) for w in wanted]:
        raise _wrong_unit(column, " or ".join(wanted), where, example)


def _wrong_unit(column: VoiColumn, wanted: str, where: str, example: str) -> BadInput:
    return BadInput(
        f'column `{column.header}` is in "{column.unit}", where {wanted} is needed',
        where=where,
        why="A number in a unit of another kind cannot become an activity.",
        hint=f"call it {example}, if that is its unit",
    )
