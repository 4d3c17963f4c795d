"""Settings of the whole suite: float64 before JAX, one compile cache for all tests, slow tests last."""

import gc
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("PBPK_CACHE", str(ROOT / ".pytest_cache" / "pbpk"))  # subprocesses of tests share it
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")  # cheap insurance against a wedged thread pool

import pbpk.runtime  # noqa: E402, F401

_MOST_MAPS = 30_000


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


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
