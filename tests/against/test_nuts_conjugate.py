"""Posteriors known in closed form: a linear model with normal random effects, known variances and a normal prior.

    y_i = a(θ + η_i) + ε,  η_i ~ N(0, ω²), ε ~ N(0, σ²), θ ~ N(m, s²)
    θ | y ~ N(P⁻¹b, P⁻¹),  P = 1/s² + Σ a'V⁻¹a,  b = m/s² + Σ a'V⁻¹y_i,  V = ω²aa' + σ²I

a is an absorbed fraction's bolus that decays: the concentration is linear in F1.
"""

import numpy as np
import pytest

from pbpk.estimation.bayes.convergence import ess_mean
from pbpk.estimation.methods import get_method
from pbpk.estimation.run import run_fit
from pbpk.study.load import load_study

pytest.importorskip("numpyro")

STRUCTURE = """
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, observe

central = Compartment("central", "mg", volume="V", bioavailability="F1")
model = Block(
    (central,),
    (flux(central >> OUT, first_order, a=amount(central), k="K"),),
    observables=(observe("cp", conc(central), "plasma concentration"),),
    routes={"iv": central},
)
"""
PARAMETERS = """
V = { value = 10.0, unit = "L", about = "volume", source = "assumed: for a test", status = "assumed" }
K = { value = 0.1, unit = "1/h", about = "rate", source = "assumed: for a test", status = "assumed" }
F1 = { value = 1.0, unit = "1", about = "fraction", source = "assumed: for a test", status = "assumed" }
"""
FIT = """
model = "model/linear"
[data]
units = {{ TIME = "h", AMT = "mg", DV = "mg/L" }}
observable = "cp"
dose_into = "central"
[parameters.F1]
initial = 0.9
iiv = 0.04
iiv_fixed = true
distribution = "normal"
[error.cp]
model = "additive"
add = 0.5
fixed = true
[priors.F1]
distribution = "normal"
value = 0.8
sd = 0.15
[estimation]
method = "nuts"
chains = 2
warmup = 300
draws = 1500
{more}
"""
TIMES, DOSE, MEAN, SD, OMEGA2, SIGMA = np.array([1.0, 4.0, 9.0]), 100.0, 0.8, 0.15, 0.04, 0.5


def write(folder, more=""):
    rng = np.random.default_rng(5)
    a = DOSE / 10 * np.exp(-0.1 * TIMES)
    y = a * (1.0 + 0.2 * rng.standard_normal((6, 1))) + SIGMA * rng.standard_normal((6, 3))
    (folder / "model" / "linear").mkdir(parents=True)
    (folder / "model" / "linear" / "structure.py").write_text(STRUCTURE)
    (folder / "model" / "linear" / "parameters.toml").write_text(PARAMETERS)
    (folder / "model" / "linear" / "README.md").write_text("# linear\n")
    (folder / "fit.toml").write_text(FIT.format(more=more))
    lines = ["ID,TIME,AMT,DV"]
    for i, row in enumerate(y, start=1):
        lines += [f"{i},0,{DOSE},."] + [f"{i},{t},.,{v!r}" for t, v in zip(TIMES, row.tolist(), strict=True)]
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    return load_study(folder), a, y


def exact(a, y):
    v = np.linalg.inv(OMEGA2 * np.outer(a, a) + SIGMA**2 * np.eye(3))
    precision = 1 / SD**2 + len(y) * a @ v @ a
    mean = (MEAN / SD**2 + (y @ v @ a).sum()) / precision
    # η_i given θ is normal too: mean g(y_i − aθ), g = ω²a'V⁻¹
    g = OMEGA2 * a @ v
    eta = y @ g - (g @ a) * mean
    return mean, precision**-0.5, eta


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    study, a, y = write(tmp_path_factory.mktemp("conjugate"))
    return run_fit(study, get_method("nuts"), seed=3), exact(a, y)


def test_mean_and_spread_are_those_of_the_closed_form(fitted):
    fit, (mean, sd, _) = fitted
    draws = fit.files["draws.npz"]["parameters"][:, :, 0]
    ess = ess_mean(draws)
    assert ess > 300
    assert abs(draws.mean() - mean) < 4 * sd / np.sqrt(ess)
    assert draws.std() / sd == pytest.approx(1, abs=4 / np.sqrt(2 * ess))
    assert fit.successful and fit.estimates["F1"] == pytest.approx(mean, abs=0.2 * sd)
    assert fit.standard_errors["posterior"]["F1"] == pytest.approx(sd, rel=0.2)


def test_random_effects_are_those_of_the_closed_form(fitted):
    fit, (_, _, eta) = fitted
    found = fit.files["draws.npz"]["eta"]
    for i, wanted in enumerate(eta):
        one = found[:, :, 0, i]
        assert abs(one.mean() - wanted) < 4 * one.std() / np.sqrt(ess_mean(one))


def test_nothing_is_assumed_where_the_study_has_a_prior(fitted):
    fit, _ = fitted
    assert fit.extra["assumed"] == {}


@pytest.mark.slow
def test_centred_gives_the_same(fitted, tmp_path):
    _, (mean, sd, _) = fitted
    study, _, _ = write(tmp_path, "centred = true")
    draws = run_fit(study, get_method("nuts"), seed=4).files["draws.npz"]["parameters"][:, :, 0]
    assert abs(draws.mean() - mean) < 4 * sd / np.sqrt(ess_mean(draws))
    assert draws.std() / sd == pytest.approx(1, abs=4 / np.sqrt(2 * ess_mean(draws)))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["full_rank", "mean_field"])
def test_variational_mean(fitted, tmp_path, family):
    """A full covariance holds the posterior, which is normal; a diagonal one has its mean and a smaller spread."""
    _, (mean, sd, _) = fitted
    study, _, _ = write(tmp_path, f'family = "{family}"')
    fit = run_fit(study, get_method("vi"))
    assert fit.successful
    found = fit.extra["posterior"]["F1"]
    assert found["mean"] == pytest.approx(mean, abs=0.15 * sd)
    if family == "full_rank":
        assert found["sd"] == pytest.approx(sd, rel=0.1)
        assert fit.extra["pareto_k"] < 0.5
    else:
        assert found["sd"] < 0.95 * sd
