"""Kernels for CUDA as far as they can be shown without a device: the program's arithmetic, run on this processor by a
driver that is not one; the PTX; the launch; what is refused; and what JAX would send to a device."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import fake_cuda
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax import export

import pbpk
from pbpk.compile import compile_linear, engine
from pbpk.compile.backend import ptx
from pbpk.compile.engine import using_engine
from pbpk.compile.programs.linear.kernel import handler_arguments
from pbpk.compile.programs.linear.window import LinearWindowForward
from pbpk.compile.xla import bind, cuda, jit
from pbpk.likelihood.endpoints.base import Observed
from pbpk.likelihood.endpoints.compiled_terms import make_likelihood_data, make_likelihood_terms
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.linalg.series import design
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock
from pbpk.solve.timeline import build_timeline

pytestmark = pytest.mark.usefixtures("compiled")

SERIES = design(30.0, 1e-9)
STOPS = np.array([0.5, 2.0, 8.0, 15.0])
EDGES = [(0, 1), (1, 0), (1, 2), (2, 3), (0, 3), (3, 4)]


def numbers(count, seed=0):
    """Rates, amounts and inflows."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 2, (len(EDGES), count)), *rng.uniform(0, 1, (2, 4, count))


@pytest.fixture(scope="module")
def program(graph, compiled):
    return LinearWindowForward(graph(4, EDGES), SERIES, len(STOPS), True, True, True)


@pytest.fixture
def driver(monkeypatch):
    """cuda.py with a driver and a device that are not there; nothing of it is remembered afterwards."""
    fake = fake_cuda.Driver()
    forgetful = (cuda.explain_unavailable, cuda.register_on_cuda, cuda._attribute, bind._make_batched)

    def forget():
        for f in forgetful:
            f.cache_clear()

    forget()
    monkeypatch.setattr(cuda, "_driver", lambda: fake)
    monkeypatch.setattr(cuda, "list_devices", lambda: (fake_cuda.device(0),))
    yield fake
    forget()


@pytest.fixture
def handler(driver, program, monkeypatch):
    """The handler for CUDA as XLA would call it; the driver runs the program's own assembly."""
    made = []
    real = jit.compile_handler
    monkeypatch.setattr(jit, "compile_handler", lambda *a: made.append(real(*a)) or made[-1])
    cuda.register_on_cuda(program)
    driver.program = fake_cuda.on_this_processor(cuda.write_program(program)[0])
    driver.parameters = 2 + len(program.arguments) + len(program.results)
    return made[0]


def arrays(program, count, blocks=1):
    """Arguments, and results with scratch, filled with what must not be read."""
    given = handler_arguments(program, *map(jnp.asarray, (*numbers(count)[:2], STOPS[:, None], numbers(count)[2])))
    results = [np.full((*b.shape, count), np.nan) for b in program.results]
    slots = cuda.write_program(program)[2]
    return [np.array(a) for a in given], [*results, np.full((blocks, slots, ptx.BLOCK), np.nan)]


def test_one_lane_is_the_vectors_program(graph, run, apart, monkeypatch):
    """The machine of plain doubles, compiled for this processor."""
    rates, start, source = numbers(13)
    kernel = compile_linear(graph(4, EDGES), SERIES, integrals=True)
    wide = run(kernel, rates, start, STOPS, source)
    host = jit.host_processor()
    monkeypatch.setattr(jit, "host_processor", lambda: jit.Processor(host.name, host.features, 1, 32))
    one = run(kernel, rates, start, STOPS, source)
    for a, b in zip(one[:2], wide[:2], strict=True):
        assert apart(a, b) < 1e-13
    np.testing.assert_allclose(one.error, wide.error, rtol=1e-3)


@pytest.mark.parametrize(("count", "blocks"), [(1, 1), (7, 1), (128, 1), (300, 1), (300, 3), (300, 4), (700, 2)])
def test_a_launch_gives_what_the_processor_gives(handler, driver, program, run, apart, count, blocks):
    """Threads without patients, whole blocks without, and several patients a thread."""
    given, results = arrays(program, count, blocks)
    kept = [a.copy() for a in given]
    assert fake_cuda.Frame(handler).call(given, results) is None
    rates, start, source = numbers(count)
    kernel = compile_linear(program.system, SERIES, integrals=True)
    expected = run(kernel, rates, start, STOPS, source)
    assert apart(results[0], expected.amounts) < 1e-13
    assert apart(results[1], expected.integrals) < 1e-13
    np.testing.assert_allclose(results[2][0], expected.error, rtol=1e-3)
    for a, b in zip(given, kept, strict=True):
        np.testing.assert_array_equal(a, b)
    ((kernel_, gx, gy, gz, bx, by, bz, shared, stream, extra), values) = driver.launched[0]
    assert (kernel_, gx, gy, gz, bx, by, bz) == (fake_cuda.KERNEL, blocks, 1, 1, ptx.BLOCK, 1, 1)
    assert (shared, stream, extra) == (0, fake_cuda.STREAM, None)
    assert values == [count, *(a.ctypes.data for a in (results[-1], *given, *results[:-1]))]
    used = min(count, blocks * ptx.BLOCK)
    columns = np.moveaxis(results[-1], 1, -1).reshape(blocks * ptx.BLOCK, -1)
    assert np.isfinite(columns[:used]).any(axis=1).all()
    assert np.isnan(columns[used:]).all()


STRUCTURE = """
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, observe, saturable

depot, central = Compartment("depot", "mg"), Compartment("central", "mg", volume="V")
model = Block(
    (depot, central),
    (
        flux(depot >> central, first_order, a=amount(depot), k="KA"),
        flux(central >> OUT, saturable, c=conc(central), vmax="VM", km="KM"),
    ),
    observables=(observe("cp", conc(central), "plasma concentration"),),
    routes={"oral": depot},
)
"""


@pytest.fixture
def body(tmp_path):
    """A saturable model."""
    values = {"KA": (1.2, "1/h"), "V": (5.0, "L"), "VM": (9.0, "mg/h"), "KM": (0.5, "mg/L")}
    (tmp_path / "structure.py").write_text(STRUCTURE)
    tail = 'about = "a number", source = "assumed: for a test", status = "assumed"'
    rows = [f'{n} = {{ value = {v}, unit = "{u}", {tail} }}\n' for n, (v, u) in values.items()]
    (tmp_path / "parameters.toml").write_text("".join(rows))
    return pbpk.load_model(tmp_path)


@pytest.fixture
def all_launched(driver, monkeypatch):
    """Whatever calls a kernel, launches it; how many patients each launch had."""
    made, counts, known = [], [], {}
    real = jit.compile_handler
    monkeypatch.setattr(jit, "compile_handler", lambda *a: made.append(real(*a)) or made[-1])

    def launched(program, types, given):
        if program not in known:
            cuda.register_on_cuda(program)
            known[program] = (
                made[-1],
                fake_cuda.on_this_processor(cuda.write_program(program)[0]),
                cuda.write_program(program)[2],
            )
        handler, run, slots = known[program]

        def call(*arrays):
            results = [np.full(t.shape, np.nan) for t in types]
            count = results[0].shape[-1]
            scratch = np.full((cuda.count_blocks(count, slots), slots, ptx.BLOCK), np.nan)
            driver.program, driver.parameters = run, 2 + len(arrays) + len(results)
            assert fake_cuda.Frame(handler).call([np.array(a) for a in arrays], [*results, scratch]) is None
            counts.append(count)
            return tuple(results)

        return list(jax.pure_callback(call, tuple(types), *given))

    def use():
        monkeypatch.setattr(bind, "_call_compiled", launched)
        bind._make_batched.cache_clear()
        cuda.register_on_cuda.cache_clear()
        jax.clear_caches()
        return counts

    yield use
    jax.clear_caches()


@pytest.mark.parametrize("kind", ["linear", "saturable"])
def test_a_whole_solution_and_its_gradient(body, all_launched, kind):
    """Windows and the way back through them; with steps of each patient's own, loops that end at another time in every
    thread."""
    model, name = (body, "VM") if kind == "saturable" else (pbpk.load_model("oral_one_compartment"), "CL")
    times, count = [0.5, 2.0, 6.0, 12.0], 150
    values, who = np.linspace(2.0, 30.0, count), pbpk.virtual_patients(model, count, seed=1)

    def simulated(value, dose):
        given = {"patients": who, "values": {name: value}, "dose_amounts": [dose]}
        return pbpk.simulate(model, pbpk.dose("100 mg", into="oral"), times, engine="kernel", **given)

    def loss(value, dose):
        return jnp.sum(jnp.square(simulated(value, dose)["cp"]))

    def both():
        return simulated(values, 80.0)["cp"], jax.jit(jax.grad(loss, argnums=(0, 1)))(values, 80.0)

    path, slopes = both()
    counts = all_launched()
    path_there, slopes_there = both()
    assert len(counts) >= 3
    np.testing.assert_allclose(path_there, path, rtol=1e-11)
    for a, b in zip(slopes_there, slopes, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * np.abs(b).max())


def test_derivatives_forward_of_a_saturable_window(body, all_launched):
    """The program on operands with derivatives, two for each of 40 patients: what a fit asks for."""
    who = pbpk.virtual_patients(body, 40, seed=1)

    def curve(vm):
        given = {"patients": who, "values": {"VM": vm}, "engine": "kernel", "forward": True}
        return pbpk.simulate(body, pbpk.dose("100 mg", into="oral"), [0.5, 6.0], **given)["cp"]

    def derivatives():
        slope = lambda vm: jax.jvp(curve, (vm,), (jnp.ones(()),))[1]  # noqa: E731
        return slope(9.0), jax.jvp(slope, (9.0,), (1.0,))[1]

    expected = derivatives()
    counts = all_launched()
    for a, b in zip(derivatives(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * np.abs(b).max())
    assert counts


@pytest.mark.parametrize("kind", ["linear", "saturable"])
def test_a_likelihood_and_its_slopes(body, all_launched, kind):
    """There, judged and back in one launch, of patients with records of their own."""
    system = (body if kind == "saturable" else pbpk.load_model("oral_one_compartment")).system
    solver = Rosenbrock(rtol=1e-6) if kind == "saturable" else Resolvent()
    into = system.compartments[0].name
    no = {"EVID": 0, "AMT": 0.0, "RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": into, "MDV": 0}
    given = [no | {"TIME": t, "EVID": 1, "AMT": 20.0 + t, "MDV": 1} for t in (0.0, 6.0)]
    seen = [no | {"TIME": t} for t in (0.5, 2.0, 6.5, 9.0)]
    records = sorted([*given, *seen], key=lambda r: r["TIME"])
    frames = [pd.DataFrame([r for k, r in enumerate(records) if k != 1 + i % 5]) for i in range(140)]
    timeline, rng = build_timeline(frames, system), np.random.default_rng(0)
    p = jnp.asarray(rng.uniform(0.5, 2.0, (1, len(system.parameter_names), 140)))
    endpoints = (GaussianEndpoint("cp", "cp", (("add", "add"), ("prop", "prop")), "combined2", has_limits=True),)
    y = rng.uniform(0.1, 9.0, timeline.output_mask.shape)
    o = Observed(
        y, np.where(y < 1, -np.inf, y), np.maximum(y, 1.0), np.full(y.shape, -np.inf), 0 * y, -np.ones(y.shape)
    )
    terms = make_likelihood_terms(system, endpoints)

    def loss(p, add):
        data = make_likelihood_data(
            system, endpoints, p, np.zeros(y.shape), timeline.output_mask, o, {"add": add, "prop": 0.2}
        )
        return jnp.sum(solver.solve_likelihood(system, timeline, p, terms, data).minus2ll)

    def both():
        with using_engine("kernel"):
            return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(p, 0.3)

    wanted = both()
    counts = all_launched()
    found = both()
    assert counts == [140]
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10 * np.abs(b).max())


def test_no_patients_are_no_launch(handler, driver, program):
    assert fake_cuda.Frame(handler).call(*arrays(program, 0)) is None
    assert driver.launched == []


def test_it_may_be_recorded_and_played_again(handler):
    assert fake_cuda.Frame(handler).metadata() == (0, 1, 1)


def test_every_wrong_array_is_refused_before_the_launch(handler, driver, program):
    names = [*(b.name for b in (*program.arguments, *program.results)), "scratch"]
    for which, name in enumerate(names):
        for fault in ("dtype", "rank", "first", "last"):
            given, results = arrays(program, 9)
            whole = [*given, *results]
            a = whole[which]
            whole[which] = {
                "dtype": a.astype(np.float32),
                "rank": a[None],
                "first": a[:-1],
                "last": np.concatenate([a, a], axis=-1),
            }[fault]
            if name == "scratch" and fault == "first":
                whole[which] = a[:, :-1]
            counted = next(k for k, b in enumerate((*program.arguments, *program.results)) if not b.share)
            if which == counted and fault == "last":  # which says how many patients there are: the next one is wrong
                name = names[which + 1]
            said = fake_cuda.Frame(handler).call(whole[: len(given)], whole[len(given) :])
            assert said is not None, (name, fault)
            assert said[0] == 3
            assert said[1].startswith(f"pbpk kernel: {name} must be float64 ("), (name, fault)
    given, results = arrays(program, 9)
    for a, r in ((given[:-1], results), (given, results[:-1]), ([*given, given[0]], results), (given, [])):
        said = fake_cuda.Frame(handler).call(a, r)
        assert said == (3, f"pbpk kernel: there must be {len(given)} arguments and {len(results)} results")
    assert driver.launched == []


def test_what_fails_outside_comes_back_as_an_error(handler, driver, program):
    assert fake_cuda.Frame(handler, stream=None).call(*arrays(program, 9)) == (12, "no stream")
    assert driver.launched == []
    for result, digits in ((700, "0700"), (2, "0002")):
        driver.result = result
        said = fake_cuda.Frame(handler).call(*arrays(program, 9))
        assert said == (13, f"pbpk kernel: the launch failed, CUDA error {digits}")


def test_it_is_loaded_for_every_device_once(driver, program, monkeypatch):
    monkeypatch.setattr(cuda, "list_devices", lambda: (fake_cuda.device(0), fake_cuda.device(3)))
    name = cuda.register_on_cuda(program)
    assert cuda.register_on_cuda(program) == name
    assert driver.contexts == [110, -110, 113, -113]
    (code,) = driver.loaded
    assert code.endswith(b"\0") and code.count(b"\0") == 1
    assert b".target sm_90" in code


def test_a_program_that_cannot_be_loaded_is_an_error_of_python(driver, program):
    driver.fails["cuLibraryLoadData"] = 218
    with pytest.raises(RuntimeError, match=r"cuLibraryLoadData: words of the driver \(218\)"):
        cuda.register_on_cuda(program)


@pytest.mark.parametrize("target", ptx.TARGETS)
def test_the_ptx(program, target):
    code = ptx.generate_ptx(cuda.write_program(program)[0], target)
    assert code.count(".entry") == 1
    assert f".visible .entry {ptx.ENTRY}(" in code
    assert f".target sm_{target}" in code
    assert f".maxntid {ptx.BLOCK}" in code
    count = len(program.arguments) + len(program.results) + 2
    assert code.count(".param .u64") == count
    for absent in (".func", ".extern", "call", ".local"):
        assert absent not in code
    # Everything is known to be in global memory, and products are fused with sums.
    memory = [word for word in code.split() if word.startswith(("ld.", "st."))]
    assert memory and all(w.startswith(("ld.global", "st.global", "ld.param")) for w in memory)
    assert code.count("fma.rn.f64") > code.count("mul.rn.f64")


def test_targets():
    found = {c: ptx.find_target(c) for c in (61, 70, 75, 80, 86, 89, 90, 100, 120)}
    assert found == {61: None, 70: 70, 75: 70, 80: 80, 86: 80, 89: 80, 90: 90, 100: 90, 120: 90}


def _ptxas():
    found = importlib.util.find_spec("nvidia")
    places = [Path(p) for p in found.submodule_search_locations or ()] if found else []
    packaged = [str(p) for place in places for p in place.glob("*/bin/ptxas")]
    return shutil.which("ptxas") or next(iter(packaged), None)


@pytest.mark.skipif(_ptxas() is None, reason="no ptxas (pip install nvidia-cuda-nvcc)")
@pytest.mark.parametrize("target", [80, 90])
@pytest.mark.parametrize("name", ["iodide", "astatide_reference"])
def test_ptxas_takes_it(model, name, target, tmp_path):
    system, _ = model(name, 1)
    device, _, _ = cuda.write_program(LinearWindowForward(system, SERIES, 6, True, True, True))
    (tmp_path / "k.ptx").write_text(ptx.generate_ptx(device, target))
    words = [_ptxas(), "-v", f"-arch=sm_{target}", "-o", tmp_path / "k.cubin", tmp_path / "k.ptx"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "spill" in done.stderr
    stack = int(done.stderr.split(" bytes stack frame")[0].split()[-1])
    assert stack < 1024, done.stderr


def test_what_jax_would_send_to_a_device(driver, graph):
    """Lowered for CUDA the call is the device's, with scratch; for both, the branch chooses; here, the processor's."""
    system = graph(4, EDGES)
    kernel = compile_linear(system, design(30.0, 1e-8))
    rates, start, source = map(jnp.asarray, numbers(1000))

    @jax.jit
    def f(k, x, r):
        return kernel(k, x, jnp.asarray(STOPS), r)

    found = f(rates, start, source)
    assert np.isfinite(found.amounts).all() and driver.launched == []
    program = LinearWindowForward(
        system, kernel.series, len(STOPS), True, False, True, registers=jit.host_processor().registers * 3 // 4
    )
    here, there = bind.register_program(program), cuda.register_on_cuda(program)
    checks = [export.DisabledSafetyCheck.custom_call(n) for n in (here, there)]

    def lowered(*platforms):
        return export.export(f, platforms=platforms, disabled_checks=checks)(rates, start, source).mlir_module()

    cpu, gpu, both = lowered("cpu"), lowered("cuda"), lowered("cpu", "cuda")
    assert here in cpu and there not in cpu
    assert there in gpu and here not in gpu
    assert here in both and there in both
    (line,) = [line for line in gpu.splitlines() if f"@{there}(" in line]
    slots = cuda.write_program(program)[2]
    takes, gives = line.rsplit(" : ", 1)[1].split(" -> ")
    sizes = [(*b.shape, 1 if b.share else 1000) for b in program.arguments]
    assert takes == "(" + ", ".join(f"tensor<{'x'.join(map(str, s))}xf64>" for s in sizes) + ")"
    assert (
        f"tensor<{len(STOPS)}x4x1000xf64>, tensor<1x1000xf64>, tensor<2x{slots}x128xf64>" in gives
    )  # two blocks: one MP


@pytest.mark.parametrize(
    ("patients", "slots", "multiprocessors", "blocks"),
    [(1, 500, 132, 1), (129, 500, 132, 2), (10**6, 500, 132, 264), (10**6, 500, 1, 2), (10**6, 10**5, 132, 10)],
)
def test_how_many_blocks(driver, patients, slots, multiprocessors, blocks):
    driver.attributes[16] = multiprocessors
    assert cuda.count_blocks(patients, slots) == blocks


def test_why_not(driver, monkeypatch):
    def asked(**change):
        cuda.explain_unavailable.cache_clear()
        cuda._attribute.cache_clear()
        with monkeypatch.context() as m:
            for name, value in change.items():
                m.setattr(driver if hasattr(driver, name) else cuda, name, value)
            return cuda.explain_unavailable()

    assert asked() == ""
    assert asked(version=11080) == "the CUDA driver's version 11080 is older than 12000"
    assert asked(attributes={75: 6, 76: 1, 16: 1}) == "compute capability 6.1 is below 7.0"
    assert asked(fails={"cuInit": 100}) == "cuInit: words of the driver (100)"
    assert asked(list_devices=lambda: ()) == "JAX has no CUDA device"

    def missing():
        raise OSError("libcuda.so.1: cannot open shared object file")

    assert "cannot be loaded: libcuda.so.1" in asked(_driver=missing)
    monkeypatch.setattr(jit, "explain_no_jit", lambda: "llvmlite is not installed")
    assert asked() == "llvmlite is not installed"


def test_only_who_asks_gets_kernels_on_a_device(monkeypatch):
    """Until they have been run on one."""
    monkeypatch.setattr(engine, "_platform", lambda: "gpu")
    monkeypatch.setattr(cuda, "explain_unavailable", lambda: "")
    engine._are_possible_on_cuda.cache_clear()
    monkeypatch.delenv("PBPK_ENGINE", raising=False)
    assert not engine.use_kernels(np.dtype(np.float64))
    with engine.using_engine("kernel"):
        assert engine.use_kernels(np.dtype(np.float64))
        assert not engine.use_kernels(np.dtype(np.float32))
        engine._are_possible_on_cuda.cache_clear()
        monkeypatch.setattr(cuda, "explain_unavailable", lambda: "JAX has no CUDA device")
        with pytest.warns(UserWarning, match="off on this device: JAX has no CUDA device"):
            assert not engine.use_kernels(np.dtype(np.float64))
    engine._are_possible_on_cuda.cache_clear()


@pytest.mark.gpu
def test_a_device_gives_what_the_processor_gives(model, run, apart):
    if reason := cuda.explain_unavailable():
        pytest.skip(reason)
    system, rates = model("astatide_reference", 3000)
    rng = np.random.default_rng(0)
    start, source = rng.uniform(0, 1, (2, len(system.names), 3000))
    kernel = compile_linear(system, SERIES, integrals=True)
    found = []
    for platform in ("cpu", "cuda"):
        with jax.default_device(jax.devices(platform)[0]):
            found.append(run(kernel, np.asarray(rates), start, STOPS, source))
    for count in (1, 7, 129):
        with jax.default_device(jax.devices("cuda")[0]):
            few = run(kernel, np.asarray(rates)[:, :count], start[:, :count], STOPS, source[:, :count])
        np.testing.assert_array_equal(few.amounts, found[1].amounts[..., :count])
    assert apart(found[1].amounts, found[0].amounts) < 1e-11
    assert apart(found[1].integrals, found[0].integrals) < 1e-11
