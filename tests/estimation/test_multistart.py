"""Where starts lie, what is said of their ends, and that a search from bad ones finds what the good one found."""

import numpy as np
import pytest

from pbpk.errors import WrongUsage
from pbpk.estimation.methods import get_method
from pbpk.estimation.multistart import (
    THETA_FACTOR,
    StartOutcome,
    compute_start_widths,
    describe_starts,
    draw_starts,
    run_multistart,
)
from pbpk.study.load import load_study


@pytest.fixture(scope="module")
def study():
    return load_study("theophylline")


def test_starts_spread_as_stated(study):
    problem = study.problem
    psi = draw_starts(study, problem, 41, seed=4)
    np.testing.assert_array_equal(psi[0], problem.initial_unconstrained)
    apart = psi[1:] - problem.initial_unconstrained
    np.testing.assert_allclose(compute_start_widths(study, problem), np.log([THETA_FACTOR] * 3 + [3.0] * 4))
    assert (np.abs(apart) <= compute_start_widths(study, problem)).all()
    for column, width in zip(
        apart.T, compute_start_widths(study, problem), strict=True
    ):  # one start in each of forty layers
        np.testing.assert_array_equal(np.sort(np.floor((column / width + 1) * 20)), np.arange(40))


def test_the_same_seed_gives_the_same_starts(study):
    first, again = (draw_starts(study, study.problem, 9, seed=2) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, draw_starts(study, study.problem, 9, seed=3))


def end(number, ofv, psi=(0.0,), cause="converged"):
    return StartOutcome(number, np.array(psi), np.array(psi), ofv, cause, 5)


def test_counts_of_ends():
    ends = [end(1, 10.0), end(2, 10.05), end(3, 14.0), end(4, 14.02), end(5, 30.0), end(6, np.nan, cause="not finite")]
    told, (said,), warnings = describe_starts(ends, 10.0, 1)
    assert told == {
        "starts": 6,
        "within_0.1": 2,
        "other_minima": [{"ofv": 14.0, "starts": 2}, {"ofv": 30.0, "starts": 1}],
        "not_converged": 1,
    }
    assert "2 of 6 starts ended within 0.1" in said and "3 at 2 higher minima" in said and "1 did not converge" in said
    assert warnings == []


def test_a_single_lowest_end_is_a_warning():
    _, _, warnings = describe_starts([end(1, 10.0), end(2, 12.0)], 10.0, 1)
    assert any("only one of 2" in w for w in warnings)


def test_one_ofv_at_two_places_is_a_warning():
    _, _, warnings = describe_starts([end(1, 10.0, (0.0,)), end(2, 10.0, (1.0,))], 10.0, 1)
    assert any("same OFV" in w for w in warnings)


@pytest.fixture(scope="module")
def found(study):
    seen = []
    fit = run_multistart(study, get_method("focei"), 6, seed=3, progress=lambda ends, of: seen.append(len(ends)))
    return fit, seen


@pytest.mark.slow
def test_theophylline_has_two_minima_and_both_are_told(found):
    """Absorption and elimination can change places (flip-flop): KA is then what CL/V was, at a lower FOCEI objective."""
    fit, seen = found
    table = fit.files["starts.csv"]
    assert seen == [1, 2, 3, 4, 5, 6]
    assert list(table["start"]) == [1, 2, 3, 4, 5, 6] and table["converged"].all()
    usual, flipped = table[table["ofv"] > 115], table[table["ofv"] < 115]
    assert list(usual["ofv"]) == pytest.approx([116.8034] * 5, abs=1e-3) and len(flipped) == 1
    assert flipped["KA"].item() == pytest.approx((usual["CL"] / usual["V"]).iloc[0], rel=0.05)
    assert (flipped["CL"] / flipped["V"]).item() == pytest.approx(usual["KA"].iloc[0], rel=0.05)
    told = fit.extra["multistart"]
    assert (told["starts"], told["within_0.1"], told["not_converged"]) == (6, 1, 0)
    assert told["other_minima"] == [{"ofv": pytest.approx(116.8034, abs=1e-3), "starts": 5}]
    assert "only one of 6 starts reached the lowest OFV" in fit.verdict


@pytest.mark.slow
def test_the_best_is_the_result(found):
    fit, _ = found
    table = fit.files["starts.csv"]
    assert fit.ofv <= table["ofv"].min() + 1e-6
    best = table.loc[table["ofv"].idxmin()]
    assert best["CL"] == pytest.approx(fit.estimates["CL"], rel=1e-3)
    assert table["start_CL"].iloc[0] == pytest.approx(2.5)
    assert fit.standard_errors  # at the best end, as of any fit


@pytest.mark.slow
def test_ends_that_are_known_are_not_searched_again(found, study):
    from pbpk.estimation import multistart

    ends = [
        StartOutcome(
            k, study.problem.initial_unconstrained, study.problem.initial_unconstrained, 200.0 + k, "converged", 1
        )
        for k in range(1, 6)
    ]
    seen = []
    psis = multistart.draw_starts(study, study.problem, 6, seed=3)
    all_of_them = multistart._search_from_starts(
        get_method("focei"), study.problem, psis, ends, lambda e, of: seen.append(e[-1].number)
    )
    assert seen == [6] and len(all_of_them) == 6
    last = found[0].files["starts.csv"].iloc[5]
    assert all_of_them[-1].ofv == pytest.approx(last["ofv"], abs=1e-6)


@pytest.mark.parametrize("method", ["map", "nuts"])
def test_methods_without_a_gradient_are_refused(study, method):
    with pytest.raises(WrongUsage, match=method):
        run_multistart(study, get_method(method), 3)
