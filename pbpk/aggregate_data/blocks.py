"""Rows as blocks: which statistics have a joint likelihood. What is static here decides the program; the numbers are arrays.

Moments of all quantities of a group are one block, order statistics of one quantity of a group are one, each proportion and
each correlation stands alone. Rows that are not used are predicted one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pbpk import units
from pbpk.aggregate_data.rows import MOMENTS, ORDERS, Row
from pbpk.errors import BadInput

if TYPE_CHECKING:
    from pbpk.aggregate_data.quantities import Measured
    from pbpk.study.summary_schema import SummaryPart


@dataclass(frozen=True)
class Moments:
    """`features`: (quantity, whether its logarithm); `feature` and `is_sd` by row."""

    rows: tuple[int, ...]
    arm: int
    features: tuple[tuple[int, bool], ...]
    feature: tuple[int, ...]
    is_sd: tuple[bool, ...]


@dataclass(frozen=True)
class Orders:
    rows: tuple[int, ...]
    arm: int
    quantity: int


@dataclass(frozen=True)
class Share:
    rows: tuple[int, ...]
    arm: int
    exposure: int
    response: str
    form: str


@dataclass(frozen=True)
class Correlated:
    rows: tuple[int, ...]
    arm: int
    quantities: tuple[int, int]


Block = Moments | Orders | Share | Correlated


class Numbers(NamedTuple):
    """By row (R,): the value, its error and n, coherent, as the likelihood has them (logarithms of geometric statistics, counts
    of proportions); the rank of an order statistic."""

    value: np.ndarray
    error: np.ndarray
    n: np.ndarray
    rank: np.ndarray


@dataclass(frozen=True)
class Plan:
    used: tuple[Block, ...]
    shown: tuple[Block, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """The used rows in the order of the likelihood's columns."""
        return tuple(r for b in self.used for r in b.rows)


def make_plan(rows: tuple[Row, ...], part: SummaryPart, measured: Measured, arm: tuple[int, ...]) -> Plan:
    """`arm` of each group: the lanes that it is."""
    groups = dict(zip(part.groups, arm, strict=True))
    used: list[Block] = []
    taken = [i for i, r in enumerate(rows) if r.used]
    for name, g in groups.items():
        here = [i for i in taken if rows[i].group == name]
        if moments := [i for i in here if rows[i].statistic in MOMENTS]:
            used.append(_moments(moments, rows, g, measured))
        ordered = [i for i in here if rows[i].statistic in ORDERS]
        for quantity in dict.fromkeys(rows[i].quantity for i in ordered):
            mine = sorted((i for i in ordered if rows[i].quantity == quantity), key=lambda i: rows[i].rank)
            used.append(Orders(tuple(mine), g, measured.index(quantity)))
        used += [
            _single(i, rows, g, part, measured) for i in here if rows[i].statistic in ("proportion", "correlation")
        ]
    shown = tuple(_single(i, rows, groups[r.group], part, measured) for i, r in enumerate(rows) if not r.used)
    return Plan(tuple(used), shown)


def check_noise(plan: Plan, rows: tuple[Row, ...], part: SummaryPart, where: str) -> None:
    """Raises `BadInput` where the likelihood would know two quantities of the same patients to follow from each other."""
    for b in plan.used:
        names = sorted({rows[i].quantity for i in b.rows}) if isinstance(b, Moments) else []
        unsaid = [n for n in names if part.quantities[n].noise is None]
        if len(names) > 1 and unsaid:
            raise BadInput(
                f"group `{rows[b.rows[0]].group}` has {' and '.join(f'`{n}`' for n in names)}; `{unsaid[0]}` has no `noise`",
                where=where,
                why="Without errors of measurement two numbers of one patient may follow from each other, and the likelihood\n"
                "of their means is then without bound.",
                hint=f"[summary.quantities.{unsaid[0]}] noise = 0.1  is a CV of 10 %; 0 says that there is none",
            )


def _moments(which: list[int], rows: tuple[Row, ...], arm: int, measured: Measured) -> Moments:
    wanted = [(measured.index(rows[i].quantity), rows[i].statistic.startswith("geometric")) for i in which]
    features = tuple(dict.fromkeys(wanted))
    spread = tuple(rows[i].statistic in ("sd", "geometric_cv") for i in which)
    return Moments(tuple(which), arm, features, tuple(features.index(w) for w in wanted), spread)


def _single(i: int, rows: tuple[Row, ...], arm: int, part: SummaryPart, measured: Measured) -> Block:
    row = rows[i]
    if row.statistic in MOMENTS:
        return _moments([i], rows, arm, measured)
    if row.statistic in ORDERS:
        return Orders((i,), arm, measured.index(row.quantity))
    if row.statistic == "correlation":
        return Correlated((i,), arm, (measured.index(row.quantity), measured.index(row.other)))
    response = part.responses[row.quantity]
    return Share((i,), arm, measured.index(response.exposure), row.quantity, response.form)


def numbers(rows: tuple[Row, ...], measured: Measured, where: str) -> Numbers:
    """Coherent numbers; a printed value's rounding is an error of its last digit/√12. Raises `BadInput` for a wrong unit."""
    value, error = np.zeros(len(rows)), np.zeros(len(rows))
    for i, row in enumerate(rows):
        at = f"{where} row {row.line}"
        spread = float(np.hypot(row.error, row.step / np.sqrt(12)))
        factor = scale(row, measured, at)
        v, e = row.value * factor, spread * factor
        if row.statistic == "geometric_mean":
            v, e = np.log(v), e / v
        elif row.statistic == "geometric_cv":
            sd = np.sqrt(np.log1p(v**2))
            v, e = sd, e * v / ((1 + v**2) * sd)
        elif row.statistic == "proportion":
            v, e = float(round(v * row.n)), 0.0
        value[i], error[i] = v, e
    return Numbers(value, error, np.array([float(r.n) for r in rows]), np.array([r.rank for r in rows]))


def scale(row: Row, measured: Measured, where: str) -> float:
    """How many coherent units one of the row's is."""
    plain = row.statistic in ("correlation", "proportion", "geometric_cv", "cv")
    wanted = "1" if plain else measured.quantities[measured.index(row.quantity)].unit
    if not units.have_same_dimension(row.unit, wanted):
        what = f"a {row.statistic}" if plain else f"`{row.quantity}`"
        raise BadInput(f'{what} in "{row.unit}"', where=where, hint=f'its unit is "{wanted}" or another of its kind')
    return units.unit_factor(row.unit)
