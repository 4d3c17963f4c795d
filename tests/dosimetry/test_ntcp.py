"""EUD, NTCP and TCP at points where they are known."""

import jax
import numpy as np
import pytest

from pbpk.dosimetry.effect.response import eud, ntcp, tcp


def test_eud_between_mean_and_maximum():
    dose, volumes = np.array([10.0, 20.0, 60.0]), np.array([0.5, 0.3, 0.2])
    assert float(eud(dose, volumes, 1.0)) == pytest.approx(23.0)
    assert float(eud(dose, volumes, 0.5)) == pytest.approx(np.sqrt(0.5 * 100 + 0.3 * 400 + 0.2 * 3600))
    assert float(eud(dose, volumes, 1e-3)) == pytest.approx(60.0, rel=2e-3)
    assert float(eud(np.full(3, 7.0), volumes, 0.3)) == pytest.approx(7.0)
    assert float(eud(np.zeros(3), volumes, 0.3)) == 0.0


def test_ntcp_is_half_at_td50_and_a_normal_quantile_elsewhere():
    assert float(ntcp(28.0, 28.0, 0.1)) == 0.5
    assert float(ntcp(28.0 * (1 + 0.1 * 1.6448536269514722), 28.0, 0.1)) == pytest.approx(0.95, rel=1e-9)
    assert float(jax.grad(ntcp)(28.0, 28.0, 0.1)) == pytest.approx(1 / (np.sqrt(2 * np.pi) * 2.8), rel=1e-9)


def test_tcp_by_survivors():
    # 1e7 clonogens at α·BED = ln 1e7 leave one: e^-1; split in voxels it is the same
    bed = np.log(1e7) / 0.3
    assert float(tcp(np.array([bed]), 0.3, np.array([1e7]))) == pytest.approx(np.exp(-1), rel=1e-9)
    assert float(tcp(np.full(10, bed), 0.3, np.full(10, 1e6))) == pytest.approx(np.exp(-1), rel=1e-9)
    # patients on the last axis
    assert tcp(np.full((10, 4), bed), 0.3, np.full((10, 1), 1e6)).shape == (4,)
