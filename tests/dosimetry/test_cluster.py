"""Clusters: towards the bulk dose, by pairs, and with uptake that differs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.dosimetry.cells.cluster import build_cluster, lognormal_uptake
from pbpk.dosimetry.cells.hits import alpha_energy, list_alphas
from pbpk.dosimetry.charged.bodies import absorbed_fraction
from pbpk.errors import BadInput


@pytest.fixture(scope="module")
def small():
    return build_cluster(40.0, 5.0, 4.0)


@pytest.mark.slow
def test_far_past_the_range_it_is_the_bulk():
    large = build_cluster(200.0, 5.0, 4.0)
    given = large.dose(jnp.ones(large.cells)).total / large.bulk_dose(1.0)
    middle = int(np.argmin((large.sites**2).sum(1)))
    assert float(given[middle]) == pytest.approx(1.0, abs=2e-3)
    # on average what a sphere of that size keeps
    kept = sum(n * e * float(absorbed_fraction(e, 0.02, "alpha")) for _, e, n in list_alphas("At-211")) / alpha_energy(
        "At-211"
    )
    assert float(given.mean()) == pytest.approx(kept, rel=5e-3)


def test_one_labelled_cell_gives_to_each_by_distance(small):
    middle = int(np.argmin((small.sites**2).sum(1)))
    given = small.dose(jnp.zeros(small.cells).at[middle].set(1.0))
    own = float(small.self_hits.dose)
    assert float(given.from_itself[middle]) == pytest.approx(own) and float(given.from_others[middle]) == pytest.approx(
        0.0, abs=1e-12
    )
    by = (small.cross_hits.frequency * small.cross_hits.z).sum(-1)
    for i in (0, 7, 100):
        square = int(((small.sites[i] - small.sites[middle]) ** 2).sum())
        if square:
            expected = float(by[np.searchsorted(small.distances, square)])
            assert float(given.from_others[i]) == pytest.approx(expected, rel=1e-6, abs=1e-14)


def test_survival_adds_up_over_decays(small):
    a, b = lognormal_uptake(jax.random.key(1), small.cells, 2.0, 2.0), jnp.full(small.cells, 1.0)
    both = small.survival(a + b, 0.3)
    assert np.allclose(both, small.survival(a, 0.3) * small.survival(b, 0.3), rtol=1e-9)
    # where every hit kills, survivors are those not hit
    assert np.allclose(small.survival(a, 1e-12), jnp.exp(-small.hits(a).total), rtol=1e-6)


def test_uptake_that_differs_spares_some_and_loses_control(small):
    even = jnp.full(small.cells, 3.0)
    wide = lognormal_uptake(jax.random.key(2), small.cells, 3.0, 4.0, labelled=0.5)
    wide = wide * 3.0 / wide.mean()
    assert float(small.survival(wide, 0.3).mean()) > float(small.survival(even, 0.3).mean())
    assert float(small.tcp(wide, 0.3)) < float(small.tcp(even, 0.3))
    # one survivor on average: e^-1
    assert float(small.tcp(even, 0.3)) == pytest.approx(float(jnp.exp(-small.survival(even, 0.3).sum())), abs=0.01)


def test_drawn_uptake_has_its_mean_and_spread():
    drawn = np.asarray(lognormal_uptake(jax.random.key(3), 200_000, 5.0, 2.0, labelled=0.7))
    assert drawn.mean() == pytest.approx(5.0, rel=0.02)
    assert (drawn > 0).mean() == pytest.approx(0.7, abs=0.01)
    assert np.exp(np.log(drawn[drawn > 0]).std()) == pytest.approx(2.0, rel=0.01)


def test_differentiable_in_uptake(small):
    gradient = jax.grad(lambda u: small.dose(u).total.sum())(jnp.ones(small.cells))
    assert np.allclose(gradient.sum(), small.dose(jnp.ones(small.cells)).total.sum(), rtol=1e-9)


def test_refused():
    with pytest.raises(BadInput, match=r"packing 1\.2"):
        build_cluster(50.0, packing=1.2)
    with pytest.raises(BadInput, match="source medium"):
        build_cluster(50.0, part="medium")
