"""Which column of the file is which: NONMEM's reserved names, the user's renaming, and what is left over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from pbpk.data.limits import FLAGS
from pbpk.errors import BadInput, did_you_mean, nearest_names

RESERVED = (
    "ID", "DATE", "TIME", "EVID", "AMT", "RATE", "DUR", "ADDL", "II", "SS", "CMT", "DV", "MDV", "DVID",
    "CENS", "LIMIT",
)  # fmt: skip
ALIASES = {"TINF": "DUR", "YTYPE": "DVID"}

# Used in hints only. Taking `conc` for DV unasked would be a guess.
_USUAL = {
    "ID": ("subject", "subj", "patient", "cid", "usubjid"),
    "TIME": ("t", "hours", "hour", "days", "minutes", "tafd", "tsfd", "afrlt"),  # actual times, not nominal ones
    "DV": ("conc", "cp", "y", "lndv", "activity"),
}


def find_reserved_name(name: str) -> str | None:
    """The reserved name that `name` spells, in any case and under either alias; None when it is not reserved."""
    upper = name.upper()
    upper = ALIASES.get(upper, upper)
    return upper if upper in RESERVED else None


def find_name(name: str, among: Iterable[str]) -> str | None:
    """`name` itself if it is there, else the only name that differs from it in case alone."""
    among = list(among)
    if name in among:
        return name
    same = [other for other in among if other.lower() == name.lower()]
    return same[0] if len(same) == 1 else None


def match_headers(
    headers: Sequence[str], columns: Mapping[str, str], ignore: Sequence[str], source: str
) -> tuple[dict[str, str], list[str], list[str]]:
    """Reserved name -> header, the headers left over, and notes. `columns` wins over a header's own name."""
    kept = _drop_ignored(headers, ignore, source)
    named = _find_renamed(kept, columns, source)
    renamed, free, notes = dict(named), [], []
    for header in kept:
        if header in renamed.values():
            continue
        name = find_reserved_name(header)
        if name is None:
            free.append(header)
        elif name not in named:
            named[name] = header
        elif name in renamed:
            notes.append(f"column `{header}` is not used: {name} is read from `{named[name]}`")
        else:
            raise BadInput(
                f"columns `{named[name]}` and `{header}` both mean {name}",
                where=f"{source} row 1",
                hint=f"say which one counts: {_explain_renaming(name, named[name])}",
            )
    flags = [h for h in free if h.upper() in FLAGS]
    if flags and "CENS" not in named:
        named["CENS"] = flags[0]
        free.remove(flags[0])
        notes.append(f"column `{flags[0]}` is read as CENS: 1 where DV is a limit that the value lies below")
    return named, free, notes


def rename_parameters(
    cells: pd.DataFrame, columns: Mapping[str, str], parameters: Sequence[str], source: str
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The cells with columns renamed that `columns` gives to parameters, and the rest of `columns`."""
    rest, renamed = dict(columns), {}
    for key, wanted in columns.items():
        name = find_name(key, parameters)
        if find_reserved_name(key) is not None or name is None:
            continue
        header = find_name(wanted, cells.columns)
        if header is None:
            raise BadInput(
                f"no column `{wanted}` to use as {name}", where=source, hint=did_you_mean(wanted, cells.columns)
            )
        if header is not None and name != header and find_name(name, [c for c in cells.columns if c != header]):
            raise BadInput(f"the file has a column `{name}` of its own beside `{wanted}`", where=source)
        renamed[header] = name
        del rest[key]
    return cells.rename(columns=renamed), rest


def _explain_renaming(name: str, header: str) -> str:
    """How a user says which column is which, wherever the table was asked for."""
    return f'columns = {{ {name} = "{header}" }} in fit.toml, --column {name}={header} on the command line'


def require_column(name: str, named: Mapping[str, str], headers: Sequence[str], source: str) -> None:
    """Raises `BadInput` with the columns there are, and the likely one, when `name` is not among them."""
    if name in named:
        return
    likely = [h for h in headers if h.lower() in _USUAL.get(name, ())] or nearest_names(name, headers, count=1)
    hint = f"did you mean `{likely[0]}`? then say so: {_explain_renaming(name, likely[0])}" if likely else ""
    if len(headers) == 1 and any(mark in headers[0] for mark in ";\t "):
        hint = "the cells must be separated by commas"
    raise BadInput(
        f"no column {name}",
        where=source,
        why="the file has " + ", ".join(f"`{h}`" for h in headers),
        hint=hint or f"name the column that holds it: {_explain_renaming(name, '...')}",
    )


def _drop_ignored(headers: Sequence[str], ignore: Sequence[str], source: str) -> list[str]:
    gone = set()
    for name in ignore:
        header = find_name(name, headers)
        if header is None:
            raise BadInput(f"no column `{name}` to ignore", where=source, hint=did_you_mean(name, headers))
        gone.add(header)
    return [header for header in headers if header not in gone]


def _find_renamed(headers: Sequence[str], columns: Mapping[str, str], source: str) -> dict[str, str]:
    named: dict[str, str] = {}
    for key, wanted in columns.items():
        name, header = find_reserved_name(key), find_name(wanted, headers)
        if name is None:
            raise BadInput(
                f"`{key}` is not a reserved column, so it cannot stand for `{wanted}`",
                where=source,
                hint=did_you_mean(key, [*RESERVED, *ALIASES]),
            )
        if header is None:
            raise BadInput(f"no column `{wanted}` to use as {name}", where=source, hint=did_you_mean(wanted, headers))
        named[name] = header
    return named
