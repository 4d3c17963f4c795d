"""The output of `pbpk dosimetry`: the JSON, a table for the terminal, and the files of --out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbpk.dosimetry.curves import DoseCourse
    from pbpk.dosimetry.patient.report import PatientReport
    from pbpk.dosimetry.target_doses import AbsorbedDose
    from pbpk.dosimetry.uncertain.result import DoseUncertainty
    from pbpk.model.load import Model
    from pbpk.population.patients import Patients
    from pbpk.run_folders.claim import OutputFolder


@dataclass(frozen=True)
class DosimetryAnswer:
    """Doses and what else was asked for; `result` is the JSON, `course` the dose rates for a figure."""

    doses: AbsorbedDose
    result: dict[str, Any]
    course: DoseCourse | None
    page: PatientReport | None
    uncertainty: DoseUncertainty | None


def summarise_doses(
    doses: AbsorbedDose,
    model: Model | None,
    activity: float | None,
    patients: int | None,
    uncertainty: DoseUncertainty | None,
) -> dict[str, Any]:
    """The JSON. Intervals are between patients, or over what is not known."""
    import numpy as np

    from pbpk.dosimetry.phantom.body import load_regions

    def numbers(values: Any, unit: str, **more: Any) -> dict[str, Any]:
        solved = np.asarray(values)[np.isfinite(np.asarray(values))]
        low, middle, high = np.quantile(solved, [0.05, 0.5, 0.95]) if len(solved) else (np.nan,) * 3
        return {
            "value": float(middle),
            "unit": unit,
            "interval": [float(low), float(high)] if np.size(values) > 1 else None,
            **more,
        }

    known = load_regions(doses.phantom)
    rows = {}
    for t in doses.targets:
        parts = {r: float(np.nanmedian(np.asarray(doses.by_radiation[r][t]))) for r in doses.by_radiation}
        rows[t] = numbers(doses.coefficient[t], "mGy/MBq", by_radiation=parts, monte_carlo_error=doses.error.get(t))
    result: dict[str, Any] = {
        "model": model.name if model else None,
        "nuclide": doses.nuclide,
        "phantom": doses.phantom,
        "recoil": doses.recoil,
        "patients": patients or 1,
        "tiac": {r: numbers(v, "h") for r, v in doses.tiac.hours[doses.nuclide].items()},
        "tiac_of_daughters": {
            n: {r: numbers(v, "h") for r, v in of.items()} for n, of in doses.tiac.hours.items() if n != doses.nuclide
        },
        "absorbed_dose_per_activity": rows,
        "mass": {
            t: {"value": float(np.median(np.asarray(doses.masses.get(t, known[t].mass)))), "unit": "g"}
            for t in doses.targets
            if t in known
        },
        "interval": "5 % to 95 % of virtual patients" if patients else "none: one patient at typical values",
        "notes": list(doses.notes),
    }
    if activity is not None:
        result["activity"] = {"value": activity, "unit": "MBq"}
        result["absorbed_dose"] = {t: numbers(v, "Gy") for t, v in doses.gray(activity).items()}
    if uncertainty is not None and activity is not None:
        result["uncertainty"] = uncertainty.to_dict()
        result["interval"] = f"{uncertainty.level:.0%} over what is not known ({uncertainty.method})"
        for t, s in uncertainty.spreads["absorbed_dose"].items():
            result["absorbed_dose"][t]["interval"] = [s.low, s.high]
            rows[t]["interval"] = [s.low / activity * 1e3, s.high / activity * 1e3]
    return result


def describe_subjects(doses: AbsorbedDose, subjects: Patients) -> dict[str, Any]:
    """For the JSON: each subject's hours and doses, and that intervals are those between them."""
    import numpy as np

    def row(k: int) -> dict[str, Any]:
        hours = {r: float(np.asarray(v)[k]) for r, v in doses.tiac.hours[doses.nuclide].items()}
        return {"tiac_h": hours, "mGy_per_MBq": {t: float(np.asarray(doses.coefficient[t])[k]) for t in doses.targets}}

    rows = {str(name): row(k) for k, name in enumerate(subjects.covariates["ID"])}
    return {"patients": len(rows), "interval": "5 % to 95 % of the fit's subjects", "individuals": rows}


def format_doses(result: dict[str, Any], uncertainty: DoseUncertainty | None = None) -> str:
    """The table for the terminal."""
    lines = [f"{result['nuclide']} in the {result['phantom']}" + (", with recoils" if result["recoil"] else ""), ""]
    lines.append(f"{'region':<28}{'TIAC, h':>12}{'':>4}interval")
    for name, row in result["tiac"].items():
        lines.append(f"{name:<28}{row['value']:>12.4g}    {_interval(row)}")
    for nuclide, rows in result["tiac_of_daughters"].items():
        for name, row in rows.items():
            lines.append(f"{nuclide + ' ' + name:<28}{row['value']:>12.4g}    {_interval(row)}")
    gray = result.get("absorbed_dose")
    lines += [
        "",
        f"{'target':<24}{'mass, g':>10}{'mGy/MBq':>12}{'of alphas':>11}"
        + (f"{'Gy':>11}" if gray else "")
        + "    interval",
    ]
    for name, row in result["absorbed_dose_per_activity"].items():
        mass, total = result["mass"].get(name), row["value"]
        grams = format(mass["value"], ".4g") if mass else "-"
        share = format(row["by_radiation"]["alpha"] / total, ".0%") if total else "-"
        line = f"{name:<24}{grams:>10}{total:>12.4g}{share:>11}"
        lines.append(line + (format(gray[name]["value"], ">11.4g") if gray else "") + f"    {_interval(row)}")
    if people := result.get("individuals"):
        regions = list(result["tiac"])
        lines += ["", f"{'ID':<12}" + "".join(f"{r + ', h':>24}" for r in regions)]
        lines += [f"{n:<12}" + "".join(f"{p['tiac_h'][r]:>24.4g}" for r in regions) for n, p in people.items()]
    if uncertainty is not None:
        from pbpk.dosimetry.patient.text import render_uncertainty

        lines += ["", render_uncertainty(uncertainty)]
    return "\n".join(lines)


def _interval(row: dict[str, Any]) -> str:
    return f"{row['interval'][0]:.4g} to {row['interval'][1]:.4g}" if row["interval"] else ""


def list_regions(phantom: Any, as_json: bool) -> None:
    """Print the phantom's regions with their masses."""
    from pbpk.commands.shared import print_json
    from pbpk.dosimetry.phantom.body import load_regions

    known = load_regions(phantom)
    if as_json:
        print_json({"phantom": phantom, "regions": {n: {"mass_g": r.mass, "kind": r.kind} for n, r in known.items()}})
        return
    print(f"{'region':<28}{'kind':<12}{'mass, g':>10}")
    for name, r in known.items():
        grams = format(r.mass, ".4g") if r.mass else "-"
        print(f"{name:<28}{r.kind:<12}{grams:>10}")
    print("blood, other                spread over organs by their blood, and over all tissue not named")


def write_doses(folder: OutputFolder, answer: DosimetryAnswer) -> list[str]:
    """Write the files of --out; returns what was left out, and why."""
    from pbpk.dosimetry.olinda import format_olinda_case
    from pbpk.dosimetry.tiac import write_tiac
    from pbpk.run_folders.record import read_command_line

    doses, result, page = answer.doses, answer.result, answer.page
    folder.write("command.txt", read_command_line() + "\n")
    folder.write("tiac.csv", write_tiac(doses.tiac))
    rows = ["target,value,unit,low,high"]
    for name, row in result["absorbed_dose_per_activity"].items():
        low, high = row["interval"] or ("", "")
        rows.append(f"{name},{row['value']:.6g},mGy/MBq,{low},{high}")
    folder.write("dose.csv", "\n".join(rows) + "\n")
    if people := result.get("individuals"):
        lines = [f"{n},{r},{h:.6g}" for n, p in people.items() for r, h in p["tiac_h"].items()]
        folder.write("individuals.csv", "\n".join(["ID,region,tiac_h", *lines]) + "\n")
    if len(doses.tiac.hours) == 1:
        folder.write("case.cas", format_olinda_case(doses.tiac, doses.phantom))
    if page is not None:
        folder.write("report.md", page.text(markdown=True) + "\n")
    folder.write_json("dosimetry.json", {"schema_version": 1, **result})
    return _draw_figures(folder, doses, result, answer.course)


def _draw_figures(
    folder: OutputFolder, doses: AbsorbedDose, result: dict[str, Any], course: DoseCourse | None
) -> list[str]:
    from pbpk.dosimetry.svalues import list_targets
    from pbpk.errors import MissingExtra
    from pbpk.nuclides import load_nuclide
    from pbpk.report.dose_figures import DoseBar, draw_dose_rates, draw_doses, select_highest

    gray = result.get("absorbed_dose")
    rows, unit = (gray, "Gy") if gray else (result["absorbed_dose_per_activity"], "mGy/MBq")
    known = list_targets(doses.phantom)
    lesions = [t for t in doses.targets if t not in known]
    shown = {
        t: DoseBar(r["value"], tuple(r["interval"]) if r["interval"] else None, t in lesions) for t, r in rows.items()
    }
    lines = result["interval"] if any(s.interval for s in shown.values()) else ""
    try:
        (folder.partial / "dose.png").write_bytes(draw_doses(shown, unit, f"{doses.nuclide}, {doses.phantom}", lines))
        if course is not None:
            targets = select_highest(course, [t for t in lesions if t in course.targets], but=("total_body",))
            until = (
                course.time[-1] - 7 * load_nuclide(doses.nuclide).half_life
            )  # of the 12 half-lives after the last dose
            (folder.partial / "dose_rate.png").write_bytes(draw_dose_rates(course, targets, until))
    except MissingExtra as e:
        return [f"no figure: {e.what} ({e.hint})"]
    return []
