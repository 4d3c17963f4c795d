"""Published aggregates beside what a fit makes of them: the same rows for the page and for the terminal."""

from __future__ import annotations

from typing import Any

from pbpk.report.numbers import format_number

COLUMNS = ("Group", "Quantity", "Statistic", "n", "Published", "Model", "Sampling SD", "Residual", "Unit", "")
RIGHT = ("n", "Published", "Model", "Sampling SD", "Residual")


def tabulate_aggregates(results: dict[str, Any]) -> list[dict[str, str]]:
    """Shown text by column, one for each row of the table of aggregates; none where a fit had no such table."""
    rows = []
    for r in results.get("summary") or []:
        marks = [] if r["used"] else ["predicted only"]
        marks += [] if r["status"] == "published" else [r["status"]]
        residual = "–" if r["residual"] is None else f"{r['residual']:+.2f}".replace("-", "−")
        numbers = (format_number(r[k]) for k in ("published", "model", "sampling_sd"))
        cells = (
            r["group"],
            r["quantity"],
            r["statistic"],
            str(r["n"]),
            *numbers,
            residual,
            r["unit"],
            ", ".join(marks),
        )
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return rows


def format_aggregates(results: dict[str, Any]) -> str:
    """The table as plain text; nothing where there is none."""
    rows = tabulate_aggregates(results)
    if not rows:
        return ""
    wide = {c: max(len(c), *(len(r[c]) for r in rows)) for c in COLUMNS}
    lines = [
        "  ".join(r[c].rjust(w) if c in RIGHT else r[c].ljust(w) for c, w in wide.items()).rstrip()
        for r in ({c: c for c in COLUMNS}, *rows)
    ]
    return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]]) + "\n"
