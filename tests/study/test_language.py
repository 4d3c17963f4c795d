"""What a fit.toml may say of variability, against closed forms: a model linear in its random effects makes y normal.

y = F · D/V · exp(−(CL/V) t) with F normal around its typical value, so every likelihood method must give −2 ln of a
multivariate normal's density, less n · ln 2π.
"""

import numpy as np
import pytest
from scipy import integrate, stats

from pbpk.errors import BadInput
from pbpk.estimation.methods import get_method
from pbpk.study.load import load_study

STRUCTURE = """
from pbpk.model import OUT, Block, Compartment, clearance, conc, flux, observe

central = Compartment("central", "mg", volume="V", bioavailability="F")
model = Block(
    (central,),
    (flux(central >> OUT, clearance, c=conc(central), cl="CL"),),
    observables=(observe("cp", conc(central), "concentration"),),
)
"""
NUMBERS = """
CL = { value = 1.0, unit = "L/h", about = "clearance", source = "assumed: for a test", status = "assumed" }
V = { value = 10.0, unit = "L", about = "volume", source = "assumed: for a test", status = "assumed" }
F = { value = 1.0, unit = "1", about = "bioavailability", source = "assumed: for a test", status = "assumed" }
"""
HEAD = """
model = "linear"
[data]
observable = "cp"
dose_into = "central"
"""
TIMES = np.array([1.0, 3.0, 8.0])
SHAPE = 10 * np.exp(-0.1 * TIMES)  # of a dose of 100 mg


def make_study(folder, text, rows):
    home = folder / "linear"
    home.mkdir(exist_ok=True)
    (home / "structure.py").write_text(STRUCTURE)
    (home / "parameters.toml").write_text(NUMBERS)
    (home / "README.md").write_text("A bolus whose bioavailability varies.\n")
    (folder / "fit.toml").write_text(HEAD + text)
    (folder / "data.csv").write_text("\n".join(rows) + "\n")
    return load_study(folder)


def records(y, extra="", columns=""):
    """One bolus of 100 mg a subject, then y[i] at TIMES."""
    rows = ["ID,TIME,EVID,AMT,DV" + columns]
    for i, values in enumerate(y, start=1):
        rows.append(f"{i},0,1,100,.{extra}")
        rows += [f"{i},{t},0,0,{v!r}{extra}" for t, v in zip(TIMES.tolist(), np.asarray(values).tolist(), strict=True)]
    return rows


def objective(loaded, method, eta=None):
    problem = get_method(method).prepare(loaded.problem)
    eta = np.zeros((len(problem.structure.layout.etas), problem.columns)) if eta is None else eta
    evaluation = get_method(method).evaluate(problem, problem.initial_unconstrained, eta)
    assert np.asarray(evaluation.good).all()
    return float(np.asarray(evaluation.objective).sum())


def normal_ofv(y, mean, covariance):
    d = stats.multivariate_normal(mean, covariance)
    return sum(-2 * d.logpdf(v) - len(v) * np.log(2 * np.pi) for v in y)


Y = np.array([[9.8, 7.9, 4.2], [12.0, 9.6, 6.1], [7.1, 5.9, 3.0]])
BASIC = """
[parameters.F]
initial = 1.0
iiv = 0.05
distribution = "normal"
[error.cp]
model = "additive"
add = 0.4
"""


@pytest.mark.parametrize("method", ["fo", "foce", "focei", "laplace", "agq"])
def test_correlated_residuals(tmp_path, method):
    loaded = make_study(tmp_path, BASIC + "ar1 = 0.7\n", records(Y))
    c = 0.7 ** np.abs(TIMES[:, None] - TIMES[None])
    assert objective(loaded, method) == pytest.approx(
        normal_ofv(Y, SHAPE, 0.05 * np.outer(SHAPE, SHAPE) + 0.16 * c), abs=1e-8
    )


def occasions(y):
    """Two occasions a subject, each after a reset."""
    rows = ["ID,TIME,EVID,AMT,DV,OCC"]
    for i, both in enumerate(y, start=1):
        for k, values in enumerate(both, start=1):
            start = 100.0 * (k - 1)
            rows.append(f"{i},{start},{4 if k > 1 else 1},100,.,{k}")
            rows += [f"{i},{start + t},0,0,{v!r},{k}" for t, v in zip(TIMES.tolist(), values.tolist(), strict=True)]
    return rows


@pytest.mark.parametrize("method", ["focei", "agq"])
def test_variation_between_occasions(tmp_path, method):
    y = np.stack([Y, 0.8 * Y + 0.3], axis=1)
    loaded = make_study(tmp_path, BASIC.replace("iiv = 0.05", "iiv = 0.05\niov = 0.02"), occasions(y))
    assert loaded.problem.structure.layout.names == ("F", "OMEGA_F", "OMEGA_IOV_F", "add")
    assert loaded.problem.structure.layout.etas == ("F", "F@1", "F@2")
    both = np.concatenate([SHAPE, SHAPE])
    same = np.kron(np.eye(2), np.ones((3, 3)))
    v = np.outer(both, both) * (0.05 + 0.02 * same) + 0.16 * np.eye(6)
    assert objective(loaded, method) == pytest.approx(normal_ofv(y.reshape(3, 6), both, v), abs=1e-8)


def test_an_occasion_that_a_subject_lacks_says_nothing(tmp_path):
    y = np.stack([Y, 0.8 * Y + 0.3], axis=1)
    rows = [r for r in occasions(y) if not (r.startswith("3,") and r.endswith(",2"))]
    loaded = make_study(tmp_path, BASIC.replace("iiv = 0.05", "iiv = 0.05\niov = 0.02"), rows)
    both = np.concatenate([SHAPE, SHAPE])
    v = np.outer(both, both) * (0.05 + 0.02 * np.kron(np.eye(2), np.ones((3, 3)))) + 0.16 * np.eye(6)
    alone = np.outer(SHAPE, SHAPE) * 0.07 + 0.16 * np.eye(3)
    expected = normal_ofv(y[:2].reshape(2, 6), both, v) + normal_ofv(y[2:, 0], SHAPE, alone)
    assert objective(loaded, "focei") == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("method", ["focei", "laplace", "agq"])
def test_two_populations_in_one(tmp_path, method):
    text = (
        BASIC
        + """
[mixture]
probabilities = [0.3, 0.7]
"""
    )
    effect = (
        'covariates = [{ covariate = "CLASS", form = "equals", reference = 2, estimate = "F_SECOND", initial = 0.5 }]\n'
    )
    text = text.replace('distribution = "normal"\n', 'distribution = "normal"\n' + effect)
    loaded = make_study(tmp_path, text, records(Y))
    assert (loaded.problem.subjects, loaded.problem.observations) == (3, 9)
    expected = 0.0
    for y in Y:
        parts = []
        for p, size in ((0.3, 1.0), (0.7, 1.5)):
            v = 0.05 * np.outer(SHAPE, SHAPE) + 0.16 * np.eye(3)
            parts.append(p * np.exp(-0.5 * normal_ofv([y], size * SHAPE, v)))
        expected += -2 * np.log(sum(parts))
    assert objective(loaded, method) == pytest.approx(expected, abs=1e-8)


def test_the_gradient_of_a_mixture(tmp_path):
    effect = (
        'covariates = [{ covariate = "CLASS", form = "equals", reference = 2, estimate = "F_SECOND", initial = 0.5 }]\n'
    )
    text = BASIC.replace('distribution = "normal"\n', 'distribution = "normal"\n' + effect)
    problem = make_study(tmp_path, text + "[mixture]\nprobabilities = [0.3, 0.7]\n", records(Y)).problem
    focei, eta = get_method("focei"), np.zeros((1, 6))
    slope = np.asarray(focei.evaluate(problem, problem.initial_unconstrained, eta).gradient).sum(axis=1)
    for j in range(len(slope)):
        step = 1e-5 * np.eye(len(slope))[j]
        up, down = (
            float(np.asarray(focei.evaluate(problem, problem.initial_unconstrained + s, eta).objective).sum())
            for s in (step, -step)
        )
        assert slope[j] == pytest.approx((up - down) / 2e-5, abs=1e-6, rel=1e-6)


def test_a_prior_pulls_as_far_as_it_weighs(tmp_path, minimise):
    """F alone unknown, Ω and σ held: normal likelihood times normal prior, whose mode is the precision-weighted mean."""
    text = BASIC.replace("iiv = 0.05", "iiv = 0.05\niiv_fixed = true") + "fixed = true\n"
    text += '[priors.F]\ndistribution = "normal"\nvalue = 0.5\nsd = 0.1\n'
    loaded = make_study(tmp_path, text, records(Y))
    state = minimise(get_method("focei"), loaded.problem)
    v = np.linalg.inv(0.05 * np.outer(SHAPE, SHAPE) + 0.16 * np.eye(3))
    information = 3 * SHAPE @ v @ SHAPE
    mode = (Y.sum(axis=0) @ v @ SHAPE + 0.5 / 0.01) / (information + 1 / 0.01)
    assert state.psi[0] == pytest.approx(mode, rel=1e-6)
    expected = normal_ofv(Y, mode * SHAPE, np.linalg.inv(v)) + ((mode - 0.5) / 0.1) ** 2
    assert state.ofv == pytest.approx(expected, abs=1e-7)


def test_bounds_are_kept_and_reached(tmp_path, minimise):
    text = BASIC.replace("initial = 1.0", "initial = 0.5\nlower = 0.2\nupper = 0.7").replace("iiv = 0.05\n", "")
    text = text.replace('distribution = "normal"\n', 'distribution = "normal"\n')
    loaded = make_study(tmp_path, text, records(Y))
    state = minimise(get_method("pooled"), get_method("pooled").prepare(loaded.problem))
    natural = np.asarray(loaded.problem.structure.layout.to_natural(state.psi, loaded.problem.initial))
    assert 0.69 < natural[0] < 0.7  # the data ask for about 1


def heavy(e, df):
    """The t-distributed η of Petersson et al. 2009."""
    third = (3 * e**6 + 19 * e**4 + 17 * e**2 - 15) / 384
    return e * (1 + (e**2 + 1) / (4 * df) + (5 * e**4 + 16 * e**2 + 3) / (96 * df**2) + third / df**3)


SKEWED = {
    "logit": ("lower = 0.0\nupper = 2.0\n", lambda e: 2 / (1 + np.exp(-e))),
    "probit": ("lower = 0.0\nupper = 2.0\n", lambda e: 2 * stats.norm.cdf(e)),
    "boxcox": ("shape = 0.6\n", lambda e: np.exp((np.exp(0.6 * e) - 1) / 0.6)),
    "t": ("shape = 5.0\n", lambda e: np.exp(heavy(e, 5.0))),
}


@pytest.mark.parametrize("distribution", SKEWED)
def test_the_integral_over_a_distribution(tmp_path, distribution):
    """AGQ against SciPy's quadrature of the likelihood over η."""
    more, move = SKEWED[distribution]
    text = BASIC.replace('distribution = "normal"', f'distribution = "{distribution}"\n{more}').replace("0.05", "0.09")
    loaded = make_study(tmp_path, text, records(Y))
    expected = 0.0
    for y in Y:

        def joint(e, y=y):
            return np.prod(stats.norm.pdf(y, move(e) * SHAPE, 0.4)) * stats.norm.pdf(e, 0, 0.3)

        total = integrate.quad(joint, -3, 3, epsabs=0, epsrel=1e-11, limit=500, points=np.linspace(-1, 1, 21))[0]
        expected += -2 * np.log(total) - 3 * np.log(2 * np.pi)
    assert objective(loaded, "agq") == pytest.approx(expected, abs=1e-6)


def test_limits_through_a_study(tmp_path):
    """M3 and M1 through data, against SciPy's quadrature; the notes say how many."""
    y = Y.copy()
    y[0, 2], y[2, 2] = 0.0, 0.0
    rows = records(y)
    loaded = make_study(tmp_path, BASIC + 'lloq = 4.5\nblq = "M3"\n', rows)
    assert "2 of 9 values of cp lie below 4.5: counted as censored (M3)" in loaded.events.notes
    assert (loaded.problem.observations, loaded.problem.quantified) == (9, 7)
    expected = 0.0
    for row in np.where(y < 4.5, np.nan, y):

        def joint(e, row=row):
            f = (1 + e) * SHAPE
            p = np.where(np.isnan(row), stats.norm.cdf(4.5, f, 0.4), stats.norm.pdf(row, f, 0.4))
            return np.prod(p) * stats.norm.pdf(e, 0, 0.05**0.5)

        total = integrate.quad(joint, -2, 2, epsabs=0, epsrel=1e-11, limit=500, points=np.linspace(-0.6, 0.6, 21))[0]
        expected += -2 * np.log(total) - np.isfinite(row).sum() * np.log(2 * np.pi)
    assert objective(loaded, "agq") == pytest.approx(expected, abs=1e-6)
    left_out = make_study(tmp_path, BASIC + 'lloq = 4.5\nblq = "M1"\n', rows)
    assert left_out.problem.observations == 7


def test_censored_by_column(tmp_path):
    """CENS and LIMIT of the data say the same as `lloq` does."""
    y = Y.copy()
    y[y < 4.5] = 4.5
    rows = [
        r + (",1" if r.split(",")[4] == "4.5" else ",0") + ",." if i else r + ",CENS,LIMIT"
        for i, r in enumerate(records(y))
    ]
    by_column = make_study(tmp_path, BASIC, rows)
    by_limit = make_study(tmp_path, BASIC + "lloq = 4.5\n", records(Y))
    assert objective(by_column, "agq") == pytest.approx(objective(by_limit, "agq"), rel=1e-12)


def test_grades_with_random_effects(tmp_path):
    """A grade that follows the concentration, F varying between subjects; AGQ against SciPy."""
    text = BASIC.replace('model = "additive"\nadd = 0.4', 'model = "ordinal"\ncuts = [-1.0, -4.0]\nslope = 0.5')
    grades = np.array([[2, 1, 0], [2, 2, 1], [1, 1, 1]])
    loaded = make_study(tmp_path, text, records(grades.astype(float)))
    assert loaded.problem.quantified == 0
    expected = 0.0
    for y in grades:

        def joint(e, y=y):
            x = 0.5 * (1 + e) * SHAPE
            first, second = (1 / (1 + np.exp(-(c + x))) for c in (-1.0, -4.0))
            return np.prod(np.choose(y, [1 - first, first - second, second])) * stats.norm.pdf(e, 0, 0.05**0.5)

        expected += -2 * np.log(integrate.quad(joint, -2, 2, epsabs=0, epsrel=1e-11, limit=500)[0])
    assert objective(loaded, "agq") == pytest.approx(expected, abs=1e-6)
    with pytest.raises(Exception, match="not a continuous endpoint"):
        get_method("focei").prepare(loaded.problem)


def test_time_to_event_is_events_over_time(tmp_path, minimise):
    """Exponential times without random effects: the rate is the number of events over the time at risk."""
    text = BASIC.replace("iiv = 0.05\n", "").replace("initial = 1.0", "initial = 1.0\nfixed = true")
    text = text.replace(
        'model = "additive"\nadd = 0.4', 'model = "event"\nbaseline = "exponential"\nscale = 3.0\nobservable = "cp"'
    ).replace("[error.cp]", "[error.dlt]")
    rows = ["ID,TIME,EVID,AMT,DV,DVID"]
    for i, (t, d) in enumerate(((2.0, 1), (5.5, 0), (1.5, 1), (8.0, 1)), start=1):
        rows += [f"{i},0,1,100,.,.", f"{i},{t},0,0,{d},dlt"]
    loaded = make_study(tmp_path, text.replace('observable = "cp"\ndose', "dose"), rows)
    pooled = get_method("pooled")
    problem = pooled.prepare(loaded.problem)
    state = minimise(pooled, problem)
    assert np.exp(state.psi[0]) == pytest.approx(17.0 / 3, rel=1e-5)


@pytest.mark.parametrize(
    "text, words",
    [
        (BASIC.replace('"normal"', '"nromal"'), "no distribution"),
        (BASIC.replace('"normal"', '"logit"'), "needs `lower` and `upper`"),
        (BASIC.replace("iiv = 0.05", "iov = 0.05"), "no column `OCC`"),
        (BASIC + "[mixture]\nprobabilities = [0.5, 0.6]\n", "sum to 1"),
        (BASIC + '[priors.FF]\ndistribution = "normal"\nvalue = 1\nsd = 1\n', "no parameter of this fit"),
        (BASIC + '[priors.F]\ndistribution = "normal"\nvalue = 1\n', "needs value, sd"),
        (BASIC + '[priors.F]\ndistribution = "inverse_wishart"\ndf = 5\n', "variances of random effects"),
        (BASIC.replace("initial = 1.0", "initial = 1.0\nlower = 2.0"), "between its `lower` and `upper`"),
        (BASIC.replace("add = 0.4", 'add = 0.4\ntransform = "log"').replace("additive", "additive"), None),
    ],
)
def test_what_is_refused(tmp_path, text, words):
    y = Y if words else np.where(Y < 3.1, -1.0, Y)
    with pytest.raises(BadInput, match=words or r"row 13 \(ID 3\)"):
        make_study(tmp_path, text, records(y))
