"""`pbpk.compare`: finished runs side by side, with likelihoods, information criteria, estimates and tests.

What is not comparable is left out, never shown with a warning beside it: an OFV of another method or of other data has no
difference, no AIC and no weight here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pbpk.errors import WrongUsage
from pbpk.estimation import criteria
from pbpk.run_comparison.candidate import RunCandidate, read_candidates
from pbpk.run_comparison.comparability import find_cautions, find_objections
from pbpk.run_comparison.likelihood_ratio import LikelihoodRatioTest, run_ratio_test
from pbpk.run_folders.find import find_run
from pbpk.run_folders.read import finite_or_nan

_PARAMETER_COLUMNS = ("estimate", "se", "rse", "shrinkage", "fixed")


@dataclass(frozen=True)
class ComparedRun:
    """One run among those compared.

    `ofv`, `minus2ll` and the condition number are as the run has them. Differences, criteria and the Akaike weight are None
    where its likelihood cannot be compared with the first run's. `bic` has n = observations; `bicc` is for mixed effects
    (`pbpk.estimation.criteria.bicc`). `asked`: the options that its study states; `options`: all, defaults too.
    """

    label: str
    run: str
    study: str
    model: str
    options: dict[str, str]
    asked: dict[str, str]
    method: str
    subjects: int
    observations: int
    parameters: int
    ofv: float | None
    minus2ll: float | None
    comparable: bool
    delta_ofv: float | None
    aic: float | None
    delta_aic: float | None
    akaike_weight: float | None
    bic: float | None
    bicc: float | None
    condition_number: float | None
    minimization_successful: bool
    termination_cause: str
    eta_shrinkage: dict[str, float]
    epsilon_shrinkage: float | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Finished runs side by side.

    `runs` in the order given; `tests`: of the first run against each that it can be compared with; `table`: a row for each
    parameter, columns `LABEL.estimate`, `.se`, `.rse` (%), `.shrinkage` (%) and `.fixed` for each run; `warnings` say what is
    not comparable and what else must be known.
    """

    runs: tuple[ComparedRun, ...]
    tests: tuple[LikelihoodRatioTest, ...]
    table: pd.DataFrame
    warnings: tuple[str, ...]

    def _repr_html_(self) -> str:
        """What a notebook shows: warnings, then the table of estimates."""
        from html import escape

        listed = "".join(f"<p>{escape(warning)}</p>\n" for warning in self.warnings)
        return listed + self.table.to_html(float_format="{:.4g}".format, na_rep="–")

    @property
    def comparable(self) -> bool:
        """Whether every run's likelihood can be compared with the first run's."""
        return all(r.comparable for r in self.runs)

    @property
    def sound(self) -> bool:
        """Whether all runs are comparable and minimised."""
        return self.comparable and all(r.minimization_successful for r in self.runs)

    @property
    def statistics(self) -> pd.DataFrame:
        """A row for each run, indexed by its label."""
        return pd.DataFrame([asdict(r) for r in self.runs]).set_index("label")

    def to_dict(self) -> dict[str, Any]:
        """The comparison as `pbpk compare --json` prints it."""
        parts: dict[str, dict[str, Any]] = {}
        for row in self.table.to_dict("records"):
            part = parts.setdefault(str(row["name"]), {"label": row["label"]})
            for n in (r.label for r in self.runs):
                if row[f"{n}.estimate"] == row[f"{n}.estimate"]:
                    part[n] = {"unit": row["unit"]} | {c: row[f"{n}.{c}"] for c in _PARAMETER_COLUMNS}
        return {
            "comparable": self.comparable,
            "runs": [asdict(r) for r in self.runs],
            "likelihood_ratio_tests": [asdict(t) for t in self.tests],
            "parameters": parts,
            "warnings": list(self.warnings),
        }


def compare(runs: Sequence[str | Path]) -> Comparison:
    """Compare two or more finished runs: folders, `STUDY/NUMBER`, or studies (their latest). Differences are against the first.

    Raises `WrongUsage` for fewer than two, or one given twice; `BadInput` for what is no finished run.
    """
    if isinstance(runs, str | Path):
        runs = [runs]
    if len(runs) < 2:
        raise WrongUsage("one run has nothing to be compared with", hint="give two or more:  pbpk compare RUN RUN")
    folders = [find_run(r) for r in runs]
    places = [f.resolve() for f in folders]
    if repeated := next((f for f, p in zip(folders, places, strict=True) if places.count(p) > 1), None):
        raise WrongUsage(f"the run {repeated} is given twice")
    candidates = read_candidates(folders)
    first, *others = candidates
    objections = {c.label: find_objections(first, c) for c in others}
    objections[first.label] = [] if first.has_likelihood else find_objections(first, first)
    tests = [run_ratio_test(first, c) for c in others if not objections[c.label]]
    warnings = [f"NOT COMPARABLE: {objection}." for c in candidates for objection in objections[c.label]]
    warnings += [
        f"{c.label} is not minimised ({c.results.get('termination_cause')}): {_NOT_MINIMISED}."
        for c in candidates
        if not c.minimised
    ]
    warnings += [f"Caution: {caution}." for c in others for caution in find_cautions(first, c)]
    warnings += [f"Caution: {c.label}: {warning}." for c in candidates for warning in c.results.get("warnings") or []]
    return Comparison(
        _compare_candidates(candidates, [not objections[c.label] for c in candidates]),
        tuple(tests),
        _parameter_table(candidates),
        tuple(dict.fromkeys(warnings)),
    )


_NOT_MINIMISED = "its OFV is not yet the least, so it has no weight and no test here"


def _compare_candidates(candidates: Sequence[RunCandidate], comparable: Sequence[bool]) -> tuple[ComparedRun, ...]:
    """A line for each run. Akaike weights are shared by the runs that are comparable, minimised and have an AIC."""
    first = candidates[0]
    aics = [_aic(c, first) for c in candidates]
    weighted = [k for k, c in enumerate(candidates) if comparable[k] and c.minimised and aics[k] == aics[k]]
    weights = dict(zip(weighted, criteria.akaike_weights([aics[k] for k in weighted]), strict=True))
    lowest = min((aics[k] for k in weighted), default=float("nan"))
    return tuple(
        _compare_run(c, first, comparable[k], aics[k] - lowest, weights.get(k)) for k, c in enumerate(candidates)
    )


def _compare_run(
    c: RunCandidate, first: RunCandidate, comparable: bool, delta: float, weight: float | None
) -> ComparedRun:
    r, k, n, v = c.results, len(c.free_parameters), c.observations, len(c.individual_parameters)
    minus2ll, ofv = finite_or_nan(r.get("minus2ll")), finite_or_nan(r["ofv"])
    in_unit_of_first = c.unit_shift - first.unit_shift

    def if_comparable(x: float) -> float | None:
        return x if comparable and x == x else None

    return ComparedRun(
        label=c.label,
        run=str(c.run.path),
        study=str(r["study"]),
        model=str(r["model"]),
        options=c.options,
        asked=c.asked_options,
        method=c.method,
        subjects=c.subjects,
        observations=n,
        parameters=k,
        ofv=_none_if_nan(ofv),
        minus2ll=_none_if_nan(minus2ll) if c.has_likelihood else None,
        comparable=comparable,
        delta_ofv=if_comparable(ofv + in_unit_of_first - finite_or_nan(first.results["ofv"])),
        aic=if_comparable(_aic(c, first)),
        delta_aic=if_comparable(delta),
        akaike_weight=weight,
        bic=if_comparable(criteria.bic(minus2ll + in_unit_of_first, k, n)),
        bicc=if_comparable(criteria.bicc(minus2ll + in_unit_of_first, v, k - v, c.subjects, n)),
        condition_number=_none_if_nan(finite_or_nan(r.get("condition_number"))),
        minimization_successful=c.minimised,
        termination_cause=str(r.get("termination_cause") or "not recorded"),
        eta_shrinkage={str(a): finite_or_nan(b) for a, b in (r.get("eta_shrinkage") or {}).items()},
        epsilon_shrinkage=_none_if_nan(finite_or_nan(r.get("epsilon_shrinkage"))),
    )


def _aic(c: RunCandidate, first: RunCandidate) -> float:
    """In the unit of the first run's data."""
    minus2ll = finite_or_nan(c.results.get("minus2ll")) + c.unit_shift - first.unit_shift
    return criteria.aic(minus2ll, len(c.free_parameters))


def _none_if_nan(x: float) -> float | None:
    return x if x == x else None


def _parameter_table(candidates: Sequence[RunCandidate]) -> pd.DataFrame:
    """A row for each parameter; one that has different units in two runs has two rows."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for c in candidates:
        for p in c.run.parameters.to_dict("records"):
            key = str(p["name"]), str(p.get("unit") or "")
            row = rows.setdefault(key, {"name": key[0], "label": p.get("label") or "", "unit": key[1]})
            row |= {f"{c.label}.{n}": p.get(n) for n in _PARAMETER_COLUMNS}
            row[f"{c.label}.fixed"] = p["name"] not in c.free_parameters
    columns = ["name", "label", "unit", *(f"{c.label}.{n}" for c in candidates for n in _PARAMETER_COLUMNS)]
    return pd.DataFrame(_order_rows(rows.values()), columns=columns)


def _order_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Typical values and effects first, then Ω, then residual SDs, each in the order of the runs."""
    last = ("add", "prop")

    def rank(row: dict[str, Any]) -> int:
        name = row["name"]
        return 1 if name.startswith("OMEGA_") else 2 if name in last or name.startswith(("add_", "prop_")) else 0

    return sorted(rows, key=rank)
