"""The printed block: the numbers as shown, aligned, the verdict last."""

from __future__ import annotations

import math

import pytest

from pbpk.report.fit_text import format_fit
from pbpk.report.numbers import format_interval, format_number, format_objective


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (1.5902458, "1.590"),
        (31.8088, "31.81"),
        (0.069098, "0.06910"),
        (1234.5, "1234"),
        (99999.6, "100000"),
        (9999.6, "10000"),
        (1234567.0, "1.235e+06"),
        (0.00001234, "1.234e-05"),
        (-2.5, "−2.500"),
        (0.0, "0"),
        (math.nan, "–"),
        (math.inf, "–"),
        (None, "–"),
        ("x", "–"),
    ],
)
def test_four_significant_digits(x, text):
    assert format_number(x) == text


def test_objective_keeps_three_decimals():
    assert format_objective(12345.6789) == "12345.679"
    assert format_objective(-243.0664) == "−243.066"


def test_interval_is_missing_when_an_end_is():
    assert format_interval(1, 2) == "[1.000, 2.000]"
    assert format_interval(1, math.nan) == "–"


def test_block_holds_what_a_reader_looks_for(results, parameters):
    block = format_fit(results, parameters)
    for part in (
        "Study theophylline · model oral_one_compartment · method FOCEI · solver resolvent",
        "OFV 116.803   −2LL 359.403   AIC 373.403   BIC 393.583   condition number 1.723",
        "OFV leaves out the constant n·ln 2π (n = 132)",
        "in all 6.324 s",
        "2.752",
        "[2.336, 3.241]",
        "SE from the R matrix",
        "ε-shrinkage: 11.77 %",
        "Minimisation: converged after 6 iterations and 9 function evaluations.",
    ):
        assert part in block
    assert block.endswith("Converged; no problems detected.\n")
    assert "\x1b" not in block


def test_columns_line_up_and_keep_to_the_width(results, parameters):
    lines = format_fit(results, parameters, width=100).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Label"))
    end = lines.index("", start)
    rows = [line for line in lines[start + 2 : end] if "[" in line or "fixed" in line]
    assert len(rows) == len(parameters)
    assert len({len(row) for row in rows}) == 1
    assert max(map(len, lines)) <= 100


def test_fixed_is_said_and_missing_is_a_dash(results, parameters):
    row = next(line for line in format_fit(results, parameters).splitlines() if line.startswith("bioavailability"))
    assert row.split()[1:] == ["F", "1.000", "fixed", "–", "–", "–", "–"]


def test_block_without_standard_errors(results, parameters):
    bare = parameters.assign(se=math.nan, rse=math.nan, ci_low=math.nan, ci_high=math.nan)
    results |= {"standard_errors": {}, "condition_number": None, "seconds": {}, "subjects": 1}
    block = format_fit(results, bare)
    assert "No standard errors" in block
    assert "condition number –" in block
    assert "1 subject," in block


def test_long_labels_and_verdicts_are_wrapped_whole(results, parameters):
    parameters.loc[0, "label"] = "a very long label " * 5
    results["verdict"] = "Converged, but: " + "something happened; " * 12
    lines = format_fit(results, parameters, width=100).splitlines()
    assert max(map(len, lines)) <= 100
    assert "".join(lines).count("something") == 12
