"""Regimens in Python, from the words to the observables: steady state, doses per kg and voids."""

import numpy as np
import pytest

from pbpk import dose, load_model, simulate, void
from pbpk.errors import BadInput
from pbpk.population.doses import scale_doses_by_weight
from pbpk.population.simulate_records import simulate_records
from pbpk.regimen.regimen import Regimen
from pbpk.solve.timeline import build_timeline

MODEL = load_model("oral_one_compartment", values={"CL": 2.0, "V": 10.0})
T = np.array([0.0, 1.0, 6.0])


def test_steady_state_in_words():
    """A bolus, and on top of it an infusion of one and a half intervals."""
    got = simulate(
        MODEL, dose("100 mg", into="iv", ii="6 h", ss=1) + dose("90 mg", into="iv", ii=6, over="9 h", ss=2), T
    )
    bolus = 10 * np.exp(-0.2 * T) / (1 - np.exp(-1.2))
    past = T + 6 * np.arange(100)[:, None]
    infusion = 5 * (1 - np.exp(-0.2 * np.minimum(past, 9))) * np.exp(-0.2 * np.maximum(past - 9, 0))
    np.testing.assert_allclose(got["cp"][:, 0], bolus + infusion.sum(axis=0), rtol=1e-9)


def test_voids_beside_doses():
    habit = void("depot", every="2 h", left=0.5, start="1 h")
    got = simulate(MODEL, dose("100 mg", into="oral") + habit, T, observe=["depot"])
    kept = np.exp(-MODEL.parameters["KA"].value * T) * [1, 0.5, 0.125]  # voided at 1, 3 and 5 h
    np.testing.assert_allclose(got["depot"][:, 0], 100 * kept, rtol=1e-9)


def test_each_patients_weight_scales_its_steady_state_and_no_void():
    """Of two doses one is per kg; the fraction that a void takes is nobody's dose."""
    regimen = dose("2 mg/kg", into="iv", ii=6, ss=1) + dose("5 mg", into="iv", at=1.0)
    frame = regimen.to_frame(MODEL, T)
    heavy = scale_doses_by_weight(build_timeline([frame], MODEL.system), regimen, np.array([50.0, 80.0]))
    assert heavy.steady is not None and heavy.steady.amount.tolist() == [[100.0, 160.0]]
    assert np.sort(heavy.amount, axis=0)[-2:].tolist() == [[5.0, 5.0], [100.0, 160.0]]
    voided = build_timeline([frame.assign(SS=0)], MODEL.system, voids=void("depot", at=[3.0]).voids)
    both = dose("2 mg/kg", into="iv") + dose("5 mg/kg", into="iv", at=1.0)
    assert sorted(scale_doses_by_weight(voided, both, np.array([50.0])).amount[:, 0])[-3:] == [1.0, 100.0, 250.0]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: dose("1 mg", into="iv", ss=1), "needs an interval"),
        (lambda: dose("1 mg", into="iv", ss=3, ii=6), "none of 0, 1, 2"),
        (lambda: simulate(MODEL, dose("1 mg", into="iv", ss=1, ii=6) + void("depot", every=2), T), "with voids"),
        (lambda: simulate_records(MODEL, None, voids=dose("1 mg", into="iv")), "brings its own doses"),  # type: ignore
    ],
)
def test_refused(make, words):
    with pytest.raises(BadInput) as caught:
        make()
    assert words in str(caught.value)


def test_a_regimen_of_voids_alone_gives_nothing():
    assert not np.asarray(simulate(MODEL, Regimen(()) + void("depot", every=2), T)["cp"]).any()
