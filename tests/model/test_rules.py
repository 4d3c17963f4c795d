"""Each rule on numbers, and on quantities: it is plain arithmetic."""

import pytest

from pbpk import units
from pbpk.model import rules

CASES = [
    (rules.product, {"a": 2.0, "b": 3.0}, 6.0),
    (rules.ratio, {"a": 6.0, "b": 3.0}, 2.0),
    (rules.complement, {"share": 0.3}, 0.7),
    (rules.difference, {"a": 5.0, "b": 3.0}, 2.0),
    (rules.same, {"a": 5.0}, 5.0),
    (rules.scaled, {"value": 2.0, "size": 16.0, "power": 0.75}, 16.0),
    (rules.capacity, {"per": 2.0, "mass": 3.0, "size": 16.0, "power": 0.75}, 48.0),
    (rules.organ_volume, {"mass": 2.1, "size": 0.5, "density": 1.05}, 1.0),
    (
        rules.carried_flow,
        {"share": 0.1, "output": 390.0, "hematocrit": 0.45, "red": 1.0, "size": 1.0, "power": 0.75},
        39.0,
    ),
    (rules.partition, {"ecf": 0.2, "cells": 0.5}, 0.6),
    (rules.extraction, {"q": 3.0, "ps": 6.0}, 2.0),
    (rules.allotted, {"rate": 0.015, "part": 2.0, "of": 20.0}, 0.0015),
    (rules.sum_of, {"parts": [1.0, 2.0, 3.0]}, 6.0),
    (rules.remainder, {"whole": 10.0, "parts": [1.0, 2.0]}, 7.0),
    (rules.remaining_share, {"parts": [0.25, 0.5]}, 0.25),
    (
        rules.crowding,
        {
            **{"iodide": 30.0, "km_iodide": 30.0, "perchlorate": 2.0, "ki_perchlorate": 1.0},
            **{"thiocyanate": 15.0, "ki_thiocyanate": 15.0},
        },
        5.0,
    ),
]


@pytest.mark.parametrize("rule, given, expected", CASES, ids=lambda x: getattr(x, "__name__", ""))
def test_value(rule, given, expected):
    assert rule(**given) == pytest.approx(expected, rel=1e-14)


def test_every_rule_is_tried():
    declared = {f for f in vars(rules).values() if callable(f) and getattr(f, "__module__", "") == rules.__name__}
    assert declared == {rule for rule, _, _ in CASES} | {rules.substance_of_activity}


def test_substance_of_a_megabecquerel_of_211at():
    """62 fmol: 1e6/s times 7.214 h over ln 2, over Avogadro's number."""
    import math

    k = math.log(2) / 7.214
    avogadro = units.to_internal(6.02214076e23, "decay/mol")
    assert rules.substance_of_activity(k, avogadro) == pytest.approx(
        1e6 * 7.214 * 3600 / math.log(2) / 6.02214076e23 * 1e9
    )
    assert rules.substance_of_activity(k, avogadro) * 1e6 == pytest.approx(62.2, rel=2e-3)  # fmol
