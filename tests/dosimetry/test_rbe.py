"""RBE as a distribution: its moments against draws, and what is refused."""

import jax
import numpy as np
import pytest

from pbpk.dosimetry.effect.defaults import load_radiobiology, radiobiology
from pbpk.dosimetry.effect.rbe import Rbe, rbe_weighted, split, weighted_moments
from pbpk.errors import BadInput


@pytest.mark.parametrize(
    "rbe",
    [
        Rbe("x", "lognormal", 5.0, 1.35, "assumed: test"),
        Rbe("x", "uniform", 3.0, 8.0, "assumed: test"),
        Rbe("x", "fixed", 5.0, source="assumed: test"),
    ],
)
def test_moments_are_those_of_draws(rbe):
    n = 200_000
    draws = np.asarray(rbe.draws(jax.random.key(1), (n,)))
    doses = 2.0 + 0.3 * np.random.default_rng(2).normal(size=n)
    mean, sd = weighted_moments(rbe, 2.0, 1.0, alpha_sd=0.3)
    found = rbe_weighted(doses, 1.0, draws)
    assert found.mean() == pytest.approx(float(mean), abs=5 * found.std() / n**0.5)
    assert found.std() == pytest.approx(float(sd), rel=0.02)


def test_electrons_and_photons_are_low_let():
    parts = {"alpha": {"liver": 3.0}, "electron": {"liver": 0.2}, "photon": {"liver": 0.1}}
    assert split(parts, "liver") == (3.0, pytest.approx(0.3))


def test_refused():
    with pytest.raises(BadInput, match="no source"):
        Rbe("x", "fixed", 5.0)
    with pytest.raises(BadInput, match="lognormal with 5"):
        Rbe("x", "lognormal", 5.0, 0.5, "assumed")
    with pytest.raises(BadInput, match="no radiobiology on file"):
        radiobiology("kidney stones")


def test_every_default_says_where_it_is_from_and_no_weight_is_20():
    for name, tissue in load_radiobiology().items():
        assert all(q.source and q.status in ("published", "recalled", "assumed") for q in tissue.numbers.values()), name
        assert tissue.rbe.mean() < 10 and tissue["alpha_beta"] > 0
        assert all(q.source.startswith("assumed") for q in tissue.numbers.values() if q.status == "assumed")
