"""The output of `pbpk simulate`: JSON or a table on stdout, progress and failures on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pbpk.commands.shared import say

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.population.simulate import Simulation as Simulated


def summarise_simulation(model: Model, path: Simulated, solver: str | None, *, population: bool) -> dict[str, Any]:
    """The JSON of one simulation: one patient's numbers, or medians and quantiles over the patients that were solved."""
    from pbpk.population.bands import QUANTILE_NAMES, compute_medians, compute_quantiles
    from pbpk.solve.choose import choose_solver

    result: dict[str, Any] = {
        "nuclide": model.nuclide,
        "solver": solver or choose_solver(model.system).name,
        "units": path.unit,
        "observables": compute_medians(path, path.observables),
        "patients": len(path.patients),
        "failed": int(np.count_nonzero(np.asarray(path.result))),
        "solved_again": int((path.solved_again > 0).sum()),
    }
    if path.integral is not None:
        result |= {
            "integral_units": {k: f"{u}·h" for k, u in path.unit.items()},
            "integrals": compute_medians(path, path.integral),
            "to_infinity": compute_medians(path, path.to_infinity) if path.to_infinity is not None else None,
        }
    if population:
        result["statistic"] = "median over patients"
        result["quantiles"] = {k: dict(zip(QUANTILE_NAMES, q, strict=True)) for k, q in compute_quantiles(path).items()}
    return result


def make_progress(patients: int, name: str = ""):
    """A callback for `pbpk.simulate` that prints a line on stderr after every tenth of a large population."""
    reported = [0]
    which = f" of {name}" if name else ""

    def report(done: int, of: int) -> None:
        if patients >= 1000 and (done - reported[0] >= patients / 10 or done == of):
            reported[0] = done
            say(f"  {done:,} of {of:,} patients{which}")

    return report


def report_failures(path: Simulated, name: str = "") -> None:
    """Say on stderr which patients could not be solved, and why, in the scenario `name` if it has one."""
    from pbpk.results import explain

    scenario = f"{name}: " if name else ""
    codes = np.asarray(path.result)
    bad = np.flatnonzero(codes)
    for i in bad[:5]:
        say(f"warning: {scenario}patient {path.patients.ids[i]}: {explain(int(codes[i]))}")
    if len(bad) > 5:
        say(f"warning: {scenario}and {len(bad) - 5} more patients failed")
    report_retries(path.solved_again, codes, "patient", scenario)
    if path.no_infinity:
        say(f"note: {scenario}no integral to infinity: {path.no_infinity}")


def report_retries(again: np.ndarray, codes: np.ndarray, noun: str, scenario: str = "") -> None:
    """Say on stderr how many were solved again by a stricter method, and how many of them with success."""
    tried = again > 0
    count, cured = int(tried.sum()), int((tried & (codes == 0)).sum())
    if count:
        nouns = noun if count == 1 else noun + "s"
        say(f"note: {scenario}{count} {nouns} solved again by a stricter method, {cured} with success")


def print_table(time: Mapping[str, Any], results: Mapping[str, dict[str, Any]]) -> None:
    """Print a line for each time of each scenario in `results`; a single scenario without a name has no column for it."""
    units: dict[str, str] = {}
    for result in results.values():
        units |= result["units"]
    for result in results.values():
        units |= {f"{n}_integral": result["integral_units"][n] for n in result.get("integrals", {})}
    first = next(iter(results.values()))
    if "statistic" in first:
        print(f"{first['statistic']} ({first['patients']:,} patients)")
    width = max(12, *(len(n) + 2 for n in units))
    aside = max((max(len("scenario"), len(n)) for n in results if n), default=0)
    heading, clock = "scenario" if aside else "", f"time ({time['unit']})"
    print(f"{heading:<{aside}}{clock:>12}" + "".join(f"{n:>{width}}" for n in units))
    print(f"{'':>{aside + 12}}" + "".join(f"{'(' + u + ')':>{width}}" for u in units.values()))
    for name, result in results.items():
        columns = {**result["observables"], **{f"{n}_integral": v for n, v in result.get("integrals", {}).items()}}
        for i, t in enumerate(time["values"]):
            cells = (f"{columns[n][i]:>{width}.5g}" if n in columns else f"{'-':>{width}}" for n in units)
            print(f"{name:<{aside}}{t:>12.6g}" + "".join(cells))
    for name, result in results.items():
        for n, value in (result.get("to_infinity") or {}).items():
            scenario = f"{name}: " if name else ""
            print(f"{scenario}{n}, integral to infinity: {value:.5g} {result['integral_units'][n]}")
