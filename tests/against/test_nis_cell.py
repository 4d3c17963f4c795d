"""Transport by the symporter against measurements in cells.

Petrich et al. 2002 (Eur J Nucl Med 29:842): uptake of NIS cells over cells without it, 350-fold for iodide, 340-fold for
pertechnetate, 60-fold for astatide at most of six lines; half-lives of efflux of 3 to 15 min.
Tonacchera et al. 2004 (Thyroid 14:1012): perchlorate inhibits 15 times as potently as thiocyanate and 30 times as potently as
iodide; their effects add.
"""

import numpy as np
import pytest

import pbpk
from pbpk import load_model

FOLD = {"iodide": 350.0, "pertechnetate": 340.0, "astatide": 60.0}
ALIKE = {"perchlorate": 1.0, "thiocyanate": 15.0, "iodide": 30.0}  # equally effective concentrations


def cells(tracer, times=(6.0,), **rivals):
    model = load_model("nis_cell", options={"tracer": tracer}, values={f"rivals.{k}": v for k, v in rivals.items()})
    path = pbpk.simulate(model, pbpk.dose("1 kBq", into="medium"), np.asarray(times))
    assert list(path.result) == [0]
    return {name: np.asarray(value).ravel() for name, value in path.observables.items()}


def fold(tracer, **rivals):
    seen = cells(tracer, **rivals)
    return seen["nis_cells"][0] / seen["control_cells"][0]


@pytest.mark.parametrize("tracer", FOLD)
def test_fold_uptake(tracer):
    assert fold(tracer) == pytest.approx(FOLD[tracer], rel=0.01)


@pytest.mark.parametrize("tracer", FOLD)
def test_half_life_of_efflux(tracer):
    model = load_model("nis_cell", options={"tracer": tracer})
    assert 3 / 60 < np.log(2) / model.parameters[f"{tracer}.efflux"].internal < 15 / 60


def uptake_left(tracer, **rivals):
    """NIS-mediated uptake with inhibitors over that without."""
    return (fold(tracer, **rivals) - 1) / (fold(tracer) - 1)


@pytest.mark.parametrize("tracer", ["iodide", "astatide"])
def test_order_of_inhibitors(tracer):
    at_one = [uptake_left(tracer, **{rival: 1.0}) for rival in ("perchlorate", "thiocyanate", "iodide")]
    assert at_one == sorted(at_one) and at_one[0] < 0.6


def test_relative_potencies():
    left = [uptake_left("iodide", **{rival: c}) for rival, c in ALIKE.items()]
    np.testing.assert_allclose(left, left[0], rtol=1e-3)


def test_inhibitors_add_without_synergy():
    """A third of each equally effective concentration does what one of them does whole."""
    mixed = uptake_left("iodide", **{rival: c / 3 for rival, c in ALIKE.items()})
    assert mixed == pytest.approx(uptake_left("iodide", perchlorate=1.0), rel=1e-3)


def test_nothing_is_lost():
    seen = cells("astatide", times=(0.1, 1.0, 24.0, 200.0))
    np.testing.assert_allclose(seen["balance"], 1e-3, rtol=1e-9)
