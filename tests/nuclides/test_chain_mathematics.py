"""Chains: their order, and the Bateman equations against sums over paths in 250 digits, where nothing is lost by cancelling."""

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pbpk
from pbpk.errors import BadInput
from pbpk.nuclides import bateman, load_nuclide, read_nuclides
from pbpk.nuclides.chains import activities, chain

PARENTS = ["At-211", "I-131", "Tc-99m", "Lu-177", "Ra-223", "Ac-225", "Pb-212", "At-210"]


def by_paths(k, branch, t):
    """Atoms at t of one atom of the first member. Equal constants are told apart in the 30th digit, which costs as many."""
    with localcontext() as context:
        context.prec = 250
        apart = [Decimal(float(x)) * (1 + i * Decimal(10) ** -30) + i * Decimal(10) ** -60 for i, x in enumerate(k)]
        found = [Decimal(0)] * len(k)

        def follow(path, weight):
            for a in path:
                product = Decimal(1)
                for b in path:
                    product *= apart[b] - apart[a] if b != a else 1
                found[path[-1]] += weight * (-apart[a] * Decimal(float(t))).exp() / product
            for i in range(path[-1] + 1, len(k)):
                if branch[i, path[-1]]:
                    follow((*path, i), weight * Decimal(float(branch[i, path[-1]])) * apart[path[-1]])

        follow((0,), Decimal(1))
        return np.array([float(x) for x in found])


def agree(ours, exact, rtol):
    """Entry by entry, where double precision has the number at all."""
    there = exact > 1e-280
    np.testing.assert_allclose(np.asarray(ours)[there], exact[there], rtol=rtol)


@pytest.mark.parametrize("parent", PARENTS)
def test_every_member_to_its_own_last_digits(parent):
    """0.3 µs beside 8 days, 0.5 s beside 32 years; after a nanosecond and after a century."""
    links = chain(parent)
    for half_lives in (1e-12, 1e-3, 1.0, 30.0, 400.0):
        t = half_lives * np.log(2) / links.k[0]
        agree(links.atoms(links.k[0], t), by_paths(links.k, links.branch, t), 1e-12)


@pytest.mark.parametrize("apart", [0.0, 1e-15, 1e-12, 1e-8, 1e-4, 0.1])
def test_half_lives_that_are_alike(apart):
    k = 0.3 * (1 + apart * np.array([0.0, 1.0, -2.0, 3.0, 1.5]))
    branch = np.diag(np.ones(4), -1)
    for t in (1e-6, 0.1, 3.0, 100.0):
        agree(bateman.count_atoms(k, branch, k[0], t), by_paths(k, branch, t), 1e-13)


def test_equal_half_lives_by_hand():
    k, t = 0.25, np.array([0.0, 1e-9, 1.0, 50.0])
    found = bateman.compute_activities(np.full(3, k), np.diag(np.ones(2), -1), 2.0, t)
    exact = 2.0 * np.exp(-k * t)[:, None] * np.stack([0 * t + 1, k * t, (k * t) ** 2 / 2], axis=1)
    np.testing.assert_allclose(found, exact, rtol=1e-14)


@pytest.mark.parametrize("seed", range(8))
def test_any_half_lives_with_branches(seed):
    rng = np.random.default_rng(seed)
    k = 10.0 ** rng.uniform(-8, 8, 6)
    branch = np.tril(rng.uniform(size=(6, 6)), -1)
    branch /= np.maximum(branch.sum(axis=0), 1e-9)
    k[-1] = 0.0
    t = 10.0 ** rng.uniform(-4, 2) / k[0]
    agree(bateman.count_atoms(k, branch, k[0], t), by_paths(k, branch, t), 1e-12)


@pytest.mark.parametrize("parent", PARENTS)
def test_no_atom_is_lost(parent):
    links, t = chain(parent), np.geomspace(1e-6, 1e6, 25)
    assert links.names[0] == parent and links.members[-1].stable
    np.testing.assert_allclose(links.atoms(links.k[0], t).sum(axis=1), 1.0, rtol=1e-12)


def test_polonium_in_equilibrium_and_bismuth_that_is_left():
    found = activities("At-211", 1.0, [0.1, 7.214, 72.14])
    np.testing.assert_allclose(found["Po-211"] / found["At-211"], 0.582, rtol=3e-5)
    assert float(found["Bi-207"][-1]) * 1e6 == pytest.approx(10.9, abs=0.05)  # Bq per MBq
    assert list(found) == ["At-211", "Po-211", "Bi-207"]


def test_decays_are_the_integral_of_activity():
    links, t = chain("Pb-212"), 20.0
    x, w = np.polynomial.legendre.leggauss(60)
    integral = (w[:, None] * links.activities(3.0, t * (x + 1) / 2)).sum(axis=0) * t / 2
    np.testing.assert_allclose(links.decays(3.0, t), integral, rtol=1e-11)
    np.testing.assert_allclose(links.decays(3.0, 1e4)[:-1], links.decays(3.0)[:-1], rtol=1e-12)
    assert links.decays(3.0).tolist()[-1] == 0.0
    each = links.decays(links.k[0])  # of one atom
    np.testing.assert_allclose(each[:-1], [1.0, 1.0, 0.6406, 0.3594], rtol=1e-14)


def test_few_decays_are_not_lost_beside_many():
    links, t = chain("At-211"), 1e-3
    po, at = links.k[1], links.k[0]
    early = 0.582 * at * (t - -np.expm1(-po * t) / po)
    assert float(links.decays(at, t)[1]) == pytest.approx(early, rel=1e-4)
    bismuth = 0.418 * at * links.k[2] * t**2 / 2
    assert float(links.decays(at, t)[2]) == pytest.approx(bismuth, rel=1e-4)


def test_a_start_with_all_members():
    links = chain("Bi-213")
    of_each = [links.activities(np.eye(len(links.k))[i], 0.7) for i in range(4)]
    start = np.array([1.0, 2.0, 3.0, 4.0, 9.0])  # the last is stable: it has no activity
    expected = sum(a * w for a, w in zip(of_each, start[:4], strict=True))
    np.testing.assert_allclose(links.activities(start, 0.7), expected, rtol=1e-14)


def test_derivatives_in_half_lives_activity_and_time():
    links = chain("Ac-225")

    @jax.jit
    def bismuth(x):
        """Its activity, with the half-life of francium, the activity given, and the time each by a factor."""
        k = jnp.asarray(links.k).at[1].divide(x[0])
        return bateman.compute_activities(k, links.branch, x[1], 3.0 * x[2])[3]

    one, step = jnp.ones(3), 1e-4
    differences = [(bismuth(one + step * e) - bismuth(one - step * e)) / (2 * step) for e in np.eye(3)]
    backward = jax.grad(bismuth)(one)
    np.testing.assert_allclose(backward, differences, rtol=1e-6)
    np.testing.assert_allclose(jax.jacfwd(bismuth)(one), backward, rtol=1e-12)


def test_a_derivative_where_half_lives_are_equal():
    slope = jax.grad(lambda k: bateman.compute_activities(jnp.array([0.2, k]), np.eye(2, k=-1), 1.0, 4.0)[1])(0.2)
    assert float(slope) == pytest.approx(float(np.exp(-0.8) * (4.0 - 0.2 * 16.0 / 2)), rel=1e-12)


def test_shapes_under_jit_and_vmap():
    links = chain("I-131")
    t = np.array([[0.0, 24.0, 48.0], [1.0, 2.0, 3.0]])
    found = links.activities(1.0, t)
    assert found.shape == (2, 3, 3)
    np.testing.assert_allclose(found[0, 0], [1.0, 0.0, 0.0], atol=0)
    both = jax.jit(jax.vmap(lambda a, u: links.activities(a, u)))(jnp.array([1.0, 2.0]), jnp.asarray(t))
    np.testing.assert_allclose(both, found * np.array([1.0, 2.0])[:, None, None], rtol=1e-14)


@pytest.mark.parametrize("name", sorted(read_nuclides()))
def test_mothers_come_first(name):
    links = chain(name)
    assert (np.triu(links.branch) == 0).all()
    np.testing.assert_allclose(links.branch.sum(axis=0), [0.0 if m.stable else 1.0 for m in links.members], rtol=1e-12)


def test_what_is_not_followed():
    assert chain("At-211").names == ("At-211", "Po-211", "Bi-207", "Pb-207")
    assert chain("211At", without="207Bi").names == ("At-211", "Po-211", "Pb-207")
    short = chain("Ac-225", without=("Po-213", "Tl-209"))
    assert short.names == ("Ac-225", "Fr-221", "At-217", "Bi-213")
    np.testing.assert_allclose(short.activities(1.0, 5.0), chain("Ac-225").activities(1.0, 5.0)[:4], rtol=1e-14)
    for wrong in ("I-131", "Ac-225"):
        with pytest.raises(BadInput, match="does not come of Ac-225"):
            chain("Ac-225", without=wrong)


def test_another_evaluation():
    assert chain("Ac-225", evaluation="icrp107").members[0] == load_nuclide("Ac-225")
    assert float(activities("Ac-225", 1.0, 240.0, evaluation="icrp107")["Ac-225"]) == pytest.approx(0.5, rel=1e-14)


@pytest.mark.parametrize("t", [-1.0, [0.0, float("nan")]])
def test_chains_are_not_followed_backwards(t):
    with pytest.raises(BadInput, match="from 0 on"):
        activities("At-211", 1.0, t)


def test_public_names():
    assert pbpk.load_nuclide is load_nuclide and pbpk.chain is chain and pbpk.activities is activities
