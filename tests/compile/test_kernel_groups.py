"""Patients in groups that have some arguments in common, which `vmap` makes of draws: the same, bit for bit, as copies."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pbpk
from pbpk.compile import compile_linear
from pbpk.compile.backend.base import Buffer
from pbpk.compile.xla import bind, jit
from pbpk.compile.xla.bind import register_program
from pbpk.linalg.series import design
from pbpk.solve.choose import restore_reverse_mode
from pbpk.study.load import load_study

pytestmark = pytest.mark.usefixtures("compiled")

SERIES = design(30.0, 1e-11)


@pytest.fixture
def grouped(monkeypatch):
    """The names of the arguments that calls had in groups."""
    seen = []
    real = bind.register_program

    def asked(program, names=frozenset()):
        seen.append(sorted(names))
        return real(program, names)

    monkeypatch.setattr(bind, "register_program", asked)
    bind._make_batched.cache_clear()
    return seen


def numbers(subjects, seed=0):
    """A linear kernel, and each subject's rates, start and stops."""
    system = pbpk.load_model("iodide").system
    rng = np.random.default_rng(seed)
    kernel = compile_linear(system, SERIES, integrals=True)
    stops = np.sort(rng.uniform(0.5, 9.0, (3, subjects)), axis=0)
    rates = rng.uniform(0.1, 3.0, (len(system.slopes[0]), subjects))
    return kernel, jnp.asarray(rates), jnp.asarray(rng.uniform(0, 1, (len(system.names), subjects))), jnp.asarray(stops)


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize(
    "subjects, draws", [(1, 9), (1, 300), (5, 1), (5, 7), (5, 8), (37, 9), (37, 16), (37, 30), (29, 100)]
)
def test_draws_of_rates(subjects, draws, grouped, monkeypatch):
    """Starts and stops are each subject's own: read once a vector where draws fill vectors, copied where they do not."""
    kernel, rates, start, stops = numbers(subjects)
    many = rates * jnp.exp(0.1 * np.random.default_rng(1).standard_normal((draws, 1, 1)))
    found = jax.jit(jax.vmap(kernel, in_axes=(0, None, None)))(many, start, stops)
    lanes = jit.host_processor().lanes
    fits = draws >= lanes and -(-draws // lanes) * lanes <= 1.25 * draws
    assert grouped[-1] == (["integral_terms", "start", "stops", "weights"] if fits else [])
    monkeypatch.setattr(bind, "_find_group_axes", lambda patients, *_: patients)
    jax.clear_caches()
    equal(found, jax.jit(jax.vmap(kernel, in_axes=(0, None, None)))(many, start, stops))
    assert grouped[-1] == []


@pytest.mark.parametrize(
    "draws, names",
    [(12, ["integral_terms", "stops", "weights"]), (16, ["integral_terms", "start", "stops", "weights"])],
)
def test_draws_of_directions(draws, names, grouped):
    """Groups are the smallest that fill vectors: of each direction, or else of each subject."""
    kernel, rates, start, stops = numbers(4)
    rng = np.random.default_rng(2)
    many = rates * jnp.exp(0.1 * rng.standard_normal((draws, *rates.shape)))
    starts = start * jnp.exp(0.1 * rng.standard_normal((5, *start.shape)))
    directions = jax.vmap(lambda k, x: kernel(k, x, stops), in_axes=(None, 0))
    found = jax.jit(jax.vmap(directions, in_axes=(0, None)))(many, starts)
    assert grouped[-1] == names
    for i, k in ((0, 0), (draws - 1, 4), (5, 2)):
        equal(jax.tree.map(lambda a: a[i, k], found), jax.jit(kernel)(many[i], starts[k], stops))  # noqa: B023


@pytest.mark.parametrize("name", ["theophylline", "phenobarbital"])
def test_draws_of_random_effects(name, grouped):
    """Likelihoods and their slopes, as samplers take them: all of the data are in groups."""
    problem = load_study(name).problem
    problem = replace(
        problem, structure=replace(problem.structure, solver=restore_reverse_mode(problem.structure.solver))
    )
    psi = jnp.asarray(problem.initial_unconstrained)
    shape = (16, len(problem.structure.layout.etas), problem.columns)
    eta = jnp.asarray(0.2 * np.random.default_rng(0).standard_normal(shape))

    def both(e):
        return jax.value_and_grad(lambda e: jnp.sum(problem.data_minus2ll(psi, e)))(e)

    value, slope = jax.jit(jax.vmap(both))(eta)
    assert {"output_index", "term_index", "data_y"} <= set(grouped[-1])
    one = jax.jit(both)
    for k in (0, 15):
        alone = one(eta[k])
        np.testing.assert_allclose(value[k], alone[0], rtol=1e-13)
        np.testing.assert_allclose(slope[k], alone[1], rtol=0, atol=1e-12 * np.abs(alone[1]).max())


class Scaled:
    """x of each patient times y of the group, by two readings of it."""

    arguments = (Buffer("x", (2,)), Buffer("y", (3,)))
    results = (Buffer("z", (2,)),)

    def run(self, m):
        part = m.part(self.arguments[1], 1, (2,))
        for k in range(2):
            m.write(self.results[0], k, m.read(self.arguments[0], k) * m.read(self.arguments[1], k) + m.read(part, k))


def test_the_handler_refuses_groups_that_are_none():
    """As many patients in each, as many as a register has lanes, and as many groups in all arguments that have some."""
    name, lanes = register_program(Scaled(), frozenset("y")), jit.host_processor().lanes

    def run(patients, groups, first=3, out=None):
        x = np.arange(2.0 * patients).reshape(2, patients)
        y = 1.0 + np.arange(float(first * groups)).reshape(first, groups)
        types = jax.ShapeDtypeStruct((2, patients if out is None else out), np.float64)
        found = np.asarray(
            jax.block_until_ready(jax.jit(jax.ffi.ffi_call(name, types))(jnp.asarray(x), jnp.asarray(y)))
        )
        wide = np.repeat(y, patients // groups, axis=1)
        np.testing.assert_array_equal(found, x * wide[:2] + wide[1:])

    for patients, groups in ((3 * lanes, 3), (5 * (lanes + 1), 5), (4000, 1), (300 * lanes, 300), (29 * 100, 29)):
        run(patients, groups)
    wrong = [(3 * lanes + 1, 3), (3 * (lanes - 1), 3), (3 * lanes, 4), (lanes, 0)]
    for patients, groups in wrong:
        with pytest.raises(jax.errors.JaxRuntimeError, match=f"at least {lanes} in each of equal groups"):
            run(patients, groups)
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"y must be float64 \(3, groups\)"):
        run(3 * lanes, 3, first=2)
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"z must be float64 \(2, patients\)"):
        run(3 * lanes, 3, out=2 * lanes)
