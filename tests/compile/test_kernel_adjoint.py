"""Derivatives backwards by hand: against JAX's of the JAX engine, and under every transformation that is asked of them."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.compile import compile_linear
from pbpk.compile.backend.base import NumpyBackend
from pbpk.compile.programs.linear.kernel import series_tables
from pbpk.compile.programs.linear.window_adjoint import LinearWindowAdjoint, window_adjoint
from pbpk.linalg.packing import plan_packing
from pbpk.linalg.series import design
from pbpk.solve.resolvent import propagate, propagate_reversibly
from pbpk.solve.series_window import ResolventWindow

pytestmark = pytest.mark.usefixtures("compiled")

SERIES = design(30.0, 1e-13)
STOPS = np.array([0.0, 0.5, 2.0, 15.0])


def close(ours, theirs, bound):
    """Each array to `bound` of its largest number."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert np.abs(a - b).max() <= bound * max(np.abs(b).max(), 1e-300)


@pytest.fixture(scope="module")
def given(model):
    """`given(name, N)`: a system, and (rates, start, source, stops) of N patients."""

    def given(name, patients, own=False):
        system, rates = model(name, patients)
        rng, n = np.random.default_rng(1), len(system.names)
        stops = STOPS[:, None] * (rng.uniform(0.5, 2, patients) if own else 1.0)
        return system, [rates, *jnp.asarray(rng.uniform(0, 1, (2, n, patients))), jnp.asarray(stops)]

    return given


def _number(system, compiled, integrals, sourced, rates, start, source, stops):
    """One number of all results, bent, so that its second derivatives are not those of the amounts alone."""
    window = ResolventWindow(system, SERIES, integrals=integrals, compiled=compiled)
    matrix = rates if compiled else plan_packing(system).pack(rates)
    found = propagate_reversibly(window, matrix, start, source if sourced else None, stops)[:2]
    found = [a for a in found if a is not None]
    weights = [jnp.asarray(np.random.default_rng(k).normal(size=a.shape[:-1])) for k, a in enumerate(found)]
    return sum(jnp.sum(w[..., None] * jnp.sin(a)) for w, a in zip(weights, found, strict=True))


@pytest.mark.parametrize("integrals", [False, True])
@pytest.mark.parametrize("sourced", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_gradients_in_everything_like_jax(given, integrals, sourced, own):
    system, at = given("iodide", 9, own)

    @partial(jax.jit, static_argnums=0)
    def gradient(compiled):
        return jax.grad(partial(_number, system, compiled, integrals, sourced), argnums=(0, 1, 2, 3))(*at)

    close(gradient(True), gradient(False), 1e-9)


@pytest.mark.parametrize("name", ["astatide_reference", "pertechnetate", "oral_one_compartment"])
def test_against_numpy_on_models_of_every_kind(model, name):
    """The same algorithm on NumPy, with one nilpotent too."""
    system, rates = model(name, 9)
    rng, kernel = np.random.default_rng(4), compile_linear(system, SERIES, integrals=True)
    n = len(system.names)
    shapes = [rates.shape, (n, 9), (n, 9), (len(STOPS), n, 9), (len(STOPS), n, 9)]
    at = [rates, *(jnp.asarray(rng.uniform(0, 1, s)) for s in shapes[1:])]
    way = [jnp.asarray(rng.normal(size=s)) for s in shapes]

    def f(k, x, s, of_amounts, of_integrals):
        return kernel.pull(k, x, jnp.asarray(STOPS), s, of_amounts, of_integrals)

    value, slope = jax.jit(lambda: jax.jvp(f, tuple(at), tuple(way)))()
    for order in (0, 1):
        window = LinearWindowAdjoint(system, SERIES, len(STOPS), True, True, True, derivative_order=order)
        own = [[a, b][: order + 1] for a, b in zip(at, way, strict=True)]
        arrays = [p for part in own[:3] for p in part] + series_tables(window, rates, jnp.asarray(STOPS)[:, None])
        arrays += [p for part in own[3:] for p in part]
        buffers = {b.name: np.asarray(a) for b, a in zip(window.arguments, arrays, strict=True)}
        buffers |= {b.name: np.full((*b.shape, 9), np.nan) for b in window.results}
        window_adjoint(NumpyBackend(buffers), window)
        for part, ours in enumerate((value, slope)[: order + 1]):
            close(
                ours,
                [buffers[window.coefficient_name(name, part)] for name in ("of_rates", "of_start", "of_inflow")],
                1e-11,
            )


@pytest.mark.parametrize("moved", ["all", "stops", "rates"])
def test_derivatives_of_gradients(given, moved):
    """Forward over reverse, in the stops too, where only they move and where only others do, against differences."""
    system, at = given("iv_two_compartment", 5)
    at[3] = at[3] + 0.25  # differences need room on both sides
    rng = np.random.default_rng(5)
    way = [jnp.asarray(rng.normal(size=a.shape)) * a for a in at]
    way = [w if moved == "all" or (k == 3) == (moved == "stops") else 0 * w for k, w in enumerate(way)]
    own = [k for k in range(4) if moved == "all" or (k == 3) == (moved == "stops")]
    gradient = jax.jit(jax.grad(partial(_number, system, True, True, True), argnums=(0, 1, 2, 3)))

    @jax.jit
    def slope():
        def moving(*some):
            here = list(at)
            for k, a in zip(own, some, strict=True):
                here[k] = a
            return jax.grad(partial(_number, system, True, True, True), argnums=(0, 1, 2, 3))(*here)

        return jax.jvp(moving, tuple(at[k] for k in own), tuple(way[k] for k in own))[1]

    h = 1e-3
    ahead = [gradient(*(a + s * h * d for a, d in zip(at, way, strict=True))) for s in (-2, -1, 1, 2)]
    differences = jax.tree.map(lambda a, b, c, d: (a - 8 * b + 8 * c - d) / (12 * h), *ahead)
    close(slope(), differences, 1e-6)


def test_the_hessian(given):
    """`jax.hessian` of the reversible kernel, against forward over forward of the JAX engine, all in all."""
    system, at = given("iv_two_compartment", 2)

    def forward(rates, start):
        found = propagate(
            ResolventWindow(system, SERIES, integrals=False), plan_packing(system).pack(rates), start, None, at[3]
        )[0]
        weights = jnp.asarray(np.random.default_rng(0).normal(size=found.shape[:-1]))
        return jnp.sum(weights[..., None] * jnp.sin(found))

    def ours(rates, start):
        return _number(system, True, False, False, rates, start, at[2], at[3])

    found = jax.jit(jax.hessian(ours, argnums=(0, 1)))(*at[:2])
    close(found, jax.jit(jax.jacfwd(jax.jacfwd(forward, argnums=(0, 1)), argnums=(0, 1)))(*at[:2]), 1e-9)


def test_under_nested_vmap_and_for_each_patient_alone(given):
    """To the last digit: gradients of a folded batch, of patients one by one, and of several cotangents at once."""
    system, at = given("iodide", 12)
    stops = at[3]

    def one(rates, start):  # a patient's own numbers
        window = ResolventWindow(system, SERIES, integrals=True, compiled=True)
        after, area, _ = propagate_reversibly(window, rates[:, None], start[:, None], None, stops)
        return jnp.sum(after**2) + jnp.sum(area**2)

    def all_(rates, start):
        window = ResolventWindow(system, SERIES, integrals=True, compiled=True)
        after, area, _ = propagate_reversibly(window, rates, start, None, stops)
        return jnp.sum(after**2) + jnp.sum(area**2)

    whole = jax.jit(jax.grad(all_, argnums=(0, 1)))(*at[:2])
    each = jax.jit(jax.vmap(jax.grad(one, argnums=(0, 1)), in_axes=1, out_axes=1))(*at[:2])
    folded = [a.reshape(len(a), 3, 4) for a in at[:2]]
    nested = jax.vmap(jax.vmap(jax.grad(one, argnums=(0, 1)), in_axes=1, out_axes=1), in_axes=1, out_axes=1)
    for a, b, c in zip(whole, each, jax.jit(nested)(*folded), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c.reshape(a.shape))
    over = jax.jit(jax.vmap(jax.grad(all_, argnums=(0, 1)), in_axes=(None, 0)))(at[0], jnp.stack([at[1], 2 * at[1]]))
    for a, b in zip(whole, over, strict=True):
        np.testing.assert_array_equal(a, b[0])
    for a, b in zip(jax.jit(jax.grad(all_, argnums=(0, 1)))(at[0], 2 * at[1]), over, strict=True):
        np.testing.assert_allclose(a, b[1], rtol=1e-12)


def test_one_column_for_all_patients(given):
    """Rates of one patient under starts of many: the gradient is the sum of theirs."""
    system, at = given("iv_two_compartment", 7)

    def f(rates):
        window = ResolventWindow(system, SERIES, integrals=False, compiled=True)
        return jnp.sum(propagate_reversibly(window, rates, at[1], None, at[3])[0] ** 2)

    one = at[0][:, :1]
    wide = jax.jit(jax.grad(f))(jnp.broadcast_to(one, at[0].shape))
    np.testing.assert_allclose(jax.jit(jax.grad(f))(one), wide.sum(axis=1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_number_of_patients(given, count):
    system, at = given("iv_two_compartment", 9)
    few = [a[:, :count] for a in at[:3]] + at[3:]
    f = jax.jit(jax.grad(partial(_number, system, True, True, True), argnums=(0, 1, 2)))
    for a, b in zip(f(*few), f(*at), strict=True):
        np.testing.assert_array_equal(a, b[:, :count])


_DEVICES = """
import pbpk, jax, jax.numpy as jnp, numpy as np
from functools import partial
from jax.sharding import Mesh, PartitionSpec as P
from pbpk.linalg.series import design
from pbpk.solve.resolvent import propagate, propagate_reversibly
from pbpk.solve.series_window import ResolventWindow
system = pbpk.load_model("iodide").system
rng = np.random.default_rng(0)
k = jnp.asarray(rng.uniform(0.1, 5, (len(system.slopes[0]), 40)))
x = jnp.asarray(rng.uniform(0, 1, (len(system.names), 40)))
window = ResolventWindow(system, design(30.0, 1e-13), integrals=True, compiled=True)
stops = jnp.array([[1.0], [9.0]])
def one(k, x):
    def number(k, x):
        found = propagate_reversibly(window, k, x, None, stops)
        return jnp.sum(found[0] ** 2) + jnp.sum(found[1] ** 2)
    slope = jax.jvp(lambda k: propagate(window, k, x, None, stops)[0], (k,), (k,))[1]
    return *jax.grad(number, argnums=(0, 1))(k, x), slope
assert len(jax.devices()) == 2
mesh = Mesh(np.array(jax.devices()), ("patients",))
spec = P(None, "patients")
out = (spec, spec, P(None, None, "patients"))
both = jax.jit(jax.shard_map(one, mesh=mesh, in_specs=(spec, spec), out_specs=out, check_vma=False))(k, x)
alone = jax.jit(one)(k, x)
print(all(np.array_equal(a, b) for a, b in zip(both, alone)))
"""


@pytest.mark.slow
def test_on_two_devices():
    """Patients shared out by `shard_map`: the same digits."""
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run([sys.executable, "-c", _DEVICES], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"
