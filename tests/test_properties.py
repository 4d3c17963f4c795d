"""What must hold whatever the numbers: found by hypothesis, on programs compiled once (shapes stay, numbers vary)."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbpk.model import OUT, Block, Compartment, amount, first_order, flux
from pbpk.model.load import load_model
from pbpk.model.system import build_system
from pbpk.results import ResultCode
from pbpk.solve.contour import Contour
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.timeline import build_timeline

always = settings(deadline=None, max_examples=20, derandomize=True)
rate = st.one_of(st.just(0.0), st.floats(1e-4, 10.0), st.floats(10.0, 1e6))  # nine decades of stiffness and more
positive = st.floats(0.01, 100.0)
times = st.lists(st.floats(0.0, 50.0), min_size=4, max_size=4).map(sorted)
EMPTY = {"EVID": 0, "AMT": 0.0, "RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": "", "MDV": 0}


@partial(jax.jit, static_argnums=0)
def run(system, timeline, p):
    return Resolvent().solve(system, timeline, p).amounts


def dose(time, size, into, **more):
    return EMPTY | {"TIME": time, "EVID": 1, "AMT": size, "CMT": into, "MDV": 1} | more


def seen(*at):
    return [EMPTY | {"TIME": t} for t in at]


def in_order(records):
    """By time, doses first: a stable sort keeps the order given at one time."""
    return pd.DataFrame(sorted(records, key=lambda r: r["TIME"]))


def amounts(system, subjects, p, moving=False):
    """A list of (T, n); p is (m, N), or (m,) for all."""
    timeline = build_timeline(subjects, system, moving=moving)
    wide = jnp.broadcast_to(jnp.asarray(p).reshape(len(p), -1), (len(p), len(subjects)))
    done = np.asarray(run(system, timeline, wide[None]))
    return [done[: s.sum(), :, i] for i, s in enumerate(timeline.output_mask.T)]


# Every graph of five compartments is this one with some rates of zero, so that all share a program.
CELLS = [Compartment(f"c{i}", "mg") for i in range(5)]
PAIRS = list(itertools.permutations(range(5), 2))
COMPLETE = build_system(
    Block(
        tuple(CELLS),
        (
            *(flux(CELLS[a] >> CELLS[b], first_order, a=amount(CELLS[a]), k=f"k{a}{b}") for a, b in PAIRS),
            *(flux(c >> OUT, first_order, a=amount(c), k=f"out{i}") for i, c in enumerate(CELLS)),
        ),
    )
)
graphs = st.lists(st.one_of(st.just(0.0), rate), min_size=20, max_size=20)
exits = st.lists(st.one_of(st.just(0.0), rate), min_size=5, max_size=5)


@always
@given(graphs, times, positive, positive, st.integers(0, 4))
def test_closed_graphs_keep_the_dose(rates, at, first, second, into):
    """To 1e-10 of the dose, an infusion included."""
    records = in_order([dose(0.0, first, "c0"), dose(1.0, second, f"c{into}", DUR=2.0), *seen(*(3.0 + t for t in at))])
    (got,) = amounts(COMPLETE, [records], [*rates, *[0.0] * 5])
    np.testing.assert_allclose(got.sum(axis=1), first + second, rtol=1e-10)
    assert (got > -1e-10 * (first + second)).all()


@partial(jax.jit, static_argnums=0)
def both(system, timeline, p):
    return [solver.solve(system, timeline, p, integrals=True) for solver in (Resolvent(), Contour())]


@always
@given(graphs, exits, st.floats(1e-3, 1e3))
def test_right_or_flagged(rates, out, scale):
    """The fast solver agrees with the sure one, or says that it is inaccurate, in amounts and in integrals."""
    at = [0.02, 0.1, 0.3, 0.5, 0.9, 1.7, 3.0, 8.0]
    timeline = build_timeline([in_order([dose(0.0, 1.0, "c0"), dose(0.4, 2.0, "c1", DUR=0.8), *seen(*at)])], COMPLETE)
    ours, sure = both(COMPLETE, timeline, scale * jnp.array([*rates, *out])[None, :, None])
    flagged = bool(ours.result[0] & ResultCode.INACCURATE)
    for a, b in ((ours.amounts, sure.amounts), (ours.integrals, sure.integrals)):
        assert flagged or np.abs(a - b)[: len(at)].max() < 3e-8


@always
@given(graphs, exits, times)
def test_open_graphs_only_lose(rates, out, at):
    (got,) = amounts(COMPLETE, [in_order([dose(0.0, 1.0, "c0"), *seen(*at)])], [*rates, *out])
    left = got.sum(axis=1)
    assert (np.diff([1.0, *left]) < 1e-10).all()
    assert (left > -1e-10).all()


@always
@given(graphs, exits, times, positive)
def test_linearity_in_dose(rates, out, at, scale):
    def after(size):
        return amounts(COMPLETE, [in_order([dose(0.0, size, "c0"), *seen(*at)])], [*rates, *out])[0]

    np.testing.assert_allclose(after(scale), scale * after(1.0), atol=1e-12 * scale)


@always
@given(graphs, exits, times, positive, positive, st.floats(0.0, 50.0))
def test_superposition(rates, out, at, first, second, later):
    one, other = dose(0.0, first, "c0"), dose(later, second, "c3", RATE=second / 5)
    p, watched = [*rates, *out], seen(*at)
    none = [dose(0.0, 0.0, "c0"), dose(later, 0.0, "c3", RATE=second / 5)]  # the same shape, so the same program
    (both,), (a,), (b,) = (
        amounts(COMPLETE, [in_order([x, y, *watched])], p) for x, y in ((one, other), (one, none[1]), (none[0], other))
    )
    np.testing.assert_allclose(both, a + b, atol=1e-11 * (first + second))


ORAL = load_model("oral_one_compartment")


@pytest.mark.slow  # two programs to compile
@always
@given(
    at=times,
    n=st.integers(1, 6),
    interval=st.sampled_from([0.1, 0.3, 1.0, 6.0, 7.7, 24.0]),
    lag=st.sampled_from([0.0, 0.25, 3.0]),
    how=st.sampled_from([{}, {"RATE": 40.0}, {"DUR": 1.5}]),
)
def test_additional_doses_are_the_doses_spelt_out(at, n, interval, lag, how):
    """Also with lag, F, infusions that overlap and records that fall on a dose."""
    p = ORAL.with_values({"ALAG1": lag, "F1": 0.7}).values
    watched = seen(*at, n * interval, 300.0)
    short = in_order([dose(0.0, 100.0, "depot", ADDL=n, II=interval, **how), *watched])
    long = in_order([*(dose(i * interval, 100.0, "depot", **how) for i in range(n + 1)), *watched])
    (a,), (b,) = (amounts(ORAL.system, [records], p, moving=True) for records in (short, long))
    np.testing.assert_allclose(a, b, atol=1e-10 * 100 * (n + 1))


CONVERTED = [
    {"KA": "38.184 1/d", "CL": "45.85 mL/min", "V": "31820 mL"},
    {"KA": "0.02651666666666667 1/min", "CL": "66.024 L/d", "V": "318.2 dL"},
    {"KA": "1.591 1/h", "CL": "2751 mL/h", "V": "0.03182 m^3"},
]


@pytest.mark.parametrize("values", CONVERTED)
def test_units_of_parameters_do_not_matter(values):
    records = in_order([dose(0.0, 100.0, "depot"), *seen(0.5, 3.0, 12.0, 30.0)])
    (plain,) = amounts(ORAL.system, [records], ORAL.values)
    (converted,) = amounts(ORAL.system, [records], ORAL.with_values(values).values)
    np.testing.assert_allclose(converted, plain, atol=1e-12 * 100, rtol=0)


@always
@given(positive, st.sampled_from(["mL/min", "L/d", "dL/h", "m^3/week", "uL/s"]))
def test_a_value_may_be_written_in_any_unit_of_its_kind(clearance, unit):
    from pbpk import units

    written = f"{units.from_internal(clearance, unit)!r} {unit}"
    index = ORAL.system.parameter_index("CL")
    assert ORAL.with_values({"CL": written}).values[index] == pytest.approx(clearance, rel=1e-14)


@pytest.mark.slow  # one program for each size of batch
@always
@given(st.permutations(range(6)), st.lists(positive, min_size=6, max_size=6), st.sampled_from([1, 2, 3]))
def test_order_and_batch_of_subjects_do_not_matter(order, clearances, piece):
    """All at once, or in pieces of 1, 2 or 3 in any order: the same numbers to 1e-12 of the dose."""
    subjects = [
        in_order(
            [
                dose(0.5 * i, 100.0, "depot", ADDL=i, II=4.0),
                dose(2.0, 50.0, "central", RATE=10.0 * (i + 1)),
                *seen(1.0 + i, 10.0, 24.0),
            ]
        )
        for i in range(6)
    ]
    p = np.repeat(ORAL.values[:, None], 6, axis=1)
    p[ORAL.system.parameter_index("CL")] = clearances
    together = amounts(ORAL.system, subjects, p)
    for start in range(0, 6, piece):
        some = order[start : start + piece]
        for i, got in zip(some, amounts(ORAL.system, [subjects[i] for i in some], p[:, some]), strict=True):
            np.testing.assert_allclose(got, together[i], atol=1e-12 * 150)
