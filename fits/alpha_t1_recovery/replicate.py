"""Simulates and refits the trial many times: bias, spread and coverage of every parameter, as a table.

python fits/alpha_t1_recovery/replicate.py 20
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import simulate

import pbpk

HERE = Path(__file__).parent


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    truth = simulate.TRUTH | {f"OMEGA_{n}": sd**2 for n, sd in simulate.SPREAD.items()}
    truth |= {f"prop_{n}": sd for n, (_, sd) in simulate.SEEN.items()}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "alpha_t1_recovery"
        study.mkdir()
        (study / "fit.toml").write_text((HERE / "fit.toml").read_text(encoding="utf-8"), encoding="utf-8")
        for k in range(count):
            simulate.trial(seed=1000 + k).to_csv(study / "data.csv", index=False)
            fit = pbpk.fit(study)
            errors = fit.parameters.set_index("name")["se"]
            for name, true in truth.items():
                rows.append((name, true, fit.estimates[name], errors.get(name, np.nan), fit.successful))
            print(f"{k + 1} of {count}", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows, columns=["parameter", "truth", "estimate", "se", "minimised"])
    table["error"] = table["estimate"] / table["truth"] - 1
    table["covered"] = (table["estimate"] - table["truth"]).abs() <= 1.96 * table["se"]
    table["rse"] = table["se"] / table["estimate"]
    by = table.groupby("parameter", sort=False)
    said = by.agg(
        truth=("truth", "first"),
        bias=("error", "mean"),
        spread=("error", "std"),
        rse=("rse", "median"),
        covered=("covered", "mean"),
    )
    print(said.round(3).to_string())
    print(f"minimised: {int(table.minimised.sum() / len(truth))} of {count}")


if __name__ == "__main__":
    main()
