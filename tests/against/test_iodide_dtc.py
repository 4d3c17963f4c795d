"""Radioiodine in thyroid cancer: the fitted population against published figures, those that were fitted and those held back.

ravichandran2016, remy2008, haenscheid2006, willegaignon2006 were fitted. Held back: blood doses of ravichandran2016. From
outside: clearance after rhTSH some 50 % faster than in withdrawal (freudenberg2010), blood dose 35 % lower (thyrogen_label).
"""

import numpy as np
import pytest

import pbpk

pytestmark = [pytest.mark.slow(seconds=25), pytest.mark.timeout(900)]  # 40 iterations of 1536 virtual patients


@pytest.fixture(scope="module")
def fit():
    return pbpk.fit("iodide_dtc")


@pytest.fixture(scope="module")
def rows(fit):
    return fit.summary.set_index(["group", "quantity", "statistic"])


def test_every_fitted_number_is_within_its_sampling_error(fit):
    fitted = fit.summary[fit.summary["used"]]
    assert fit.successful and len(fitted) == 27
    assert (np.abs(fitted["residual"]) < 2.5).all()


def test_withdrawal_halves_renal_clearance(fit):
    ratio = np.exp(fit.estimates["RENAL_THW"])
    assert 0.4 < ratio < 0.65 and fit.standard_errors["R"]["RENAL_THW"] < 0.15


def test_excretion_at_three_times_by_one_clearance(rows):
    for hours, percent in ((24, 72), (48, 91), (72, 97)):
        assert rows.loc["mixed", f"excreted_{hours}", "mean"]["model"] == pytest.approx(percent, abs=1.5)


def test_blood_doses_held_back_are_within_a_third(rows):
    for group in ("rhtsh_women", "rhtsh_men", "withdrawal_women", "withdrawal_men"):
        row = rows.loc[group, "blood_dose", "mean"]
        assert not row["used"] and row["model"] == pytest.approx(row["published"], rel=0.36)
    blood = [rows.loc[g, "blood_dose", "mean"]["model"] for g in ("rhtsh_women", "withdrawal_women")]
    assert 0.25 < 1 - blood[0] / blood[1] < 0.55
