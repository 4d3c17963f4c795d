"""Each η against each covariate of the data: what a covariate explains of a random effect shows as a trend or a step."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from pbpk.data.cells import blank_missing, parse_number
from pbpk.data.headers import match_headers
from pbpk.errors import BadInput
from pbpk.report.axes import find_limits, label_axes
from pbpk.report.canvas import BLUE, GREY, ORANGE, draw_points, new_panel, to_svg, use_style
from pbpk.report.trend import running_median
from pbpk.study.settings import load_spec
from pbpk.tables import read_csv

FEW = 5  # values of a covariate that are categories
MOST = 24  # panels; the most telling first
LEAST = 5  # subjects
MISSING = frozenset((".", "", "na", "nan"))


@dataclass(frozen=True)
class EtaCovariatePair:
    """`p` of Pearson's correlation (`r`), or of a one-way analysis of variance, where `r` is NaN."""

    eta: str
    covariate: str
    p: float
    r: float

    @property
    def words(self) -> str:
        """The association in words: its size where there is one, and p."""
        return f"r = {self.r:.2f}, p = {self.p:.2g}" if np.isfinite(self.r) else f"ANOVA p = {self.p:.2g}"


def read_covariates(run: Path) -> pd.DataFrame:
    """A number for each subject and column of the run's data beyond the reserved ones, as first recorded, by ID; empty where
    the data cannot be read again."""
    try:
        settings = load_spec(run).data
        cells = read_csv(run / settings.file)
        named, free, _ = match_headers(list(cells.columns), settings.columns, settings.ignore, str(run / settings.file))
    except BadInput:
        return pd.DataFrame()
    if "ID" not in named:
        return pd.DataFrame()
    cells = blank_missing(cells, MISSING)
    columns = {c: cells[c].map(lambda t: np.nan if (x := parse_number(t)) is None else x) for c in free}
    return pd.DataFrame(columns, index=cells.index).groupby(cells[named["ID"]].to_numpy(), sort=False).first()


def associate_pairs(individual: pd.DataFrame, covariates: pd.DataFrame) -> list[EtaCovariatePair]:
    """The strongest association first; covariates that do not vary are left out, and so are η of single occasions."""
    from scipy import stats

    tested = []
    if covariates.empty or "ID" not in individual:
        return tested
    by_subject = covariates.reindex(individual["ID"].astype(str))
    etas = [c for c in individual.columns if c.startswith("ETA_") and "@" not in c]
    for eta, name in product(etas, by_subject.columns):
        y, x = individual[eta].to_numpy(dtype=float), by_subject[name].to_numpy(dtype=float)
        known = np.isfinite(x) & np.isfinite(y)
        x, y = x[known], y[known]
        values, counts = np.unique(x, return_counts=True)
        if len(values) < 2 or len(x) < LEAST or np.ptp(y) == 0:
            continue
        if len(values) > FEW:
            r, p = stats.pearsonr(x, y)
            tested.append(EtaCovariatePair(eta, str(name), float(p), float(r)))
        elif len(x) > len(values) and counts.max() > 1:
            p = stats.f_oneway(*(y[x == v] for v in values[counts > 1])).pvalue if (counts > 1).sum() > 1 else np.nan
            if np.isfinite(p):
                tested.append(EtaCovariatePair(eta, str(name), float(p), np.nan))
    return sorted(tested, key=lambda pair: pair.p)


def describe_associations(tested: list[EtaCovariatePair]) -> str:
    """In words, with the p of each pair times their number (Bonferroni)."""
    if not tested:
        return ""
    strong = [
        f"η on {p.eta.removeprefix('ETA_')} and {p.covariate} ({p.words})" for p in tested if p.p * len(tested) < 0.05
    ]
    if not strong:
        return f"None of {len(tested)} pairs is associated beyond chance (p times {len(tested)}, 5 %)."
    listed = "; ".join(strong[:8]) + ("; …" if len(strong) > 8 else "")
    return f"Associated beyond chance (p times {len(tested)}, 5 %): {listed}. The model may lack these effects."


def draw_eta_covariates(
    individual: pd.DataFrame, covariates: pd.DataFrame, tested: list[EtaCovariatePair], name: str = "cov"
) -> list[str]:
    """An SVG for each of the most telling pairs, in their order."""
    by_subject = covariates.reindex(individual["ID"].astype(str)) if tested else covariates
    out = []
    with use_style():
        for i, pair in enumerate(tested[:MOST], 1):
            y, x = individual[pair.eta].to_numpy(dtype=float), by_subject[pair.covariate].to_numpy(dtype=float)
            known = np.isfinite(x) & np.isfinite(y)
            out.append(_draw_pair(pair, x[known], y[known], f"{name}-{i}"))
    return out


def _draw_pair(pair: EtaCovariatePair, x: np.ndarray, y: np.ndarray, name: str) -> str:
    figure, axes = new_panel()
    on = pair.eta.removeprefix("ETA_")
    if np.isfinite(pair.r):
        draw_points(axes, x, y)
        line = running_median(x, y)
        if len(line[0]) > 1:
            axes.plot(*line, color=ORANGE, label="running median")
            axes.legend(loc="upper right", handlelength=1.4, borderaxespad=0.1)
        axes.set_xlim(find_limits([x], zero=False))
    else:
        values = np.unique(x)
        axes.boxplot(
            [y[x == v] for v in values],
            positions=list(range(len(values))),
            widths=0.5,
            showfliers=False,
            medianprops={"color": ORANGE},
            boxprops={"color": GREY},
            whiskerprops={"color": GREY},
            capprops={"color": GREY},
        )
        # Spread sideways by rank, not at random: the same page each time.
        for k, v in enumerate(values):
            etas = np.sort(y[x == v])
            axes.plot(
                k + 0.24 * (np.arange(len(etas)) % 5 - 2) / 2, etas, "o", color=BLUE, markersize=3, alpha=0.5, mew=0
            )
        axes.set_xticks(range(len(values)), [f"{v:g}" for v in values])
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    reach = 1.25 * max(float(np.abs(y).max()), 1e-8)
    axes.set_ylim(-reach, reach)
    label_axes(axes, f"η on {on}: {pair.words}", pair.covariate, f"η on {on}")
    return to_svg(figure, name, f"η on {on} against {pair.covariate}: {pair.words}")
