"""Weights, numbers of patients, the space of designs and their options by themselves."""

from dataclasses import fields

import numpy as np
import pytest
from scipy.stats import norm

from pbpk.errors import BadInput, ScienceFailed
from pbpk.optimal_design.criteria import compute_criterion, refuse_singular
from pbpk.optimal_design.sample_size import compute_wald_power, count_patients_for_error, count_patients_for_power
from pbpk.optimal_design.sampling_space import SamplingSpace, spread_candidates
from pbpk.optimal_design.schedule_mixture import optimise_split, round_subjects
from pbpk.optimal_design.spec import DesignOptions, DesignSpec


class Regression:
    """A quadratic in x on [−1, 1], each elementary design one x: D-optimal is a third at −1, 0 and 1."""

    psi_per_coordinate = np.zeros((1, 3, 3))

    def __init__(self, interest=()):
        self.interest = interest

    def compute_arm(self, _, choices):
        x = np.linspace(-1, 1, 21)[choices[:, 0]]
        g = np.stack([np.ones_like(x), x, x**2], axis=1)
        return np.einsum("ei,ej->eij", g, g)[:, None]

    def compute_criterion(self, m):
        return np.mean(np.asarray(compute_criterion(m, self.interest)), axis=-1)


def test_the_multiplicative_algorithm_finds_the_optimum_of_quadratic_regression():
    mixture = optimise_split(Regression(), {"all": np.arange(21)[:, None]})
    weights = mixture.weights["all"]
    np.testing.assert_allclose([weights[0], weights[9:12].sum(), weights[20]], 1 / 3, atol=1e-3)
    assert mixture.value == pytest.approx(np.log(4 / 27), abs=1e-3)
    assert mixture.value <= np.log(4 / 27) + 1e-9 <= mixture.bound + 1e-9
    assert 0 <= mixture.excess < 1e-3


def test_the_curvature_alone_wants_half_in_the_middle():
    """Ds for x²: weights ¼, ½, ¼ (Atkinson, Donev & Tobias 2007, Optimum Experimental Designs, §10.3)."""
    mixture = optimise_split(Regression(interest=(2,)), {"all": np.arange(21)[:, None]})
    weights = mixture.weights["all"]
    np.testing.assert_allclose([weights[0], weights[9:12].sum(), weights[20]], [0.25, 0.5, 0.25], atol=1e-3)
    assert mixture.excess < 1e-3 and mixture.value == pytest.approx(np.log(0.25), abs=1e-3)


def test_whole_subjects():
    assert round_subjects(np.array([0.5, 0.3, 0.2, 1e-9]), 11).tolist() == [6, 3, 2, 0]
    assert round_subjects(np.array([1 / 3] * 3), 10).sum() == 10


def test_patients_follow_from_the_information():
    assert count_patients_for_error(0.2, 25, 0.1) == 100
    assert count_patients_for_error(0.2, 25, 0.2) == 25
    assert compute_wald_power(0.0, 1.0) == pytest.approx(0.05)
    assert compute_wald_power(1.96, 1.0) == pytest.approx(
        norm.cdf(1.96 - norm.ppf(0.975)) + norm.cdf(-1.96 - norm.ppf(0.975))
    )
    n = count_patients_for_power(0.3, 0.12, 30, 0.8)
    power, fewer = (compute_wald_power(0.3, 0.12 * np.sqrt(30 / k)) for k in (n, n - 1))
    assert power >= 0.8 > fewer


def test_singular_information_is_worthless_and_named():
    g = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 5.0]])
    assert float(compute_criterion(g, ())) == -np.inf
    with pytest.raises(ScienceFailed, match="cannot tell CL from V"):
        refuse_singular(g, ("CL", "V", "KA"))
    with pytest.raises(ScienceFailed, match="say nothing of KA"):
        refuse_singular(np.diag([1.0, 1.0, 0.0]), ("CL", "V", "KA"))


def test_a_space_counts_and_keeps_its_rules():
    times = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    space = SamplingSpace({"all": times}, {"all": ((0.0, 4.0),) * 2}, 2.0, True)
    every = space.list_elementary_designs("all", 1000)
    assert len(every) == 6 and (np.diff(times[every], axis=1) >= 2).all()
    assert space.mark_allowed("all", np.array([0, 2]), 0).tolist() == [True, False, False, False, True]
    windows = {"all": ((0.0, 4.0),) * 2}
    assert len(SamplingSpace({"all": times}, windows, 0.0, False).list_elementary_designs("all", 1000)) == 15
    assert len(SamplingSpace({"all": times}, windows, 0.0, True).list_elementary_designs("all", 1000)) == 10
    with pytest.raises(BadInput, match="do not fit"):
        SamplingSpace({"all": times}, {"all": ((0.0, 4.0),) * 4}, 2.0, True).choose_start(None)
    assert spread_candidates((0.01, 200.0))[1] / 0.01 == pytest.approx(20000 ** (1 / 59))
    assert np.ptp(np.diff(spread_candidates((0.0, 10.0)))) < 1e-12


def test_keywords_for_type_checkers_are_the_fields_of_the_specification():
    keywords = {name: annotation.__forward_arg__ for name, annotation in DesignOptions.__annotations__.items()}
    assert keywords == {field.name: field.type for field in fields(DesignSpec)}


def test_every_field_of_the_specification_is_documented():
    for field in fields(DesignSpec):
        assert f" {field.name}: " in DesignSpec.__doc__, field.name
