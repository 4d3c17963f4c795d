"""The figures: small, the same each time, and drawn whatever the numbers are."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from finished_run import individuals, observations

from pbpk.errors import BadInput, MissingExtra
from pbpk.report.axes import set_log_scale
from pbpk.report.canvas import new_panel, to_svg, use_style
from pbpk.report.figures import (
    ObservationUnits,
    draw_eta_distributions,
    draw_goodness,
    draw_individual_fits,
    draw_iterations,
)
from pbpk.report.population_bands import draw_bands
from pbpk.report.trend import running_median

UNITS = ObservationUnits("h", {"cp": "mg/L"})
LARGEST = 300_000


def every(table: pd.DataFrame, individual: pd.DataFrame, iterations: pd.DataFrame) -> list[str]:
    out = [
        svg for e in table["DVID"].unique() for f in (draw_goodness, draw_individual_fits) for svg in f(table, e, UNITS)
    ]
    return out + draw_eta_distributions(individual, {"CL": 0.04, "V": 0.0}) + draw_iterations(iterations)


def course(n: int = 5) -> pd.DataFrame:
    k = np.arange(1, n + 1)
    return pd.DataFrame({"iteration": k, "ofv": 100 + 9.0 / k, "gradient": 9.0 / k})


def words(svg: str) -> list[str]:
    return [e.text or "" for e in ET.fromstring(svg).iter() if e.tag.endswith("}text")]


def test_axes_carry_units():
    first = words(draw_goodness(observations(), "cp", UNITS)[0])
    assert "PRED (mg/L)" in first and "DV (mg/L)" in first and "running median" in first
    assert "time (h)" in words(draw_individual_fits(observations(), "cp", UNITS)[0])


def test_every_subject_is_on_exactly_one_page():
    pages = draw_individual_fits(observations(53), "cp", UNITS)
    assert len(pages) == 3
    titles = [w for page in pages for w in words(page) if w.startswith("ID ")]
    assert sorted(titles) == [f"ID {i:03d}" for i in range(1, 54)]


def test_same_numbers_same_bytes():
    assert every(observations(), individuals(), course()) == every(observations(), individuals(), course())


@pytest.mark.parametrize("subjects", [1, 25])
@pytest.mark.parametrize("times", [1, 8])
def test_any_size(subjects, times):
    for svg in every(observations(subjects, ("cp", "thyroid"), times), individuals(subjects), course(1)):
        ET.fromstring(svg)


def test_a_narrow_logarithmic_axis_still_has_numbers():
    with use_style():
        figure, axes = new_panel()
        axes.plot([1, 2], [1.5, 7.0])
        set_log_scale(axes, "y")
        assert {"2", "5"} <= set(words(to_svg(figure, "narrow", "narrow")))


def test_numbers_that_are_not_finite():
    table = observations()
    table.loc[table.index[:3], ["IPRED", "CWRES"]] = np.nan
    table.loc[table.index[5:9], "DV"] = np.inf
    table.loc[table["ID"] == "004", ["DV", "PRED", "IPRED", "IWRES", "CWRES"]] = np.nan
    individual = individuals()
    individual.loc[0, "ETA_CL"] = np.nan
    iterations = course().assign(gradient=[np.nan, np.inf, 0.0, 1.0, 2.0])
    for svg in every(table, individual, iterations):
        ET.fromstring(svg)


def test_nothing_to_show_is_said():
    empty = observations().assign(DV=np.nan, PRED=np.nan, IPRED=np.nan, IWRES=np.nan, CWRES=np.nan)
    assert "no finite values to show" in words(draw_goodness(empty, "cp", UNITS)[0])
    assert len(draw_individual_fits(empty, "cp", UNITS)) == 1
    assert "no iterations were recorded" in words(draw_iterations(course(0))[0])
    assert draw_eta_distributions(pd.DataFrame({"ID": ["1"]}), {}) == []


def test_many_points_stay_small_and_say_so():
    svgs = [f(observations(30, times=600), "cp", UNITS) for f in (draw_goodness, draw_individual_fits)]
    assert max(len(svg) for part in svgs for svg in part) < LARGEST
    assert any("of 18000 points" in w for w in words(svgs[0][0]))


def test_ids_are_text_not_markup_nor_mathematics():
    table = observations(2)
    table["ID"] = table["ID"].map({"001": "$x_1$", "002": "<script>甲"})
    (page,) = draw_individual_fits(table, "cp", UNITS)
    assert {"ID $x_1$", "ID <script>甲"} <= set(words(page))
    assert "<script" not in page


def test_a_wide_range_is_drawn_on_a_logarithmic_scale():
    table = observations(times=30)
    for column in ("DV", "PRED", "IPRED"):
        table[column] = 1000 * np.exp(-0.4 * table["TIME"])
    assert "PRED (mg/L) – log scale" in words(draw_goodness(table, "cp", UNITS)[0])
    assert not any("$" in w for w in words(draw_goodness(table, "cp", UNITS)[0]))


def test_running_median_follows_a_line_and_needs_ten_points():
    x = np.arange(100.0)
    middle, level = running_median(x, 2 * x)
    np.testing.assert_allclose(level, 2 * middle)
    assert len(running_median(x[:9], x[:9])[0]) == 0
    assert len(running_median(np.ones(50), x[:50])[0]) == 1


def population(scale: float = 1.0) -> pd.DataFrame:
    t = np.linspace(0, 48, 25)
    levels = {"q05": 0.5, "q25": 0.8, "q50": 1.0, "q75": 1.3, "q95": 2.0}
    return pd.DataFrame({"time": t, "observable": "cp"} | {q: scale * v * np.exp(-0.1 * t) for q, v in levels.items()})


@pytest.mark.parametrize("table", [population(), population(0.0), population(-1.0), population()[:1]])
def test_quantile_figure_is_a_png_and_repeats(table):
    made = draw_bands(table, "cp", "mg/L", "h")
    assert made.startswith(b"\x89PNG") and made == draw_bands(table, "cp", "mg/L", "h")


def test_quantile_figure_bears_gaps_and_refuses_an_unknown_observable():
    table = population()
    table.loc[3:5, ["q05", "q50"]] = np.nan
    table.loc[7, "q95"] = np.inf
    draw_bands(table, "cp", "", "")
    with pytest.raises(BadInput, match="did you mean `cp`"):
        draw_bands(table, "CP", "mg/L", "h")


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match="matplotlib and jinja2"):
        draw_bands(population(), "cp", "mg/L", "h")


def test_censored_values_are_hollow_at_their_limit_and_residual_panels_say_what_they_omit():
    """Three values of which only a limit of 0.5 is known: markers without a filling, a line, and a note where they miss."""
    table = observations()
    low = table.index[:3]
    table = table.assign(CENS=0).astype({"DV": float})
    table.loc[low, ["DV", "CENS"]] = [0.5, 1]
    table.loc[low, ["RES", "IWRES", "CWRES"]] = np.nan
    panels = draw_goodness(table, "cp", UNITS)
    note = "3 censored values have no residual"
    for k, svg in enumerate(panels):
        assert (note in words(svg)) == (k >= 2), k
        assert ("censored, at its limit" in words(svg)) == (k < 2), k
    plain = draw_goodness(observations(), "cp", UNITS)
    assert all(note not in words(svg) for svg in plain)
    assert panels[0].count("fill-opacity: 0; stroke: #0072b2") > plain[0].count("fill-opacity: 0; stroke: #0072b2")
    page = draw_individual_fits(table, "cp", UNITS)[0]
    assert "censored" in words(page)
    assert "censored" not in words(draw_individual_fits(observations(), "cp", UNITS)[0])
