"""The observed columns: DV, MDV and which observable a row observes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.data.cells import parse_number
from pbpk.data.limits import HINT, read_limits
from pbpk.data.names import read_name_column, resolve_default

if TYPE_CHECKING:
    from pbpk.data.sheet import DataSheet


def read_observations(sheet: DataSheet, evid: pd.Series, scale: float, need_dv: bool) -> tuple[pd.DataFrame, list[str]]:
    """DV (NaN where nothing is observed) and MDV, and notes. Raises `BadInput`."""
    mdv = sheet.read_integers("MDV", otherwise=-1)
    unsaid = sheet.read_text("MDV") == ""
    sheet.forbid(~unsaid & ~mdv.isin([0, 1]), "MDV {MDV} is neither 0 nor 1")
    sampled = evid == 0
    readable = sampled & (mdv != 1)
    limits = read_limits(sheet.read_text("DV").where(readable, ""))
    sheet.forbid(limits.cells == "-", 'DV "-" is not a number', hint=HINT)
    values = sheet.parse_column(limits.cells, "DV", HINT)
    absent = readable & values.isna() & ~limits.unnamed
    if need_dv:
        sheet.forbid(absent & (mdv == 0), "MDV is 0 but DV is missing", hint="use MDV=1 where nothing was measured")
    notes = limits.notes
    if sheet.has_column("DV") and absent.any():
        notes.append(f"DV is missing on {int(absent.sum())} observation rows: no observation there (MDV 1)")
    if (over := ~sampled & (mdv == 0) & ~unsaid).any() and sheet.has_column("MDV"):
        notes.append(f"MDV is 0 on {int(over.sum())} rows that are not observations (EVID not 0): taken as 1")
    notes += _note_dose_rows(sheet, evid, unsaid | (mdv == 0))
    observed = readable & ~absent
    cens, limit = _read_censoring(sheet, observed, values, limits.censored)
    columns = {"DV": values.where(observed, np.nan) * scale, "MDV": (~observed).astype(int)}
    return pd.DataFrame(columns | {"CENS": cens, "LIMIT": limit * scale}), notes


def _note_dose_rows(sheet: DataSheet, evid: pd.Series, counts: pd.Series) -> list[str]:
    """A note where rows of doses have a DV too, which is no observation there."""
    cells = sheet.read_text("DV")
    measured = evid.isin([1, 4]) & counts & ~cells.isin(["", "0", "0.0"])
    if not measured.any():
        return []
    row = measured.index[measured.to_numpy(dtype=bool)][0]
    return [
        f"DV is given on {int(measured.sum())} rows that give a dose (row {row} is the first): it is not an observation "
        "there. Give each a row of its own, or say split_dose_rows = true in [data]: then it is one, just before the dose"
    ]


def _read_censoring(
    sheet: DataSheet, observed: pd.Series, values: pd.Series, marked: pd.Series
) -> tuple[pd.Series, pd.Series]:
    """CENS and LIMIT of the observations, as Monolix and nlmixr2 write them, or as DV's own marks say. Raises `BadInput`."""
    cens = sheet.read_integers("CENS").where(observed, 0)
    said = sheet.read_text("CENS") != ""
    sheet.forbid(said & (marked != 0) & (cens != marked), "CENS {CENS} and DV {DV} say different things", hint=HINT)
    cens = cens.mask(marked != 0, marked)
    sheet.forbid(~cens.isin([-1, 0, 1]), "CENS {CENS} is not 0, 1 (below DV) or -1 (above DV)")
    limit = sheet.read_numbers("LIMIT", observed & (cens != 0))
    wrong = ((cens == 1) & (limit >= values)) | ((cens == -1) & (limit <= values))
    hint = "LIMIT is the other end of the interval: below DV where CENS is 1, above it where CENS is -1"
    sheet.forbid(wrong, "LIMIT {LIMIT} and DV {DV} with CENS {CENS} are no interval", hint=hint)
    return cens, limit


def read_observables(
    sheet: DataSheet, evid: pd.Series, mdv: pd.Series, cmt: pd.Series, observables: Sequence[str], default: str | None
) -> pd.Series:
    """What each observation row observes: its DVID, else the default, else the observable named like its compartment,
    else the only one there is. "" on other rows. Raises `BadInput`."""
    sampled, cells = evid == 0, sheet.read_text("DVID")
    if not observables:  # no model to ask: the file's own words stand
        return cells.mask(cells == "", default or "").where(sampled, "")
    usual = resolve_default(default, "observable", observables)
    numbered_none = (mdv == 1) & (cells == "0")  # DVID 0 is how many files say "nothing" on rows without a DV
    named = read_name_column(sheet, "DVID", "observable", observables, sampled & ~numbered_none)
    unsaid = sampled & (named == "")
    if default is None:
        same = unsaid & cmt.isin(observables)
        named = named.mask(same, cmt)
        unsaid &= ~same
    if usual is None:
        known = ", ".join(f"`{name}`" for name in observables)
        hint = f"fill a DVID column, or name a default observable; the model has {known}"
        sheet.forbid(unsaid & (mdv == 0), "nothing says which observable this DV is", hint=hint)
    return named.mask(unsaid, usual or "")


def split_observed_doses(cells: pd.DataFrame, named: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """The cells with a row of its own for each DV on a row that gives a dose, before that row; numbered half a row less."""
    if "DV" not in named or "AMT" not in named:
        return cells, []
    amount = cells[named["AMT"]].map(lambda cell: parse_number(cell) or 0.0)
    measured = (amount > 0) & ~cells[named["DV"]].isin(["", "0", "0.0"])
    if "MDV" in named:
        measured &= cells[named["MDV"]].map(lambda cell: parse_number(cell) != 1)
    if not measured.any():
        return cells, []
    samples = cells[measured].copy()
    for name in ("AMT", "EVID", "RATE", "DUR", "ADDL", "II", "SS", "MDV", "CMT"):
        if name in named:
            samples[named[name]] = ""
    doses = cells.copy()
    doses.loc[measured, named["DV"]] = ""
    for name, word in (("EVID", "0"), ("MDV", "0")):
        if name in named:
            samples[named[name]] = word
            doses.loc[measured, named[name]] = "1" if name == "MDV" else doses.loc[measured, named[name]]
    samples.index = samples.index - 0.5
    note = f"{int(measured.sum())} values on rows that give a dose are observations just before it (split_dose_rows)"
    return pd.concat([doses, samples]).sort_index(), [note]


def note_repeats(sheet: DataSheet, time: pd.Series, mdv: pd.Series, dvid: pd.Series) -> list[str]:
    """A note where a subject has two values of one observable at one time: replicates, or a row that stands twice."""
    rows = pd.DataFrame({"ID": sheet.ids, "TIME": time, "DVID": dvid})[mdv == 0]
    again = rows.duplicated()
    if not again.any():
        return []
    row = again.index[again.to_numpy()][0]
    return [
        f"row {row:g} repeats a subject, time and observable of a row above ({int(again.sum())} such rows): all count"
    ]
