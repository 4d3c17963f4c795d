"""What a fit or its check must say before anybody believes the numbers: units, zeros, bounds, vague estimates."""

import numpy as np

from pbpk.estimation.methods import get_method
from pbpk.estimation.preflight import warn_at_initial_values, warn_before_fit
from pbpk.estimation.run import run_fit

STUDY = """
model = "iv_one_compartment"
[data]
dose_into = "central"
units = {{ DV = "{unit}" }}
[parameters]
CL = {{ initial = "4 L/h" {bound} }}
V = {{ initial = "25 L" }}
[error.cp]
{error}
"""
TIMES = [1.0, 3.0, 6.0, 12.0]


def lines(scale=1.0, pre=False, cl=4.0):
    rows = ["ID,TIME,AMT,DV"]
    for i in range(3):
        rows += [f"{i},-1,.,0"] if pre else []
        rows += [f"{i},0,100,."]
        rows += [f"{i},{t},.,{scale * 4 * np.exp(-cl / 25 * t) * (1 + 0.1 * (-1) ** k)}" for k, t in enumerate(TIMES)]
    return rows


def study(make, rows, unit="mg/L", error='model = "proportional"\nprop = 0.2', bound=""):
    return make(STUDY.format(unit=unit, error=error, bound=bound), *rows)


def test_data_of_another_size(make):
    """ng/mL that is declared as mg/L."""
    [said] = warn_at_initial_values(study(make, lines(scale=1000.0)).problem)
    assert "the data of cp are" in said and "another unit" in said
    ratio = float(said.split(" are ")[1].split(" times")[0])
    assert 850 < ratio < 1150
    assert warn_at_initial_values(study(make, lines()).problem) == []
    assert warn_at_initial_values(study(make, lines(scale=1000.0), unit="ug/L").problem) == []


def test_zeros_before_the_dose(make):
    proportional = study(make, lines(pre=True)).problem
    [said] = warn_at_initial_values(proportional)
    assert "3 predictions of cp are 0" in said and "proportional error has no variance" in said
    combined = study(make, lines(pre=True), error='model = "combined2"\nprop = 0.2\nadd = 0.1').problem
    [said] = warn_before_fit(combined)
    assert "3 values of cp are 0" in said and "without end as the additive error goes to 0" in said
    additive = study(make, lines(pre=True), error='model = "additive"\nadd = 0.1').problem
    assert warn_before_fit(additive) == []


def test_an_estimate_on_its_bound_is_called_that(make):
    bounded = study(make, lines(), bound=', lower = "0.5 L/h", upper = "4.5 L/h"')
    fast = study(make, lines(cl=8.0), bound=', lower = "0.5 L/h", upper = "4.5 L/h"')
    assert not any("bound" in w for w in run_fit(bounded, get_method("pooled")).warnings)
    fit = run_fit(fast, get_method("pooled"))
    assert any("CL ended at its bound 4.5" in w for w in fit.warnings)
    assert not any("not determined by the data" in w for w in fit.warnings)


def test_a_vague_estimate_is_no_clean_bill(make):
    """One early time says nothing of the clearance."""
    rows = [r for r in lines() if r.split(",")[1] in ("TIME", "0", "1.0")]
    fit = run_fit(study(make, rows), get_method("pooled"))
    assert "no problems detected" not in fit.verdict
