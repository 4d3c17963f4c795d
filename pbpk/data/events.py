"""A NONMEM-style event table, read from CSV into one checked frame in coherent units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import pandas as pd

from pbpk.data.cells import blank_missing
from pbpk.data.clock import read_time
from pbpk.data.covariates import read_extra_columns
from pbpk.data.doses import note_undosed, read_compartments, read_dose_columns
from pbpk.data.headers import match_headers, rename_parameters, require_column
from pbpk.data.observations import note_repeats, read_observables, read_observations, split_observed_doses
from pbpk.data.order import check_subjects, check_times
from pbpk.data.rows import drop_rows, is_condition
from pbpk.data.scales import find_scales
from pbpk.data.sheet import DataSheet
from pbpk.errors import require_name
from pbpk.tables import read_csv

COLUMNS = ("ID", "TIME", "EVID", "AMT", "RATE", "DUR", "ADDL", "II", "SS", "CMT", "DV", "MDV", "DVID", "CENS", "LIMIT")


@dataclass(frozen=True, eq=False)
class EventTable:
    """One line per record, in file order; the index is the row number in the file, where the header is row 1.

    `frame` holds, in coherent units (h, and the coherent units of AMT and DV):

    - ID: subject, text
    - TIME: h
    - EVID: 0 observation, 1 dose, 2 other, 3 reset, 4 reset and dose
    - AMT: amount, 0 where none
    - RATE: amount per h, 0 where none; -1 and -2 (the model gives the rate or the duration) stand as they are
    - DUR: h, 0 where none
    - ADDL, II: further doses, and the interval in h
    - SS: 0 no, 1 steady state, 2 steady state on top of what is there
    - CMT: where a dose goes; on an observation row the compartment named there, if any; "" elsewhere
    - DV: NaN where nothing is observed
    - MDV: 1 where nothing is observed, else 0
    - DVID: observable, "" on rows that are not observation rows
    - CENS: 0 quantified, 1 DV is a limit that the value lies below, -1 one that it lies above
    - LIMIT: where censored, the other end of the interval, in the unit of DV; NaN where there is none
    - then `covariates`, without gaps, and `overrides`, where NaN means the model's own value

    `notes` are the things done that the user must know, one sentence each. `categories` are those of each covariate that is
    text, in the order of the numbers, from 0, that stand for them.
    """

    frame: pd.DataFrame
    covariates: tuple[str, ...]
    overrides: tuple[str, ...]
    source: str
    notes: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_events(
    path: str | PathLike[str],
    *,
    compartments: Sequence[str],
    parameters: Sequence[str] = (),
    observables: Sequence[str] = (),
    default_compartment: str | None = None,
    default_observable: str | None = None,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    missing: Sequence[str] = (".", "", "NA", "NaN"),
    need_dv: bool = True,
    split_dose_rows: bool = False,
) -> EventTable:
    """Reads and checks a table of doses and observations.

    compartments, observables: in the model's order, which is what a number in CMT or DVID counts (from 1).
    parameters: a column named like one of them, in any case, overrides it.
    default_compartment, default_observable: for rows that name none; needless where there is only one.
    columns: reserved or parameter name -> the file's own, such as `{"DV": "conc", "ALAG1": "lagt"}`.
    units: unit by column, such as `{"TIME": "min", "AMT": "g", "WT": "kg"}`; a column without one is coherent already,
        save that II and DUR follow TIME and RATE is AMT per TIME. Clock times and dates need none. "text" for a covariate
        whose cells are names of categories: the table has their numbers, from 0.
    ignore: columns to leave out, and conditions on rows to leave out, such as "SD == 0" (`data.rows`).
    missing: cells that mean "no value".
    need_dv: False for a table that asks for predictions only.
    split_dose_rows: a DV on a row that gives a dose is an observation just before it, as if it had a row of its own.

    Raises `BadInput`, which names the file, the row and the subject.
    """
    require_name(path, "a data file")
    source = str(path)
    conditions = [text for text in ignore if is_condition(text)]
    ignore = [name for name in ignore if name not in conditions]
    cells, row_notes = drop_rows(read_csv(Path(path)), conditions, source)
    stated = {*(columns or {}).values(), *(units or {})}
    texts = [name for name, unit in (units or {}).items() if unit == "text"]
    units = {name: unit for name, unit in (units or {}).items() if name not in texts}
    cells, columns = rename_parameters(cells, columns or {}, parameters, source)
    headers = list(cells.columns)
    named, free, notes = match_headers(headers, columns, ignore, source)
    notes = row_notes + notes
    for name in ("ID", "TIME", "DV") if need_dv else ("ID", "TIME"):
        require_column(name, named, headers, source)
    scale = find_scales(units, free, source)
    cells = blank_missing(cells, frozenset(word.lower() for word in missing))
    if split_dose_rows:
        cells, new_notes = split_observed_doses(cells, named)
        notes += new_notes
    sheet = DataSheet(source, cells, named)

    check_subjects(sheet)
    time, new_notes = read_time(sheet, scale["TIME"])
    notes += new_notes
    dose, new_notes = read_dose_columns(sheet, scale)
    notes += new_notes
    check_times(sheet, time, dose["EVID"])
    cmt = read_compartments(sheet, dose["EVID"], compartments, default_compartment)
    observed, new_notes = read_observations(sheet, dose["EVID"], scale.get("DV", 1.0), need_dv)
    notes += new_notes
    dvid = read_observables(sheet, dose["EVID"], observed["MDV"], cmt, observables, default_observable)
    notes += note_undosed(sheet, dose["EVID"])
    extras = read_extra_columns(sheet, free, parameters, scale, stated, texts)
    notes += note_repeats(sheet, time, observed["MDV"], dvid)

    reserved = pd.concat([dose, observed], axis=1).assign(ID=sheet.ids, TIME=time, CMT=cmt, DVID=dvid)
    words = dict.fromkeys(("ID", "CMT", "DVID"), str)
    frame = pd.concat([reserved[list(COLUMNS)].astype(words), extras.values], axis=1)
    return EventTable(frame, extras.covariates, extras.overrides, source, (*notes, *extras.notes), extras.categories)
