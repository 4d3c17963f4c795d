"""The text of a comparison: warnings first, then a column for each run, then the tests in words."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pandas as pd

from pbpk.report.fit_text import format_percent
from pbpk.report.grid import align_columns
from pbpk.report.numbers import MISSING, format_number, format_objective

if TYPE_CHECKING:
    from pbpk.run_comparison.compare import ComparedRun, Comparison
    from pbpk.run_comparison.likelihood_ratio import LikelihoodRatioTest

EXPLAINED = (
    "Smaller is better. AIC adds 2 for each parameter to −2LL; BIC ln(observations); BICc ln(subjects) for what varies "
    "between subjects (typical values with a random effect, covariate effects on them, Ω) and ln(observations) for the rest. "
    "Weights are exp(−ΔAIC/2), made to add up to 1."
)


def format_comparison(comparison: Comparison, width: int = 100) -> str:
    """The comparison as text of fixed width."""
    parts = [
        line for sentence in comparison.warnings for line in textwrap.wrap(sentence, width, subsequent_indent="  ")
    ]
    parts += [""] if parts else []
    parts += [f"{r.label}  {_describe_run(r)}" for r in comparison.runs]
    parts += ["", *_format_statistics(comparison), "", *_format_parameters(comparison), ""]
    for said in (*(_describe_test(t) for t in comparison.tests), *_describe_best(comparison), EXPLAINED):
        parts += textwrap.wrap(said, width, subsequent_indent="  ")
    return "\n".join(parts) + "\n"


def _describe_run(r: ComparedRun) -> str:
    asked = " ".join(f"{k}={v}" for k, v in r.asked.items())
    model = f"{r.model} {asked}".strip()
    return f"{model} · {r.method.upper()} · {r.observations} observations of {r.subjects} subjects · {r.run}"


def _format_statistics(comparison: Comparison) -> list[str]:
    first, runs = comparison.runs[0].label, comparison.runs
    rows = [
        ("OFV", *(format_objective(r.ofv) for r in runs)),
        (f"ΔOFV against {first}", *(format_objective(r.delta_ofv) for r in runs)),
        ("parameters", *(str(r.parameters) for r in runs)),
        ("−2LL", *(format_objective(r.minus2ll) for r in runs)),
        ("AIC", *(format_objective(r.aic) for r in runs)),
        ("ΔAIC to the least", *(format_objective(r.delta_aic) for r in runs)),
        ("Akaike weight", *(format_number(r.akaike_weight, 3) for r in runs)),
        ("BIC (n = observations)", *(format_objective(r.bic) for r in runs)),
        ("BICc (mixed effects)", *(format_objective(r.bicc) for r in runs)),
        ("condition number", *(format_number(r.condition_number) for r in runs)),
        ("minimised", *("yes" if r.minimization_successful else "NO" for r in runs)),
        ("ε-shrinkage", *(format_percent(r.epsilon_shrinkage) for r in runs)),
    ]
    etas = dict.fromkeys(name for r in runs for name in r.eta_shrinkage)
    rows += [(f"η-shrinkage of {e}", *(format_percent(r.eta_shrinkage.get(e)) for r in runs)) for e in etas]
    return align_columns(("", *(r.label for r in runs)), rows, (False, *(True for _ in runs)))


def _format_parameters(comparison: Comparison) -> list[str]:
    """Each estimate with its %RSE."""
    labels = [r.label for r in comparison.runs]
    table = comparison.table
    rows = [(row["name"], _unit(row["unit"]), *(_cell(row, n) for n in labels)) for row in table.to_dict("records")]
    return align_columns(("Parameter", "Unit", *labels), rows, (False, False, *(True for _ in labels)))


def _cell(row: dict, label: str) -> str:
    if pd.isna(row[f"{label}.estimate"]):
        return MISSING
    value, rse = format_number(row[f"{label}.estimate"]), format_number(row[f"{label}.rse"], 3)
    return (
        f"{value} (fixed)" if row[f"{label}.fixed"] else f"{value} ({rse} %)" if rse != MISSING else f"{value} (no SE)"
    )


def _unit(unit: str) -> str:
    return "" if unit == "1" else unit


def _describe_test(t: LikelihoodRatioTest) -> str:
    if not t.nested:
        return f"{t.first} and {t.other} are not nested, since {t.reason}: no likelihood-ratio test; AIC and BIC apply."
    if t.p_value is None or t.statistic is None:
        return f"{t.smaller} is nested in {t.larger}, but there is no test: {t.reason}."
    said = (
        f"{t.smaller} is nested in {t.larger}, which also estimates {', '.join(t.freed)}: "
        f"ΔOFV {format_objective(t.statistic)} on {t.degrees} degree{'s' if t.degrees != 1 else ''} of freedom, "
        f"p = {format_number(t.p_value, 3)} (χ²)."
    )
    if t.p_value_on_edge is not None:
        edge = format_number(t.p_value_on_edge, 3)
        return f"{said} {t.edges[0]} is on its edge in {t.smaller}, so p = {edge} is nearer (Self & Liang 1987)."
    if t.edges:
        return f"{said} {', '.join(t.edges)} are on their edges in {t.smaller}: p is too large."
    return said


def _describe_best(comparison: Comparison) -> list[str]:
    weighed = [r for r in comparison.runs if r.akaike_weight is not None]
    if len(weighed) < 2:
        return []
    best = max(weighed, key=lambda r: r.akaike_weight or 0.0)
    return [
        f"Lowest AIC: {best.label}, with {format_percent(best.akaike_weight)} of the weight among {len(weighed)} runs."
    ]
