"""Rows as blocks: which statistics have a joint likelihood. What is static here decides the program; the numbers are arrays.

Moments of all quantities of a group are one block, order statistics of one quantity of a group are one, each proportion and
each correlation stands alone. Rows that are not used are predicted one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pbpk import units
from pbpk.aggregate_data.rows import MOMENT_STATISTICS, ORDER_STATISTICS, SummaryRow
from pbpk.errors import BadInput

if TYPE_CHECKING:
    from pbpk.aggregate_data.quantities import MeasuredQuantities
    from pbpk.study.summary_schema import SummaryPart


@dataclass(frozen=True)
class MomentBlock:
    """Means and SDs of one arm, whose likelihood is joint.

    `features` are pairs (quantity, whether its logarithm); `feature` and `is_sd` are by row.
    """

    rows: tuple[int, ...]
    arm: int
    features: tuple[tuple[int, bool], ...]
    feature: tuple[int, ...]
    is_sd: tuple[bool, ...]


@dataclass(frozen=True)
class OrderBlock:
    """Order statistics of one quantity of one arm, in ascending rank, whose likelihood is joint."""

    rows: tuple[int, ...]
    arm: int
    quantity: int


@dataclass(frozen=True)
class ProportionBlock:
    """The proportion of responders of one arm; `exposure` is the quantity that it depends on."""

    rows: tuple[int, ...]
    arm: int
    exposure: int
    response: str
    form: str


@dataclass(frozen=True)
class CorrelationBlock:
    """The correlation of two quantities of one arm."""

    rows: tuple[int, ...]
    arm: int
    quantities: tuple[int, int]


StatisticBlock = MomentBlock | OrderBlock | ProportionBlock | CorrelationBlock


class RowNumbers(NamedTuple):
    """The published numbers as arrays by row (R,).

    Value, error and n are coherent and as the likelihood has them (logarithms of geometric statistics, counts of
    proportions); `rank` is that of an order statistic.
    """

    value: np.ndarray
    error: np.ndarray
    n: np.ndarray
    rank: np.ndarray


@dataclass(frozen=True)
class RowBlocks:
    """The rows of a study by block: those of the likelihood (`used`), and those that are only predicted (`shown`)."""

    used: tuple[StatisticBlock, ...]
    shown: tuple[StatisticBlock, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """The used rows in the order of the likelihood's columns."""
        return tuple(r for b in self.used for r in b.rows)


def build_blocks(
    rows: tuple[SummaryRow, ...], part: SummaryPart, measured: MeasuredQuantities, arm: tuple[int, ...]
) -> RowBlocks:
    """Sort the rows into blocks; `arm` is the arm of each group."""
    groups = dict(zip(part.groups, arm, strict=True))
    used: list[StatisticBlock] = []
    used_rows = [i for i, r in enumerate(rows) if r.used]
    for name, g in groups.items():
        in_group = [i for i in used_rows if rows[i].group == name]
        if moments := [i for i in in_group if rows[i].statistic in MOMENT_STATISTICS]:
            used.append(_make_moment_block(moments, rows, g, measured))
        ordered = [i for i in in_group if rows[i].statistic in ORDER_STATISTICS]
        for quantity in dict.fromkeys(rows[i].quantity for i in ordered):
            ranked = sorted((i for i in ordered if rows[i].quantity == quantity), key=lambda i: rows[i].rank)
            used.append(OrderBlock(tuple(ranked), g, measured.index(quantity)))
        used += [
            _make_single_block(i, rows, g, part, measured)
            for i in in_group
            if rows[i].statistic in ("proportion", "correlation")
        ]
    shown = tuple(
        _make_single_block(i, rows, groups[r.group], part, measured) for i, r in enumerate(rows) if not r.used
    )
    return RowBlocks(tuple(used), shown)


def check_noise(blocks: RowBlocks, rows: tuple[SummaryRow, ...], part: SummaryPart, where: str) -> None:
    """Refuse two quantities of the same patients without noise: one may follow from the other. Raises `BadInput`."""
    for b in blocks.used:
        names = sorted({rows[i].quantity for i in b.rows}) if isinstance(b, MomentBlock) else []
        without_noise = [n for n in names if part.quantities[n].noise is None]
        if len(names) > 1 and without_noise:
            raise BadInput(
                f"group `{rows[b.rows[0]].group}` has {' and '.join(f'`{n}`' for n in names)}; "
                f"`{without_noise[0]}` has no `noise`",
                where=where,
                why="Without errors of measurement two numbers of one patient may follow from each other, and the likelihood\n"
                "of their means is then without bound.",
                hint=f"[summary.quantities.{without_noise[0]}] noise = 0.1  is a CV of 10 %; 0 says that there is none",
            )


def _make_moment_block(
    which: list[int], rows: tuple[SummaryRow, ...], arm: int, measured: MeasuredQuantities
) -> MomentBlock:
    """One block of the means and SDs at positions `which` of the rows."""
    row_features = [(measured.index(rows[i].quantity), rows[i].statistic.startswith("geometric")) for i in which]
    features = tuple(dict.fromkeys(row_features))
    spread = tuple(rows[i].statistic in ("sd", "geometric_cv") for i in which)
    return MomentBlock(tuple(which), arm, features, tuple(features.index(w) for w in row_features), spread)


def _make_single_block(
    i: int, rows: tuple[SummaryRow, ...], arm: int, part: SummaryPart, measured: MeasuredQuantities
) -> StatisticBlock:
    """A block of one row alone."""
    row = rows[i]
    if row.statistic in MOMENT_STATISTICS:
        return _make_moment_block([i], rows, arm, measured)
    if row.statistic in ORDER_STATISTICS:
        return OrderBlock((i,), arm, measured.index(row.quantity))
    if row.statistic == "correlation":
        return CorrelationBlock((i,), arm, (measured.index(row.quantity), measured.index(row.other)))
    response = part.responses[row.quantity]
    return ProportionBlock((i,), arm, measured.index(response.exposure), row.quantity, response.form)


def compute_row_numbers(rows: tuple[SummaryRow, ...], measured: MeasuredQuantities, where: str) -> RowNumbers:
    """The rows in coherent units; a printed value's rounding is an error of its last digit/√12. Raises `BadInput` for
    a wrong unit."""
    value, error = np.zeros(len(rows)), np.zeros(len(rows))
    for i, row in enumerate(rows):
        at = f"{where} row {row.line}"
        spread = float(np.hypot(row.error, row.step / np.sqrt(12)))
        factor = find_unit_factor(row, measured, at)
        v, e = row.value * factor, spread * factor
        if row.statistic == "geometric_mean":
            v, e = np.log(v), e / v
        elif row.statistic == "geometric_cv":
            sd = np.sqrt(np.log1p(v**2))
            v, e = sd, e * v / ((1 + v**2) * sd)
        elif row.statistic == "proportion":
            v, e = float(round(v * row.n)), 0.0
        value[i], error[i] = v, e
    return RowNumbers(value, error, np.array([float(r.n) for r in rows]), np.array([r.rank for r in rows]))


def find_unit_factor(row: SummaryRow, measured: MeasuredQuantities, where: str) -> float:
    """How many coherent units one unit of the row is. Raises `BadInput` for a unit of another dimension."""
    plain = row.statistic in ("correlation", "proportion", "geometric_cv", "cv")
    wanted = "1" if plain else measured.quantities[measured.index(row.quantity)].unit
    if not units.have_same_dimension(row.unit, wanted):
        what = f"a {row.statistic}" if plain else f"`{row.quantity}`"
        raise BadInput(f'{what} in "{row.unit}"', where=where, hint=f'its unit is "{wanted}" or another of its kind')
    return units.unit_factor(row.unit)
