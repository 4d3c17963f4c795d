"""Records written by hand, random compartment graphs, and one compiled program per shape for the whole folder."""

from functools import partial

import event_schedules
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from pbpk.model import OUT, Block, Compartment, amount, first_order, flux
from pbpk.model.system import build_system
from pbpk.results import ResultCode
from pbpk.solve import segments
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.timeline import Timeline, build_timeline, moves_events


@partial(jax.jit, static_argnums=(0, 1, 4))
def _run(solver, system, timeline, p, integrals=False):
    return solver.solve(system, timeline, p, integrals=integrals)


@pytest.fixture(scope="session")
def dose():
    """One dose record: `dose(time, amount, compartment, RATE=…)`."""
    return event_schedules.dose


@pytest.fixture(scope="session")
def seen():
    """Observation records at the times given."""
    return event_schedules.observe


@pytest.fixture(scope="session")
def solve():
    """Amounts at the observations of each subject, a list of (T, n), and the result codes; with `integrals`, those too.

    `values` is a dict of numbers in coherent units (one per patient, or shared), or the array p (rows, m, N) itself.
    """

    def solve(system, subjects, values, solver=None, *, integrals=False):
        frames = [pd.DataFrame(s) for s in subjects]
        p = values
        if isinstance(values, dict):
            columns = [np.broadcast_to(values[n], len(frames)) for n in system.parameter_names]
            p = np.array(columns, dtype=float)[None]
        infusions = any(((f["RATE"] > 0) | (f["DUR"] > 0)).any() for f in frames)
        timeline = build_timeline(frames, system, moving=moves_events(system, p, set(), infusions))
        done = _run(solver or Resolvent(), system, timeline, jnp.asarray(p), integrals)

        def apart(whole):
            return [np.asarray(whole)[: s.sum(), :, i] for i, s in enumerate(timeline.output_mask.T)]

        found = apart(done.amounts), np.asarray(done.result)
        return (*found, apart(done.integrals)) if integrals else found

    return solve


@pytest.fixture(scope="session")
def lanes():
    """Many patients in one batch: amounts (T, n, N), their integrals (or None) and result codes.

    They share `records`, or these are a timeline; p is (m, N). With `surely`, patients whose solution failed are solved
    again by the fallback solver, and so on, as users of the solvers do.
    """

    def lanes(system, records, p, solver=None, *, integrals=False, surely=False):
        solver = solver or Resolvent()
        timeline = records if isinstance(records, Timeline) else build_timeline([pd.DataFrame(records)], system)
        count, p = int(timeline.output_mask.sum(axis=0).max()), jnp.asarray(p)[None]
        done = jax.tree.map(np.asarray, _run(solver, system, timeline, p, integrals))
        while surely and (failed := done.result & (ResultCode.GAVE_UP | ResultCode.INACCURATE) != 0).any():
            if (solver := solver.fallback()) is None:
                break
            again = jax.tree.map(np.asarray, _run(solver, system, timeline, p, integrals))
            done = jax.tree.map(lambda a, b: np.where(failed, a, b), again, done)
        whole = done.integrals[:count] if integrals else None
        return done.amounts[:count], whole, done.result

    return lanes


@pytest.fixture(scope="session")
def graph():
    """A system of first-order arrows: `graph(n, [(0, 1), (1, n)])`, where n is outside; the k-th rate is named `k{k}`."""

    def graph(n, edges):
        cells = [Compartment(f"c{i}", "mg") for i in range(n)]
        ends = [*cells, OUT]
        fluxes = (flux(ends[a] >> ends[b], first_order, a=amount(ends[a]), k=f"k{i}") for i, (a, b) in enumerate(edges))
        return build_system(Block(tuple(cells), tuple(fluxes)), tuple(f"k{i}" for i in range(len(edges))))

    return graph


@pytest.fixture(scope="session")
def matrix_of():
    """The dense matrix of such a graph."""

    def matrix_of(n, edges, rates):
        a = np.zeros((n + 1, n + 1))
        for (source, target), k in zip(edges, rates, strict=True):
            a[source, source] -= k
            a[target, source] += k
        return a[:n, :n]

    return matrix_of


@pytest.fixture(scope="session")
def case():
    """`case("linear", "boluses")`: see tests/helpers/event_schedules.py."""
    return event_schedules.build_case


@pytest.fixture
def by_scan(monkeypatch):
    """Runs something with the call of everything at once forbidden."""

    def run(f, *arguments):
        with monkeypatch.context() as m:
            m.setattr(segments, "_is_one_call_enough", lambda *a: False)
            return jax.jit(lambda *a: f(*a))(*arguments)

    return run


@pytest.fixture
def calls(monkeypatch):
    """How many solutions went through one call: so that no comparison is of a thing with itself."""
    seen = []
    before = segments._is_one_call_enough

    def asked(*given):
        seen.append(before(*given))
        return seen[-1]

    monkeypatch.setattr(segments, "_is_one_call_enough", asked)
    return seen
