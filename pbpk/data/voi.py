"""Time-activity tables of imaging: one line per subject, volume of interest (VOI) and time, read from CSV into MBq.

    subject,voi,time_h,activity_MBq,sd,volume_ml,decay_corrected
    1,thyroid,24,51.2,2.6,18.5,false

Activities come out as what was there at each time, as a simulation has them: decay correction is undone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from pbpk import units
from pbpk.data.cells import blank_missing
from pbpk.data.sheet import DataSheet
from pbpk.data.voi_decay import read_decay_flags
from pbpk.data.voi_headers import PERCENT, VoiColumn, read_voi_headers
from pbpk.data.voi_names import read_voi_names
from pbpk.errors import BadInput
from pbpk.model.parameters import read_number
from pbpk.nuclides import Nuclide, load_nuclide
from pbpk.tables import read_csv

_MISSING = frozenset((".", "", "na", "nan"))


@dataclass(frozen=True, eq=False)
class VoiTable:
    """Activities measured in volumes of interest, checked and in MBq present at their time.

    `frame`, one line per measurement (index: the row number in the file), holds

    - subject, voi: text, as in the file; observable: the model's name for it ("" where no model was asked)
    - time_h; activity_MBq and sd_MBq: present at that time, not decay-corrected; sd is NaN where none is given
    - volume_mL, administered_MBq: NaN where not given
    - decay_corrected: how the file has it, or how it was taken

    `notes` are the things assumed, `warnings` those that may be wrong by a factor. `source` is the file.
    """

    frame: pd.DataFrame
    nuclide: Nuclide
    source: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def events(self, *, into: str, at: float = 0.0) -> pd.DataFrame:
        """The table as doses and observations (ID, TIME, EVID, AMT, CMT, DV, DVID; h and MBq), for `pbpk.fit` and
        `pbpk simulate --data`: the administered activity into the compartment `into` at `at` (h), then the activities.

        Raises `BadInput` where the administered activity is not known.
        """
        from pbpk.data.voi_events import build_voi_events

        return build_voi_events(self.frame, self.source, into, at)


def read_voi(
    path: str | PathLike[str],
    *,
    nuclide: str,
    decay_corrected: bool | None = None,
    reference: float = 0.0,
    administered: float | str | None = None,
    observables: Sequence[str] | None = None,
    vois: Mapping[str, str] | None = None,
) -> VoiTable:
    """Read and check a VOI table.

    decay_corrected: for a file without such a column; to the time `reference` (h). Without either, values are taken as not
        corrected, and a warning says by what factor that may be wrong.
    administered: the activity given to each subject ("245 MBq", or MBq), for files in per cent of it and for `events`.
    observables: a model's names, one of which each VOI must be (in any case, with any separators).
    vois: VOI -> observable, for those called otherwise.

    Raises `BadInput`, which names the file, the row and the subject.
    """
    source = str(path)
    cells = blank_missing(read_csv(Path(path)), _MISSING)
    columns, unused = read_voi_headers(list(cells.columns), source)
    sheet = DataSheet(source, cells, {"ID": columns["subject"].header})
    sheet.forbid(sheet.ids == "", "the subject is missing")
    known = load_nuclide(nuclide)
    notes = [f"column `{h}` is not used" for h in unused]

    time = _read_quantity(sheet, columns, "time", needed=True)
    sheet.forbid(time < 0, lambda row: f"time {time[row]:g} h is negative", hint="count from the administration")
    administered_MBq = _read_administered(sheet, columns, administered)
    volume = _read_quantity(sheet, columns, "volume")
    sheet.forbid(
        volume <= 0,
        lambda row: f"volume {sheet.cells[columns['volume'].header][row]} is not above 0",
        why="A concentration times its volume is the activity.",
    )
    corrected, new_notes, warned = read_decay_flags(sheet, columns, decay_corrected, time, known, reference)
    notes += new_notes
    per_unit = _find_activity_factors(sheet, columns["activity"], volume, administered_MBq)
    present = np.exp(-known.decay_constant * (time - reference)).where(corrected, 1.0)
    value, sd = _read_activities(sheet, columns)
    voi, observable = read_voi_names(sheet, columns["voi"], observables, vois or {})

    frame = pd.DataFrame(
        {
            "subject": sheet.ids,
            "voi": voi,
            "observable": observable,
            "time_h": time,
            "activity_MBq": value * per_unit * present,
            "sd_MBq": sd * per_unit * present,
            "volume_mL": volume * 1000,
            "administered_MBq": administered_MBq,
            "decay_corrected": corrected,
        }
    )
    empty = value.isna()
    if empty.any():
        notes.append(f"{int(empty.sum())} rows without an activity are left out")
        frame = frame[~empty]
    if frame.empty:
        raise BadInput("no row has an activity", where=source)
    notes += _note_repeats(frame)
    warned = [*warned, *_warn_of_impossible(frame, known)]
    for text in warned:
        warnings.warn(f"{source}: {text}", stacklevel=2)
    return VoiTable(frame, known, source, tuple(notes), tuple(warned))


def _read_quantity(
    sheet: DataSheet, columns: Mapping[str, VoiColumn], quantity: str, needed: bool = False
) -> pd.Series:
    """A column in coherent units (h, L, MBq); NaN where missing."""
    if quantity not in columns:
        return pd.Series(np.nan, index=sheet.cells.index)
    column = columns[quantity]
    values = sheet.parse_column(sheet.cells[column.header], quantity) * units.unit_factor(column.unit)
    if needed:
        sheet.forbid(values.isna(), f"the {quantity} is missing")
    return values


def _read_activities(sheet: DataSheet, columns: Mapping[str, VoiColumn]) -> tuple[pd.Series, pd.Series]:
    """Activities and standard deviations, both in the unit of the activity column."""
    activity = columns["activity"]
    value = sheet.parse_column(sheet.cells[activity.header], "activity")
    if "sd" not in columns:
        return value, pd.Series(np.nan, index=value.index)
    column = columns["sd"]
    sd = sheet.parse_column(sheet.cells[column.header], "sd")
    why = "It is a standard deviation, in the activity's unit."
    sheet.forbid(sd < 0, lambda row: f"sd {sd[row]:g} is negative", why=why)
    if column.unit and column.unit != PERCENT:
        sd *= units.unit_factor(column.unit) / units.unit_factor(activity.unit)
    return value, sd


def _read_administered(sheet: DataSheet, columns: Mapping[str, VoiColumn], argument: float | str | None) -> pd.Series:
    if argument is None:
        activities = _read_quantity(sheet, columns, "administered")
        sheet.forbid(activities <= 0, lambda row: f"administered {activities[row]:g} MBq is not above 0")
        first = activities.groupby(sheet.ids, sort=False).transform("first")
        what = "the administered activity is not the same on all rows of this subject"
        sheet.forbid(activities.notna() & (activities != first), lambda _: what)
        return first
    if "administered" in columns:
        raise BadInput(
            f"the administered activity is given, and the file has `{columns['administered'].header}`",
            where=sheet.source,
            hint="keep one",
        )
    try:
        number, unit = read_number(argument) if isinstance(argument, str) else (float(argument), "MBq")
    except ValueError:
        hint = 'write a number and a unit, as in "245 MBq"'
        raise BadInput(f'administered = "{argument}" cannot be read', hint=hint) from None
    activity = number * units.require_dimension(unit or "MBq", "MBq", f'administered = "{argument}"')
    if not (math.isfinite(activity) and activity > 0):
        raise BadInput(f"administered = {argument} is not above 0")
    return pd.Series(activity, index=sheet.cells.index)


def _find_activity_factors(
    sheet: DataSheet, column: VoiColumn, volume: pd.Series, administered: pd.Series
) -> pd.Series:
    """MBq per unit of the activity column, for each row. Raises `BadInput` without the volume or administered activity."""
    if column.unit == PERCENT:
        sheet.forbid(
            administered.isna(),
            f"`{column.header}` needs the administered activity",
            why="Per cent of an unknown activity is no activity.",
            hint='say it, as in "245 MBq", or add a column administered_MBq',
        )
        return administered / 100
    factor = units.unit_factor(column.unit)
    if units.have_same_dimension(column.unit, "MBq"):
        return pd.Series(factor, index=volume.index)
    sheet.forbid(
        volume.isna(),
        f"`{column.header}` is a concentration, and the volume is missing",
        why="Concentration times volume is the activity.",
        hint="add a column volume_mL, or give activities",
    )
    return factor * volume


def _warn_of_impossible(frame: pd.DataFrame, nuclide: Nuclide) -> list[str]:
    """Sentences on activities that cannot be: below zero, or more in all VOIs of a time than is left of what was given."""
    warned = []
    negative = frame[frame["activity_MBq"] < 0]
    if len(negative):
        warned.append(
            f"row {negative.index[0]}: the activity is negative ({len(negative)} such rows): a background taken off, or a slip?"
        )
    left = frame["administered_MBq"] * np.exp(-nuclide.decay_constant * frame["time_h"])
    together = frame.groupby(["subject", "time_h"])["activity_MBq"].transform("sum")
    beyond = frame[together > 1.02 * left]
    if len(beyond):
        row = beyond.index[0]
        warned.append(
            f"row {row}: the VOIs of this time hold {together[row]:.4g} MBq, and {left[row]:.4g} MBq are left of what was "
            "administered: is the activity, its unit or the administered activity wrong, or do VOIs overlap?"
        )
    return warned


def _note_repeats(frame: pd.DataFrame) -> list[str]:
    """A note where rows repeat a subject, VOI and time; none is dropped."""
    again = frame.duplicated(["subject", "voi", "time_h"])
    if not again.any():
        return []
    row = int(again.index[again.to_numpy()][0])
    return [f"row {row} repeats a subject, VOI and time of a row above ({int(again.sum())} such rows): all are kept"]
