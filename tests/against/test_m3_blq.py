"""Values below a limit of quantification: NONMEM 7.4.3 on Bauer 2019's ad3tr4 (CPT Pharmacometrics Syst Pharmacol, tut. II).

500 logarithms of concentrations, 104 of them below −3.5 (M3), a two-compartment model with a full Ω. NONMEM's Laplace run ended
at −131.0939, "terminated due to rounding errors" with gradients of 10⁴: the likelihood of one subject is nearly flat in a
direction, and the logarithm of its Hessian falls without end. So it is evaluated where NONMEM stopped (its ext file); with 40
digits that subject adds −4.92028, and all of them −131.3107. Importance sampling, which converged at −125.345 (Monte-Carlo
spread 0.2), anchors the integral.
"""

from math import exp
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pbpk.estimation.methods import get_method
from pbpk.likelihood.endpoints.interval import log_probability_between
from pbpk.study.load import load_study

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "bauer_ad3tr4_blq.csv"
STUDY = """
model = "iv_two_compartment"
[data]
file = "data.csv"
observable = "cp"
dose_into = "central"
columns = { DV = "LOGC" }
ignore = ["SET", "JID", "CONC", "LOQ", "TYPE", "RATE"]
[parameters]
CL = { initial = 5.5, iiv = 0.2 }
V1 = { initial = 5.2, iiv = 0.2 }
Q = { initial = 2.2, iiv = 0.2 }
V2 = { initial = 11.6, iiv = 0.2 }
[omega]
blocks = [["CL", "V1", "Q", "V2"]]
[error.cp]
model = "additive"
transform = "log"
transformed = true
add = 0.3
lloq = -3.5
"""
# θ (logarithms), the lower triangle of Ω by rows, σ
LAPLACE = (
    (1.69938, 1.65161, 0.809101, 2.45301),
    (
        0.170227,
        -4.46472e-3,
        9.76946e-2,
        -1.97379e-2,
        -2.51672e-2,
        6.45438e-2,
        -7.23288e-3,
        1.19151e-2,
        3.73195e-2,
        0.177864,
    ),
    0.291704,
)
SAMPLED = (
    (1.67521, 1.60802, 0.737699, 2.37246),
    (
        0.166658,
        -8.98634e-4,
        0.138145,
        -2.63869e-3,
        -1.33853e-2,
        0.112390,
        -3.31252e-2,
        9.64809e-3,
        4.01963e-2,
        0.147802,
    ),
    0.274265,
)


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    if not DATA.exists():
        pytest.skip(f"the reference data are not here: shared/data/{DATA.name}")
    folder = tmp_path_factory.mktemp("m3")
    (folder / "data.csv").write_text(DATA.read_text())
    (folder / "fit.toml").write_text(STUDY)
    study = load_study(folder)
    assert "104 of 500 values of cp lie below -3.5: counted as censored (M3)" in study.events.notes
    return study.problem


def value(problem, method, at):
    theta, omega, sigma = at
    psi = problem.structure.layout.to_unconstrained(np.array([*(exp(x) for x in theta), *omega, sigma]))
    found = get_method(method).evaluate(problem, psi, np.zeros((4, 100)))
    return float(np.asarray(found.objective).sum())


def test_counts(problem):
    assert (problem.subjects, problem.observations, problem.quantified) == (100, 500, 396)


@pytest.mark.slow
def test_laplace_where_nonmem_stopped(problem):
    assert value(problem, "laplace", LAPLACE) == pytest.approx(-131.0939, abs=0.5)


@pytest.mark.slow
def test_the_integral_where_nonmem_converged(problem):
    assert value(problem, "agq", SAMPLED) == pytest.approx(-125.345, abs=2)


@pytest.mark.parametrize(
    "limits", [(-np.inf, -3.0), (-40.0, -38.0), (2.0, 2.5), (35.0, np.inf), (8.0, 9.0), (-1.0, 3.0)]
)
def test_probability_between_limits(limits):
    from scipy.stats import norm

    low, high = limits
    if low > 0:
        expected = norm.logsf(low) + np.log1p(-np.exp(norm.logsf(high) - norm.logsf(low)))
    else:
        expected = norm.logcdf(high) + np.log1p(-np.exp(norm.logcdf(low) - norm.logcdf(high)))
    assert float(log_probability_between(np.array(low), np.array(high))) == pytest.approx(expected, rel=1e-10)


def test_data_are_the_published(problem):
    assert len(pd.read_csv(DATA)) == 600
