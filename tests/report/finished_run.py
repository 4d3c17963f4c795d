"""The tables of a run, made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

PARAMETERS = [
    # name, label, unit, estimate, se, rse, ci_low, ci_high, cv, shrinkage, fixed
    ("CL", "clearance (over F)", "L/h", 2.7515616, 0.22982, 8.35247, 2.33605, 3.24097, None, None, False),
    ("V", "volume of distribution", "L", 31.8088, 1.4827, 4.66129, 29.0316, 34.8517, None, None, False),
    ("F", "bioavailability", "1", 1.0, None, None, None, None, None, None, True),
    ("OMEGA_CL", "variance of η on CL", "1", 0.069098, 0.034584, 50.0504, 0.025908, 0.184288, 26.7473, 3.87297, False),
    ("OMEGA_V", "variance of η on V", "1", 0.01916, 0.011061, 57.7291, 0.00618, 0.0594, 13.9085, 10.3212, False),
    ("add", "additive residual SD of cp", "mg/L", 0.694399, 0.04946, 7.12273, 0.603922, 0.798432, None, None, False),
]
COLUMNS = ["name", "label", "unit", "estimate", "se", "rse", "ci_low", "ci_high", "cv", "shrinkage", "fixed"]
FIT = """model = "oral_one_compartment"
title = "Twelve subjects"

[data]
units = { TIME = "h", AMT = "mg", DV = "mg/L" }
"""


def observations(subjects: int = 4, endpoints: tuple[str, ...] = ("cp",), times: int = 8) -> pd.DataFrame:
    """sdtab: smooth curves and seeded noise."""
    random, rows = np.random.default_rng(1), []
    for i in range(subjects):
        for k, endpoint in enumerate(endpoints):
            t = np.linspace(0, 24, times)
            pred = 10.0 ** (3 * k) * 10 * (np.exp(-0.1 * t) - np.exp(-1.5 * t))
            ipred = pred * np.exp(0.2 * random.normal())
            noise = random.normal(size=times)
            dv = ipred + 0.7 * 10.0 ** (3 * k) * noise
            frame = {"ID": f"{i + 1:03d}", "TIME": t, "DVID": endpoint, "DV": dv, "PRED": pred, "IPRED": ipred}
            rows.append(pd.DataFrame({**frame, "RES": dv - pred, "IWRES": noise, "CWRES": noise * 1.1}))
    return pd.concat(rows, ignore_index=True)


def individuals(subjects: int = 4, etas: tuple[str, ...] = ("CL", "V")) -> pd.DataFrame:
    """patab."""
    random = np.random.default_rng(2)
    out = pd.DataFrame({"ID": [f"{i + 1:03d}" for i in range(subjects)]})
    for name in etas:
        out[f"ETA_{name}"] = 0.2 * random.normal(size=subjects)
        out[name] = np.exp(out[f"ETA_{name}"])
    return out
