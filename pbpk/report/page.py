"""One self-contained page about a finished fit: open it anywhere, mail it, print it. No scripts, no outside addresses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pbpk.errors import BadInput
from pbpk.report import fit_text as text
from pbpk.report.aggregates import COLUMNS, RIGHT, tabulate_aggregates
from pbpk.report.canvas import require_report_extra
from pbpk.report.eta_covariates import associate_pairs, describe_associations, draw_eta_covariates, read_covariates
from pbpk.report.figures import (
    draw_eta_distributions,
    draw_goodness,
    draw_individual_fits,
    draw_iterations,
    list_endpoints,
)
from pbpk.report.latest_checks import summarise_npde, summarise_vpc
from pbpk.report.numbers import MISSING, format_number, format_objective
from pbpk.run_folders.read import RunFiles, finite_or_nan, read_run

TEMPLATE = "page.html.j2"
SENTENCES = (text.describe_constant, text.describe_errors, text.describe_minimisation, text.describe_time)


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into the run's folder, whole or not at all, and give its path."""
    require_report_extra()
    run = read_run(Path(run_folder))
    if not os.access(run.path, os.W_OK):
        raise BadInput(
            "cannot be written to", where=str(run.path), hint="copy the run's folder to a place you can write to"
        )
    target = run.path / "report.html"
    partial = run.path / f".report.{os.getpid()}.partial"
    page = render_page(run)
    try:
        partial.write_text(page, encoding="utf-8")
        os.replace(partial, target)
    except OSError as e:
        raise BadInput(f"cannot be written ({e.strerror})", where=str(target)) from e
    finally:
        partial.unlink(missing_ok=True)
    return target


def render_page(run: RunFiles) -> str:
    """The page as text; the same run gives the same text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = list_endpoints(run.table)
    return environment.get_template(TEMPLATE).render(
        results=run.results,
        aggregates=tabulate_aggregates(run.results),
        aggregate_columns=[(c, c in RIGHT) for c in COLUMNS],
        run=run.results.get("run") if isinstance(run.results.get("run"), str) else run.path.name,
        title=_title(run),
        tone=choose_tone(run.results),
        tiles=_summary_tiles(run.results),
        rows=text.tabulate_estimates(run.parameters),
        numeric=text.NUMERIC,
        sentences=[f(run.results) for f in SENTENCES],
        errors=_tabulate_errors(run.results),
        correlations=list_correlations(run.covariance),
        individual=_tabulate_individuals(run.individual),
        goodness=[
            (e, _mark_strong(Markup, draw_goodness, run.table, e, run.units, f"gof{i}")) for i, e in enumerate(names, 1)
        ],
        fits=[
            (e, _mark_strong(Markup, draw_individual_fits, run.table, e, run.units, f"ind{i}"))
            for i, e in enumerate(names, 1)
        ],
        etas=_mark_strong(Markup, draw_eta_distributions, run.individual, _tabulate_variances(run.parameters)),
        **_draw_covariates(run, Markup),
        judged=_read_checks(run, Markup),
        trace=_mark_strong(Markup, draw_iterations, run.iterations),
        command=run.command.strip(),
        record=_flat(run.record),
        fit_toml=run.fit_toml.strip(),
    )


def list_correlations(covariance: pd.DataFrame) -> dict[str, Any]:
    """Correlations of the estimates: rows of (name, [(shown, shade 0–1, sign)]), and the pairs beyond 0.95."""
    c = covariance.to_numpy(dtype=float)
    names = [str(n) for n in covariance.columns]
    if not c.size or not np.isfinite(c).any():
        return {"names": [], "rows": [], "strong": []}
    diagonal = np.where(np.diag(c) > 0, np.diag(c), np.nan)
    r = c / np.sqrt(np.outer(diagonal, diagonal))
    rows = [
        (
            name,
            [
                {
                    "text": "1" if i == j else f"{v:.2f}".replace("-", "−") if np.isfinite(v) else MISSING,
                    "r": finite_or_nan(v),
                }
                for j, v in enumerate(r[i, : i + 1])
            ],
        )
        for i, name in enumerate(names)
    ]
    strong = [
        f"{names[j]} and {names[i]} ({r[i, j]:.3f})" for i in range(len(r)) for j in range(i) if abs(r[i, j]) > 0.95
    ]
    return {"names": names, "rows": rows, "strong": strong}


def _mark_strong(markup, figure, *args) -> list:
    """Our own SVG, safe to stand in the page as it is: matplotlib has escaped all text in it."""
    return [markup(svg) for svg in figure(*args)]


def _draw_covariates(run: RunFiles, markup) -> dict[str, Any]:
    """η against the covariates of the data, and what it says."""
    known = read_covariates(run.path)
    tested = associate_pairs(run.individual, known)
    shrunk = [k for k, v in (run.results.get("eta_shrinkage") or {}).items() if finite_or_nan(v) > 0.3]
    panels = _mark_strong(markup, draw_eta_covariates, run.individual, known, tested)
    return {"covariates": panels, "covariates_verdict": describe_associations(tested), "shrunk": shrunk}


def _read_checks(run: RunFiles, markup) -> list:
    """Checks by simulation that are in the run's folder: (id, title, what was found)."""
    both = (
        ("vpc", "Visual predictive check", summarise_vpc(run.path, run.units)),
        ("npde", "Prediction distribution errors", summarise_npde(run.path, run.units)),
    )
    return [(i, t, j._replace(panels=[markup(svg) for svg in j.panels])) for i, t, j in both if j is not None]


def _title(run: RunFiles) -> str:
    import tomllib

    data_title = tomllib.loads(run.fit_toml).get("title", "") if run.fit_toml else ""
    return data_title if isinstance(data_title, str) else ""


def choose_tone(results: dict[str, Any]) -> str:
    """The verdict's colour: `good`, `warn` or `bad`."""
    if not results.get("minimization_successful"):
        return "bad"
    return "good" if str(results.get("verdict", "")).startswith("Converged; no problems") else "warn"


def _summary_tiles(results: dict[str, Any]) -> list[tuple[str, str]]:
    """The summary: what a reader looks for first."""
    return [
        ("OFV", format_objective(results["ofv"])),
        ("−2LL", format_objective(results.get("minus2ll"))),
        ("AIC", format_objective(results.get("aic"))),
        ("BIC", format_objective(results.get("bic"))),
        ("condition no.", format_number(results.get("condition_number"))),
        ("ε-shrinkage", text.format_percent(results.get("epsilon_shrinkage"))),
        ("subjects", str(results.get("subjects", MISSING))),
        ("observations", str(results.get("observations", MISSING))),
    ]


def _tabulate_errors(results: dict[str, Any]) -> dict[str, Any]:
    """Standard errors by each covariance matrix, side by side; empty unless there are two to compare."""
    by = results.get("standard_errors_by_matrix") or {}
    if len(by) < 2:
        return {}
    names = list(dict.fromkeys(name for column in by.values() for name in column))
    return {
        "matrices": list(by),
        "rows": [(n, [format_number(column.get(n)) for column in by.values()]) for n in names],
    }


def _tabulate_individuals(individual: pd.DataFrame) -> dict[str, Any]:
    columns = [str(c) for c in individual.columns]
    rows = [
        [str(v) if c == "ID" else format_number(v) for c, v in zip(columns, row, strict=True)]
        for row in individual.values
    ]
    return {"columns": [c.replace("ETA_", "η ") for c in columns], "rows": rows}


def _tabulate_variances(parameters: pd.DataFrame) -> dict[str, float]:
    rows = zip(parameters["name"], parameters["estimate"], strict=True)
    return {str(n).removeprefix("OMEGA_"): finite_or_nan(v) for n, v in rows if str(n).startswith("OMEGA_")}


def _flat(record: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """run.json as small tables: one for each part that is itself a table, and one of the single values, first."""
    single = [(k, _plain(v)) for k, v in record.items() if not isinstance(v, dict)]
    parts = [(str(k), [(str(a), _plain(b)) for a, b in v.items()]) for k, v in record.items() if isinstance(v, dict)]
    return ([("run", single)] if single else []) + parts


def _plain(value: Any) -> str:
    if value is None or isinstance(value, float):
        return format_number(value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)
