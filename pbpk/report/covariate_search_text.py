"""A covariate search as text: every step, the final model, what its effects amount to, the verdict."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

from pbpk.report.grid import align_columns
from pbpk.report.numbers import MISSING, format_interval, format_number, format_objective

if TYPE_CHECKING:
    from pbpk.covariate_search.result import CovariateSearchResult, RelationTrial

_STEP = ("", "relation", "df", "ΔOFV", "p", "score p", "estimate", "SE (S)")
_FINAL = ("parameter", "unit", "estimate", "SE", "%RSE")
_FOREST = ("relation", "at", "value", "factor", "interval", "relevance")


def format_search(search: CovariateSearchResult, source: str) -> str:
    """The search as text of fixed width."""
    plan = search.options
    how = (
        "full model" if plan.method == "full" else f"SCM, forward p < {plan.forward:g}, backward p < {plan.backward:g}"
    )
    lines = [f"Study {search.study} · {source} · {how} by {search.estimation} · {search.subjects} subjects", ""]
    lines += [f"without candidates: OFV {search.base_ofv:.4f}", ""]
    for (step, direction), rows in groupby(search.trials, key=lambda t: (t.step, t.direction)):
        lines += [
            f"{direction} step {step}",
            *align_columns(_STEP, [_format_trial(t) for t in rows], [False, False, *[True] * 6]),
            "",
        ]
    lines += [
        f"final model: OFV {search.final_ofv:.4f}",
        *align_columns(_FINAL, _format_final(search), [False, False, True, True, True]),
        "",
    ]
    if len(search.tests):
        head = ("relation", "df", "Wald χ²", "p (Wald)", "ΔOFV without", "p (LRT)")
        rows = [
            (
                r["relation"],
                str(r["df"]),
                format_number(r["wald"]),
                _format_p(r["wald_p"]),
                format_objective(r["delta_ofv"]),
                _format_p(r["p"]),
            )
            for r in search.tests.to_dict("records")
        ]
        lines += [*align_columns(head, rows, [False, *[True] * 5]), ""]
    if len(search.forest):
        percent = f"{100 * plan.level:g} % {_FOREST[4]}"
        rows = [
            (
                r["relation"],
                r["at"],
                format_number(r["value"]),
                format_number(r["factor"]),
                format_interval(r["low"], r["high"]),
                r["relevance"],
            )
            for r in search.forest.to_dict("records")
        ]
        low, high = plan.bounds
        lines += [f"factor on the parameter, 1 at the reference; relevance against {low:g} to {high:g}"]
        lines += [
            *align_columns((*_FOREST[:4], percent, _FOREST[5]), rows, [False, False, True, True, True, False]),
            "",
        ]
    return "\n".join([*lines, search.verdict])


def _format_trial(t: RelationTrial) -> tuple[str, ...]:
    mark = {"failed": "FAILED", "screened": "screened"}.get(t.status, "→" if t.chosen else "")
    estimates = " ".join(format_number(v) for v in t.estimates.values()) or MISSING
    errors = " ".join(format_number(v) for v in t.standard_errors.values()) or MISSING
    return (
        mark,
        t.relation,
        str(t.df),
        format_objective(t.delta_ofv),
        _format_p(t.p),
        _format_p(t.score_p),
        estimates,
        errors,
    )


def _format_final(search: CovariateSearchResult) -> list[tuple[str, ...]]:
    rows = search.parameters.to_dict("records")
    return [
        (
            r["name"],
            "" if r["unit"] == "1" else r["unit"],
            format_number(r["estimate"]),
            format_number(r["se"]),
            format_number(r["rse"], 3),
        )
        for r in rows
    ]


def _format_p(x: float) -> str:
    return f"{x:.3g}" if math.isfinite(x) else MISSING
