"""Profiles against likelihoods known in closed form, constrained optima against SciPy's, and sides that are open."""

import numpy as np
import pytest
from finished_fits import LINEAR, PER_F1, TIMES, compiled_objective, one_way, records, straight_line, theophylline
from finished_fits import fit as fitted
from scipy.optimize import brentq, minimize, minimize_scalar

from pbpk.errors import BadInput, ScienceFailed, WrongUsage
from pbpk.estimation.parallel_objective import EvaluationRequest, ObjectiveValues
from pbpk.estimation.weighted_descent import WeightedStudy
from pbpk.study.load import load_study
from pbpk.uncertainty.constrained_search import minimise_on_surface, project_onto_surface
from pbpk.uncertainty.fit_objective import FitObjective
from pbpk.uncertainty.profile import FOUND, LOWER, OPEN, ProfileOptions, profile_likelihood

CHI2 = {0.95: 3.841458820694124, 0.9: 2.705543454095404}  # χ² of one degree of freedom, from tables


@pytest.fixture(scope="module")
def line(make):
    return straight_line(make)


@pytest.fixture(scope="module")
def groups(make):
    return one_way(make)


@pytest.mark.parametrize("level", [0.95, 0.9])
def test_least_squares_in_closed_form(line, level):
    """n ln(SS/n) + n where σ is estimated too: F1 is at F̂ ± √(SS/Σk²·(e^{χ²/n} − 1)); σ where n ln σ² + SS/σ² has risen."""
    fit, k, y = line
    n, best = len(y), k @ y / (k @ k)
    ss = np.sum((y - best * k) ** 2)
    result = profile_likelihood(fit, ProfileOptions(level=level), objective=compiled_objective(fit))
    assert result.rise == pytest.approx(CHI2[level], rel=1e-12) and result.is_reliable
    assert result.verdict == "Every interval has both ends."
    rows = result.table.set_index("name")
    wide = np.sqrt(ss / (k @ k) * np.expm1(CHI2[level] / n))
    np.testing.assert_allclose(
        rows.loc["F1", ["ci_low", "ci_high"]].astype(float), [best - wide, best + wide], rtol=1e-5
    )

    def rise(s):
        return n * np.log(s**2) + ss / s**2 - n * np.log(ss / n) - n - CHI2[level]

    sigma = np.sqrt(ss / n)
    ends = [brentq(rise, sigma / 5, sigma), brentq(rise, sigma, 5 * sigma)]
    np.testing.assert_allclose(rows.loc["add", ["ci_low", "ci_high"]].astype(float), ends, rtol=1e-4)


def test_every_point_is_on_the_profile(line):
    fit, k, y = line
    best = k @ y / (k @ k)
    points = profile_likelihood(fit, ProfileOptions(("F1",)), objective=compiled_objective(fit)).points
    away = points["value"].to_numpy() - best
    ss = np.sum((y - best * k) ** 2)
    np.testing.assert_allclose(points["delta_ofv"], len(y) * np.log1p(away**2 * (k @ k) / ss), atol=1e-6)
    np.testing.assert_allclose(points["add"] ** 2, (ss + away**2 * (k @ k)) / len(y), rtol=1e-4)
    assert (points["value"].diff().dropna() > 0).all() and 0.0 in points["delta_ofv"].to_numpy()


def one_way_ofv(y, k, mean, tau, sigma):
    """−2 log-likelihood of y_ij ~ N(k·F, k²τ² + σ²), subjects sharing F_i, without n·ln 2π."""
    groups, n = y.shape
    between = sigma**2 + n * k**2 * tau**2
    averages = y.mean(axis=1)
    within = np.sum((y - averages[:, None]) ** 2)
    return (
        groups * (n - 1) * np.log(sigma**2)
        + groups * np.log(between)
        + within / sigma**2
        + n * np.sum((averages - k * mean) ** 2) / between
    )


def test_a_variance_of_a_random_effect_in_closed_form(groups):
    """Linear in η, so that FOCEI is the likelihood itself."""
    fit, y, k = groups

    def ofv(x, free):
        tau2 = np.exp(x[1]) if free else free_tau2
        return one_way_ofv(y, k, x[0], np.sqrt(tau2), np.exp(x[-1]))

    start = [0.9, np.log(0.02), np.log(0.2)]
    best = minimize(lambda x: ofv(x, True), start, method="BFGS", options={"gtol": 1e-7})
    assert fit.ofv == pytest.approx(best.fun, abs=1e-6)
    result = profile_likelihood(fit, objective=compiled_objective(fit)).table.set_index("name")
    assert (result["status_low"] == FOUND).all() and (result["status_high"] == FOUND).all()
    for end in ("low", "high"):
        free_tau2 = result.loc["OMEGA_F1", f"ci_{end}"]
        optimum = minimize(lambda x: ofv(x, False), [best.x[0], best.x[2]], method="BFGS", options={"gtol": 1e-7})
        assert optimum.fun - best.fun == pytest.approx(CHI2[0.95], abs=5e-4)
    mean = result.loc["F1", "ci_high"]
    optimum = minimize(
        lambda x: one_way_ofv(y, k, mean, np.exp(x[0]), np.exp(x[1])), [-2, -1.6], options={"gtol": 1e-7}
    )
    assert optimum.fun - best.fun == pytest.approx(CHI2[0.95], abs=5e-4)


def test_a_side_that_the_data_do_not_limit_is_open(make):
    """Four subjects hardly tell whether they differ: at this level nothing keeps the variance between them off zero."""
    k, random = PER_F1[2], np.random.default_rng(8)
    y = 0.9 * k + random.normal(0, 0.2, (4, 5)) + 0.35 * random.normal(0, 1, (4, 1))
    narrow = fitted(make(LINEAR.replace("IIV", "iiv = 0.02"), *records(y, [TIMES[2]] * 5)))
    result = profile_likelihood(narrow, ProfileOptions(("OMEGA_F1",), 0.9999), objective=FitObjective.compile(narrow))
    row = result.table.iloc[0]
    assert (row["status_low"], row["status_high"]) == (OPEN, FOUND)
    assert np.isnan(row["ci_low"]) and row["rise_low"] < result.rise and row["ci_high"] > row["estimate"]
    assert result.is_reliable and "a side of OMEGA_F1 is open" in result.verdict


def test_a_fit_that_is_not_at_its_minimum_is_found_out(line):
    from dataclasses import replace

    fit, _, _ = line
    objective = compiled_objective(fit)
    psi = fit.psi + np.array([0.1, 0.0])
    values = objective.evaluate([objective.request(psi)])[0]
    off = replace(fit, psi=psi, ofv=float(values.objective.sum()))
    result = profile_likelihood(off, ProfileOptions(("F1",)), objective=FitObjective.compile(off))
    assert not result.is_reliable and LOWER in {*result.table["status_low"], *result.table["status_high"]}
    assert "not at its minimum" in result.verdict
    with pytest.raises(ScienceFailed, match="the fit recorded"):
        FitObjective.compile(replace(fit, ofv=fit.ofv - 1))


@pytest.mark.slow
def test_theophylline_every_end_is_a_rise_of_the_quantile():
    fit = theophylline()
    result = profile_likelihood(fit, objective=compiled_objective(fit))
    assert result.is_reliable and (result.table["status_low"] == FOUND).all()
    np.testing.assert_allclose(result.table[["rise_low", "rise_high"]], CHI2[0.95], atol=1e-4)
    rows = result.table.set_index("name")
    assert ((rows["ci_low"] < rows["estimate"]) & (rows["estimate"] < rows["ci_high"])).all()


HELD = [
    ("CL", "ci_low", lambda x: {"CL": x, "parameters.CL.fixed": "true"}),
    ("OMEGA_KA", "ci_high", lambda x: {"parameters.KA.iiv": x, "parameters.KA.iiv_fixed": "true"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "end", "settings"), HELD, ids=[h[0] for h in HELD])
def test_an_end_against_a_refit_that_holds_the_parameter_there(name, end, settings, minimise):
    """From the study's own initial values, by the ordinary fit."""
    fit = theophylline()
    bound = float(
        profile_likelihood(fit, ProfileOptions((name,)), objective=compiled_objective(fit)).table[end].iloc[0]
    )
    study = load_study("theophylline", settings={k: str(v) for k, v in settings(repr(bound)).items()})
    layout = study.problem.structure.layout
    assert name not in [n for n, optimum in zip(layout.names, layout.fixed_mask, strict=True) if not optimum]
    state = minimise(fit.method, study.problem)
    assert state.status == "converged" and state.ofv - fit.ofv == pytest.approx(CHI2[0.95], abs=2e-4)


HESSIAN = np.array([[6.0, 1.0, 0.5], [1.0, 3.0, -0.8], [0.5, -0.8, 2.0]])


def toy(psi):
    """An OFV of three coordinates with its gradient, as one subject's; bent, so that one Newton step is not enough."""
    bend = np.array([0.3, 0.1, 0.2])
    value = 0.5 * psi @ HESSIAN @ psi + bend @ psi**4
    return ObjectiveValues(
        np.array([value]),
        (HESSIAN @ psi + 4 * bend * psi**3)[:, None],
        np.zeros((0, 1)),
        np.array([True]),
        0.0,
        0 * psi,
    )


def solve(search):
    ask = next(search)
    while True:
        try:
            ask = search.send(toy(ask.psi))
            assert isinstance(ask, EvaluationRequest)
        except StopIteration as end:
            return end.value


def test_constrained_optima_on_a_curved_surface():
    """A sum of squares, as a variance of a block of Ω is."""

    def surface(psi):
        return psi[0] ** 2 + np.exp(psi[1]), np.array([2 * psi[0], np.exp(psi[1]), 0.0])

    study = WeightedStudy(np.ones(1), None, np.zeros(3), ())
    optimum = solve(
        minimise_on_surface(study, surface, 2.5, np.array([0.3, 0.1, 0.0]), np.zeros((0, 1)), np.linalg.inv(HESSIAN))
    )
    reference = minimize(
        lambda x: toy(x).objective[0],
        optimum.point.psi + 0.05,
        method="SLSQP",
        constraints={"type": "eq", "fun": lambda x: surface(x)[0] - 2.5},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert optimum.converged and surface(optimum.point.psi)[0] == pytest.approx(2.5, rel=1e-12)
    assert optimum.point.ofv == pytest.approx(reference.fun, abs=1e-6)
    np.testing.assert_allclose(optimum.point.gradient, optimum.slope * surface(optimum.point.psi)[1], atol=2e-3)


def test_the_way_onto_a_surface_is_the_shortest_in_the_metric():
    surface = lambda psi: (float(psi @ [1.0, 2.0, 0.0]), np.array([1.0, 2.0, 0.0]))  # noqa: E731
    there = project_onto_surface(surface, 3.0, np.zeros(3), np.linalg.inv(HESSIAN))
    along = np.linalg.solve(HESSIAN, [1.0, 2.0, 0.0])
    np.testing.assert_allclose(there, 3.0 * along / (along @ [1.0, 2.0, 0.0]), rtol=1e-12)
    assert project_onto_surface(lambda psi: (np.nan, psi), 1.0, np.zeros(3), np.eye(3)) is None
    flat = minimize_scalar(lambda x: 0.5 * np.array([x, (3 - x) / 2, 0.0]) @ HESSIAN @ [x, (3 - x) / 2, 0.0])
    assert 0.5 * there @ HESSIAN @ there <= flat.fun + 1e-9


def test_what_cannot_be_asked(line):
    fit, _, _ = line
    with pytest.raises(BadInput, match="`CL` is no estimated parameter") as error:
        profile_likelihood(fit, ProfileOptions(("CL",)))
    assert "known: `F1`, `add`" in error.value.hint
    with pytest.raises(WrongUsage, match="no probability"):
        profile_likelihood(fit, ProfileOptions(level=2.0))
