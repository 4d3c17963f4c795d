"""Finished runs written by hand, whose criteria can be worked out on paper: four subjects, five observations of each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pandas as pd

SUBJECTS, OBSERVATIONS = 4, 20
FIT = """model = "two_pools"
[data]
units = { TIME = "h", AMT = "mg", DV = "mg/L" }
[parameters.CL]
initial = 2.0
iiv = 0.1
[parameters.V]
initial = 20.0
[error.cp]
model = "proportional"
prop = 0.2
"""
ROW = '[{0}]\nvalue = {1}\nunit = "{2}"\nabout = "a number"\nsource = "assumed: for a test"\nstatus = "assumed"\n'
TABLE = "".join(ROW.format(*row) for row in (("CL", 2.0, "L/h"), ("V", 20.0, "L"), ("Q", 5.0, "L/h")))
ESTIMATES = {"CL": 2.1, "V": 21.0, "OMEGA_CL": 0.09, "prop": 0.15}
UNITS = {"CL": "L/h", "V": "L", "Q": "L/h", "add": "mg/L"}


def observations(scale: float = 1.0, clock: float = 1.0, without: int = 0) -> pd.DataFrame:
    """sdtab, with DV and TIME in units that many times smaller, less its first rows."""
    rows = [
        {"ID": str(i + 1), "TIME": clock * t, "DVID": "cp", "DV": scale * round(10 / (1 + i) * math.exp(-0.1 * t), 3)}
        for i in range(SUBJECTS)
        for t in (0.5, 1, 2, 4, 8)
    ]
    residuals = {"PRED": 1.0, "IPRED": 1.0, "RES": 0.0, "IWRES": 0.0, "CWRES": 0.0}
    return pd.DataFrame([r | residuals for r in rows[without:]])


def write_run(
    folder: Path,
    *,
    ofv: float = 100.0,
    estimates: Mapping[str, float] = ESTIMATES,
    held: tuple[str, ...] = (),
    fit: str = FIT,
    settings: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    table: pd.DataFrame | None = None,
    data: str = "the records",
    structure: str = "the equations",
    started: str = "2026-11-23T05:00:00+00:00",
    study: str = "mine",
    **results,
) -> Path:
    """What `pbpk fit` leaves; keywords of results.json as given."""
    home = folder / "model" / "two_pools"
    home.mkdir(parents=True)
    files = {
        "fit.toml": fit,
        "data.csv": data,
        "model/two_pools/structure.py": structure,
        "model/two_pools/parameters.toml": TABLE,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    seen = observations() if table is None else table
    free = [n for n in estimates if n not in held]
    se = {n: abs(estimates[n]) / 10 for n in free}
    record = {
        "study": study,
        "options": dict(options or {}),
        "settings": {"model": "model/two_pools", "data.file": "data.csv", **(settings or {})},
        "started": started,
        "seed": 1,
        "sha256": {n: sha256(text.encode()).hexdigest() for n, text in files.items()},
    }
    found = {
        "schema_version": 1,
        "study": study,
        "model": "two_pools",
        "method": "focei",
        "ofv": ofv,
        "minus2ll": ofv + len(seen) * math.log(2 * math.pi),
        "subjects": SUBJECTS,
        "observations": len(seen),
        "standard_errors": se,
        "condition_number": 2.5,
        "log_estimates": {n: {} for n in estimates if n in UNITS and n != "add"},
        "eta_shrinkage": {n.removeprefix("OMEGA_"): 0.05 for n in estimates if n.startswith("OMEGA_")},
        "epsilon_shrinkage": 0.11,
        "minimization_successful": True,
        "termination_cause": "converged",
        "seconds": {"first evaluation": 1.0, "iterations": 2.25},
        "seed": 1,
    }
    parameters = [
        {"name": n, "label": f"what {n} is", "unit": UNITS.get(n, "1"), "estimate": v, "se": se.get(n)}
        | {"rse": 10.0 if n in free else None, "shrinkage": 5.0 if n.startswith("OMEGA_") else None, "fixed": n in held}
        for n, v in estimates.items()
    ]
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "results.json").write_text(json.dumps(found | results))
    pd.DataFrame(parameters).to_csv(folder / "parameters.csv", index=False)
    seen.to_csv(folder / "sdtab.csv", index=False)
    pd.DataFrame({"ID": seen["ID"].unique()}).to_csv(folder / "patab.csv", index=False)
    pd.DataFrame(index=free, columns=free, dtype=float).to_csv(folder / "covariance.csv")
    pd.DataFrame({"iteration": [1], "ofv": [ofv], "gradient": [0.0]}).to_csv(folder / "iterations.csv", index=False)
    return folder


def change(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text
