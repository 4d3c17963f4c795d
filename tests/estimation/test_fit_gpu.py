"""A fit on a CUDA device ends where it does on the processor."""

import jax
import pytest

from pbpk.estimation.fit_study import fit_study

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


def _cuda():
    try:
        return jax.devices("cuda")[0]
    except RuntimeError:
        return None


@pytest.mark.skipif(_cuda() is None, reason="JAX finds no CUDA device here")
@pytest.mark.parametrize("method", ["focei", "agq"])
def test_the_same_ofv(method):
    with jax.default_device(jax.devices("cpu")[0]):
        here = fit_study("theophylline", method=method)
    with jax.default_device(_cuda()):
        there = fit_study("theophylline", method=method)
    assert there.ofv == pytest.approx(here.ofv, abs=1e-6 * abs(here.ofv))
