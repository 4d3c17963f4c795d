"""The block a fit prints when it is done: what was fitted, how well, the table of estimates, and the verdict last."""

from __future__ import annotations

import textwrap
from typing import Any

import pandas as pd

from pbpk.report.numbers import MISSING, format_interval, format_number, format_objective
from pbpk.run_folders.read import finite_or_nan

MATRICES = {
    "R": "the R matrix (inverse of the Hessian of the objective)",
    "S": "the S matrix (inverse of the sum of squared subject gradients)",
    "sandwich": "the sandwich matrix (R⁻¹ S R⁻¹)",
    "posterior": "the posterior",
    "second stage": "the second stage",
}
NUMERIC = ("Est.", "SE", "%RSE", "95 % CI", "IIV CV%", "Shrink%")
GAP = "  "


def format_fit(results: dict[str, Any], parameters: pd.DataFrame, width: int = 100) -> str:
    """Plain text, at most `width` columns where the numbers allow it; long labels and sentences are wrapped."""
    parts = [
        *_format_header(results),
        *(_wrap_cell(words, width) if (words := describe_options(results)) else []),
        "",
        *_format_objective(results),
        *_wrap_cell(describe_constant(results), width),
        *_wrap_cell(describe_time(results), width),
        "",
        *_format_table(parameters, width),
        "",
        *_wrap_cell(describe_errors(results), width),
        *_wrap_cell(f"ε-shrinkage: {format_percent(results.get('epsilon_shrinkage'))}", width),
        *_wrap_cell(describe_minimisation(results), width),
        *(line for note in results.get("notes") or () for line in _wrap_cell(str(note), width)),
        "",
        *_wrap_cell(str(results.get("verdict") or "No verdict was recorded."), width),
    ]
    return "\n".join(line.rstrip() for line in parts) + "\n"


def describe_constant(results: dict[str, Any]) -> str:
    """Which constant the OFV leaves out, in words."""
    n = results.get("quantified", results.get("observations"))
    units = results.get("observable_units") or {}
    stated = ", ".join(u if len(units) == 1 else f"{name} in {u}" for name, u in units.items() if u)
    constant = f"OFV leaves out the constant n·ln 2π{f' (n = {n})' if n else ''}, as NONMEM's does; −2LL has it."
    return f"{constant} DV is in {stated}." if stated else constant


def describe_options(results: dict[str, Any]) -> str:
    """The variant of the model that was fitted; nothing where the model has only one."""
    options = results.get("options") or {}
    return f"Options: {', '.join(f'{k} = {v}' for k, v in options.items())}" if options else ""


def describe_errors(results: dict[str, Any]) -> str:
    """Which covariance matrix the standard errors are from."""
    if not any(finite_or_nan(v) > 0 for v in (results.get("standard_errors") or {}).values()):
        return "No standard errors: the covariance of the estimates is not available."
    name = str(results.get("standard_errors_matrix", ""))
    how = "of its quantiles" if name == "posterior" else "by the logarithm for positive parameters"
    return f"SE from {MATRICES.get(name, name)}; 95 % CI {how}."


def describe_minimisation(results: dict[str, Any]) -> str:
    """`Minimisation: converged after 9 iterations and 12 function evaluations.`"""
    counts = [
        f"{results[key]} {what if results[key] != 1 else what.removesuffix('s')}"
        for key, what in (("iterations", "iterations"), ("function_evaluations", "function evaluations"))
        if results.get(key) is not None
    ]
    after = f" after {' and '.join(counts)}" if counts else ""
    return f"Minimisation: {results.get('termination_cause') or 'cause not recorded'}{after}."


def tabulate_estimates(parameters: pd.DataFrame) -> list[dict[str, str]]:
    """The table of estimates as shown text; the page and the block print the same."""
    rows = []
    for row in parameters.to_dict("records"):
        fixed = str(row.get("fixed")).lower() == "true"
        rows.append(
            {
                "Parameter": str(row["name"]),
                "Label": _method_word(row.get("label")),
                "Unit": "" if str(row.get("unit")) == "1" else _method_word(row.get("unit")),
                "Est.": format_number(row.get("estimate")),
                "SE": "fixed" if fixed else format_number(row.get("se")),
                "%RSE": MISSING if fixed else format_number(row.get("rse")),
                "95 % CI": MISSING if fixed else format_interval(row.get("ci_low"), row.get("ci_high")),
                "IIV CV%": format_number(row.get("cv")),
                "Shrink%": format_number(row.get("shrinkage")),
            }
        )
    return rows


def format_percent(fraction: Any) -> str:
    """A fraction as `11.77 %`."""
    text = format_number(100 * finite_or_nan(fraction))
    return text if text == MISSING else f"{text} %"


def _method_word(cell: Any) -> str:
    """A cell's text; empty for a missing one, which pandas may hold as NaN."""
    return cell if isinstance(cell, str) else ""


def _format_header(results: dict[str, Any]) -> list[str]:
    first = (
        f"Study {results['study']} · model {results['model']} · method {str(results['method']).upper()}"
        f" · solver {results.get('solver') or MISSING}"
    )
    n, m = results.get("subjects"), results.get("observations")
    return [first, f"{n} subject{'s' * (n != 1)}, {m} observation{'s' * (m != 1)}"]


def _format_objective(results: dict[str, Any]) -> list[str]:
    names = {"OFV": "ofv", "−2LL": "minus2ll", "AIC": "aic", "BIC": "bic"}
    parts = [f"{k} {format_objective(results.get(v))}" for k, v in names.items()]
    parts.append(f"condition number {format_number(results.get('condition_number'))}")
    lost = results.get("lost_modes") or []
    if not lost:
        return ["   ".join(parts)]
    who = ", ".join(str(x) for x in lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
    return [
        f"NO LIKELIHOOD: no mode was found for ID {who}, and what stands for it in these numbers means nothing.",
        "   ".join(parts),
    ]


def describe_time(results: dict[str, Any]) -> str:
    """Seconds of each phase, and in all."""
    seconds = {k: finite_or_nan(v) for k, v in (results.get("seconds") or {}).items()}
    if not seconds:
        return f"Time: {MISSING}"
    parts = [f"{phase} {format_number(s)} s" for phase, s in seconds.items()]
    return "Time: " + ", ".join([*parts, f"in all {format_number(sum(seconds.values()))} s"])


def _format_table(parameters: pd.DataFrame, width: int) -> list[str]:
    rows = tabulate_estimates(parameters)
    columns = [c for c in ("Label", "Parameter", "Unit", *NUMERIC) if c != "Unit" or any(r["Unit"] for r in rows)]
    wide = {c: max(len(c), *(len(r[c]) for r in rows)) if rows else len(c) for c in columns}
    others = sum(w + len(GAP) for c, w in wide.items() if c != "Label")
    wide["Label"] = max(16, min(wide["Label"], width - others))
    lines = [GAP.join(_format_cell(c, c, wide[c]) for c in columns)]
    lines.append("─" * len(lines[0]))
    for row in rows:
        label, *rest = textwrap.wrap(row["Label"], wide["Label"], subsequent_indent=" ") or [""]
        lines.append(GAP.join(_format_cell(c, label if c == "Label" else row[c], wide[c]) for c in columns))
        lines += rest
    return lines


def _format_cell(column: str, text: str, width: int) -> str:
    return text.rjust(width) if column in NUMERIC else text.ljust(width)


def _wrap_cell(sentence: str, width: int) -> list[str]:
    return textwrap.wrap(sentence, max(width, 20), break_long_words=False) or [""]
