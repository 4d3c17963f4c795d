"""A whole solution in one call, against the scan of calls that it stands for: amounts, integrals, codes and derivatives."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from event_schedules import LINEAR, SATURABLE, SOLUTION_CASES, SOLVERS, VOIDS, assert_close

from pbpk.compile.xla import jit
from pbpk.results import ResultCode

pytestmark = pytest.mark.skipif(bool(jit.explain_no_jit()), reason="kernels cannot be compiled here")


@pytest.mark.parametrize("kind, what, integrals", SOLUTION_CASES)
def test_what_is_seen_and_its_gradient(kind, what, integrals, case, by_scan, calls):
    system, timeline, p = case(kind, what)
    solver, mask = SOLVERS[kind], timeline.output_mask[:, None, :]
    weights = np.random.default_rng(0).standard_normal((2, len(timeline.output_index), len(system.names), 1))

    def run(p, doses):
        found = solver.solve(system, replace(timeline, amount=doses), p, integrals=integrals)
        # Padding repeats something; what, is nobody's business.
        shown = [jnp.where(mask, a, 0.0) for a in (found.amounts, found.integrals) if a is not None]
        return sum(jnp.sum(w * a) for w, a in zip(weights, shown, strict=False)), (shown, found.result)

    both = jax.value_and_grad(run, argnums=(0, 1), has_aux=True)
    doses = jnp.asarray(timeline.amount)
    (_, (shown, code)), slopes = jax.jit(both)(p, doses)
    assert calls == [True]
    (_, (shown_, code_)), slopes_ = by_scan(both, p, doses)
    np.testing.assert_array_equal(code, code_)
    assert not np.any(code)
    assert_close(shown, shown_, 1e-13)
    assert_close(slopes, slopes_, 1e-11)


READINGS = ((1,), (0, 1, 2, 3), (2, 0))


@pytest.mark.parametrize(
    "kind, what, integrals",
    [
        ("linear", "boluses", True),
        ("linear", "infusions", False),
        ("linear", "resets", False),
        ("linear", "voids", True),
        ("saturable", "boluses", True),
        ("grid", "infusions", False),
        ("linear", "mixed", False),
        ("saturable", "steady", True),
        ("linear", "moving", False),
    ],
)
def test_sums_of_amounts_may_be_all_that_is_computed(kind, what, integrals, case):
    """They, and their derivatives, are those of all amounts; a patient who has no numbers has none here either."""
    system, timeline, p = case(kind, what, voids=VOIDS if what == "voids" else ())
    p = p.at[0, system.parameter_index("KB"), 4].set(jnp.nan)
    mask, sane = timeline.output_mask[:, None, :], np.arange(9) != 4
    weights = np.random.default_rng(0).standard_normal((2, len(timeline.output_index), len(READINGS), 1))

    def run(p, readings):
        found = SOLVERS[kind].solve(system, timeline, p, integrals=integrals, readings=readings)
        shown = [a for a in (found.amounts, found.integrals) if a is not None]
        if not readings:
            shown = [jnp.stack([sum(a[:, k] for k in own) for own in READINGS], axis=1) for a in shown]
        shown = [jnp.where(mask & sane, a, 0.0) for a in shown]
        return sum(jnp.sum(w * a) for w, a in zip(weights, shown, strict=False)), (shown, found.result)

    def both(readings):
        value = jax.jit(lambda p: run(p, readings)[1])(p)
        (_, seen), slope = jax.jit(jax.value_and_grad(lambda p: run(p, readings), has_aux=True))(p)
        return value, seen, slope[..., sane]

    (value, code), seen, slope = both(READINGS)
    (value_, code_), _, slope_ = both(())
    np.testing.assert_array_equal(code, code_)
    assert [bool(c & ResultCode.NOT_FINITE) for c in code] == [k == 4 for k in range(9)]
    assert not code[sane].any()
    assert_close(value, value_, 1e-13)
    assert_close(seen[0], value_, 1e-13)
    assert_close(slope, slope_, 1e-12)
    assert value[0].shape == (len(timeline.output_index), len(READINGS), 9)


@pytest.mark.parametrize("what", ["voids", "mixed"])
@pytest.mark.parametrize("kind", ["linear", "saturable"])
def test_voids(kind, what, case, by_scan, calls):
    system, timeline, p = case(kind, what, voids=VOIDS)
    weights = np.random.default_rng(0).standard_normal((len(timeline.output_index), len(system.names), 1))

    def run(p):
        found = SOLVERS[kind].solve(system, timeline, p)
        return jnp.sum(weights * jnp.where(timeline.output_mask[:, None, :], found.amounts, 0.0)), found.result

    both = jax.value_and_grad(run, has_aux=True)
    found = jax.jit(both)(p)
    assert calls == [True]
    assert_close(found, by_scan(both, p), 1e-11)


@pytest.mark.parametrize("kind", ["linear", "saturable"])
def test_hessian(kind, case, by_scan):
    """Against differences of the gradient; also of a sum over chunks, where JAX forgets rules that are not opaque."""
    system, timeline, p = case(kind, "boluses", patients=2)
    doses = jnp.asarray(timeline.amount)

    def run(given):
        p, doses = given
        found = SOLVERS[kind].solve(system, replace(timeline, amount=doses), p)
        return jnp.sum(jnp.where(timeline.output_mask[:, None, :], found.amounts, 0.0) ** 2)

    def chunks(u):
        """u scales every parameter, and the doses of the first patient."""
        each = p * jnp.exp(u[:, None]), doses * jnp.exp(u[0] * jnp.array([1.0, 0.0]))
        halves = jax.tree.map(lambda a: jnp.stack([a[..., :1], a[..., 1:]]), each)
        return jnp.sum(jax.lax.map(run, halves))

    def together(u):
        return run((p * jnp.exp(u[:, None]), doses * jnp.exp(u[0] * jnp.array([1.0, 0.0]))))

    u = jnp.zeros(p.shape[1])
    slope, steps = jax.jit(jax.grad(together)), 1e-5 * jnp.eye(len(u))
    wanted = np.array([(slope(u + h) - slope(u - h)) / 2e-5 for h in steps])
    for f in (together, chunks):
        assert_close(jax.jit(jax.hessian(f))(u), wanted, 1e-5 if kind == "saturable" else 1e-7)
    assert_close(by_scan(jax.hessian(together), u), wanted, 1e-5 if kind == "saturable" else 1e-7)


def test_gradients_may_be_differentiated_by_time(case, by_scan):
    system, timeline, p = case("linear", "boluses", patients=1)

    def slope(p, time):
        def run(p):
            found = LINEAR.solve(system, replace(timeline, time=time), p)
            return jnp.sum(jnp.where(timeline.output_mask[:, None, :], found.amounts, 0.0) ** 2)

        return jax.grad(run)(p)

    time = jnp.asarray(timeline.time)
    slope = jax.jit(slope)
    _, mixed = jax.jvp(lambda h: slope(p, time * (1 + h)), (0.0,), (1.0,))  # together: what is at one time stays there
    assert_close(mixed, (slope(p, time * (1 + 1e-5)) - slope(p, time * (1 - 1e-5))) / 2e-5, 1e-7)


@pytest.mark.parametrize("kind", ["linear", "saturable"])
def test_times_of_records_can_be_differentiated(kind, case, by_scan):
    system, timeline, p = case(kind, "boluses", patients=2)

    def run(time):
        found = SOLVERS[kind].solve(system, replace(timeline, time=time), p)
        return jnp.sum(jnp.where(timeline.output_mask[:, None, :], found.amounts, 0.0) ** 2)

    time = jnp.asarray(timeline.time)
    slope = jax.jit(jax.grad(run))(time)
    assert_close(slope, by_scan(jax.grad(run), time), 1e-12)
    k = int(np.flatnonzero(np.asarray(timeline.time)[:, 0] == 6.0)[0])  # the dose into the tissue

    def late(h):
        same = np.asarray(timeline.time) == 6.0
        return float(jax.jit(run)(time + h * same))

    same = (np.asarray(timeline.time) == 6.0).ravel()
    assert k == np.flatnonzero(same)[0]
    np.testing.assert_allclose(slope.ravel()[same].sum(), (late(1e-4) - late(-1e-4)) / 2e-4, rtol=1e-5)


def test_members_of_a_vmap_may_have_other_parameters_other_times_and_other_events(case, calls):
    system, timeline, p = case("linear", "boluses", patients=3)

    def run(p, timeline):
        found = LINEAR.solve(system, timeline, p)
        return jnp.where(timeline.output_mask[:, None, :], found.amounts, 0.0)

    def pull(p, timeline):
        return jax.grad(lambda p: jnp.sum(run(p, timeline) ** 2))(p)

    several = jnp.stack([p, 1.3 * p])
    into = np.asarray(timeline.compartment)
    other = replace(timeline, compartment=np.where(into == 1, 2, into), time=1.5 * timeline.time)
    lines = jax.tree.map(lambda *a: jnp.stack([jnp.asarray(x) for x in a]), timeline, other)
    for f in (run, pull):
        alone = jax.jit(f)
        for axes in ((0, None), (None, 0), (0, 0)):
            given = (several if axes[0] == 0 else p, lines if axes[1] == 0 else timeline)
            found = jax.jit(jax.vmap(f, in_axes=axes))(*given)
            for k in range(2):
                one = [jax.tree.map(lambda a: a[k], x) if on == 0 else x for x, on in zip(given, axes, strict=True)]  # noqa: B023
                assert_close(found[k], alone(*one), 1e-13)
    assert all(calls)


@pytest.mark.parametrize("kind", ["linear", "saturable"])
def test_bit_equal_whoever_is_beside(kind, case):
    """Also where there are so many that results go past the caches, whether their rows are aligned (2,056) or not."""
    system, timeline, p = case(kind, "boluses", patients=2056)

    @jax.jit
    def run(p, doses):
        return SOLVERS[kind].solve(system, replace(timeline, amount=doses), p).amounts

    doses = timeline.amount
    every = run(p, doses)
    for part in (slice(0, 41), slice(41, 300), slice(7, 8), slice(0, 2051)):
        np.testing.assert_array_equal(run(p[..., part], doses[:, part]), every[..., part])


@pytest.mark.parametrize("kind", ["linear", "saturable"])
def test_what_goes_wrong_is_said_of_the_patient_alone(kind, case):
    """Parameters that are no number; and a tolerance that no series, and no grid, meets."""
    system, timeline, p = case(kind, "boluses", patients=9)
    bad = p.at[0, system.parameter_index("KB"), 4].set(jnp.nan)
    run = jax.jit(lambda p: SOLVERS[kind].solve(system, timeline, p))
    found, good = run(bad), run(p)
    assert found.result.tolist() == [ResultCode.NOT_FINITE if k == 4 else 0 for k in range(9)]
    others = np.arange(9) != 4
    np.testing.assert_array_equal(found.amounts[..., others], good.amounts[..., others])
    if kind == "saturable":
        rough = replace(SATURABLE, grid=(0.5, 2.0))
        assert np.all(
            np.asarray(jax.jit(lambda p: rough.solve(system, timeline, p))(p).result) == ResultCode.INACCURATE
        )


def test_observations_that_nothing_writes_are_no_results(case):
    """Two observations of one event are no records of ours, and would leave a row that nobody has written."""
    system, timeline, p = case("linear", "boluses")
    twice = replace(
        timeline,
        output_index=np.where(
            np.arange(len(timeline.output_index))[:, None] == 4, timeline.output_index[3], timeline.output_index
        ),
    )
    found = jax.jit(lambda p: LINEAR.solve(system, twice, p))(p)
    assert np.all(np.asarray(found.result) & ResultCode.NOT_FINITE)


_DEVICES = """
import sys
sys.path.insert(0, {folder!r})
import pbpk, jax, jax.numpy as jnp, numpy as np, pandas as pd
from jax.sharding import Mesh, PartitionSpec as P
from event_schedules import BODIES, SOLVERS, VALUES
from pbpk.solve.timeline import build_timeline
no = {{"RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": "blood"}}
rows = [{{"TIME": 0.0, "EVID": 1, "AMT": 9.0, "MDV": 1, **no}}]
rows += [{{"TIME": t, "EVID": 0, "AMT": 0.0, "MDV": 0, **no}} for t in (1.0, 5.0)]
mesh, spec = Mesh(np.array(jax.devices()), ("patients",)), P(None, None, "patients")
for kind in ("linear", "saturable"):
    system = BODIES[kind]
    plan = build_timeline([pd.DataFrame(rows)], system)
    p = np.array([np.full(32, VALUES[n]) for n in system.parameter_names])[None]
    p = p * np.exp(0.3 * np.random.default_rng(0).standard_normal(p.shape))
    def one(p):
        loss = lambda p: jnp.sum(SOLVERS[kind].solve(system, plan, p).amounts[:2] ** 2)
        slope = jax.grad(loss)
        return SOLVERS[kind].solve(system, plan, p).amounts, slope(p), jax.jvp(slope, (p,), (p,))[1]
    both = jax.jit(jax.shard_map(one, mesh=mesh, in_specs=spec, out_specs=(spec,) * 3, check_vma=False))(p)
    alone = jax.jit(one)(p)
    apart = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(both, alone)]
    print(len(jax.devices()), *(float(a) <= (0.0 if kind == "linear" and k < 2 else 1e-11) for k, a in enumerate(apart)))
"""


@pytest.mark.slow
def test_patients_shared_out_to_two_devices():
    """By `shard_map`: values, gradients and derivatives of those; of the linear body to the last digit, while what a law's
    parameters are made of is XLA's to round."""
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    program = _DEVICES.format(folder=str(Path(__file__).parents[1] / "helpers"))
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 True True True\n" * 2
