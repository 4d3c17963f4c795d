"""What every benchmark script reports alike: the best of several runs, the machine, and the versions."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def best(run: Callable[[], Any], seconds: float = 1.0) -> dict[str, float]:
    """Least wall seconds of one run, and the processor seconds (all cores) of that run.

    The least, since other work on the machine only ever adds; of two runs or as many as fit into `seconds`, so that
    short and long runs have the same chance of a quiet moment. `run` has run once before: compile time is not in here.
    """
    taken, begun = [], time.perf_counter()
    while len(taken) < 2 or time.perf_counter() - begun < seconds:
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = min(taken)
    return {"wall_s": wall, "cpu_s": cpu}


def speed(run: Callable[[], Any], patients: int, seconds: float = 1.0) -> dict[str, float]:
    """`patients_per_s` by the clock on the wall; `cpu_ms` is processor time per patient, over all cores used."""
    taken = best(run, seconds)
    return {"patients_per_s": figures(patients / taken["wall_s"]), "cpu_ms": figures(1e3 * taken["cpu_s"] / patients)}


def figures(x: float, digits: int = 4) -> float:
    """So many significant figures: the rest of a timing is noise."""
    return float(f"{x:.{digits}g}")


def versions(*packages: str) -> dict[str, str]:
    """Of Python and those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine(device: str = "cpu") -> dict[str, Any]:
    return {"processor": _processor(), "cpus": os.cpu_count(), "system": platform.system(), "device": device}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
