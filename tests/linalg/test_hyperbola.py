"""The quadrature on its whole wedge, and the cycle length that decides the wedge."""

from itertools import pairwise, permutations

import numpy as np
import pytest

from pbpk.linalg.contour import hyperbola_nodes, longest_cycle, wedge_angle


def quadrature(z, node, weight):
    """The contour's value of exp(z) for complex z: the imaginary part of the sum, continued off the axis."""

    def half(x):
        return (weight / (node - x[..., None])).sum(axis=-1)

    return (half(z) - half(z.conj()).conj()) / 2j


@pytest.mark.parametrize("cycle", range(13))
def test_exponential_over_the_wedge(cycle):
    """Largest error measured: 1.7e-13 without cycles, 1.3e-11 (cycle 5) with them.

    Rounding is the floor: the weights grow like exp(max Re ζ) and cancel, and Σ|w|·2⁻⁵³ is 2e-14 without cycles and up
    to 7e-11 with them.
    """
    delta = wedge_angle(cycle)
    node, weight = hyperbola_nodes(delta)
    radius = np.concatenate([[0.0], np.logspace(-8, 10, 200)])
    z = -radius[:, None] * np.exp(1j * np.linspace(-delta, delta, 21))
    error = np.abs(quadrature(z, node, weight) - np.exp(z)).max()
    assert error < (5e-13 if cycle <= 2 else 5e-11)


def test_wedge_holds_a_ring_of_equal_rates():
    """The extreme case of Kellogg & Stephens: its eigenvalues lie on the wedge's edge."""
    for k in range(3, 13):
        ring = np.roll(np.eye(k), 1, axis=0) - np.eye(k)
        away = np.linalg.eigvals(ring)
        angles = np.abs(np.angle(-away[np.abs(away) > 1e-9]))
        assert angles.max() == pytest.approx(wedge_angle(k), abs=1e-9)


def test_nodes_grow_slowly():
    counts = [len(hyperbola_nodes(wedge_angle(k))[0]) for k in range(2, 13)]
    assert counts == sorted(counts)
    assert counts[0] == 14
    assert counts[-1] < 150


def by_brute_force(n, edges):
    best = 0
    for size in range(1, n + 1):
        for path in permutations(range(n), size):
            around = [*path, path[0]]
            if all((a, b) in edges for a, b in pairwise(around)):
                best = size if size > 1 else best
                break
    return best


@pytest.mark.parametrize("seed", range(12))
def test_longest_cycle_against_brute_force(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 7))
    chosen = rng.random((n, n)) < rng.choice([0.15, 0.3, 0.6])
    edges = {(int(a), int(b)) for a, b in np.argwhere(chosen) if a != b}
    assert longest_cycle(edges) == by_brute_force(n, edges)


def test_longest_cycle_of_known_graphs():
    assert longest_cycle(set()) == 0
    assert longest_cycle({(i, i + 1) for i in range(50)}) == 0
    assert longest_cycle({(i, (i + 1) % 50) for i in range(50)}) == 50
    assert longest_cycle({(0, 1), (1, 0), (1, 2), (2, 1)}) == 2


def test_a_search_cut_short_still_bounds_every_cycle():
    """The bound must hold for components that the search had not reached."""
    small = {(a, b) for a in range(6) for b in range(6) if a != b}
    ring = {(10 + i, 10 + (i + 1) % 9) for i in range(9)}
    assert longest_cycle(small | ring) == 9
    assert longest_cycle(small | ring, budget=20) >= 9
