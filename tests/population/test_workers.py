"""Chunks, neighbours and processes change nothing; a worker that dies, and one that is told to stop."""

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from processes import list_children, start_process

from pbpk.errors import BadInput, ScienceFailed
from pbpk.model.load import load_model
from pbpk.model.system import build_system
from pbpk.population.patients import virtual_patients
from pbpk.population.simulate import simulate
from pbpk.population.workers import WorkerPool
from pbpk.regimen.dose import dose

IODIDE = load_model("iodide")
DOSE = dose("1 MBq", into="blood")
T = [0.0, 1.0, 24.0, 72.0]
RENAL = "iodine.blood_to_bladder_contents"


def numbers(path):
    return np.concatenate([np.asarray(path[k]) for k in path.observables])


@pytest.mark.parametrize("name", ["oral_one_compartment", "saturable"])
def test_chunks_and_order_change_nothing(name, saturable):
    model = saturable if name == "saturable" else load_model(name)
    who, regimen = virtual_patients(model, 40), dose("100 mg", into="oral")
    whole = numbers(simulate(model, regimen, T, patients=who))
    part = numbers(simulate(model, regimen, T, patients=who, chunk=16))
    np.testing.assert_allclose(part, whole, rtol=1e-12, atol=1e-12 * whole.max())
    backwards = numbers(simulate(model, regimen, T, patients=who[np.arange(40)[::-1]]))
    np.testing.assert_array_equal(backwards[:, ::-1], whole)


def test_two_processes_give_the_same_bits_and_leave_nothing_behind():
    who, seen = virtual_patients(IODIDE, 40), []
    values = {RENAL: np.where(np.arange(40) == 21, np.nan, 11.84)}
    one = simulate(IODIDE, DOSE, T, patients=who, values=values, chunk=16, integrate=True)
    two = simulate(
        *(IODIDE, DOSE, T),
        patients=who,
        values=values,
        chunk=16,
        integrate=True,
        processes=2,
        progress=lambda done, of: seen.append((done, of)),
    )
    np.testing.assert_array_equal(numbers(two), numbers(one))
    assert one.integral is not None and two.integral is not None
    for k in one.integral:
        np.testing.assert_array_equal(two.integral[k], one.integral[k])
    assert two.result.tolist() == one.result.tolist() and np.flatnonzero(one.result).tolist() == [21]
    assert seen == [(16, 40), (32, 40), (40, 40)]
    assert multiprocessing.active_children() == []


class Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_worker_that_dies_is_one_error_and_no_wait():
    with pytest.raises(ScienceFailed, match="worker process ended"), WorkerPool(IODIDE, 2) as run:
        list(run([Deadly()] * 9))
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks children up in /proc")
@pytest.mark.slow(seconds=10)
def test_ctrl_c_ends_the_workers_too(tmp_path):
    """Waits for states and never for times: a busy machine takes as long as it takes, up to pytest's own limit."""
    words = ["simulate", "iodide", "--dose", "1 MBq to blood", "--times", "0:72:1", "--patients", "300000"]
    cli = Path(__file__).resolve().parents[2] / "cli.py"
    with start_process([sys.executable, cli, *words, "--processes", "2"], cwd=tmp_path) as running:
        workers = []
        while len(workers) < 3 and running.poll() is None:  # two, and Python's tracker of shared resources
            workers = list_children(running.pid)
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all of them
        _, said = running.communicate()
        assert running.returncode == 130 and "Traceback" not in said
        assert not list(tmp_path.rglob("*.partial")), "nothing half-written stays"
        while any(Path(f"/proc/{w}").exists() for w in workers):
            time.sleep(0.05)


def test_what_cannot_be_farmed_out():
    own = replace(IODIDE, system=build_system(IODIDE.system.block, tuple(IODIDE.parameters)))
    who = virtual_patients(IODIDE, 40)
    with pytest.raises(BadInput, match="built in Python"):
        simulate(own, DOSE, T, patients=who, chunk=16, processes=2)

    def traced(x):
        values = {RENAL: x}
        return simulate(IODIDE, DOSE, T, patients=who, values=values, chunk=16, processes=2)["thyroid"].sum()

    with pytest.raises(BadInput, match="traced"):
        jax.grad(traced)(1.0)
    with pytest.raises(BadInput, match="processes = 0 must be at least 1"):
        simulate(IODIDE, DOSE, T, processes=0)
    with pytest.raises(BadInput, match="chunk = 0 must be at least 1"):
        simulate(IODIDE, DOSE, T, chunk=0)
