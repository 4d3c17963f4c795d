"""The table of methods, and what methods say of themselves to the places that run them or use their results."""

import importlib
from dataclasses import is_dataclass
from types import SimpleNamespace

import pytest

from pbpk.errors import WrongUsage
from pbpk.estimation.base import EstimationMethod
from pbpk.estimation.methods import (
    METHOD_TABLE,
    METHODS,
    explain_no_likelihood,
    get_method,
    list_methods_with,
)
from pbpk.estimation.requirements import Requirements, check_requirements
from pbpk.estimation.run import FIT_RUNNERS
from pbpk.study.kinds import STUDY_KINDS

BUNDLED = [
    "focei",
    "foce",
    "fo",
    "laplace",
    "agq",
    "imp",
    "saem",
    "map",
    "pooled",
    "two_stage",
    "global_two_stage",
    "nuts",
    "vi",
]


@pytest.mark.parametrize("name", METHOD_TABLE)
def test_every_row_is_a_method_of_that_name(name):
    method = get_method(name)
    assert isinstance(method, EstimationMethod) and is_dataclass(method)
    assert method.name == name and method.about
    assert len(method.iteration_headings) == 5
    assert hash(method) == hash(get_method(name.upper()))  # a compiled program is kept by its method


def test_users_are_offered_all_but_that_of_aggregates():
    assert set(METHOD_TABLE) - set(METHODS) == {"summary"}


def test_every_kind_of_study_has_a_runner():
    assert set(FIT_RUNNERS) == set(STUDY_KINDS)
    for module, function in FIT_RUNNERS.values():
        assert callable(getattr(importlib.import_module(module), function))


def test_an_unknown_method_is_refused_with_the_nearest_name():
    with pytest.raises(WrongUsage, match="no estimation method") as refused:
        get_method("foceii")
    assert "focei" in refused.value.hint


@pytest.mark.parametrize(
    ("capability", "names"),
    [
        ("minimises_objective", "focei foce fo laplace agq imp pooled"),
        ("takes_aggregates", "focei foce fo laplace agq"),
        ("uses_starting_etas", "focei foce fo laplace agq imp map pooled"),
        ("checks_identifiability", "focei foce fo laplace agq imp saem pooled two_stage global_two_stage"),
        ("finds_etas", "focei foce laplace agq imp saem map pooled two_stage global_two_stage nuts vi"),
        ("inflates_likelihood_ratios", "fo"),
    ],
)
def test_which_methods_can_what(capability, names):
    """Of the bundled thirteen; a new method's own test says what it can."""
    assert [name for name in list_methods_with(capability) if name in BUNDLED] == names.split()


def test_methods_whose_estimates_are_not_of_the_greatest_likelihood():
    assert [n for n in METHODS if explain_no_likelihood(n)] == ["map", "two_stage", "global_two_stage", "nuts", "vi"]
    assert explain_no_likelihood("focei+summary") == ""


def study(etas=("CL",), classes=1, endpoints=()):
    return SimpleNamespace(
        structure=SimpleNamespace(layout=SimpleNamespace(etas=etas), classes=classes, endpoints=endpoints)
    )


@pytest.mark.parametrize(
    ("requirements", "problem", "complaint"),
    [
        (Requirements(random_effects=True), study(etas=()), "this study has none"),
        (Requirements(no_mixture=True), study(classes=2), "classes of a mixture"),
        (
            Requirements(continuous_endpoints=True),
            study(endpoints=[SimpleNamespace(name="pain", is_continuous=False)]),
            "`pain` is not a continuous endpoint, so any cannot linearise it",
        ),
    ],
)
def test_a_study_that_a_method_cannot_take_is_refused(requirements, problem, complaint):
    with pytest.raises(WrongUsage, match=complaint):
        check_requirements("any", requirements, problem)
    check_requirements("any", Requirements(), problem)
