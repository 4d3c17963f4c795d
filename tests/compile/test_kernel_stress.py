"""Kernels under load: many Python threads, many processes on one cold cache, many calls, odd disks, bad numbers, and
graphs of any shape."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from processes import start_process
from scipy.linalg import expm

from pbpk.compile import compile_linear
from pbpk.compile.xla import cache, jit
from pbpk.linalg.series import design

pytestmark = pytest.mark.usefixtures("compiled")

ROOT = Path(__file__).resolve().parents[2]
SERIES = design(30.0, 1e-13)
STOPS = np.array([0.0, 0.5, 4.0, 15.0])

_BEGIN = """
import hashlib, json, os, sys, threading, time
import pbpk, jax, jax.numpy as jnp, numpy as np
from pbpk.linalg.series import design
from pbpk.compile import compile_linear

def numbers(name, count):
    system = pbpk.load_model(name).system
    rng = np.random.default_rng(0)
    shapes = (len(system.slopes[0]), count), (len(system.names), count)
    return system, jnp.asarray(rng.uniform(0.1, 5, shapes[0])), jnp.asarray(rng.uniform(0, 1, shapes[1]))

def compiled(name, stops):
    kernel = compile_linear(pbpk.load_model(name).system, design(30.0, 1e-9), integrals=True)
    return jax.jit(lambda k, x: kernel(k, x, jnp.asarray(stops)))

def digest(found):
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in found)).hexdigest()
"""


def started(code, **env):
    """A process of its own, with XLA's pool of threads as large as it is by default."""
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"PYTHONPATH": str(ROOT)} | env
    return start_process([sys.executable, "-c", _BEGIN + code], env=env)


def said(running):
    """What it printed, as JSON; a process that hangs is ended by the test's own time limit."""
    out, err = running.communicate()
    assert running.returncode == 0, err
    return json.loads(out)


_THREADS = """
work = [(compiled(n, s), *numbers(n, count)[1:]) for n, s, count in
        (("iodide", [1.0, 9.0], 5000), ("pertechnetate", [0.5], 300), ("iv_two_compartment", [2.0, 4.0, 8.0], 9))]
square = jax.jit(lambda a: jnp.sin(a @ a.T).sum(axis=0))
a = jnp.asarray(np.random.default_rng(1).standard_normal((300, 300)))
wanted, plain = [digest(f(k, x)) for f, k, x in work], digest([square(a)])
wrong, done = [], []

def run(first, until):
    turn = first
    while time.perf_counter() < until:
        f, k, x = work[turn % len(work)]
        if digest(f(k, x)) != wanted[turn % len(work)]:
            wrong.append(turn)
        if turn % 3 == first % 3 and digest([square(a)]) != plain:
            wrong.append(-turn)
        turn += 1
    done.append(turn - first)

threads = [threading.Thread(target=run, args=(i, time.perf_counter() + 4.0)) for i in range(6)]
for t in threads: t.start()
for t in threads: t.join()
print(json.dumps({"wrong": wrong, "done": done}))
"""


def test_many_python_threads_at_once():
    """Kernels of several sizes between other operations, from six threads: nothing hangs, and every bit is as alone."""
    with started(_THREADS) as running:
        found = said(running)
    assert found["wrong"] == []
    assert len(found["done"]) == 6
    assert min(found["done"]) > 0


_COLD = """
f = compiled("iodide", [1.0, 2.0])
print(json.dumps(digest(f(*numbers("iodide", 700)[1:]))))
"""


def test_several_processes_on_one_cold_cache(tmp_path):
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(started(_COLD, PBPK_CACHE=str(tmp_path))) for _ in range(4)]
        assert len({said(p) for p in running}) == 1
    kept = [f.name for f in (tmp_path / "kernels").iterdir()]
    assert len(kept) == 1  # and nothing half written beside it
    assert kept[0].startswith("pbpk_")


_MEMORY = """
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

small, large = compiled("iv_one_compartment", [1.0]), compiled("iodide", [1.0, 2.0])
few, many = numbers("iv_one_compartment", 8)[1:], numbers("iodide", 2000)[1:]

def calls(count):
    for i in range(count):
        found = small(*few)
        if i % 100 == 0:
            jax.block_until_ready(large(*many))
    jax.block_until_ready(found)

calls(10_000)
seen = [resident()]
for _ in range(4):
    calls(25_000)
    seen.append(resident())
print(json.dumps(seen))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_is_flat_over_a_hundred_thousand_calls():
    """What leaks grows in every quarter; what the allocator keeps for calls that another process's work delays, in one."""
    with started(_MEMORY) as running:
        seen = said(running)
    assert 4 * min(after - before for before, after in pairwise(seen)) < 4.0, seen


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PBPK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernels"


def answer(tag):
    """Compile (or read) a small function under its own name, and call it."""
    import ctypes

    source = "define i64 @handler(i64 %x) {\n  %y = add i64 %x, 41\n  ret i64 %y\n}"
    function = jit.compile_handler(source, f"stress_{tag}")
    return ctypes.cast(function, ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64))(1)


def test_a_cache_that_disappears(folder):
    assert answer("a") == 42
    shutil.rmtree(folder.parent)
    assert answer("a") == 42
    assert [f.name for f in folder.iterdir()] == ["stress_a"]


@pytest.mark.parametrize("step", ["mkstemp", "mkdir", "replace"])
def test_a_cache_that_cannot_be_written(folder, monkeypatch, step):
    """Permissions are nothing to root, so the refusals are put in by hand."""

    def refuse(*_, **__):
        raise PermissionError(13, "read-only file system")

    owner = {"mkstemp": tempfile, "mkdir": Path, "replace": os}[step]
    with monkeypatch.context() as m:
        m.setattr(owner, step, refuse)
        assert answer("b") == answer("b") == 42
    assert not folder.exists() or list(folder.iterdir()) == []


def test_what_lies_in_the_place_of_code(folder):
    """A folder, nothing, zeros, a digest alone, another program's code with its name changed: only the last is whole, and it
    is what the digest cannot tell; names come from contents."""
    (folder / "stress_c").mkdir(parents=True)
    assert answer("c") == 42
    assert [f.name for f in folder.iterdir()] == ["stress_c"]
    for rubbish in (b"", bytes(31), bytes(32), bytes(4096), os.urandom(4096)):
        (folder / "stress_d").write_bytes(rubbish)
        assert cache.load_code("stress_d") is None
        assert answer("d") == 42
        whole = cache.load_code("stress_d")
        assert whole is not None and whole.startswith((b"\x7fELF", b"\xcf\xfa\xed\xfe", b"d\x86", b"\x64\x86"))


BAD = (np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324, -3.0, 0.0)


def test_bad_numbers_stay_with_their_patient(model, run):
    """Each in each argument, in neighbouring lanes of one register and alone: the others' results do not change by a bit."""
    system, rates = model("pertechnetate", 67)
    rng = np.random.default_rng(5)
    start, source = rng.uniform(0, 1, (2, len(system.names), 67))
    stops = STOPS[:, None] * rng.uniform(0.5, 1, 67)
    kernel = compile_linear(system, SERIES, integrals=True)
    clean = [np.array(a) for a in (rates, start, stops, source)]
    before = run(kernel, *clean)
    for which in range(4):
        for value in BAD:
            given = [a.copy() for a in clean]
            sick = np.unique(rng.integers(0, 67, 9))
            given[which][rng.integers(0, len(given[which])), sick] = value
            found = run(kernel, *given)
            well = np.setdiff1d(np.arange(67), sick)
            for a, b in zip(found, before, strict=True):
                np.testing.assert_array_equal(a[..., well], b[..., well], err_msg=f"{value} in argument {which}")


def random_body(rng, n, two_way):
    """Arrows of a connected graph with a few more: there and back, or as they come; some compartments lose."""
    edges = set()
    for v in range(1, n):
        other = int(rng.integers(max(0, v - 6), v)) if rng.random() < 0.7 else 0
        edges |= {(other, v), (v, other)} if two_way or rng.random() < 0.6 else {(other, v)}
    for _ in range(n // 5):
        a, b = (int(x) for x in rng.integers(0, n, 2))
        if a != b:
            edges |= {(a, b), (b, a)} if two_way else {(a, b)}
    lossy = {(int(v), n) for v in np.flatnonzero(rng.random(n) < 0.3)}
    return sorted(edges | lossy | {(0, n)})


SHAPES = [1, 2, 3, 5, 9, 16, 24, 41, 62]
LARGE = [pytest.param(n, marks=pytest.mark.slow) for n in (100, 150, 200)]


@pytest.mark.parametrize("n", [*SHAPES, *LARGE])
def test_bodies_of_any_shape_against_the_exponential(graph, run, n):
    """Amounts and integrals to 1e-11 of what is present where arrows go there and back, so that the spectrum is real and the
    series converges; else to what the error estimate says."""
    rng = np.random.default_rng(100 + n)
    two_way = n % 2 == 0
    edges = random_body(rng, n, two_way)
    count = 11
    rates = 10 ** rng.uniform(-2.5, 1, (len(edges), count))
    start = rng.uniform(0, 1, (n, count)) * (rng.random((n, 1)) < 0.7)
    start[0] = 1.0
    found = run(compile_linear(graph(n, edges), SERIES, integrals=True), rates, start, STOPS)
    np.testing.assert_array_equal(found.amounts[0], start)
    if two_way:
        assert found.error.max() < 1e-10
    for i in (0, count - 1):
        a = np.zeros((2 * n, 2 * n))
        for (s, t), k in zip(edges, rates[:, i], strict=True):
            a[s, s] -= k
            if t < n:
                a[t, s] += k
        a[:n, n:] = np.eye(n)
        present, bound = start[:, i].sum(), 1e-11 + (0.0 if two_way else 2 * found.error[i])
        for m, t in enumerate(STOPS):
            whole = expm(a * t)
            amount, integral = whole[:n, :n] @ start[:, i], whole[:n, n:] @ start[:, i]
            assert np.abs(found.amounts[m, :, i] - amount).max() < bound * present
            assert np.abs(found.integrals[m, :, i] - integral).max() < bound * present * STOPS[-1]


def test_the_same_patient_everywhere(graph, run):
    """One patient copied into every place of 2,000: every lane, every chunk and the vector that reaches back."""
    n, edges = 7, random_body(np.random.default_rng(0), 7, False)
    kernel = compile_linear(graph(n, edges), SERIES, integrals=True)
    rng = np.random.default_rng(1)
    rates, start = rng.uniform(0.1, 2, (len(edges), 1)), rng.uniform(0, 1, (n, 1))
    for count in (9, 255, 257, 513, 2003):
        found = run(kernel, np.repeat(rates, count, 1), np.repeat(start, count, 1), STOPS)
        for a in found:
            np.testing.assert_array_equal(a, np.repeat(a[..., :1], count, -1))
    assert jnp.isfinite(found.amounts).all()
