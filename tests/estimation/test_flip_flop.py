"""Whether absorption is slower than disposition, said of the estimates."""

import numpy as np
import pytest

from pbpk.estimation.flip_flop import warn_of_flip_flop

STUDY = """
model = "oral_one_compartment"
[data]
file = "data.csv"
dose_into = "{into}"
observable = "cp"
units = {{ AMT = "mg", DV = "mg/L" }}
[parameters]
KA = {{ initial = "{ka} 1/h" }}
CL = {{ initial = "{cl} L/h", iiv = 0.1 }}
V = {{ initial = "{v} L" }}
[error.cp]
model = "proportional"
prop = 0.1
"""
LINES = ["ID,TIME,AMT,DV", "1,0,100,.", "1,1,.,2", "1,5,.,1.5", "1,20,.,0.3"]


def warn(make, lines=LINES, **numbers):
    problem = make(STUDY.format(**{"into": "depot", "ka": 1.0, "cl": 2.0, "v": 20.0} | numbers), *lines).problem
    return warn_of_flip_flop(problem, problem.initial_unconstrained)


def test_a_flip_flop_solution_is_mentioned_with_both_rates(make):
    (text,) = warn(make, ka=0.05, cl=2.0, v=4.0)
    assert "`depot` empties at 0.05 1/h" in text and "(0.5 1/h)" in text and "exchanged" in text


@pytest.mark.parametrize(
    "numbers", [{"ka": 1.0}, {"ka": 0.1001}, {"into": "central", "ka": 0.01}], ids=["fast", "equal", "intravenous"]
)
def test_other_solutions_are_not(make, numbers):
    assert warn(make, **numbers) == []


def test_doses_by_both_ways_tell_which_is_which(make):
    lines = ["ID,TIME,AMT,DV,CMT", *(f"{row},depot" for row in LINES[1:]), "2,0,50,.,central", "2,1,.,3,central"]
    assert warn(make, lines, ka=0.05) == []


def test_both_solutions_have_one_likelihood(make, evaluate):
    """KA = 0.05, CL/V = 0.5 and KA = 0.5, CL/V = 0.05 with V ten times: the claim that the message makes."""
    from pbpk.estimation.methods import get_method

    studies = [make(STUDY.format(into="depot", ka=ka, cl=2.0, v=v), *LINES) for ka, v in ((0.05, 4.0), (0.5, 40.0))]
    a, b = (float(np.sum(evaluate(get_method("pooled"), s.problem).objective)) for s in studies)
    assert a == pytest.approx(b, rel=1e-9)
