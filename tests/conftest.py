"""Settings of the whole suite: float64 before JAX, one compile cache for all tests, slow tests last."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("PBPK_CACHE", str(ROOT / ".pytest_cache" / "pbpk"))  # subprocesses of tests share it
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")  # cheap insurance against a wedged thread pool

import pbpk.runtime  # noqa: E402, F401


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
