"""A covariate search as text: every step, the final model, what its effects amount to, the verdict."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

from pbpk.report.grid import grid
from pbpk.report.numbers import MISSING, interval, objective, shown

if TYPE_CHECKING:
    from pbpk.covariate_search.result import CovariateSearchResult, RelationTrial

_STEP = ("", "relation", "df", "ΔOFV", "p", "score p", "estimate", "SE (S)")
_FINAL = ("parameter", "unit", "estimate", "SE", "%RSE")
_FOREST = ("relation", "at", "value", "factor", "interval", "relevance")


def search_block(found: CovariateSearchResult, source: str) -> str:
    plan = found.options
    how = (
        "full model" if plan.method == "full" else f"SCM, forward p < {plan.forward:g}, backward p < {plan.backward:g}"
    )
    lines = [f"Study {found.study} · {source} · {how} by {found.estimation} · {found.subjects} subjects", ""]
    lines += [f"without candidates: OFV {found.base_ofv:.4f}", ""]
    for (step, direction), rows in groupby(found.trials, key=lambda t: (t.step, t.direction)):
        lines += [f"{direction} step {step}", *grid(_STEP, [_trial(t) for t in rows], [False, False, *[True] * 6]), ""]
    lines += [
        f"final model: OFV {found.final_ofv:.4f}",
        *grid(_FINAL, _final(found), [False, False, True, True, True]),
        "",
    ]
    if len(found.tests):
        head = ("relation", "df", "Wald χ²", "p (Wald)", "ΔOFV without", "p (LRT)")
        rows = [
            (r["relation"], str(r["df"]), shown(r["wald"]), _p(r["wald_p"]), objective(r["delta_ofv"]), _p(r["p"]))
            for r in found.tests.to_dict("records")
        ]
        lines += [*grid(head, rows, [False, *[True] * 5]), ""]
    if len(found.forest):
        percent = f"{100 * plan.level:g} % {_FOREST[4]}"
        rows = [
            (
                r["relation"],
                r["at"],
                shown(r["value"]),
                shown(r["factor"]),
                interval(r["low"], r["high"]),
                r["relevance"],
            )
            for r in found.forest.to_dict("records")
        ]
        low, high = plan.bounds
        lines += [f"factor on the parameter, 1 at the reference; relevance against {low:g} to {high:g}"]
        lines += [*grid((*_FOREST[:4], percent, _FOREST[5]), rows, [False, False, True, True, True, False]), ""]
    return "\n".join([*lines, found.verdict])


def _trial(t: RelationTrial) -> tuple[str, ...]:
    mark = {"failed": "FAILED", "screened": "screened"}.get(t.status, "→" if t.chosen else "")
    estimates = " ".join(shown(v) for v in t.estimates.values()) or MISSING
    errors = " ".join(shown(v) for v in t.standard_errors.values()) or MISSING
    return mark, t.relation, str(t.df), objective(t.delta_ofv), _p(t.p), _p(t.score_p), estimates, errors


def _final(found: CovariateSearchResult) -> list[tuple[str, ...]]:
    rows = found.parameters.to_dict("records")
    return [
        (r["name"], "" if r["unit"] == "1" else r["unit"], shown(r["estimate"]), shown(r["se"]), shown(r["rse"], 3))
        for r in rows
    ]


def _p(x: float) -> str:
    return f"{x:.3g}" if math.isfinite(x) else MISSING
