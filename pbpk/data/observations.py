"""The observed columns: DV, MDV and which observable a row observes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

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
    values = sheet.read_numbers("DV", readable, "give MDV=1 on a row without an observation, or leave DV empty")
    absent = readable & values.isna()
    if need_dv:
        sheet.forbid(absent & (mdv == 0), "MDV is 0 but DV is missing", hint="use MDV=1 where nothing was measured")
    notes = []
    if sheet.has_column("DV") and absent.any():
        notes.append(f"DV is missing on {int(absent.sum())} observation rows: no observation there (MDV 1)")
    if (over := ~sampled & (mdv == 0) & ~unsaid).any() and sheet.has_column("MDV"):
        notes.append(f"MDV is 0 on {int(over.sum())} rows that are not observations (EVID not 0): taken as 1")
    observed = readable & ~absent
    cens, limit = _read_censoring(sheet, observed, values)
    columns = {"DV": values.where(observed, np.nan) * scale, "MDV": (~observed).astype(int)}
    return pd.DataFrame(columns | {"CENS": cens, "LIMIT": limit * scale}), notes


def _read_censoring(sheet: DataSheet, observed: pd.Series, values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """CENS and LIMIT of the observations, as Monolix and nlmixr2 write them. Raises `BadInput`."""
    cens = sheet.read_integers("CENS").where(observed, 0)
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
