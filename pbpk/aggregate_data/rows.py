"""summary.csv: one published number a row, checked; every complaint names the row.

group,quantity,statistic,value,unit,n,error,source,status,use
withdrawal,residence,mean,21.97,h,,,ravichandran2016,published,
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pbpk.errors import BadInput, did_you_mean
from pbpk.tables import read_csv

if TYPE_CHECKING:
    from pbpk.study.summary_schema import SummaryPart

MOMENT_STATISTICS = ("mean", "sd", "cv", "geometric_mean", "geometric_cv")
ORDER_STATISTICS = ("min", "quantile", "median", "max")
STATISTICS = (*MOMENT_STATISTICS, *ORDER_STATISTICS, "range", "proportion", "correlation")
STATUSES = ("published", "inferred", "assumed")
REQUIRED_COLUMNS = ("group", "quantity", "statistic", "value", "unit", "source", "status")
KNOWN_COLUMNS = (*REQUIRED_COLUMNS, "n", "error", "use", "note")


@dataclass(frozen=True)
class SummaryRow:
    """One published number.

    `value` and `error` are as printed, in `unit`; `step` is one unit of the last printed digit; `n` is the number of
    patients; `used` rows are fitted, the others only predicted; `p` of a quantile; `other`: the second quantity of a
    correlation; `line` in the file.
    """

    line: int
    group: str
    quantity: str
    statistic: str
    value: float
    unit: str
    n: int
    error: float
    step: float
    source: str
    status: str
    used: bool
    p: float = 0.5
    other: str = ""
    note: str = ""

    @property
    def rank(self) -> float:
        """The rank among n in ascending order, from 1; of a quantile that of R's default (type 7)."""
        return {"min": 1.0, "max": float(self.n)}.get(self.statistic, 1 + (self.n - 1) * self.p)

    @property
    def label(self) -> str:
        """The row in words: group, quantity, statistic."""
        what = f"quantile {self.p:g}" if self.statistic == "quantile" else self.statistic.replace("_", " ")
        return f"{self.group}: {self.quantity}{f' ~ {self.other}' if self.other else ''}, {what}"


def read_rows(path: Path, part: SummaryPart) -> tuple[SummaryRow, ...]:
    """Read and check summary.csv; a range becomes two rows. Raises `BadInput` for what no table of results can mean."""
    frame = read_csv(path)
    frame.columns = [c.lower() for c in frame.columns]
    for name in frame.columns:
        if name not in KNOWN_COLUMNS:
            raise BadInput(f"no column `{name}` is known here", where=str(path), hint=did_you_mean(name, KNOWN_COLUMNS))
    for name in REQUIRED_COLUMNS:
        if name not in frame.columns:
            raise BadInput(
                f"column `{name}` is missing", where=str(path), hint=f"needed: {', '.join(REQUIRED_COLUMNS)}"
            )
    rows: list[SummaryRow] = []
    for line, cells in frame.iterrows():
        where = f"{path} row {line}"
        rows += _parse_line(int(str(line)), cells, part, where)
    _check_consistent(rows, path)
    return tuple(rows)


def _parse_line(line: int, cells: pd.Series, part: SummaryPart, where: str) -> list[SummaryRow]:
    """The rows of one line of the file: two for a range, else one. Raises `BadInput`."""
    entry = {c: cells.get(c, "") for c in KNOWN_COLUMNS}
    _check_known(entry["group"], part.groups, "group", where)
    statistic, _, argument = entry["statistic"].lower().replace(" ", "_").partition(":")
    if statistic not in STATISTICS:
        raise BadInput(f"no statistic `{entry['statistic']}`", where=where, hint=did_you_mean(statistic, STATISTICS))
    quantity, _, other = (q.strip() for q in entry["quantity"].partition("~"))
    measured = part.responses if statistic == "proportion" else part.quantities
    for name in filter(None, (quantity, other)):
        if statistic != "proportion" and name in part.responses:
            raise BadInput(f"`{statistic}` of `{name}`: a response has only a proportion", where=where)
        if statistic == "proportion" and name in part.quantities:
            raise BadInput(f"`proportion` of `{name}`: a proportion is of a response", where=where)
        _check_known(name, measured, "response" if measured is part.responses else "quantity", where)
    if bool(other) != (statistic == "correlation"):
        raise BadInput("a correlation is of two quantities", where=where, hint="write the quantity as `a ~ b`")
    if entry["status"] not in STATUSES:
        raise BadInput(f"status `{entry['status']}` is not known", where=where, hint=", ".join(STATUSES))
    if not entry["source"]:
        raise BadInput("has no source", where=where, hint="name the publication, or what it was inferred from")
    if entry["use"].lower() not in ("", "yes", "no"):
        raise BadInput(f"use = `{entry['use']}` is neither yes nor no", where=where)
    n = _parse_count(entry["n"], part.groups[entry["group"]].n, where)
    error = _parse_number(entry["error"], "error", where)[0] if entry["error"] else 0.0
    if error < 0:
        raise BadInput(f"error = {error:g} is negative", where=where)
    if error and statistic in (*ORDER_STATISTICS, "range", "proportion", "correlation"):
        raise BadInput(f"an `error` goes with means and SDs, not with a {statistic}", where=where)
    texts = [entry["value"]]
    if statistic == "range":
        texts = [t.strip() for t in entry["value"].replace("–", " to ").replace("..", " to ").split(" to ")]
        if len(texts) != 2:
            raise BadInput(f"the range `{entry['value']}` cannot be read", where=where, hint="write 12.6 to 39.4")
    if statistic == "proportion" and "/" in entry["value"]:
        top, _, bottom = entry["value"].partition("/")
        if _parse_number(bottom, "value", where)[0] != n:
            raise BadInput(f"`{entry['value']}` is not of the {n} patients", where=where)
        entry["value"], entry["unit"] = str(Decimal(top.strip()) / Decimal(bottom.strip())), "1"
        texts = [entry["value"]]
    p = _parse_probability(argument, where) if statistic == "quantile" else 0.5
    if argument and statistic != "quantile":
        raise BadInput(f"`{entry['statistic']}`: only a quantile has a number", where=where)
    rows = []
    for k, text in enumerate(texts):
        value, step = _parse_number(text, "value", where)
        row_statistic = ("min", "max")[k] if statistic == "range" else statistic
        published = (line, entry["group"], quantity, row_statistic, value, entry["unit"] or "1", n, error, step)
        is_used = entry["use"].lower() != "no"
        row = SummaryRow(*published, entry["source"], entry["status"], is_used, p, other, entry["note"])
        _check_possible(row, where)
        rows.append(row)
    return rows


def _check_known(name: str, known: Collection[str] | Mapping, what: str, where: str) -> None:
    """Refuse a name that fit.toml does not have. Raises `BadInput`."""
    if name not in known:
        raise BadInput(f"no {what} `{name}`", where=where, hint=did_you_mean(name, known))


def _parse_number(text: str, what: str, where: str) -> tuple[float, float]:
    """The number, and one unit of its last printed digit. Raises `BadInput`."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise BadInput(f"{what} `{text}` is not a number", where=where)
    return float(number), 10.0 ** int(number.as_tuple().exponent)


def _parse_count(text: str, group_count: int | None, where: str) -> int:
    """The number of patients: of the row, else of its group. Raises `BadInput`."""
    if not text:
        if group_count is None:
            raise BadInput("n is missing", where=where, why="Without it nothing says how far the number may be off.",
                           hint="give n in the row, or for its group in fit.toml")  # fmt: skip
        return group_count
    value = _parse_number(text, "n", where)[0]
    if value != int(value) or value < 1:
        raise BadInput(f"n = {text} is no number of patients", where=where)
    return int(value)


def _parse_probability(text: str, where: str) -> float:
    """The probability of a quantile. Raises `BadInput`."""
    value = _parse_number(text, "the quantile", where)[0] if text else float("nan")
    if not 0 < value < 1:
        raise BadInput(f"a quantile of `{text}`", where=where, hint="write quantile:0.25")
    return value


_LEAST_PATIENTS = {"sd": 2, "cv": 2, "geometric_cv": 2, "min": 2, "max": 2, "quantile": 3, "correlation": 4}


def _check_possible(row: SummaryRow, where: str) -> None:
    """Refuse a number that no patients can give. Raises `BadInput`."""
    least = _LEAST_PATIENTS.get(row.statistic, 1)
    if row.n < least:
        raise BadInput(f"a {row.statistic} of {row.n} patient{'s' * (row.n > 1)}", where=where, hint=f"needs {least}")
    if row.statistic in ("sd", "cv", "geometric_mean", "geometric_cv") and row.value <= 0:
        raise BadInput(f"{row.statistic} = {row.value:g} must be above 0", where=where)
    if row.statistic == "correlation" and not -1 < row.value < 1:
        raise BadInput(f"a correlation of {row.value:g}", where=where)
    if row.statistic == "proportion":
        scale = 0.01 if row.unit == "%" else 1.0
        share = row.value * scale
        if not 0 <= share <= 1:
            raise BadInput(f"a proportion of {share:g} is not between 0 and 1", where=where)
        if abs(round(share * row.n) / row.n - share) > 0.5001 * row.step * scale + 1e-12:
            raise BadInput(f"no number of {row.n} patients makes a proportion of {share:g}", where=where)


def _check_consistent(rows: list[SummaryRow], path: Path) -> None:
    """Refuse rows that contradict or repeat each other. Raises `BadInput`."""
    used_rows: dict[tuple, SummaryRow] = {}
    for row in rows:
        where = f"{path} row {row.line}"
        key = (row.group, row.quantity, row.other, row.statistic, row.p)
        if row.used and key in used_rows:
            raise BadInput(f"says again what row {used_rows[key].line} says", where=where, hint="mark one use = no")
        if row.used:
            used_rows[key] = row
        related_rows = [
            r for r in rows if (r.group, r.quantity, r.other) == (row.group, row.quantity, row.other) and r.used
        ]
        required_statistic = {"sd": "mean", "cv": "mean", "geometric_cv": "geometric_mean"}.get(row.statistic)
        if row.used and required_statistic and not any(r.statistic == required_statistic for r in related_rows):
            raise BadInput(
                f"a {row.statistic} without the {required_statistic} of `{row.quantity}` in group `{row.group}`",
                where=where,
            )
        if not row.used or row.statistic not in ORDER_STATISTICS:
            continue
        if any(r.statistic in MOMENT_STATISTICS for r in related_rows):
            raise BadInput(
                f"gives both moments and a {row.statistic} of `{row.quantity}` in group `{row.group}`",
                where=where, why="They come from the same patients and are not independent.",
                hint="mark one kind use = no: it is then predicted and shown, not fitted",
            )  # fmt: skip
        for r in related_rows:
            if r.n != row.n:
                raise BadInput(f"n = {row.n}, and {r.n} in row {r.line}, of the same quantity", where=where)
            if r is not row and (r.rank < row.rank) != (r.value < row.value):
                raise BadInput(
                    f"{row.statistic} {row.value:g} and {r.statistic} {r.value:g} are out of order", where=where
                )


def convert_cv_to_sd(rows: tuple[SummaryRow, ...]) -> tuple[SummaryRow, ...]:
    """Replace each CV by an SD in the unit of its mean, with the rounding of both; one without its mean is left out."""
    converted = []
    for row in rows:
        if row.statistic == "cv":
            mean = next(
                (r for r in rows if (r.group, r.quantity, r.statistic) == (row.group, row.quantity, "mean")), None
            )
            if mean is None:
                continue
            scale = (0.01 if row.unit == "%" else 1.0) * mean.value
            row = replace(row, statistic="sd", value=row.value * scale, error=row.error * scale, step=row.step * scale,
                          unit=mean.unit)  # fmt: skip
        converted.append(row)
    return tuple(converted)
