"""The compiled Rosenbrock window and its adjoint: against NumPy and the JAX solver, and that no patient disturbs another."""

import os
import subprocess
import sys
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import pbpk
from pbpk.compile.backend.base import NumpyBackend
from pbpk.compile.engine import using_engine
from pbpk.compile.programs.rosenbrock.kernel import encode_result, integrate_window
from pbpk.compile.programs.rosenbrock.right_hand_side import lay_out_fluxes, unsupported
from pbpk.compile.programs.rosenbrock.step import step_weights
from pbpk.compile.programs.rosenbrock.window import RosenbrockMethod, RosenbrockWindow
from pbpk.compile.programs.rosenbrock.window_adjoint import RosenbrockWindowAdjoint
from pbpk.compile.xla import jit
from pbpk.errors import Note
from pbpk.linalg.tableau import TABLEAUS
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flow, flux, saturable
from pbpk.model.laws import inhibited_first_order
from pbpk.model.system import build_system
from pbpk.results import ResultCode
from pbpk.solve.general import General
from pbpk.solve.interval import Interval
from pbpk.solve.right_hand_side import build_vector_field
from pbpk.solve.rosenbrock import Rosenbrock
from pbpk.solve.rosenbrock_window import (
    RosenbrockOptions,
    StepMemory,
    choose_first_memory,
    cross_window,
    cross_window_reversibly,
)
from pbpk.solve.timeline import build_timeline

pytestmark = pytest.mark.usefixtures("compiled")

GRID = (0.01, 24.0)
STOPS = np.array([0.0, 0.5, 2.0, 2.0, 9.0])


def hill(c, vmax, half, gamma):
    """An exponent that is a parameter: log and pow; of nothing below 0, which a step may cross."""
    power = jnp.maximum(c, 0.0) ** gamma
    return vmax * power / (half**gamma + power)


def trio(*out):
    """Three compartments of which one saturates, an arrow is driven by a compartment it does not touch, another made."""
    depot, central, tissue = (
        Compartment("depot", "mg"),
        Compartment("central", "mg", volume="V"),
        Compartment("tissue", "mg"),
    )
    return build_system(
        Block(
            (depot, central, tissue),
            (
                flux(depot >> central, first_order, a=amount(depot), k="KA"),
                flux(central >> tissue, flow, c=conc(central), q="Q"),
                flux(tissue >> central, inhibited_first_order, a=amount(tissue), rival=amount(depot), k="K", half="H"),
                *(flux(central >> OUT, law, c=conc(central), **named) for law, named in out),
            ),
        )
    )


SMALL = trio((saturable, {"vmax": "VM", "km": "KM"}), (hill, {"vmax": "VM", "half": "KM", "gamma": "G"}))
VALUES = {"KA": 1.2, "Q": 3.0, "VM": 9.0, "KM": 3.0, "V": 5.0, "K": 0.4, "H": 30.0, "G": 1.7}
VARIANTS = {
    "kinetic": {"competitors": "kinetic"},
    "damage": {"drivers": "rhtsh,damage"},
    "growth": {"drivers": "redifferentiation,growth", "competitors": "kinetic"},
    "intact": {"competitors": "kinetic", "lesions": "neck,lung", "thyroid": "intact", "tracer": "iodide"},
}


def patients(count, seed=0, spread=0.3):
    """Parameters (m, N) of the small system and amounts (n, N)."""
    rng = np.random.default_rng(seed)
    p = np.array([np.full(count, VALUES[name]) for name in SMALL.parameter_names])
    return p * np.exp(spread * rng.standard_normal(p.shape)), rng.uniform(5, 60, (3, count))


@cache
def bundled(variant, count=9):
    model = pbpk.load_model("nis_body", options=VARIANTS[variant])
    system, rng = model.system, np.random.default_rng(0)
    values = np.asarray(model.values, float)[:, None]
    p = system.derive(values * np.exp(0.02 * rng.standard_normal((len(values), count))))
    x = np.array(system.initial(jnp.asarray(p))) * np.ones((1, count))
    x[system.index("plasma")] += rng.uniform(50, 150, count)
    return system, p, x


def method(system, grid=None, rtol=1e-6, integrals=True, name="rodas5p", recorded_steps=400, max_steps=5000):
    return RosenbrockMethod(
        build_vector_field(system), TABLEAUS[name], rtol, 1e-4 * rtol, max_steps, integrals, grid, recorded_steps
    )


def _arrays(own, x, rate, stops, p):
    bound = own.field.bind(jnp.asarray(p))
    fresh = StepMemory(*jnp.zeros((2, x.shape[-1])))
    stops = jnp.asarray(stops).reshape(len(stops), -1)
    return jnp.asarray(x), None if rate is None else jnp.asarray(rate), stops, bound, fresh


@partial(jax.jit, static_argnums=0)
def _by_kernel(own, x, rate, stops, p):
    return integrate_window(own, *_arrays(own, x, rate, stops, p))


@partial(jax.jit, static_argnums=(0, 5))
def _by_jax(own, x, rate, stops, p, cross=cross_window):
    x, rate, stops, bound, memory = _arrays(own, x, rate, stops, p)
    options = RosenbrockOptions(own.field, own.tableau, own.rtol, own.atol, own.max_steps, own.integrals, own.grid)
    stops = jnp.broadcast_to(stops, (len(stops), x.shape[-1]))
    fresh = jnp.ones(x.shape[-1], bool)
    memory = choose_first_memory(options, x, Interval(stops, rate, bound, fresh, memory))
    return cross(options, x, rate, stops, bound, memory)


def by_numpy(own, x, rate, stops, p, seen=None):
    """The forward program's results by name; and the reverse's where there are cotangents (amounts, integrals)."""
    x, rate, stops, bound, _ = _arrays(own, x, rate, stops, p)
    edges = np.concatenate([np.zeros((1, stops.shape[1])), stops])
    rows = [a for group in bound.arguments for a in group if a is not None]
    given = {"start": x, "linear": bound.linear, "constant": bound.constant, "edges": edges}
    given |= {
        "law_parameters": jnp.concatenate(rows)[np.array(lay_out_fluxes(own.field).parameter_rows)],
        "inflow": rate,
    }
    given |= {"step_memory": np.zeros((2, x.shape[-1])), "step_weights": step_weights(own.tableau)[:, None]}
    program = RosenbrockWindow(own, len(stops), stops.shape[1] == 1, rate is not None)
    found = _run(program, given, x.shape[-1])
    if seen is not None:
        starts = np.concatenate([np.asarray(x)[None], found["amounts"][:-1]])
        given |= {
            "starts": starts,
            "step_lengths": found["step_lengths"],
            "of_amounts": seen[0],
            "of_integral": seen[1],
        }
        found |= _run(RosenbrockWindowAdjoint(program), given, x.shape[-1])
    return found


def _run(program, given, count):
    arrays = {b.name: np.array(given[b.name], float) for b in program.arguments}
    machine = NumpyBackend(arrays | {b.name: np.full((*b.shape, count), np.nan) for b in program.results})
    with np.errstate(all="ignore"):
        program.run(machine)
    return {b.name: machine.buffers[b.name].reshape(*b.shape, count) for b in program.results}


def near(a, b, bound, least=0.0):
    """Within a part of each row's maximum over patients, or of `least`."""
    largest = np.abs(b).max(axis=-1, keepdims=True)
    assert np.all(np.abs(a - b) <= bound * np.maximum(largest, least)), np.max(
        np.abs(a - b) / np.maximum(largest, 1e-300)
    )


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("rodas5p", GRID),
        ("rodas4", None),
        pytest.param("rodas5p", None, marks=pytest.mark.slow),
        pytest.param("rodas4", GRID, marks=pytest.mark.slow),
    ],
)
def test_the_small_system_against_numpy_and_jax(name, grid):
    """With inflow, integrals, stops of no length, and stops of each patient's own."""
    p, x = patients(21)
    rate = np.zeros_like(x)
    rate[1, 5:] = 4.0
    for stops in (STOPS, STOPS[:, None] * np.linspace(0.5, 1.5, 21)):
        own = method(SMALL, grid, name=name)
        found, expected = _by_kernel(own, x, rate, stops, p), by_numpy(own, x, rate, stops, p)
        near(found.amounts, expected["amounts"], 1e-11)
        near(found.integrals, expected["integral"], 1e-11, 1e-3)
        np.testing.assert_array_equal(found.code, encode_result(expected["gave_up"], expected["inaccurate"])[0])
        near(found.length, expected["step_lengths"][-1], 1e-6)
        amounts, integrals, code, memory = _by_jax(own, x, rate, stops, p)
        near(found.amounts, amounts, 1e-5)
        near(found.integrals, integrals, 1e-5, 1e-3)
        np.testing.assert_array_equal(found.code, code)
        near(found.length, memory.length, 1e-2)
        assert (found.code == 0).all() or grid


OF_BUNDLED = (2e-4, 6.0)
EACH = [  # damage and intact on the grid: in their gradients below
    pytest.param("kinetic", None, id="kinetic-own"),
    *(pytest.param(v, None, id=f"{v}-own", marks=pytest.mark.slow) for v in VARIANTS if v != "kinetic"),
    *(pytest.param(v, OF_BUNDLED, id=f"{v}-grid", marks=pytest.mark.slow) for v in ("kinetic", "growth")),
]


@pytest.mark.parametrize("variant, grid", EACH)
def test_every_bundled_saturable_model_against_numpy_and_jax(variant, grid):
    system, p, x = bundled(variant)
    assert system.nonlinear
    own, stops = method(system, grid), np.array([0.3, 2.0, 9.0])
    found, expected = _by_kernel(own, x, None, stops, p), by_numpy(own, x, None, stops, p)
    good = np.asarray(found.code) == 0
    assert good.sum() >= 7
    np.testing.assert_array_equal(found.code, encode_result(expected["gave_up"], expected["inaccurate"])[0])
    near(found.amounts[..., good], expected["amounts"][..., good], 1e-11, 1e-6)
    near(found.integrals[..., good], expected["integral"][..., good], 1e-11, 1e-6)
    amounts, integrals, code, _ = _by_jax(own, x, None, stops, p)
    np.testing.assert_array_equal(found.code, code)
    near(found.amounts[..., good], amounts[..., good], 1e-5, 1e-3)
    near(found.integrals[..., good], integrals[..., good], 1e-5, 1e-3)


@pytest.mark.parametrize("grid", [None, GRID])
def test_any_number_of_patients_and_any_split_to_the_last_bit(grid):
    """Who is beside whom decides nothing, though they step together."""
    own = method(SMALL, grid, rtol=1e-4)
    p, x = patients(1000, spread=0.8)
    batch = _by_kernel(own, x, None, STOPS, p)
    assert batch.amounts.shape == (len(STOPS), 3, 1000)
    for first, last in ((0, 0), (0, 1), (3, 10), (10, 267), (500, 1000)):
        part = _by_kernel(own, x[:, first:last], None, STOPS, p[:, first:last])
        for a, b in zip(part, batch, strict=True):
            np.testing.assert_array_equal(a, b[..., first:last])


_THREADS = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
import pbpk, hashlib
import numpy as np
from test_kernel_rosenbrock import SMALL, STOPS, _by_kernel, gradient, method, patients
p, x = patients(1000)
found = [*_by_kernel(method(SMALL), x, None, STOPS, p), *gradient(method(SMALL), x, p)]
print(hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in found)).hexdigest())
"""


def test_results_do_not_depend_on_the_threads():
    said = []
    for flags in ("--xla_cpu_multi_thread_eigen=false", ""):
        env = {**os.environ, "XLA_FLAGS": flags}
        done = subprocess.run([sys.executable, "-c", _THREADS], env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert said[0] == said[1]
    assert len(said[0]) == 1


@pytest.mark.parametrize("lanes", [2, 4])
def test_narrower_vectors(monkeypatch, lanes):
    """What processors without this one's widest registers get."""
    wide = jit.host_processor()
    if lanes >= wide.lanes:
        pytest.skip(f"this processor's own width is {wide.lanes}")
    monkeypatch.setattr(jit, "host_processor", lambda: jit.Processor(wide.name, wide.features, lanes, 16))
    p, x = patients(13)
    own = method(SMALL, recorded_steps=401)  # unlike those compiled for wide vectors
    found = _by_kernel(own, x, None, STOPS, p)
    near(found.amounts, by_numpy(own, x, None, STOPS, p)["amounts"], 1e-11)


def _total(own, cross, weight, x, rate, stops, p):
    found = cross(own, x, rate, stops, p)
    return jnp.sum(weight[0] * found[0]) + jnp.sum(weight[1] * found[1])


@partial(jax.jit, static_argnums=(0, 1))
def _gradient(own, cross, weight, x, rate, stops, p):
    return jax.grad(_total, (3, 4, 5, 6))(own, cross, weight, x, rate, stops, p)


def reverse_jax(own, x, rate, stops, p):
    return _by_jax(own, x, rate, stops, p, cross_window_reversibly)


def cotangents(count, stops=5, size=3):
    return np.random.default_rng(7).standard_normal((2, stops, size, count))


def gradient(own, x, p, rate=None, stops=STOPS, by=_by_kernel):
    rate = np.zeros_like(x) if rate is None else rate
    weight = cotangents(x.shape[-1], len(stops), len(x))
    return [np.asarray(g) for g in _gradient(own, by, weight, *map(jnp.asarray, (x, rate, stops, p)))]


@pytest.mark.parametrize("grid", [None, pytest.param(GRID, marks=pytest.mark.slow)])
def test_gradients_against_jax_and_numpy(grid):
    p, x = patients(13)
    rate = np.zeros_like(x)
    rate[1] = 4.0
    own = method(SMALL, grid)
    stops = STOPS[:, None] * np.linspace(0.5, 1.5, 13)
    found, expected = gradient(own, x, p, rate, stops), gradient(own, x, p, rate, stops, reverse_jax)
    for a, b in zip(found, expected, strict=True):
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-8 * np.abs(b).max())
    shared, wide = (gradient(own, x, p, rate, s) for s in (STOPS, np.broadcast_to(STOPS[:, None], stops.shape)))
    np.testing.assert_allclose(shared[2], wide[2].sum(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(shared[3], wide[3])
    oracle = by_numpy(own, x, rate, stops, p, cotangents(13))
    near(found[0], oracle["of_start"], 1e-11)
    near(found[1], oracle["of_constant"], 1e-11)
    near(found[2], oracle["of_edges"][1:], 1e-11, np.abs(found[2]).max())


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["damage", "intact"])
def test_gradients_of_bundled_models(variant):
    system, p, x = bundled(variant)
    p, x, stops = p[:, 1:5], x[:, 1:5], np.array([0.3, 2.0])
    own = method(system, OF_BUNDLED)
    found, expected = gradient(own, x, p, stops=stops), gradient(own, x, p, stops=stops, by=reverse_jax)
    for a, b in zip(found, expected, strict=True):
        near(a, b, 1e-8, 1e-6 * np.abs(b).max())


def test_gradients_against_differences():
    """Along one direction in everything; on a grid, where the result is smooth."""
    p, x = patients(9)
    own, rng = method(SMALL, GRID), np.random.default_rng(2)
    at = [x, np.full_like(x, 0.5), STOPS, p]
    way = [v * rng.uniform(0.2, 1, v.shape) for v in at]
    way[2] = 0.7 * STOPS  # two stops of one time stay together
    found = gradient(own, x, p, at[1])
    slope = sum(np.sum(g * w) for g, w in zip(found, way, strict=True))

    def value(s):
        moved = [v + s * w for v, w in zip(at, way, strict=True)]
        return float(_total(own, _by_kernel, cotangents(9), *moved[:3], moved[3]))

    by_difference = (8 * (value(1e-4) - value(-1e-4)) - (value(2e-4) - value(-2e-4))) / 12e-4
    assert abs(slope - by_difference) < 1e-8 * sum(np.sum(np.abs(g * w)) for g, w in zip(found, way, strict=True))


def test_gradients_are_bit_equal_over_splits():
    own = method(SMALL)
    p, x = patients(300, spread=0.8)
    weight = cotangents(300)

    def of(first, last):
        stops = np.broadcast_to(STOPS[:, None], (len(STOPS), last - first))
        arrays = (weight[..., first:last], x[:, first:last], np.zeros_like(x[:, first:last]), stops, p[:, first:last])
        return _gradient(own, _by_kernel, *map(jnp.asarray, arrays))

    batch = of(0, 300)
    for first, last in ((0, 1), (3, 10), (10, 300)):
        for a, b in zip(of(first, last), batch, strict=True):
            np.testing.assert_array_equal(a, b[..., first:last])


def test_under_vmap_and_its_gradient():
    own = method(SMALL, rtol=1e-4)
    p, x = patients(6)
    batch = gradient(own, x, p)
    weight = cotangents(6)

    def one(weight, x, p):
        none = jnp.zeros((3, 1))
        arrays = (weight[..., None], x[:, None], none, jnp.asarray(STOPS), p[:, None])
        return jax.grad(_total, (3, 6))(own, _by_kernel, *arrays)

    of_x, of_p = jax.jit(jax.vmap(one, in_axes=-1, out_axes=-1))(*map(jnp.asarray, (weight, x, p)))
    np.testing.assert_array_equal(of_x[:, 0], batch[0])
    np.testing.assert_allclose(of_p[:, 0], batch[3], rtol=1e-12)


def test_what_cannot_be_solved_says_so_and_ends():
    """NaN, no steps left, a tolerance out of reach: the codes of the JAX solver, and no other patient's numbers touched."""
    p, x = patients(9)
    own = method(SMALL, max_steps=60)
    alone = _by_kernel(own, x, None, STOPS, p)
    ill, start = p.copy(), x.copy()
    ill[SMALL.parameter_index("VM"), 2] = np.nan
    ill[SMALL.parameter_index("KA"), 4] = np.inf
    start[0, 5] = np.nan
    ill[SMALL.parameter_index("Q"), 6], ill[SMALL.parameter_index("KM"), 6] = 1e9, 1e-9
    found, (_, _, code, _) = _by_kernel(own, start, None, STOPS, ill), _by_jax(own, start, None, STOPS, ill)
    np.testing.assert_array_equal(found.code, code)
    assert {ResultCode.GAVE_UP} <= set(np.asarray(found.code)[[2, 5]].tolist())
    others = [0, 1, 3, 7, 8]
    np.testing.assert_array_equal(found.amounts[..., others], alone.amounts[..., others])
    grid = method(SMALL, (0.5, 2.0), rtol=1e-8)
    found, (_, _, code, _) = _by_kernel(grid, start, None, STOPS, ill), _by_jax(grid, start, None, STOPS, ill)
    np.testing.assert_array_equal(found.code, code)
    assert (np.asarray(found.code) & ResultCode.INACCURATE).any()
    stops = np.broadcast_to(STOPS[:, None], (len(STOPS), 9)).copy()
    stops[2:, 1] = np.nan
    _by_kernel(grid, x, None, stops, p), _by_kernel(own, x, None, stops, p)  # they end


def test_more_steps_than_the_reverse_has_room_for_are_no_number():
    """Of that patient alone."""
    p, x = patients(9)
    stops = np.array([[1e-3], [2e-3]]) * np.where(np.arange(9) == 4, 3e3, 1.0)
    found = gradient(method(SMALL, recorded_steps=12), x, p, stops=stops)
    assert np.isfinite(gradient(method(SMALL, recorded_steps=20), x, p, stops=stops)[3]).all()
    assert np.isnan(found[3][:, 4]).all()
    assert np.isfinite(np.delete(found[3], 4, axis=1)).all()


# Smooth laws of an amount and another, 0 where the first is and growing with it, so that nothing runs away.
LAWS = (
    lambda a, b, k, h: k * a / (h + a),
    lambda a, b, k, h: k * jnp.maximum(a, 0.0) ** 1.5 / (h + jnp.maximum(a, 0.0) ** 1.5),
    lambda a, b, k, h: k * jnp.log1p(jnp.abs(a) / h) * jnp.sign(a),
    lambda a, b, k, h: k * jnp.tanh(a / h) * jnp.exp(-0.01 * b),
    lambda a, b, k, h: jnp.where(b > h, 0.5, 1.0) * k * a,
    lambda a, b, k, h: k * a * jnp.sqrt(1 + (a / h) ** 2) / (1 + (b / h) ** 2),
)
SMOOTH = tuple(law for k, law in enumerate(LAWS) if k != 4)


def random_law(rng, laws=LAWS):
    return laws[int(rng.integers(len(laws)))]


# Of the first ten seeds, fewest that have every law both of an amount and of a concentration, driven by itself and by
# others, within the body and out of it.
SEEDS = (0, 1, 4, 5, 7)


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in SEEDS[1:])])
def test_random_systems_against_jax(seed):
    """Random arrows, with random laws that other compartments may drive: amounts, and gradients on a grid."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 7))
    cells = [Compartment(f"c{i}", "mg", volume=f"V{i}" if rng.random() < 0.5 else None) for i in range(n)]
    arrows, names = [], set()
    for k in range(int(rng.integers(n, 2 * n + 1))):
        a, b, c = (int(v) for v in rng.integers(0, [n, n + 1, n]))
        if a == b:
            continue
        ends = cells[a] >> (OUT if b == n else cells[b])
        if rng.random() < 0.6:
            read = conc if cells[a].volume else amount
            arrows.append(flux(ends, random_law(rng), a=read(cells[a]), b=amount(cells[c]), k=f"k{k}", h=f"h{k}"))
        else:
            arrows.append(flux(ends, first_order, a=amount(cells[a]), k=f"k{k}"))
    arrows.append(flux(cells[0] >> OUT, saturable, c=amount(cells[0]), vmax="VM", km="KM"))
    system = build_system(Block(tuple(cells), tuple(arrows)))
    assert not unsupported(build_vector_field(system))
    names = system.parameter_names
    p = np.array([rng.uniform(0.5, 3.0, 8) * (20.0 if name[0] == "h" else 1.0) for name in names])
    x = rng.uniform(1, 20, (n, 8))
    own = method(system, rtol=1e-7)
    found, (amounts, integrals, code, _) = _by_kernel(own, x, None, STOPS, p), _by_jax(own, x, None, STOPS, p)
    np.testing.assert_array_equal(found.code, code)
    near(found.amounts, amounts, 1e-6, 1.0)
    near(found.integrals, integrals, 1e-6, 1.0)
    if not seed:  # the JAX solver's reverse takes ten seconds to compile
        return
    own = method(system, (0.01, 24.0))
    for a, b in zip(gradient(own, x, p), gradient(own, x, p, by=reverse_jax), strict=True):
        assert np.isfinite(b).all()
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-8 * np.abs(b).max())


def test_laws_that_no_kernel_has_are_named():
    odd = trio((lambda c, k: k * jnp.arctan(c), {"k": "K"}))
    assert unsupported(build_vector_field(odd)) == "a law uses `atan`"
    assert unsupported(build_vector_field(SMALL)) == ""


def test_a_model_with_such_a_law_is_solved_by_jax_with_a_note():
    odd = trio((lambda c, k: k * jnp.arctan(c), {"k": "VM"}))
    p = np.array([VALUES[name] for name in odd.parameter_names])[None, :, None]
    no = {"RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": "central"}
    records = [
        {"TIME": 0.0, "EVID": 1, "AMT": 20.0, "MDV": 1, **no},
        {"TIME": 2.0, "EVID": 0, "AMT": 0.0, "MDV": 0, **no},
    ]
    timeline = build_timeline([pd.DataFrame(records)], odd)
    with pytest.warns(Note, match="the JAX engine solves this model, slower: a law uses `atan`, which no kernel has"):
        found = jax.jit(lambda p: Rosenbrock(rtol=1e-6).solve(odd, timeline, p))(p)
    with using_engine("jax"):
        same = jax.jit(lambda p: Rosenbrock(rtol=1e-6).solve(odd, timeline, p))(p)
    np.testing.assert_array_equal(found.amounts, same.amounts)
    assert found.result.tolist() == [0]


SHAPES = (1, 2, 5, 13, *(pytest.param(n, marks=pytest.mark.slow(seconds=20)) for n in (41, 100, 200)))


@pytest.mark.parametrize("n", SHAPES)
def test_bodies_of_any_shape_against_diffrax(n):
    """Trees with some rings, random laws on two arrows of five, driven by other compartments: after a dose."""
    rng = np.random.default_rng(500 + n)
    cells = [Compartment(f"c{i}", "mg", volume=f"V{i}" if rng.random() < 0.5 else None) for i in range(n)]
    pairs = {(int(rng.integers(max(0, v - 5), v)), v) for v in range(1, n)}
    pairs |= {(b, a) for a, b in pairs if rng.random() < 0.7} | {(0, n)}
    pairs |= {(int(a), int(b)) for a, b in rng.integers(0, n, (n // 5, 2)) if a != b}
    arrows = []
    for k, (a, b) in enumerate(sorted(pairs)):
        ends = cells[a] >> (OUT if b == n else cells[b])
        c = cells[int(rng.integers(n)) if n < 100 else min(a, b)]  # from anywhere, elimination would fill in
        if rng.random() < 0.4:
            read = conc if cells[a].volume else amount
            law = random_law(rng, SMOOTH)  # at a step no solver has its order
            arrows.append(flux(ends, law, a=read(cells[a]), b=amount(c), k=f"k{k}", h=f"h{k}"))
        else:
            arrows.append(flux(ends, first_order, a=amount(cells[a]), k=f"k{k}"))
    arrows.append(flux(cells[0] >> OUT, saturable, c=amount(cells[0]), vmax="VM", km="KM"))
    system = build_system(Block(tuple(cells), tuple(arrows)))
    count = 9 if n < 100 else 3
    p = np.array([rng.uniform(0.3, 2.0, count) * (20.0 if name[0] == "h" else 1.0) for name in system.parameter_names])
    no = {"RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": "c0"}
    rows = [{"TIME": 0.0, "EVID": 1, "AMT": 50.0, "MDV": 1, **no}]
    rows += [{"TIME": t, "EVID": 0, "AMT": 0.0, "MDV": 0, **no} for t in (0.2, 1.0, 4.0, 15.0)]
    timeline = build_timeline([pd.DataFrame(rows)], system)

    def solved(solver, engine):
        with using_engine(engine):
            found = jax.jit(lambda p: solver.solve(system, timeline, p))(jnp.asarray(p)[None])
        assert not np.any(found.result)
        return np.asarray(found.amounts)

    assert not unsupported(build_vector_field(system))
    rtol = 1e-9 if n < 100 else 1e-7  # at which diffrax takes seconds, not minutes
    found = solved(Rosenbrock(rtol=rtol), "kernel")
    by_diffrax = solved(General(rtol=rtol, atol=1e-3 * rtol), "diffrax")
    np.testing.assert_allclose(found, by_diffrax, rtol=1e3 * rtol, atol=50 * rtol)
