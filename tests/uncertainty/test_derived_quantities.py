"""Derived quantities against closed forms of log-normal estimates; units; and expressions that are not let in."""

import math
from dataclasses import replace

import numpy as np
import pytest
from finished_fits import theophylline
from scipy.stats import norm

from pbpk.errors import BadInput, WrongUsage
from pbpk.uncertainty.derived import DerivedOptions, ParameterSample, derive_quantities
from pbpk.uncertainty.expression import read_expression


@pytest.fixture(scope="module")
def fit():
    """Theophylline's estimates, their covariance replaced by a round one: logarithms of KA, CL, V and σ, correlated."""
    fit = theophylline("pooled")
    logs = np.array([[0.04, 0.0, 0.01, 0.0], [0.0, 0.02, 0.006, 0.0], [0.01, 0.006, 0.01, 0.0], [0, 0, 0, 0.005]])
    size = fit.estimates * fit.scale
    assert fit.names == ("KA", "CL", "V", "add")
    return replace(fit, covariance=logs * np.outer(size, size))


def row(fit, expression, **how):
    return derive_quantities(fit, DerivedOptions({"x": expression}, **how)).table.iloc[0]


def test_a_half_life_of_log_normal_estimates(fit):
    """ln t½ = ln ln 2 + ln V − ln CL is normal, so both ways have a closed form, and both intervals are the same."""
    result = row(fit, "log(2)*V/CL")
    _, cl, v, _ = fit.estimates
    t_half, sd = math.log(2) * v / cl, math.sqrt(0.02 + 0.01 - 2 * 0.006)
    assert (result["unit"], result["invalid"]) == ("h", 0)
    assert result["estimate"] == pytest.approx(t_half, rel=1e-12)
    assert result["se"] == pytest.approx(t_half * sd, rel=1e-5)
    ends = [t_half * math.exp(z * sd) for z in (-1.959964, 1.959964)]
    np.testing.assert_allclose(result[["ci_low", "ci_high"]].astype(float), ends, rtol=1e-5)
    np.testing.assert_allclose(result[["sample_low", "sample_high"]].astype(float), ends, rtol=0.02)
    assert result["sample_se"] == pytest.approx(t_half * math.exp(sd**2 / 2) * math.sqrt(math.expm1(sd**2)), rel=0.04)


def test_a_function_of_python_gives_the_same(fit):
    def t_half(p):
        return np.log(2) * p["V"] / p["CL"]

    text, function = row(fit, "log(2)*V/CL"), row(fit, t_half)
    for name in ("estimate", "se", "ci_low", "sample_low", "sample_se"):
        assert function[name] == pytest.approx(text[name], rel=1e-9)
    assert (function["expression"], function["unit"]) == ("t_half", "")


def test_what_may_be_negative_has_an_interval_around_it(fit):
    result = row(fit, 'log(CL/"2.7 L/h")', level=0.9)
    cl = fit.estimates[1]
    assert result["estimate"] == pytest.approx(math.log(cl / 2.7), rel=1e-12) and result["se"] == pytest.approx(
        math.sqrt(0.02), rel=1e-5
    )
    assert result["ci_high"] - result["estimate"] == pytest.approx(norm.ppf(0.95) * math.sqrt(0.02), rel=1e-5)


UNITS = [
    ("CL/V", "1/h", lambda p: p["CL"] / p["V"]),
    ("KA", "1/h", lambda p: p["KA"]),
    ("F1*V", "L", lambda p: p["V"]),  # F1 is the model's own, 1
    ("CL/KA", "L", lambda p: p["CL"] / p["KA"]),
    ('CL/"1 mL/min"', "1", lambda p: p["CL"] * 1000 / 60),
    ('CL + "10 mL/min"', "L/h", lambda p: p["CL"] + 0.6),
    ("min(CL, KA*V)", "L/h", lambda p: min(p["CL"], p["KA"] * p["V"])),
    ("max(KA, CL/V)", "1/h", lambda p: max(p["KA"], p["CL"] / p["V"])),
    ("exp(-KA*V/CL)", "1", lambda p: math.exp(-p["KA"] * p["V"] / p["CL"])),
    ("sqrt(CL*CL)", "L/h", lambda p: p["CL"]),
    ("pow(V, 2)", "L**2", lambda p: p["V"] ** 2),
    ("CL*(50/70)**0.75", "L/h", lambda p: p["CL"] * (50 / 70) ** 0.75),
    ("+V - -V", "L", lambda p: 2 * p["V"]),
]


@pytest.mark.parametrize(("expression", "unit", "value"), UNITS, ids=[u[0] for u in UNITS])
def test_units_and_values(fit, expression, unit, value):
    result = row(fit, expression)
    assert result["unit"] == unit
    assert result["estimate"] == pytest.approx(value(dict(zip(fit.names, fit.estimates, strict=True))), rel=1e-12)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("CL + V", "units do not fit"),
        ("log(CL)", "units do not fit"),
        ("2**CL", "units do not fit"),
        ("max(CL, 1)", "units do not fit"),
        ("1 + KA", "units do not fit"),
        ("CLL*2", "no parameter `CLL`"),
        ("CL.real", "no parameter `CL.real`"),
        ("1/(CL-CL)", "no value at the estimates"),
        ("1e400*CL", "no finite value"),
        ("(-1)**0.5*CL", "no finite value"),
        ('"1 florin"*CL', "cannot be read"),
    ],
)
def test_what_cannot_be_worked_out(fit, expression, message):
    with pytest.raises(BadInput, match=message.replace("(", r"\(").replace("*", r"\*")):
        row(fit, expression)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "(lambda: 1)()",
        "[CL for CL in ()]",
        "CL if V else KA",
        "CL.__class__.__mro__[1]",
        "exp.__call__(1)",
        "log(2, base=3)",
        "max(*V)",
        "min()",
        "pow(V)",
        "CL ^ 2",
        "CL < 2",
        "V[0]",
        "f'{CL}'",
        "(x := 2)",
        "True",
        "1j*CL",
        "CL; V",
        "",
        "(" * 300 + "CL" + ")" * 300,
        "CL" * 600,
    ],
)
def test_only_arithmetic_is_let_in(text):
    with pytest.raises(BadInput):
        read_expression(text)


def test_names_with_dots_are_one_name():
    read = read_expression("lesion_1.efflux / OMEGA_lesion_1.efflux")
    assert read.names == ("lesion_1.efflux", "OMEGA_lesion_1.efflux")


def test_a_sample_of_ones_own(fit):
    values = np.tile(fit.estimates, (4, 1))
    values[:, 2] = [10.0, 20.0, 30.0, 40.0]
    values[0, 1] = 0.0  # no half-life
    options = DerivedOptions({"x": "V/CL"})
    result = derive_quantities(fit, options, ParameterSample(values, "four vectors"))
    x = result.table.iloc[0]
    assert result.source == "four vectors" and x["invalid"] == 1
    assert x["median"] == pytest.approx(30.0 / fit.estimates[1])
    assert x["se"] == pytest.approx(row(fit, "V/CL")["se"])
    bare = derive_quantities(
        replace(fit, covariance=None), options, ParameterSample(values, "four vectors")
    ).table.iloc[0]
    assert math.isnan(bare["se"]) and math.isnan(bare["ci_low"]) and bare["sample_se"] == x["sample_se"]


def test_what_cannot_be_asked(fit):
    with pytest.raises(WrongUsage, match="no quantity"):
        derive_quantities(fit, DerivedOptions({}))
    with pytest.raises(BadInput, match="no covariance matrix"):
        derive_quantities(replace(fit, covariance=None), DerivedOptions({"x": "CL"}))
    with pytest.raises(WrongUsage, match="no probability"):
        derive_quantities(fit, DerivedOptions({"x": "CL"}, level=0))
