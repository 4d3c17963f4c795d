"""Settings of the whole suite: float64 before JAX, one compile cache for all tests, slow tests last."""

import functools
import gc
import hashlib
import os
import pickle
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from processes import listen_to_interrupts

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("PBPK_CACHE", str(ROOT / ".pytest_cache" / "pbpk"))  # subprocesses of tests share it
_FLAGS = ["--xla_cpu_multi_thread_eigen=false"]  # cheap insurance against a wedged thread pool
if version("jaxlib") == "0.10.2" and "XLA_FLAGS" not in os.environ:  # XLA refuses flags that it does not know
    # Most of the suite's time would be XLA's, optimising programs that run once: so it takes half as long. Files that run
    # theirs for long are marked `optimised`. `.ci/run` has a selection of the tests again as a user's process compiles.
    # In one part each: a worker has one core, and parts are made for more.
    _FLAGS += ["--xla_cpu_use_fusion_emitters=false", "--xla_backend_optimization_level=1"]
    _FLAGS += ["--xla_cpu_parallel_codegen_split_count=1"]
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("XLA_FLAGS", " ".join(_FLAGS))

import pbpk.runtime  # noqa: E402, F401

_MOST_MAPS = 30_000
gc.set_threshold(10_000, 20, 10)  # tracing makes millions of objects, most of which stay: look through them less often


def pytest_addoption(parser):
    parser.addoption("--without", help="Run as if this module were not installed, such as llvmlite.")


def pytest_configure(config):
    listen_to_interrupts()
    if module := config.getoption("--without"):
        assert module not in sys.modules
        sys.modules[module] = None
        hidden = ROOT / ".pytest_cache" / "without" / module  # of processes that tests start, too
        hidden.mkdir(parents=True, exist_ok=True)
        (hidden / "__init__.py").write_text('raise ImportError("hidden by --without")\n')
        sys.path.insert(0, str(hidden.parent))  # which spawned ones are given
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(hidden.parent), os.environ.get("PYTHONPATH"))))


def pytest_collection_modifyitems(items):
    """Slow tests last, the slowest of them first: a file goes to one worker, and no worker should end with minutes alone."""

    def late(item):
        slow = item.get_closest_marker("slow")
        return (slow is not None, -slow.kwargs.get("seconds", 0) if slow else 0)

    items.sort(key=late)


@pytest.fixture(autouse=True)
def _room_for_programs():
    """Compiled programs stay mapped into memory, some dozens of maps each, and Linux allows a process 65,530: beyond them
    the next program ends the run by a segmentation fault. So let go of all of them in time; the disk has them."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > _MOST_MAPS:
        import jax

        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module", autouse=True)
def _compiled_for_long(request):
    """In a file marked `optimised`, XLA optimises what it compiles, as it does for no other."""
    if request.node.get_closest_marker("optimised") is None:
        yield
        return
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.clear_caches()  # of programs that an earlier file had compiled in haste
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="session", autouse=True)
def _s_values_once(tmp_path_factory):
    """S values of a nuclide in a phantom take up to half a minute: what one worker has made, the others of this run read.
    Gives the function that makes them."""
    from pbpk.dosimetry import svalues

    make = svalues._s_values.__wrapped__
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of this run's workers, and of no other run

    def found(*what):
        *plain, apart = what
        path = folder / f"s-values-{hashlib.sha256(repr((plain, sorted(apart))).encode()).hexdigest()}.pickle"
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}")
            part.write_bytes(pickle.dumps(make(*what)))
            part.replace(path)
        return pickle.loads(path.read_bytes())

    svalues._s_values = functools.cache(found)
    yield make
    svalues._s_values = functools.cache(make)


# Studies written for one test, and fits that stop at the estimates.


@pytest.fixture(scope="session")
def write(tmp_path_factory):
    """A study's folder from the text of fit.toml and the lines of its data: `write(text, "ID,TIME…", "1,0,…")`."""

    def write(text, *lines):
        folder = tmp_path_factory.mktemp("study")
        (folder / "fit.toml").write_text(text)
        (folder / "data.csv").write_text("\n".join(lines) + "\n")
        return folder

    return write


@pytest.fixture(scope="session")
def make(write):
    """The same, loaded."""
    from pbpk.study.load import load_study

    return lambda text, *lines, **how: load_study(write(text, *lines), **how)


@pytest.fixture(scope="session")
def evaluate():
    """An evaluation on the host, from η = 0."""

    def evaluate(method, problem, psi=None, eta=None):
        import numpy as np

        psi = problem.initial_unconstrained if psi is None else psi
        eta = np.zeros((len(problem.structure.layout.etas), problem.subjects)) if eta is None else eta
        return type(found := method.evaluate(problem, psi, eta))(*(np.asarray(x) for x in found))

    return evaluate


@pytest.fixture(scope="session")
def minimise():
    """The final state of a method on a problem, without standard errors."""

    def minimise(method, problem):
        state = method.init(problem)
        while not state.finished:
            state, _ = method.step(problem, state)
        return state

    return minimise
