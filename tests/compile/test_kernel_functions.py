"""Functions and primitives of the compiled machine against NumPy's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.compile.backend.base import Buffer, NumpyBackend
from pbpk.compile.backend.functions import exp
from pbpk.compile.backend.llvm import LlvmBackend
from pbpk.compile.backend.llvm_kernel import write_kernel
from pbpk.compile.xla import jit
from pbpk.compile.xla.handler import write_handler

NUMBERS = np.concatenate(
    [np.linspace(-750, 720, 3001), np.linspace(-1, 1, 999), [0.0, -0.0, np.inf, -np.inf, np.nan, 1e300, -1e300, 1e-300]]
)
IN, OUT = Buffer("given", (2,)), Buffer("found", (1,))


@pytest.fixture
def both(compiled):
    """(compiled, NumPy) results of an algorithm of two operands."""

    def both(algorithm, a, b):
        given = np.stack(np.broadcast_arrays(a, b)).astype(float)
        m = LlvmBackend(jit.host_processor().lanes)
        kernel = write_kernel(m, (IN, OUT), lambda: m.write(OUT, 0, algorithm(m, m.read(IN, 0), m.read(IN, 1))))
        source = kernel + "\n" + write_handler((IN,), (OUT,), m.lanes, m.vectors)
        types = jax.ShapeDtypeStruct((1, given.shape[1]), np.float64)
        found = np.asarray(jax.jit(jax.ffi.ffi_call(jit.register_handler(source), types))(jnp.asarray(given)))[0]
        oracle = NumpyBackend({"given": given, "found": np.zeros((1, given.shape[1]))})
        with np.errstate(all="ignore"):
            oracle.write(OUT, 0, algorithm(oracle, given[0], given[1]))
        return found, oracle.buffers["found"][0]

    return both


def test_exp(both):
    with np.errstate(all="ignore"):
        expected = np.exp(NUMBERS)
    expected[NUMBERS < -708] = 0.0
    expected[NUMBERS > 709] = np.inf
    for found in both(lambda m, a, b: exp(m, a), NUMBERS, 0.0):
        np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_a_strange_nan_stays_one(both):
    odd = np.array([0x7FF8000000000FFF, 0xFFF0000000000123] * 8, np.uint64).view(float)
    for found in both(lambda m, a, b: exp(m, a), odd, 0.0):
        assert np.isnan(found).all()


@pytest.mark.parametrize(
    "algorithm",
    [
        lambda m, a, b: a + b - 2.0 * a / b,
        lambda m, a, b: 1.0 / (3.0 - a) - -b,
        lambda m, a, b: m.root(m.size(a)) + m.larger(a, b),
        lambda m, a, b: m.larger(a, 0.5) - m.larger(0.25, b),
        lambda m, a, b: m.choose(a - b, a, 1.0),
    ],
)
def test_arithmetic(both, algorithm):
    found, expected = both(algorithm, NUMBERS, NUMBERS[::-1])
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_loops_nest_and_carry(both):
    """Σᵢ Σⱼ of what an inner loop has put into scratch, with the outer's own carry."""

    def algorithm(m, a, b):
        room = m.scratch(12)

        def outer(i, total, last):
            def inner(j, sum_):
                m.put(room, i * 4 + j, sum_ * 0.5 + b)
                return [m.get(room, i * 4 + j)]

            last = m.loop(4, inner, [a])[0]
            return [total + last, last]

        total, last = m.loop(3, outer, [0.0, a])
        return total + last + m.get(room, 7)

    found, expected = both(algorithm, np.linspace(0, 1, 50), 2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-15)
