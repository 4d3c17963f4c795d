"""A VOI table as an event table: one dose for each subject, then its activities, in the order that `read_events` needs."""

from __future__ import annotations

import pandas as pd

from pbpk.errors import BadInput


def build_voi_events(frame: pd.DataFrame, source: str, into: str, at: float) -> pd.DataFrame:
    """ID, TIME (h), EVID, AMT (MBq), CMT, DV (MBq), DVID; "." where there is nothing.

    `frame` is a `VoiTable`'s, read from the file `source`; the dose goes into the compartment `into` at `at` (h). Raises
    `BadInput` where the administered activity is not known.
    """
    unknown = frame["administered_MBq"].isna()
    if unknown.any():
        row = int(unknown.index[unknown.to_numpy()][0])
        raise BadInput(
            "the administered activity is not known",
            where=f"{source} row {row} (ID {frame['subject'][row]})",
            why="An event table begins with the dose.",
            hint='say it, as in "245 MBq", or add a column administered_MBq',
        )
    parts = []
    for subject, rows in frame.groupby("subject", sort=False):
        rows = rows.sort_values("time_h", kind="stable")
        dose = {"ID": subject, "TIME": at, "EVID": 1, "AMT": rows["administered_MBq"].iloc[0], "CMT": into}
        observations = pd.DataFrame(
            {
                "ID": subject,
                "TIME": rows["time_h"],
                "EVID": 0,
                "AMT": ".",
                "CMT": ".",
                "DV": rows["activity_MBq"],
                "DVID": rows["observable"].where(rows["observable"] != "", rows["voi"]),
            }
        )
        early = observations["TIME"] < at
        parts += [observations[early], pd.DataFrame([dose | {"DV": ".", "DVID": "."}]), observations[~early]]
    return pd.concat([p.astype(object) for p in parts if len(p)], ignore_index=True)
