"""What the two estimates owe to what is not published: the division of 11 patients, the steepness, the exposure.

python fits/alpha_t1/sensitivity.py [--json]
"""

import json
import sys
import tempfile
from pathlib import Path

import pbpk

HERE = Path(__file__).parent
DIVISIONS = [(2, 3, 6), (1, 4, 6), (3, 2, 6), (3, 3, 5), (1, 3, 7), (2, 4, 5)]
TG = (1, 2)  # responders at 2.5 and 3.5 MBq/kg: one in three, of three and of six


def rows(division: tuple[int, int, int]) -> str:
    lines = ["group,quantity,statistic,value,unit,n,status,source"]
    for k, (n, dlt) in enumerate(zip(division, (0, 0, 3), strict=True), start=1):
        lines.append(f"level_{k},dlt,proportion,{dlt}/{n},1,{n},assumed,sensitivity analysis")
    for k, n, tg in ((2, division[1], TG[0]), (3, division[2], TG[1])):
        lines.append(f"level_{k},tg_halved,proportion,{tg}/{n},1,{n},assumed,sensitivity analysis")
    return "\n".join(lines) + "\n"


def fitted(division: tuple[int, int, int] = (2, 3, 6), **settings: str) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "summary.csv"
        table.write_text(rows(division))
        fit = pbpk.fit(HERE, settings={"summary.file": str(table), **settings})
    chance = fit.summary.set_index(["group", "quantity"])["model"]
    return {
        "ofv": fit.ofv,
        "E50": {k: (fit.estimates[f"{k}.E50"], fit.standard_errors["R"].get(f"{k}.E50")) for k in ("dlt", "tg_halved")},
        "chance of a DLT": [float(chance[f"level_{k}", "dlt"]) for k in (1, 2, 3)],
    }


def main() -> None:
    cases = {"2/3/6, as fitted": fitted()}
    cases |= {"/".join(map(str, d)): fitted(d) for d in DIVISIONS[1:]}
    for slope in ("1", "2", "8", "16"):
        cases[f"slope of DLT {slope}"] = fitted(**{"summary.responses.dlt.slope.initial": slope})
    for slope in ("0.5", "2", "4"):
        cases[f"slope of Tg {slope}"] = fitted(**{"summary.responses.tg_halved.slope.initial": slope})
    cases["DLT by blood dose"] = fitted(**{"summary.responses.dlt.exposure": "blood_dose"})
    if "--json" in sys.argv:
        print(json.dumps(cases))
        return
    print(f"{'case':24}{'OFV':>8}{'DLT E50, mGy':>18}{'Tg E50, Gy':>18}   chance of a DLT at 1.25, 2.5, 3.5")
    for name, c in cases.items():
        (a, sa), (b, sb) = c["E50"]["dlt"], c["E50"]["tg_halved"]
        chances = ", ".join(f"{100 * x:.0f} %" for x in c["chance of a DLT"])
        print(f"{name:24}{c['ofv']:8.3f}{1000 * a:10.1f} ± {1000 * sa:<5.1f}{b:10.2f} ± {sb:<5.2f}   {chances}")


if __name__ == "__main__":
    main()
