"""What is not known of a dose: first order and Monte Carlo against a closed form, and against each other through the engine."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import pbpk
from pbpk.dosimetry.effect.defaults import radiobiology
from pbpk.dosimetry.effect.rbe import Rbe
from pbpk.dosimetry.uncertain import inputs
from pbpk.dosimetry.uncertain.doses import dose_uncertainty
from pbpk.dosimetry.uncertain.spread import FunctionOutcomes, propagate, run_montecarlo
from pbpk.errors import BadInput

SIGMA = {"activity": 0.1, "tiac": 0.4, "S": 0.25}  # of the logarithms
KEY = ("dose", "organ")


@pytest.fixture
def product():
    """D = A τ S, each log-normal."""
    origins = {k: (k,) for k in SIGMA}
    return FunctionOutcomes(origins, lambda z: {KEY: 3.0 * jnp.exp(sum(s * z[k][0] for k, s in SIGMA.items()))})


def test_first_order_is_exact_for_a_product_of_lognormals(product):
    found = propagate(product)[KEY]
    s = math.sqrt(sum(v**2 for v in SIGMA.values()))
    assert found.value == pytest.approx(3.0, rel=1e-12)
    assert found.mean == pytest.approx(3.0 * math.exp(s**2 / 2), rel=1e-12)
    assert found.sd == pytest.approx(found.mean * math.sqrt(math.expm1(s**2)), rel=1e-12)
    assert found.low == pytest.approx(3.0 * math.exp(-1.6448536 * s), rel=1e-7)
    assert found.high == pytest.approx(3.0 * math.exp(1.6448536 * s), rel=1e-7)
    assert found.share == pytest.approx({k: v**2 / s**2 for k, v in SIGMA.items()}, rel=1e-12)


def test_monte_carlo_tends_to_the_same_product(product):
    found, lost = run_montecarlo(product, 200_000, seed=4)
    exact, drawn = propagate(product)[KEY], found[KEY]
    assert lost[KEY] == 0 and drawn.value == exact.value
    for name, tolerance in (("mean", 0.01), ("sd", 0.02), ("low", 0.01), ("high", 0.01)):
        assert getattr(drawn, name) == pytest.approx(getattr(exact, name), rel=tolerance)
    assert drawn.share == pytest.approx(exact.share, abs=0.01)


def test_a_sum_is_linear_only_while_it_is_uncertain_by_little():
    """1 + e^(σz): first order on the logarithm has σ/2; what a draw says departs from that with σ²."""

    def outcomes(sigma):
        return FunctionOutcomes({"x": ("x",)}, lambda z: {KEY: 1.0 + jnp.exp(sigma * z["x"][0])})

    for sigma, tolerance in ((0.02, 0.01), (0.2, 0.03)):
        first, drawn = propagate(outcomes(sigma))[KEY], run_montecarlo(outcomes(sigma), 100_000)[0][KEY]
        assert drawn.sd == pytest.approx(first.sd, rel=tolerance)
        assert first.sd == pytest.approx(2 * math.exp(sigma**2 / 8) * math.sqrt(math.expm1(sigma**2 / 4)), rel=1e-9)


def test_a_sphere_of_alphas_alone_is_activity_times_time_over_mass():
    """D = A τ E/m: relative variances of τ, m and S add up on the logarithm, and RBE's on top."""
    given = {"activity": 100.0, "kinetics": {"thyroid": 0.3}, "mass_sd": {"*": 0.0, "thyroid": 0.15}}
    quiet = {"s_sd": {"alpha": 0.1, "electron": 0.1, "photon": 0.0}}
    found = dose_uncertainty({"thyroid": 0.439}, nuclide="At-211", **given, **quiet)
    variance = {"kinetics": math.log1p(0.3**2), "mass": math.log1p(0.15**2), "S": math.log1p(0.1**2)}
    dose = found.spreads["absorbed_dose"]["thyroid"]
    whole = sum(variance.values())
    assert dose.value == pytest.approx(0.439 * 3600 * 100e6 * 6.784 * 1.602176634e-13 / 23.394e-3, rel=2e-3)
    assert dose.sd / dose.mean == pytest.approx(math.sqrt(math.expm1(whole)), rel=2e-3)
    assert {k: dose.share[k] for k in variance} == pytest.approx({k: v / whole for k, v in variance.items()}, abs=2e-3)
    weighted = found.spreads["rbe_weighted_dose"]["thyroid"]
    rbe = radiobiology("thyroid").rbe
    assert weighted.share["RBE"] == pytest.approx(math.log(rbe.b) ** 2 / (whole + math.log(rbe.b) ** 2), abs=2e-3)
    assert weighted.value == pytest.approx(rbe.a * dose.value, rel=2e-3)
    assert "bed" not in found.spreads  # no course, no protraction


@pytest.fixture(scope="module")
def through_the_engine():
    model = pbpk.load_model("iodide")
    small = {r: 0.03 for r in model.parameters.rows if model.parameters[r].spread}
    given = {"kinetics": small, "mass_sd": 0.02, "s_sd": {"alpha": 0.01, "electron": 0.01, "photon": 0.02}}
    regimen = pbpk.dose("100 MBq", into="iv")
    return [dose_uncertainty(model, regimen, method=m, draws=4000, **given) for m in ("propagate", "montecarlo")]


@pytest.mark.slow
def test_both_ways_agree_through_the_engine_where_little_is_unknown(through_the_engine):
    first, drawn = through_the_engine
    assert drawn.failed_draws == 0 and drawn.draws == 4000 and first.draws is None
    for quantity, of in first.spreads.items():
        assert len(of) > 25
        for target, spread in of.items():
            other = drawn.spreads[quantity][target]
            assert other.value == pytest.approx(spread.value, rel=1e-6), target
            assert other.mean == pytest.approx(spread.mean, rel=3e-3), target
            assert other.sd == pytest.approx(spread.sd, rel=0.06), (quantity, target)
            assert (other.low, other.high) == pytest.approx((spread.low, spread.high), rel=0.01), target
            for origin in ("kinetics", "mass", "S"):
                assert other.share[origin] == pytest.approx(spread.share[origin], abs=0.05), (target, origin)


@pytest.mark.slow
def test_betas_have_no_doubt_from_rbe(through_the_engine):
    for found in through_the_engine:
        assert found.spreads["rbe_weighted_dose"]["thyroid"].share["RBE"] == 0
        assert found.spreads["bed"]["thyroid"].value > found.spreads["absorbed_dose"]["thyroid"].value
        assert any("assumed" in n for n in found.notes)


def test_rbes_at_the_edges_of_their_distributions():
    z = np.array([-1.6448536, 0.0, 1.6448536])
    lognormal = Rbe("x", "lognormal", 5.0, 1.35, source="assumed: test")
    assert np.asarray(inputs.rbe_at(lognormal, z, False)) == pytest.approx(
        [5 / 1.35**1.6448536, 5, 5 * 1.35**1.6448536]
    )
    uniform = Rbe("x", "uniform", 2.0, 6.0, source="assumed: test")
    assert np.asarray(inputs.rbe_at(uniform, z, False)) == pytest.approx([2.2, 4.0, 5.8], abs=1e-6)
    slope = float(inputs.rbe_at(uniform, 1.0, True)) - float(inputs.rbe_at(uniform, 0.0, True))
    assert slope == pytest.approx(uniform.sd(), rel=1e-12)
    fixed = Rbe("x", "fixed", 3.0, source="assumed: test")
    assert np.asarray(inputs.rbe_at(fixed, z, False)) == pytest.approx([3.0, 3.0, 3.0])


def test_rows_of_a_model_with_what_covariates_do_to_them():
    """A woman's brain: the uncertain row is about her own value, not about the table's."""
    model = pbpk.load_model("nis_body", values={"SEX": 1})
    known = inputs.kinetics_from_table(model, {"remnant.mass"}, {"brain.mass": 0.1}, spreads=False)
    assert float(known.values(np.zeros((1, 1)), False)["brain.mass"][0]) == pytest.approx(1.3, rel=1e-9)
    every = inputs.kinetics_from_table(model, {"remnant.mass"}, {"purity": 0.0})
    assert every.origins.count("mass") == 1 and "WT" not in every.values(np.zeros((len(every.origins), 1)), False)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"kinetics": {"thyriod": 0.1}}, "no time-integrated activity of `thyriod`"),
        ({"kinetics": {"thyroid": -0.1}}, "the relative SD of thyroid"),
        ({"mass_sd": {"thyrode": 0.1}}, "no mass of `thyrode`"),
        ({"s_sd": {"neutron": 0.1}}, "no radiation `neutron`"),
        ({"method": "guess"}, "no method `guess`"),
        ({"activity": None}, "the activity given is not known"),
        ({"nuclide": None}, "need a nuclide"),
        ({"method": "montecarlo", "draws": 1}, "draws have no spread"),
    ],
)
def test_what_is_refused(given, words):
    with pytest.raises(BadInput, match=words):
        dose_uncertainty({"thyroid": 0.439}, **{"nuclide": "At-211", "activity": 100.0, **given})
