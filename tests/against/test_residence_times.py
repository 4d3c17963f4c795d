"""Radioiodine without a thyroid, against patients with differentiated thyroid cancer, by one covariate of renal clearance.

Ravichandran 2016: whole-body residence 14.28 ± 2.75 h after rhTSH, 21.97 ± 3.8 h in thyroid hormone withdrawal.
Willegaignon 2006: 72 ± 10, 91 ± 6 and 97 ± 3 % excreted at 24, 48 and 72 h in 94 patients.
The factors 0.85, 0.5 and 0.62 are a calibration to these means: what is tested is that one number gives each of them,
and, for excretion, three figures at once.
"""

import numpy as np
import pytest

import pbpk

HOURS = [24.0, 48.0, 72.0]
DOSE = pbpk.dose("1 MBq", into="iv")


def patient(renal, **more):
    model = pbpk.load_model("iodide", nuclide="I-131", values={"ATHYREOTIC": 1, "RENAL": renal, **more})
    return pbpk.simulate(model, DOSE, HOURS, integrate=True)


@pytest.mark.parametrize(("renal", "hours"), [(0.85, 14.3), (0.5, 22.0)], ids=["rhTSH", "withdrawal"])
def test_whole_body_residence(renal, hours):
    assert float(patient(renal).to_infinity["whole_body"][0]) == pytest.approx(hours, rel=0.01)


def test_excretion():
    """As the paper counts it: corrected for decay, so that what is missing from the body was excreted."""
    body = np.asarray(patient(0.62, **{"decay.k": 0})["whole_body"])[:, 0]
    np.testing.assert_allclose(100 * (1 - body), [72, 91, 97], atol=1.2)


def test_the_reference_kidney_is_too_fast_for_patients():
    """Without the covariate the thyroidless reference adult is below both groups: 12.5 h."""
    assert float(patient(1.0).to_infinity["whole_body"][0]) == pytest.approx(12.5, rel=0.005)


def test_no_thyroid_means_no_uptake():
    path = patient(0.85)
    assert not np.asarray(path["thyroid"]).any() and float(path.to_infinity["thyroid"][0]) == 0.0
    np.testing.assert_allclose(np.asarray(path["balance"]), 1.0, atol=1e-10)


def test_virtual_patients_without_a_thyroid():
    """Every drawn uptake is multiplied by 0, and renal clearance still differs between patients."""
    model = pbpk.load_model("iodide", values={"ATHYREOTIC": 1, "RENAL": 0.5})
    path = pbpk.simulate(model, DOSE, HOURS, patients=pbpk.virtual_patients(model, 200), integrate=True)
    assert not np.asarray(path.result).any() and not np.asarray(path["thyroid"]).any()
    residence = np.asarray(path.to_infinity["whole_body"])
    assert np.median(residence) == pytest.approx(22.0, rel=0.05)
    assert residence.std() / residence.mean() == pytest.approx(3.8 / 21.97, abs=0.04)
