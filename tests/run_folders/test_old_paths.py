"""Names that scripts written before 0.2 import from `pbpk.report`."""

import pbpk
from pbpk.report.fitted import fitted_kinetics
from pbpk.report.individuals import fitted_individuals


def test_they_are_the_names_of_pbpk():
    assert fitted_kinetics is pbpk.fitted_kinetics and fitted_individuals is pbpk.fitted_individuals
