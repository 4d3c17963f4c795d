"""The dose columns: EVID, AMT, RATE, DUR, ADDL, II, SS and where the dose goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.data.cells import parse_number
from pbpk.data.names import read_name_column, resolve_default

if TYPE_CHECKING:
    from pbpk.data.sheet import DataSheet

_SCHEDULE = ("RATE", "DUR", "ADDL", "II", "SS")
_MODELLED = (-1.0, -2.0)  # RATE that asks the model for a rate or for a duration: codes, so they have no unit


def read_dose_columns(sheet: DataSheet, scale: Mapping[str, float]) -> tuple[pd.DataFrame, list[str]]:
    """EVID, AMT, RATE, DUR, ADDL, II and SS in coherent units, and notes. Raises `BadInput`."""
    amount = sheet.read_numbers("AMT").fillna(0.0)
    sheet.forbid(amount < 0, "AMT {AMT} is negative")
    dose = pd.DataFrame({"EVID": 0, "AMT": amount * scale["AMT"]})
    for name in ("RATE", "DUR", "II"):
        dose[name] = sheet.read_numbers(name).fillna(0.0)
    for name in ("ADDL", "SS"):
        dose[name] = sheet.read_integers(name)
    dose["EVID"], notes = _read_evid(sheet, dose)
    notes += _clear_idle(dose)
    _check_doses(sheet, dose)
    notes += _note_schedule(sheet, dose)
    dose["RATE"] = dose["RATE"].where(dose["RATE"].isin(_MODELLED), dose["RATE"] * scale["RATE"])
    dose["DUR"] *= scale["DUR"]
    dose["II"] *= scale["II"]
    return dose, notes


def _note_schedule(sheet: DataSheet, dose: pd.DataFrame) -> list[str]:
    """Notes on columns of doses that may be meant otherwise: DUR of a disease, II that nothing repeats."""
    dosed, notes = dose["EVID"].isin([1, 4]), []
    lasting = dosed & (dose["DUR"] > 0)
    if lasting.any() and sheet.named.get("DUR", "").upper() == "DUR":
        least, most = dose.loc[lasting, "DUR"].min(), dose.loc[lasting, "DUR"].max()
        length = f"{least:g}" if least == most else f"{least:g} to {most:g}"
        notes.append(f"DUR makes {int(lasting.sum())} doses infusions that last {length} in the unit of DUR")
    single = dosed & (dose["II"] > 0) & (dose["ADDL"] == 0) & (dose["SS"] == 0)
    if single.any():
        row = single.index[single.to_numpy()][0]
        notes.append(f"II without ADDL or SS repeats nothing: {int(single.sum())} doses are given once (row {row:g})")
    return notes


def read_compartments(sheet: DataSheet, evid: pd.Series, compartments: Sequence[str], default: str | None) -> pd.Series:
    """Where each dose goes; on observation rows the compartment named there, if any. Raises `BadInput`."""
    usual = resolve_default(default, "compartment", compartments)
    values = sheet.read_text("CMT").map(lambda cell: np.nan if (v := parse_number(cell)) is None else v).astype(float)
    sheet.forbid(
        values < 0,
        "CMT {CMT} asks to turn a compartment off, which is not supported",
        hint="to empty all compartments use EVID=3",
    )
    where = read_name_column(sheet, "CMT", "compartment", compartments, values != 0)
    dosed = evid.isin([1, 4])
    unsaid = dosed & (where == "")
    if usual is None:
        known = ", ".join(f"`{name}`" for name in compartments)
        hint = f"fill the CMT column, or name a default compartment; the model has {known}"
        sheet.forbid(unsaid, "nothing says which compartment this dose goes to", hint=hint)
    return where.mask(unsaid, usual or "").where(dosed | (evid == 0), "")


def note_undosed(sheet: DataSheet, evid: pd.Series) -> list[str]:
    """A note naming the subjects without a dose, if there are any."""
    dosed = evid.isin([1, 4])
    any_dose = dosed.groupby(sheet.ids, sort=False).any()
    without = [str(i) for i in any_dose.index[~any_dose.to_numpy(dtype=bool)]]
    if not without:
        return []
    shown = ", ".join(without[:5]) + (", ..." if len(without) > 5 else "")
    return [f"no dose for {len(without)} of {len(any_dose)} subjects (ID {shown})"]


def _read_evid(sheet: DataSheet, dose: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    evid, unsaid = sheet.read_integers("EVID"), sheet.read_text("EVID") == ""
    sheet.forbid(~evid.isin(range(5)), "EVID {EVID} is none of 0, 1, 2, 3, 4")
    endless = (dose["SS"] > 0) & (dose["RATE"] != 0)
    assumed = ((dose["AMT"] > 0) | endless).astype(int)
    if not unsaid.any():
        return evid, []
    rule = "a row with AMT above 0 is a dose (EVID 1), any other an observation (EVID 0)"
    lacking = f"EVID is missing on {int(unsaid.sum())} rows" if sheet.has_column("EVID") else "there is no EVID column"
    return evid.mask(unsaid, assumed), [f"{lacking}: {rule}"]


def _clear_idle(dose: pd.DataFrame) -> list[str]:
    """Sets RATE, DUR, ADDL, II and SS to 0 on rows that give no dose, where many files repeat them."""
    idle, used = ~dose["EVID"].isin([1, 4]), []
    for name in _SCHEDULE:
        if (count := int((idle & (dose[name] != 0)).sum())) > 0:
            used.append(f"{name} ({count})")
            dose[name] = dose[name].mask(idle, 0)
    return [f"not used on rows that give no dose: {', '.join(used)}"] if used else []


def _check_doses(sheet: DataSheet, dose: pd.DataFrame) -> None:
    evid, amount, rate, duration = (dose[name] for name in ("EVID", "AMT", "RATE", "DUR"))
    more, interval, steady = (dose[name] for name in ("ADDL", "II", "SS"))
    has_amount, dosed = amount > 0, evid.isin([1, 4])
    constant = dosed & ~has_amount & (steady > 0) & ((rate > 0) | (rate == -1))

    sheet.forbid(has_amount & (evid == 0), "an observation (EVID 0) has AMT {AMT}", hint="a dose has EVID=1")
    sheet.forbid(
        has_amount & evid.isin([2, 3]), "EVID {EVID} gives no dose, but AMT is {AMT}", hint="use EVID=1 or EVID=4"
    )
    sheet.forbid((rate < 0) & ~rate.isin(_MODELLED), "RATE {RATE} is negative and neither -1 nor -2")
    sheet.forbid(duration < 0, "the duration {DUR} is negative")
    sheet.forbid((rate != 0) & (duration > 0), "both RATE {RATE} and a duration {DUR} are given", hint="keep one")
    sheet.forbid(~steady.isin([0, 1, 2]), "SS {SS} is none of 0, 1, 2", hint="if SS means something else, ignore it")
    sheet.forbid(
        dosed & ~has_amount & ~constant,
        "EVID {EVID} needs a dose, but AMT is {AMT}",
        hint="a row that gives no dose has EVID=0, 2 or 3; an endless infusion at steady state has AMT=0, RATE>0, SS=1",
    )
    sheet.forbid(more < 0, "ADDL {ADDL} is negative")
    sheet.forbid(interval < 0, "II {II} is negative")
    sheet.forbid(constant & ((more > 0) | (interval > 0)), "an endless infusion (AMT 0) takes no ADDL and no II")
    sheet.forbid((more > 0) & (interval == 0), "ADDL {ADDL} needs an interval, but II is {II}")
    needs = "SS {SS} needs an interval, but II is {II}"
    sheet.forbid((steady > 0) & ~constant & (interval == 0), needs, hint="an endless infusion has AMT=0 and RATE>0")
