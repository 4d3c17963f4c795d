"""Visual predictive checks: against closed forms, against themselves, and on data that the model did make."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from simulated_studies import HEAD, PLAIN, TIMES, at_start, observed_as, rows

from pbpk.diagnostics.bins import find_natural_breaks, make_bins
from pbpk.diagnostics.options import VpcOptions
from pbpk.diagnostics.panels import group_values
from pbpk.diagnostics.percentiles import compute_percentiles, hide_beyond_limits, mark_inside
from pbpk.diagnostics.prediction_correction import compute_correction
from pbpk.diagnostics.simulate_replicates import drop_failed_replicates, simulate_replicates
from pbpk.diagnostics.survival import kaplan_meier
from pbpk.diagnostics.vpc import describe_inside, run_vpc
from pbpk.errors import BadInput, ScienceFailed, WrongUsage
from pbpk.study.load import load_study

FEW = VpcOptions(replicates=200)


@pytest.fixture(scope="module")
def alike(make):
    """Forty subjects of one design."""
    return at_start(make(PLAIN, HEAD, *rows(40)))


def of(result, **columns):
    table = result.table
    for name, value in columns.items():
        table = table[table[name] == value]
    return table


# Percentiles and bins


def test_percentiles_are_numpys_where_nothing_is_censored():
    values = np.random.default_rng(1).normal(size=(5, 37))
    levels = np.array([0.0, 0.05, 0.5, 0.95, 1.0])
    np.testing.assert_allclose(
        compute_percentiles(values, levels), np.quantile(values, levels, axis=-1), rtol=0, atol=1e-14
    )


def test_censored_values_rank_and_are_never_averaged():
    values = np.array([-np.inf, -np.inf, 1.0, 2.0, np.inf])
    result = compute_percentiles(values, np.array([0.0, 0.25, 0.3, 0.5, 0.6, 0.75, 0.8, 1.0]))
    expected = [-np.inf, -np.inf, -np.inf, 1.0, 1.4, 2.0, np.inf, np.inf]
    np.testing.assert_allclose(result, expected)


def test_what_lies_among_several_limits_is_hidden():
    np.testing.assert_array_equal(hide_beyond_limits(np.array([0.5, 1.5, 9.0]), 1.0, 8.0), [-np.inf, 1.5, np.inf])


def test_inside_says_nothing_where_nothing_can_be_seen():
    low, high = np.array([-np.inf, -np.inf, 1.0, 1.0]), np.array([-np.inf, 2.0, 2.0, 2.0])
    result = mark_inside(np.array([-np.inf, -np.inf, -np.inf, 1.5]), low, high)
    np.testing.assert_array_equal(result, [np.nan, 1.0, 0.0, 1.0])


def test_natural_breaks_are_the_best_there_are():
    values = np.random.default_rng(3).integers(0, 40, size=25).astype(float)
    distinct = np.unique(values)

    def within(starts):
        groups = np.searchsorted(distinct[[0, *starts]], values, side="right")
        return sum(((values[groups == g] - values[groups == g].mean()) ** 2).sum() for g in np.unique(groups))

    best = min(within(c) for c in combinations(range(1, len(distinct)), 3))
    result = np.searchsorted(distinct, find_natural_breaks(values, 4))
    assert within(result[1:]) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("method", ["jenks", "quantile", "time"])
def test_bins_hold_every_observation_once_in_order(method):
    time = np.random.default_rng(2).exponential(5, size=300)
    bins = make_bins(time, 7, method, 30)
    assert len(bins) <= 7 and (bins.index >= 0).all()
    assert (np.diff(bins.centre) > 0).all() and (bins.high[:-1] < bins.low[1:]).all()
    if method == "quantile":
        assert np.ptp(np.bincount(bins.index)) <= 2


def test_edges_are_taken_as_given():
    bins = make_bins(np.array([0.0, 1.0, 2.0, 4.0, 9.0]), (0.0, 2.0, 4.0), "jenks", 1)
    np.testing.assert_array_equal(bins.index, [0, 0, 1, 1, -1])
    with pytest.raises(BadInput, match="no observation lies inside"):
        make_bins(np.array([1.0, 2.0]), (5.0, 6.0), "jenks", 1)
    with pytest.raises(BadInput, match="jenk"):
        make_bins(np.array([1.0, 2.0]), 2, "jenk", 1)


def test_few_distinct_times_are_bins_of_their_own():
    time = np.repeat([0.0, 1.0, 24.0], 20)
    np.testing.assert_array_equal(make_bins(time, None, "jenks", 20).centre, [0, 1, 24])


# Replicates


@pytest.mark.slow
def test_replicates_depend_on_neither_batches_nor_their_number(alike):
    few = simulate_replicates(alike.problem, alike.psi, 30, 5, subjects_at_once=40)
    many = simulate_replicates(alike.problem, alike.psi, 140, 5, subjects_at_once=300)
    np.testing.assert_allclose(many[:30], few, rtol=1e-12)
    other = simulate_replicates(alike.problem, alike.psi, 30, 6, subjects_at_once=40)
    assert np.abs(other / few - 1).max() > 0.1
    assert len(np.unique(many[:, 0])) == 140


def test_replicates_without_a_solution_are_told_and_many_are_refused():
    result = np.ones((100, 3))
    result[:10, 1] = np.nan
    kept, notes = drop_failed_replicates(result, "it")
    assert len(kept) == 90 and "10 of 100" in notes[0]
    result[10, 0] = np.nan
    with pytest.raises(ScienceFailed, match="11 of 100"):
        drop_failed_replicates(result, "it")


# The check itself


@pytest.mark.slow
def test_percentiles_of_the_models_own_data_lie_inside_as_often_as_they_should(alike):
    result = [run_vpc(observed_as(alike, k), FEW) for k in range(20)]
    hit, count = np.sum([f.count_inside()["percentile"] for f in result], axis=0)
    assert count == 20 * len(TIMES) * 3
    # Percentiles of one data set go together: the SD of this share is about 0.02.
    assert 0.84 < hit / count < 0.96


def test_the_median_band_is_where_theory_has_it(alike):
    """ln y at a time is normal: at t = V/CL·ln… the variance of ln f is that of V + (t·CL/V)²·(ω_CL² + ω_V²) in first order."""
    table = of(run_vpc(alike, replace(FEW, replicates=1000)), LEVEL="50", TIME=0.5)
    expected = 100 / 20 * math.exp(-0.1 * 0.5)
    assert table["MEDIAN"].item() == pytest.approx(expected, rel=0.02)
    # The median of 40 values: ±1.645·√(π/2)·SD/√40 around it.
    sd = math.sqrt(0.04 * (1 - 0.05) ** 2 + 0.09 * 0.05**2 + 0.2**2)
    half = 1.645 * math.sqrt(math.pi / 2) * sd / math.sqrt(40)
    assert table["HIGH"].item() - table["LOW"].item() == pytest.approx(2 * half * expected, rel=0.12)


def test_a_wrong_model_is_told(alike):
    off = observed_as(alike, 1, changed=lambda psi: psi + np.eye(len(psi))[0] * 0.5)
    result = run_vpc(off, FEW)
    hit, count = result.count_inside()["percentile"]
    assert hit < 0.6 * count
    assert "fewer than the model would give" in result.verdict


def test_verdict_in_words():
    assert "30 of 33 observed percentiles (91 %)" in describe_inside({"percentile": (30, 33)}, 90)
    assert "as the model would give" in describe_inside({"percentile": (30, 33)}, 90)
    assert "fewer" in describe_inside({"percentile": (33, 33), "below": (2, 6)}, 90)
    assert describe_inside({}, 90) == "There is nothing to judge by."


# Prediction correction


def test_one_design_needs_no_correction(alike):
    plain, corrected = run_vpc(alike, FEW), run_vpc(alike, replace(FEW, corrected=True))
    columns = ["OBSERVED", "LOW", "MEDIAN", "HIGH"]
    np.testing.assert_allclose(corrected.table[columns], plain.table[columns], rtol=1e-12)


def test_correction_takes_out_the_dose(make, alike):
    """Proportional error and linear kinetics: two dose groups are one, once divided by the prediction."""
    mixed = at_start(make(PLAIN, HEAD, *rows(40, dose=lambda i: 100.0 if i % 2 else 1000.0)))
    options = replace(FEW, corrected=True)
    one, two = run_vpc(alike, options), run_vpc(mixed, options)
    ratio = 550 / 100  # the bin's median prediction is halfway between the two doses'
    for column in ("LOW", "MEDIAN", "HIGH"):
        np.testing.assert_allclose(two.table[column], ratio * one.table[column], rtol=1e-9)
    spread = run_vpc(mixed, FEW)
    width = (
        of(spread, LEVEL="95")["OBSERVED"].notna().all()
        and of(spread, LEVEL="95")["MEDIAN"] / of(two, LEVEL="95")["MEDIAN"]
    )
    assert (width > 1.3).all()


def test_correction_by_its_formulas():
    pred, where = np.array([1.0, 2.0, 4.0, 0.0, 0.0]), np.array([0, 0, 0, 1, 1])
    drawn = np.random.default_rng(1).normal(size=(400, 5)) * [1, 2, 8, 1, 1] + pred
    by = compute_correction(pred, where, False, drawn, False, "cp")
    np.testing.assert_allclose(by(np.array([3.0, 3.0, 3.0, 0.5, -0.5])), [6.0, 3.0, 1.5, 0.5, -0.5])
    assert by.kept.all()
    added = compute_correction(pred, where, True, drawn, False, "cp")
    np.testing.assert_allclose(added(np.array([3.0, 3.0, 3.0, 0.5, -0.5])), [4.0, 3.0, 1.0, 0.5, -0.5])
    both = compute_correction(pred, where, False, drawn, True, "cp")
    sd = (by.factor * drawn).std(axis=0, ddof=1)
    y = np.array([3.0, 3.0, 3.0])
    expected = 2 + (by(np.append(y, [0, 0]))[:3] - 2) * np.median(sd[:3]) / sd[:3]
    np.testing.assert_allclose(both(np.append(y, [0, 0]))[:3], expected)
    assert both(np.array([-np.inf, np.inf, 1, 1, 1]))[0] == -np.inf


def test_a_prediction_of_zero_among_others_is_left_out():
    by = compute_correction(np.array([0.0, 1.0, 2.0]), np.zeros(3, int), False, np.ones((30, 3)), False, "cp")
    np.testing.assert_array_equal(by.kept, [False, True, True])
    with pytest.raises(BadInput, match="negative predictions"):
        compute_correction(np.array([-1.0, 1.0]), np.zeros(2, int), False, np.ones((30, 2)), False, "cp")


# Limits of quantification

LIMITED = """
model = "iv_one_compartment"
[data]
observable = "cp"
dose_into = "central"
units = { TIME = "h", AMT = "mg", DV = "mg/L" }
[parameters.CL]
initial = 2.0
[parameters.V]
initial = 20.0
fixed = true
[error.cp]
model = "additive"
add = 0.5
lloq = 2.0
uloq = 5.0
"""


def share(t, limit):
    return 0.5 * math.erfc(-(limit - 5 * math.exp(-0.1 * t)) / 0.5 / math.sqrt(2))


@pytest.fixture(scope="module")
def limited(make):
    """No random effects: y is normal around 5·exp(−0.1 t) with SD 0.5."""
    return at_start(make(LIMITED, HEAD, *rows(200)))


@pytest.mark.slow
def test_the_share_below_the_limit_is_the_normals(limited):
    result = run_vpc(observed_as(limited, 1, lower=2.0), FEW)
    below = of(result, PANEL="below")
    expected = [share(t, 2.0) for t in TIMES]
    np.testing.assert_allclose(below["MEDIAN"], expected, atol=0.008)
    n = 200
    for (_, row), p in zip(below.iterrows(), expected, strict=True):
        if 0.05 < p < 0.95:
            assert row["HIGH"] - row["LOW"] == pytest.approx(2 * 1.645 * math.sqrt(p * (1 - p) / n), rel=0.3)
    above = of(result, PANEL="above")
    np.testing.assert_allclose(above["MEDIAN"], [1 - share(t, 5.0) for t in TIMES], atol=0.008)
    assert result.limits == {"cp": {"lower": 2.0, "upper": 5.0}}


@pytest.mark.slow
def test_percentiles_below_the_limit_are_not_shown(limited):
    result = run_vpc(observed_as(limited, 1, lower=2.0), FEW)
    for t in TIMES:
        row = of(result, PANEL="percentile", LEVEL="50", TIME=t).iloc[0]
        middle = 5 * math.exp(-0.1 * t)
        if middle > 2.2:
            assert row["MEDIAN"] == pytest.approx(middle, rel=0.02)
        elif middle < 1.8:
            assert np.isnan(row["MEDIAN"]) and np.isnan(row["OBSERVED"]) and np.isnan(row["INSIDE"])
    assert of(result, PANEL="percentile", LEVEL="5")["OBSERVED"].dropna().min() >= 2.0


@pytest.mark.slow
def test_censoring_of_replicates_follows_the_data_not_what_stands_in_dv(limited):
    """A value below the limit counts as censored, whether or not the file says so."""
    free = observed_as(limited, 1)
    assert (free.problem.observed.low == free.problem.observed.high).all()
    marked, unmarked = run_vpc(observed_as(limited, 1, lower=2.0), FEW), run_vpc(free, FEW)
    np.testing.assert_allclose(unmarked.table["OBSERVED"], marked.table["OBSERVED"])


# Strata, endpoints, what is refused


@pytest.mark.slow
def test_strata_by_a_covariate(make):
    lines = rows(20, extra=lambda i: f",{i % 2},{50 + i}")
    study = make(PLAIN, f"{HEAD},SEX,WT", *lines)
    fit = at_start(study)
    by_sex = run_vpc(fit, replace(FEW, replicates=20, by="SEX"))
    assert list(by_sex.table["STRATUM"].unique()) == ["SEX = 0", "SEX = 1"]
    assert (by_sex.table["N"] == 10).all()
    by_weight = run_vpc(fit, replace(FEW, replicates=20, by="WT"))
    assert list(by_weight.table["STRATUM"].unique()) == ["WT ≤ 60.5", "WT > 60.5"]
    with pytest.raises(BadInput, match="SEX"):
        run_vpc(fit, replace(FEW, by="SEXX"))
    with pytest.raises(BadInput, match="cp"):
        run_vpc(fit, replace(FEW, endpoint="cpp"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (VpcOptions(replicates=19), "too few"),
        (VpcOptions(quantiles=(5.0, 105.0)), "quantiles"),
        (VpcOptions(interval=100.0), "interval"),
        (VpcOptions(variability=True), "on top"),
        (VpcOptions(bins=0), "a bin"),
        (VpcOptions(bins=(0.0, 0.0)), "rise"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(WrongUsage, match=message):
        options.check()


# Categories, counts, events, mixtures

BINARY = """
model = "iv_one_compartment"
[data]
observable = "pain"
dose_into = "central"
units = { TIME = "h", AMT = "mg" }
[parameters.V]
initial = 20.0
[error.pain]
model = "binary"
observable = "cp"
intercept = -1.0
slope = 0.5
"""


@pytest.mark.slow
def test_the_share_of_a_binary_endpoint_is_the_logistics(make):
    fit = at_start(make(BINARY, HEAD, *rows(300, times=(1.0, 8.0))))
    result = run_vpc(fit, replace(FEW, bins=(0.0, 4.0, 12.0)))
    k = load_study(fit.study.folder).model.parameters["CL"].internal / 20
    expected = [1 / (1 + math.exp(1 - 0.5 * 5 * math.exp(-k * t))) for t in (1.0, 8.0)]
    assert list(result.table["PANEL"].unique()) == ["category"] and list(result.table["LEVEL"].unique()) == ["1"]
    np.testing.assert_allclose(result.table["MEDIAN"], expected, atol=0.012)
    assert result.kinds == {"pain": "grade"}


def test_groups_of_counts():
    assert group_values(np.array([0.0, 1.0]), np.array([[0.0, 1.0]])) == [("1", 1.0, 1.0)]
    assert [g[0] for g in group_values(np.array([0.0, 1, 2]), np.array([[0.0, 3.0]]))] == ["0", "1", "2", "3"]
    many = np.arange(40.0)
    groups = group_values(many, many[None])
    shares = [((low <= many) & (many <= high)).mean() for _, low, high in groups]
    assert len(groups) == 4 and sum(shares) == pytest.approx(1.0) and max(shares) < 0.3


EVENT = """
model = "iv_one_compartment"
[data]
observable = "relapse"
dose_into = "central"
units = { TIME = "h", AMT = "mg" }
[parameters.V]
initial = 20.0
[error.relapse]
model = "event"
observable = "cp"
baseline = "weibull"
scale = 10.0
shape = 1.5
"""


def event_rows(time, event):
    return [
        line
        for i, (t, e) in enumerate(zip(time, event, strict=True), 1)
        for line in (f"{i},0,1,.,1", f"{i},{t:g},.,{int(e)},0")
    ]


@pytest.mark.slow
def test_survival_of_events_is_weibulls(make):
    """Data from the same law, a third of them censored early: the curve is the same, and lies inside its band."""
    random = np.random.default_rng(8)
    time, stop = 10 * random.weibull(1.5, size=150), random.uniform(3, 30, size=150)
    fit = at_start(make(EVENT, HEAD, *event_rows(np.minimum(time, stop), time < stop)))
    result = run_vpc(fit, FEW)
    expected = np.exp(-((result.table["TIME"] / 10) ** 1.5))
    np.testing.assert_allclose(result.table["MEDIAN"], expected, atol=0.02)
    hit, count = result.count_inside()["survival"]
    assert hit > 0.75 * count
    assert result.kinds == {"relapse": "event"}


@pytest.mark.slow
def test_survival_of_other_events_is_outside(make):
    time = 5 * np.random.default_rng(9).weibull(1.5, size=150)
    result = run_vpc(at_start(make(EVENT, HEAD, *event_rows(time, np.ones(150)))), FEW)
    hit, count = result.count_inside()["survival"]
    assert hit < 0.3 * count and "fewer" in result.verdict


def test_kaplan_meier_of_the_6_mp_arm():
    """Freireich et al. 1963 (Blood 21:699), remission on 6-mercaptopurine; the curve as in Cox & Oakes 1984, chapter 1."""
    dead = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    alive = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    time, event = np.array([*dead, *alive], float), np.array([True] * 9 + [False] * 12)
    result = kaplan_meier(time, event, np.array([5.0, 6, 7, 10, 13, 16, 22, 23, 30, 36]))
    np.testing.assert_allclose(result[:9], [1, 0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448, 0.448], atol=5e-4)
    assert np.isnan(result[9])


MIXTURE = (
    PLAIN.replace(
        "[parameters.V]\ninitial = 20.0\niiv = 0.04",
        """[parameters.V]
initial = 20.0
covariates = [{ covariate = "CLASS", form = "below", reference = 1.5, coefficient = 9.0 }]
[mixture]
probabilities = [0.3, 0.7]""",
    )
    .replace("prop = 0.2", "prop = 0.02")
    .replace("iiv = 0.09", "iiv = 0.0001")
)


@pytest.mark.slow
def test_a_mixtures_replicates_have_its_shares(make):
    """The first class has ten times the volume: 30 % of first concentrations are a tenth of the others."""
    fit = at_start(make(MIXTURE, HEAD, *rows(40)))
    drawn = simulate_replicates(fit.problem, fit.psi, 200, 1)
    assert drawn.shape == (200, 40 * len(TIMES))
    first = drawn[:, :: len(TIMES)]
    assert (first < 1.5).mean() == pytest.approx(0.3, abs=0.015)
    assert ((first < 0.6) | (first > 4.0)).all()
    in_class = (drawn.reshape(200, 40, -1) < [1.5, 1.5, 1.5, 1.5, 1.5, 1.2]).any(axis=-1)
    np.testing.assert_array_equal(in_class, first < 1.5)
