"""The compiled linear resolvent: against NumPy, the JAX engine and the exponential; every call it must refuse."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from pbpk.compile import compile_linear
from pbpk.compile.programs.linear.kernel import handler_arguments
from pbpk.compile.programs.linear.window import LinearWindowForward
from pbpk.compile.xla import jit
from pbpk.compile.xla.bind import register_program
from pbpk.errors import BadInput, MissingExtra
from pbpk.linalg.packing import plan_packing
from pbpk.linalg.series import design
from pbpk.model import OUT, Block, Compartment, amount, flux, saturable
from pbpk.model.system import build_system
from pbpk.solve.resolvent import propagate
from pbpk.solve.series_window import ResolventWindow

pytestmark = pytest.mark.usefixtures("compiled")

SERIES = design(30.0, 1e-13)
STOPS = np.array([0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0])
LINEAR = (
    "astatide_reference",
    "icrp78_iodine",
    "iodide",
    "pertechnetate",
    "iv_two_compartment",
    "oral_one_compartment",
)


def patients(n, count, seed=0):
    """Amounts and inflows (n, N), some of which are 0."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1, (2, n, count)) * (rng.random((2, n, 1)) < 0.8)


@partial(jax.jit, static_argnums=(0, 1))
def _by_jax(system, series, rates, start, stops, source):
    return propagate(
        ResolventWindow(system, series, integrals=True), plan_packing(system).pack(rates), start, source, stops
    )


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("sourced", [False, True])
def test_every_linear_model_against_numpy_and_jax(model, oracle, run, apart, name, sourced):
    system, rates = model(name, 40)
    start, source = patients(len(system.names), 40)
    source = source if sourced else None
    kernel = compile_linear(system, SERIES, integrals=True)
    amounts, integrals, error = run(kernel, rates, start, STOPS, source)
    by_numpy = oracle(kernel, rates, start, STOPS, source)
    assert apart(amounts, by_numpy[0]) < 1e-11
    assert apart(integrals, by_numpy[1]) < 1e-11
    # The engine's own measure: of what is present. Sums of d differ from the tables' by what the series neglects.
    by_jax = _by_jax(system, SERIES, rates, start, STOPS[:, None], source)
    present = start.sum(axis=0) + (0.0 if source is None else STOPS[-1] * source.sum(axis=0))
    assert np.all(np.abs(amounts - by_jax[0]) < 1e-12 * present)
    assert np.all(np.abs(integrals - by_jax[1]) < 1e-12 * present * STOPS[-1])
    np.testing.assert_allclose(error, by_numpy[2], rtol=1e-4, atol=1e-15)
    # All rounding here: judged by the root of squares, there by the largest component; the last of d are not the tables'.
    assert np.all(error > 0.7 * by_jax[2])
    assert np.all(error < 1.1 * np.sqrt(len(start)) * by_jax[2] + 1e-14)
    assert (error < 1e-9).all()


@pytest.mark.parametrize("sourced", [False, True])
def test_a_short_series_says_the_same_of_its_error(model, run, sourced):
    """Where the estimate matters, it is that of the JAX engine, and it covers the difference between the two."""
    system, rates = model("pertechnetate", 40)
    start, source = patients(len(system.names), 40)
    source, series = source if sourced else None, design(30.0, 1e-6)
    found = run(compile_linear(system, series, integrals=True), rates, start, STOPS, source)
    amounts, integrals, error = _by_jax(system, series, rates, start, STOPS[:, None], source)
    assert error.max() > 1e-6
    np.testing.assert_allclose(found.error, error, rtol=0.01)
    present = start.sum(axis=0) + (0.0 if source is None else STOPS[-1] * source.sum(axis=0))
    assert np.all(np.abs(found.amounts - amounts) < (error if sourced else 1e-12) * present)
    assert np.all(np.abs(found.integrals - integrals) < error * present * STOPS[-1])


@pytest.mark.parametrize("integrals", [False, True])
@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_any_number_of_patients(model, oracle, run, apart, count, integrals):
    system, rates = model("astatide_reference", count)
    start, _ = patients(len(system.names), count)
    kernel = compile_linear(system, SERIES, integrals=integrals)
    found = run(kernel, rates, start, STOPS)
    assert found.amounts.shape == (len(STOPS), len(start), count)
    assert found.error.shape == (count,)
    assert (found.integrals is None) != integrals
    if count:
        expected = oracle(kernel, rates, start, STOPS)
        assert apart(found.amounts, expected[0]) < 1e-11
        assert not integrals or apart(found.integrals, expected[1]) < 1e-11
    np.testing.assert_array_equal(found.amounts[0], start)


def test_random_graphs_against_the_exponential(graph, run):
    """With and without a loss that all share, which without one is σ = 0 and the integral's system nearly singular."""
    rng = np.random.default_rng(3)
    n = 6
    for lossy in (True, False):
        edges = [(a, b) for a in range(n) for b in range(n) if a != b and rng.random() < 0.4]
        edges += [(a, n) for a in range(n)] if lossy else []
        rates = 10 ** rng.uniform(-2, 1, (len(edges), 9))
        start, source = patients(n, 9)
        kernel = compile_linear(graph(n, edges), SERIES, integrals=True)
        found = run(kernel, rates, start, STOPS, source)
        for i in range(9):
            a = np.zeros((3 * n, 3 * n))
            for (s, t), k in zip(edges, rates[:, i], strict=True):
                a[s, s] -= k
                if t < n:
                    a[t, s] += k
            a[:n, n : 2 * n] = a[n : 2 * n, 2 * n :] = np.eye(n)
            present = start[:, i].sum() + source[:, i].sum() * STOPS[-1]
            for m, t in enumerate(STOPS):
                whole, once, twice = (expm(a * t)[:n, k * n : (k + 1) * n] for k in range(3))
                amount, integral = whole @ start[:, i] + once @ source[:, i], once @ start[:, i] + twice @ source[:, i]
                bound = 1e-12 + 2 * found.error[i]
                assert np.abs(found.amounts[m, :, i] - amount).max() < bound * present
                assert np.abs(found.integrals[m, :, i] - integral).max() < bound * present * STOPS[-1]


def test_small_and_odd_shapes(graph, oracle, run, apart):
    """One compartment, one stop, a single edge; a stop of no length alone; more stops than a tile holds."""
    for n, edges in ((1, [(0, 1)]), (2, [(0, 1), (1, 2)]), (3, [(0, 1)])):
        system = graph(n, edges)
        rates = np.random.default_rng(0).uniform(0.1, 2, (len(edges), 9))
        start, source = patients(n, 9)
        kernel = compile_linear(system, SERIES, integrals=True)
        for stops in ([3.0], [0.0], np.linspace(0.5, 15, 19)):
            found, expected = (
                run(kernel, rates, start, np.asarray(stops), source),
                oracle(kernel, rates, start, stops, source),
            )
            assert apart(found.amounts, expected[0]) < 1e-11
            assert apart(found.integrals, expected[1]) < 1e-11
    one = run(compile_linear(graph(1, [(0, 1)]), SERIES), np.full((1, 1), 0.3), np.ones((1, 1)), np.array([2.0, 5.0]))
    np.testing.assert_allclose(one.amounts[:, 0, 0], np.exp([-0.6, -1.5]), rtol=1e-12)


def test_a_hundred_half_lives_keep_relative_accuracy(graph, run):
    """What all lose alike is taken out: e⁻⁶⁹ is right to its own last digits, and e⁻⁸⁰⁰ is 0."""
    kernel = compile_linear(graph(1, [(0, 1)]), SERIES)
    found = run(kernel, np.array([[np.log(2), 8.0]]), np.ones((1, 2)), np.array([50.0, 100.0]))
    np.testing.assert_allclose(found.amounts[:, 0, 0], 2.0 ** -np.array([50, 100]), rtol=1e-12)
    assert found.amounts[1, 0, 1] == 0.0


def test_results_do_not_depend_on_the_batch(model, run):
    system, rates = model("astatide_reference", 1000)
    start, _ = patients(len(system.names), 1000)
    kernel = compile_linear(system, SERIES, integrals=True)
    whole = run(kernel, rates, start, STOPS)
    for low, high in ((0, 1), (0, 9), (3, 300), (255, 1000)):
        part = run(kernel, rates[:, low:high], start[:, low:high], STOPS)
        for a, b in zip(whole, part, strict=True):
            np.testing.assert_array_equal(a[..., low:high], b)


_THREADS = """
import pbpk, jax, jax.numpy as jnp, numpy as np, hashlib, sys
from pbpk.compile import compile_linear
from pbpk.linalg.series import design
system = pbpk.load_model("astatide_reference").system
rng = np.random.default_rng(0)
k = jnp.asarray(rng.uniform(0.1, 5, (len(system.slopes[0]), 5000)))
x = jnp.asarray(rng.uniform(0, 1, (len(system.names), 5000)))
f = jax.jit(lambda k, x: compile_linear(system, design(30.0, 1e-13), integrals=True)(k, x, jnp.array([1.0, 9.0])))
digests = {hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in f(k, x))).hexdigest() for _ in range(20)}
print(*digests)
"""


def test_results_do_not_depend_on_the_threads():
    """XLA's pool has one thread under this flag; otherwise, as many as there are cores."""
    said = []
    for flags in ("--xla_cpu_multi_thread_eigen=false", ""):
        env = {**os.environ, "XLA_FLAGS": flags}
        done = subprocess.run([sys.executable, "-c", _THREADS], env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert said[0] == said[1]
    assert len(said[0]) == 1


@pytest.mark.parametrize("lanes", [2, 4])
def test_narrower_vectors(graph, oracle, run, apart, monkeypatch, lanes):
    """What processors without this one's widest registers get."""
    wide = jit.host_processor()
    if lanes >= wide.lanes:
        pytest.skip(f"this processor's own width is {wide.lanes}")
    monkeypatch.setattr(jit, "host_processor", lambda: jit.Processor(wide.name, wide.features, lanes, 16))
    edges = [(0, 1), (1, 0), (1, 2), (2, 3), (0, 3), (3, 4)]
    rates = np.random.default_rng(0).uniform(0.1, 2, (len(edges), 13))
    start, source = patients(4, 13)
    kernel = compile_linear(graph(4, edges), SERIES, integrals=True)
    for count in (1, 3, 13):
        given = rates[:, :count], start[:, :count], STOPS, source[:, :count]
        found, expected = run(kernel, *given), oracle(kernel, *given)
        assert apart(found.amounts, expected[0]) < 1e-11
        assert apart(found.integrals, expected[1]) < 1e-11


def test_stops_of_each_patient_own(model, oracle, run, apart):
    system, rates = model("iodide", 30)
    start, source = patients(len(system.names), 30)
    stops = STOPS[:, None] * np.random.default_rng(1).uniform(0.5, 2, 30)
    kernel = compile_linear(system, SERIES, integrals=True)
    for inflow in (None, source):
        found, expected = run(kernel, rates, start, stops, inflow), oracle(kernel, rates, start, stops, inflow)
        assert apart(found.amounts, expected[0]) < 1e-11
        assert apart(found.integrals, expected[1]) < 1e-11
    alone = run(kernel, rates[:, 4:5], start[:, 4:5], stops[:, 4])
    np.testing.assert_allclose(alone.amounts[..., 0], run(kernel, rates, start, stops).amounts[..., 4], rtol=1e-11)


def test_vmap_is_more_patients(model):
    """Any axes, nested, of some arguments or all, one patient at a time too: to the last digit."""
    system, rates = model("iodide", 12)
    start, _ = patients(len(system.names), 12)
    kernel = compile_linear(system, SERIES, integrals=True)
    stops = jnp.asarray(STOPS)
    start = jnp.asarray(start)
    plain = jax.jit(lambda k, x: kernel(k, x, stops).amounts)(rates, start)

    def one(k, x):
        return kernel(k, x, stops).amounts

    each = jax.jit(jax.vmap(one, in_axes=1, out_axes=2))(rates, start)
    np.testing.assert_array_equal(each, plain)
    folded = rates.reshape(-1, 3, 4), start.reshape(-1, 3, 4)
    nested = jax.jit(jax.vmap(jax.vmap(one, in_axes=1, out_axes=2), in_axes=1, out_axes=2))(*folded)
    np.testing.assert_array_equal(nested.reshape(plain.shape), plain)
    over = jax.jit(jax.vmap(one, in_axes=(None, 0)))(rates, jnp.stack([start, 2 * start]))
    np.testing.assert_array_equal(over[0], plain)
    np.testing.assert_allclose(over[1], 2 * plain, rtol=1e-14)
    timed = jax.jit(jax.vmap(lambda t: kernel(rates, start, t).amounts))(jnp.stack([stops, 2 * stops]))
    np.testing.assert_allclose(timed[0], plain, rtol=1e-12)
    np.testing.assert_allclose(
        timed[1], jax.jit(lambda k, x: kernel(k, x, 2 * stops).amounts)(rates, start), rtol=1e-12
    )


def test_inside_a_scan(model):
    """Windows follow one another as segments.py has them."""
    system, rates = model("iodide", 9)
    start, _ = patients(len(system.names), 9)
    kernel = compile_linear(system, SERIES)

    @jax.jit
    def twice(x):
        def step(x, stops):
            found = kernel(rates, x, stops).amounts
            return found[-1], found

        return jax.lax.scan(step, x, jnp.asarray([[1.0, 2.0], [3.0, 5.0]]))[1]

    straight = jax.jit(lambda x: kernel(rates, x, jnp.asarray([1.0, 2.0, 5.0, 7.0])).amounts)(jnp.asarray(start))
    np.testing.assert_allclose(twice(jnp.asarray(start)).reshape(straight.shape), straight, atol=1e-12)


def test_what_is_not_finite_stays_with_its_patient(model, run):
    system, rates = model("iodide", 9)
    start, _ = patients(len(system.names), 9)
    kernel = compile_linear(system, SERIES, integrals=True)
    clean = run(kernel, rates, start, STOPS)
    rates, start = np.array(rates), np.array(start)
    start[0, 2], rates[:, 5], rates[0, 7] = np.nan, np.inf, -1.0
    found = run(kernel, rates, start, STOPS)
    good = [0, 1, 3, 4, 6, 8]
    np.testing.assert_array_equal(found.amounts[..., good], clean.amounts[..., good])
    assert not np.isfinite(found.amounts[1:, :, 2]).all()
    assert not np.isfinite(found.amounts[1:, :, 5]).all()


def test_wrong_arrays_are_refused_before_the_call(model):
    system, rates = model("iodide", 9)
    start, stops = jnp.asarray(patients(len(system.names), 9)[0]), jnp.asarray(STOPS)
    kernel = compile_linear(system, SERIES)
    for wrong in (
        (rates.astype(np.float32), start, stops),
        (rates[:-1], start, stops),
        (rates, start[:, :-1], stops),
        (rates, start, stops.astype(np.float32)),
        (rates, start, stops[:, None]),
        (rates, start, stops[:0]),
        (rates, start, stops, start[1:]),
    ):
        with pytest.raises(TypeError, match="must be float64"):
            kernel(*wrong)


def _handler(system, count=9):
    """The compiled handler's name, good arguments and result types."""
    window = LinearWindowForward(
        system, SERIES, len(STOPS), True, True, False, registers=jit.host_processor().registers * 3 // 4
    )
    rates = jnp.ones((len(system.slopes[0]), count))
    start = jnp.ones((len(system.names), count))
    types = [jax.ShapeDtypeStruct((*b.shape, count), np.float64) for b in window.results]
    return register_program(window), handler_arguments(window, rates, start, jnp.asarray(STOPS)[:, None], None), types


@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("fault", ["dtype", "rank", "first", "last"])
def test_the_handler_refuses_every_wrong_argument(model, which, fault):
    """Called directly, without the checks of the function around it: an error, and never a read or write out of bounds."""
    system, _ = model("iodide", 1)
    name, given, types = _handler(system)
    a = given[which]
    given[which] = {"dtype": a.astype(np.float32), "rank": a[None], "first": a[:-1], "last": a[..., :0]}[fault]
    # The number of patients is read from the rates, whose fault is found in the next buffer then.
    says = "start" if (which, fault) == (0, "last") else ("rates", "start", "stops", "weights", "integral_terms")[which]
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"pbpk kernel: {says} must be float64"):
        jax.block_until_ready(jax.jit(jax.ffi.ffi_call(name, types))(*given))


@pytest.mark.parametrize("which", range(3))
def test_the_handler_refuses_every_wrong_result(model, which):
    system, _ = model("iodide", 1)
    name, given, types = _handler(system)
    good = types[which]
    says = ("amounts", "integral", "error")[which]
    for shape, dtype in (
        (good.shape, np.float32),
        (good.shape[1:], np.float64),
        ((good.shape[0] + 1, *good.shape[1:]), np.float64),
        ((*good.shape[:-1], 8), np.float64),
    ):
        types[which] = jax.ShapeDtypeStruct(shape, dtype)
        with pytest.raises(jax.errors.JaxRuntimeError, match=f"pbpk kernel: {says} must be float64"):
            jax.block_until_ready(jax.jit(jax.ffi.ffi_call(name, types))(*given))


def test_the_handler_refuses_wrong_numbers_of_arguments_and_too_few_patients(model):
    system, _ = model("iodide", 1)
    name, given, types = _handler(system)
    for arguments, results in ((given[:-1], types), ([*given, given[0]], types), (given, types[:-1])):
        with pytest.raises(jax.errors.JaxRuntimeError, match="there must be 5 arguments and 3 results"):
            jax.block_until_ready(jax.jit(jax.ffi.ffi_call(name, results))(*arguments))
    name, given, types = _handler(system, 1)
    with pytest.raises(jax.errors.JaxRuntimeError, match="no patient or at least"):
        jax.block_until_ready(jax.jit(jax.ffi.ffi_call(name, types))(*given))


def test_it_is_not_transposed_and_says_so(model):
    """Backwards goes `pull`; JAX cannot make it of the forward derivatives."""
    system, rates = model("iodide", 9)
    start, _ = patients(len(system.names), 9)
    kernel = compile_linear(system, SERIES)
    with pytest.raises(ValueError, match="does not support reverse-mode"):
        jax.grad(lambda k: kernel(k, jnp.asarray(start), jnp.asarray(STOPS)).amounts.sum())(rates)


def test_a_saturable_model_is_refused():
    cell = Compartment("cell", "mg")
    law = flux(cell >> OUT, saturable, c=amount(cell), vmax="vmax", km="km")
    with pytest.raises(BadInput, match="linear kernel"):
        compile_linear(build_system(Block((cell,), (law,))), SERIES)


def test_without_llvmlite_it_says_what_is_missing(model, monkeypatch):
    system, _ = model("iodide", 1)
    monkeypatch.setattr(jit, "explain_no_jit", lambda: "llvmlite is not installed")
    with pytest.raises(MissingExtra, match="kernels are off"):
        compile_linear(system, SERIES)


def test_the_rest_works_without_llvmlite():
    code = (
        "import sys; sys.modules['llvmlite'] = None\n"
        "import pbpk.compile\n"
        "from pbpk.compile.xla import jit\n"
        "print(jit.explain_no_jit())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "llvmlite is not installed (pip install 'pbpk[kernel]')\n"
