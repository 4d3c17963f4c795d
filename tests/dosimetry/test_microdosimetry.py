"""f(z; D): identities of a compound Poisson sum, and the same sum drawn."""

import jax
import numpy as np
import pytest

from pbpk.dosimetry.cells import survival
from pbpk.dosimetry.cells.cell import cell_hits
from pbpk.dosimetry.cells.spectrum import compute_spectrum, unhit


@pytest.fixture(scope="module")
def surface():
    return cell_hits("surface", 5.0, 4.0)


@pytest.fixture(scope="module")
def of():
    return jax.jit(compute_spectrum)


@pytest.mark.parametrize("dose", [0.01, 0.25, 1.0, 2.0, 20.0])
def test_identities(surface, of, dose):
    f = of(surface, dose)
    assert float(f.share.sum()) == pytest.approx(1.0, abs=1e-12)
    assert float(f.mean()) == pytest.approx(dose, rel=1e-6)
    assert float(f.variance()) == pytest.approx(dose * float(surface.zd), rel=1e-6)
    assert float(f.share[0]) == pytest.approx(np.exp(-dose / float(surface.zf)), abs=1e-6)
    assert float(f.share.min()) > -1e-15


def test_published_figures_of_the_first_geometry(surface):
    assert float(unhit(surface, 0.25)) == pytest.approx(0.3285, abs=2e-4)
    assert float(unhit(surface, 1.0)) == pytest.approx(0.0117, abs=1e-4)
    assert float(np.sqrt(1.0 * surface.zd)) == pytest.approx(0.511, abs=1e-3)
    assert float(np.sqrt(2.0 * surface.zd)) == pytest.approx(0.722, abs=1e-3)


def test_against_drawn_sums(surface, of):
    rng, n = np.random.default_rng(3), 100_000
    often = np.asarray(surface.frequency)
    counts = rng.poisson(1.0 / float(surface.zf), n)
    z = rng.choice(np.asarray(surface.z), counts.sum(), p=often / often.sum())
    drawn = np.add.reduceat(np.append(z, 0.0), np.concatenate([[0], np.cumsum(counts)[:-1]])) * (counts > 0)
    f = of(surface, 1.0)
    for limit in (0.3, 1.0, 2.0):
        expected = float(f.share_above(limit))
        assert (drawn > limit).mean() == pytest.approx(expected, abs=5 * np.sqrt(expected / n))


def test_nothing_given_and_nothing_reached(of):
    hits = cell_hits("surface", 200.0, 4.0)
    assert float(hits.count) == 0.0 and float(hits.zf) == 0.0 and float(unhit(hits, 0.0)) == 1.0
    f = of(cell_hits("surface", 5.0, 4.0), 0.0)
    assert float(f.share[0]) == pytest.approx(1.0, abs=1e-12)


def test_survival_by_single_hits_is_lq_without_beta(surface):
    # E[e^(−αz)] of a compound Poisson sum is exp(−n̄(1 − T₁(α)))
    assert float(survival.lq(surface, 1.0, 0.5, 0.0)) == pytest.approx(
        float(survival.single_hit(surface, 1.0, 2.0)), rel=1e-6
    )


def test_survival_of_one_in_1e20_is_not_rounding(surface):
    expected = float(survival.single_hit(surface, 40.0, 1 / 1.5))
    assert expected < 1e-18
    assert float(survival.lq(surface, 40.0, 1.5, 0.0)) == pytest.approx(expected, rel=1e-4)


def test_spread_spares_cells_and_the_mean_dose_does_not_see_it(surface):
    assert float(survival.lq(surface, 1.0, 1.5, 0.05)) > float(survival.mean_dose(1.0, 1.5, 0.05))
    # a nucleus that every hit kills: what survives was not hit
    assert float(survival.single_hit(surface, 1.0, 1e-9)) == pytest.approx(float(unhit(surface, 1.0)), rel=1e-6)


def test_single_hit_differentiable(surface):
    slope = jax.grad(lambda d: survival.single_hit(surface, d, 0.5))(1.0)
    expected = float(survival.single_hit(surface, 1.0, 0.5)) * np.log(float(survival.single_hit(surface, 1.0, 0.5)))
    assert float(slope) == pytest.approx(expected, rel=1e-12)
