"""A body, patients, and the kernel's program run by NumPy; everything here is skipped where kernels cannot be compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pbpk
from pbpk.compile.backend.base import NumpyBackend
from pbpk.compile.programs.linear.kernel import handler_arguments
from pbpk.compile.programs.linear.layout import LinearWindow
from pbpk.compile.programs.linear.window import propagate_window
from pbpk.compile.xla import jit
from pbpk.model import OUT, Block, Compartment, amount, first_order, flux
from pbpk.model.system import build_system


@pytest.fixture(scope="session")
def compiled():
    if reason := jit.explain_no_jit():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def model():
    """A bundled model's system and the rates (entries, N) of N patients around its values: `model(name, N)`."""

    def model(name, patients, seed=0):
        found = pbpk.load_model(name)
        rng = np.random.default_rng(seed)
        values = np.asarray(found.values, float)
        p = found.system.derive(values[:, None] * np.exp(0.3 * rng.standard_normal((len(values), patients))))
        y = jnp.zeros((len(found.system.names), patients))
        return found.system, found.system.rate_jacobian(0.0, y, jnp.asarray(p))

    return model


@pytest.fixture(scope="session")
def graph():
    """A system of first-order arrows: `graph(n, [(0, 1), (1, n)])`, where n is outside; its rates are in that order."""

    def graph(n, edges):
        cells = [Compartment(f"c{i}", "mg") for i in range(n)]
        ends = [*cells, OUT]
        fluxes = (flux(ends[a] >> ends[b], first_order, a=amount(ends[a]), k=f"k{i}") for i, (a, b) in enumerate(edges))
        return build_system(Block(tuple(cells), tuple(fluxes)))

    return graph


@pytest.fixture(scope="session")
def oracle():
    """The same algorithm on NumPy: amounts, integrals (or None) and error, for arrays with one axis of patients."""

    def oracle(kernel, rates, start, stops, source=None):
        n = start.shape[1]
        stops = np.reshape(stops, (len(stops), -1))
        shared = stops.shape[1] == 1
        window = LinearWindow(kernel.system, kernel.series, len(stops), shared, kernel.integrals, source is not None)
        given = handler_arguments(
            window, *(None if a is None else jnp.asarray(a) for a in (rates, start, stops, source))
        )
        arrays = {b.name: np.asarray(a) for b, a in zip(window.arguments, given, strict=True)}
        arrays |= {b.name: np.full((*b.shape, n), np.nan) for b in window.results}
        propagate_window(NumpyBackend(arrays), window)
        return arrays["amounts"], arrays.get("integral"), arrays["error"][0]

    return oracle


@pytest.fixture(scope="session")
def run():
    """A kernel inside `jit`, the results as NumPy arrays."""

    def run(kernel, rates, start, stops, source=None):
        given = [None if a is None else jnp.asarray(a) for a in (rates, start, stops, source)]
        return jax.tree.map(np.asarray, jax.jit(lambda *a: kernel(*a))(*given))

    return run


@pytest.fixture(scope="session")
def apart():
    """The largest difference, as a part of each row's maximum over the patients."""

    def apart(a, b):
        largest = np.abs(b).max(axis=-1, keepdims=True)
        return np.max(np.abs(a - b) / np.where(largest > 0, largest, 1.0), initial=0.0)

    return apart
