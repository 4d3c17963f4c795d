"""A kernel solution's programs: compiled against NumPy, there and back; and rows that no table may make them write."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from event_schedules import SOLUTION_CASES, build_case

from pbpk.compile.backend.base import NumpyBackend
from pbpk.compile.programs.rosenbrock.window import RosenbrockMethod
from pbpk.compile.programs.solution import kernel
from pbpk.compile.programs.solution.adjoint import SolutionAdjointProgram
from pbpk.compile.programs.solution.forward import SolutionProgram
from pbpk.compile.programs.solution.likelihood import LikelihoodProgram, LikelihoodTerm, LikelihoodTerms
from pbpk.linalg.packing import evaluate_linear_part
from pbpk.linalg.series import design
from pbpk.linalg.tableau import TABLEAUS
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, saturable
from pbpk.model.system import build_system
from pbpk.regimen.void import void
from pbpk.solve.compiled_solution import plan_solution
from pbpk.solve.right_hand_side import build_vector_field
from pbpk.solve.segment_program import LinearSegments, SaturableSegments
from pbpk.solve.segments import SegmentSolver, build_schedule
from pbpk.solve.timeline import build_timeline

pytestmark = pytest.mark.usefixtures("compiled")

VALUES = {"KA": 1.2, "KT": 0.3, "VM": 2.0, "KM": 4.0, "KE": 0.3, "V": 3.0}
NOTHING = {"EVID": 0, "AMT": 0.0, "RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": "", "MDV": 1}
RECORDS = [
    {"TIME": 0.0, "EVID": 1, "AMT": 50.0, "CMT": "blood"},
    {"TIME": 0.0, "MDV": 0},
    {"TIME": 1.0, "MDV": 0},
    {"TIME": 2.5, "MDV": 0},
    {"TIME": 3.0, "EVID": 1, "AMT": 20.0, "CMT": "depot"},
    {"TIME": 4.0, "MDV": 0},
    {"TIME": 6.0, "EVID": 4, "AMT": 10.0, "CMT": "tissue"},
    {"TIME": 6.0, "MDV": 0},
    {"TIME": 9.0, "MDV": 0},
    {"TIME": 10.0, "EVID": 1, "AMT": 10.0, "CMT": "blood"},
]
FED = [
    {"TIME": 0.5, "EVID": 1, "AMT": 30.0, "RATE": 10.0, "CMT": "blood"},
    {"TIME": 3.0, "EVID": 1, "AMT": 30.0, "DUR": 4.0, "CMT": "depot"},
]


SHARED_CASES = [case for case in SOLUTION_CASES if case[0] != "grid" and case[1] not in ("steady", "moving")]


@pytest.fixture(scope="module", params=[False, True], ids=["linear", "saturable"])
def is_saturable(request):
    return request.param


@pytest.fixture(
    scope="module",
    params=[("amounts",), ("integrals",), ("infusions",), ("voids",), ("own",), ("own integrals",)],
    ids=lambda p: p[0],
)
def solution(request, is_saturable):
    """(layout, arguments) of a solution of 11 patients."""
    (what,) = request.param
    depot, blood, tissue = (
        Compartment(n, "mg", volume="V" if n == "blood" else None) for n in ("depot", "blood", "tissue")
    )
    taken = (
        flux(blood >> tissue, saturable, c=conc(blood), vmax="VM", km="KM")
        if is_saturable
        else flux(blood >> tissue, first_order, a=amount(blood), k="VM")
    )
    arrows = [(depot, blood, "KA"), (tissue, blood, "KT"), (blood, OUT, "KE")]
    fluxes = [flux(a >> b, first_order, a=amount(a), k=k) for a, b, k in arrows]
    system = build_system(Block((depot, blood, tissue), (*fluxes, taken)))
    records, own = [NOTHING | r for r in RECORDS + (FED if what in ("infusions", "own") else [])], "own" in what
    frame = pd.DataFrame(sorted(records, key=lambda r: r["TIME"]))
    voids = void("tissue", into="depot", every=2, left=0.1).voids if what in ("voids", "own") else ()
    # Each patient without one of the records, which may be a dose, a reset or an output.
    frames = [frame.drop(index=1 + k % (len(frame) - 1)) for k in range(11)] if own else [frame]
    timeline = build_timeline(frames, system, voids=voids)
    rng = np.random.default_rng(0)
    p = np.array([np.full(11, VALUES[n]) for n in system.parameter_names])[None]
    p = p * np.exp(0.3 * rng.standard_normal(p.shape))
    timeline = replace(timeline, amount=timeline.amount * rng.uniform(0.9, 1.0, (1, 11)))
    return plan_programs(system, timeline, p, is_saturable, "integrals" in what, own)


def plan_programs(system, timeline, p, is_saturable, integrals, per_patient):
    """(layout, arguments) of a solution of 11 patients with parameters p (1, m, 11)."""
    if is_saturable:
        method = RosenbrockMethod(
            build_vector_field(system), TABLEAUS["rodas5p"], 1e-6, 1e-10, 2000, integrals, None, 400
        )
        program = SaturableSegments(method)
        rows = jax.vmap(method.field.bind)(jnp.asarray(p))
    else:
        program = LinearSegments(system, design(timeline.windows.span, 1e-13), integrals, 1e-9)
        _, production, rates = jax.vmap(lambda q: evaluate_linear_part(system, q))(jnp.asarray(p))
        rows = (rates, production)
    layouts = []

    @jax.jit
    def plan(p):
        windows = timeline.unbounded_windows if is_saturable else timeline.windows
        schedule, _ = build_schedule(
            system, timeline, p, 11, SegmentSolver(None, rows, windows=windows), integrals=integrals
        )
        layout, arguments, all_written = plan_solution(program, schedule, per_patient)
        layouts.append(layout)
        return arguments, all_written

    arguments, all_written = plan(jnp.asarray(p))
    assert all_written
    return layouts[0], arguments


def by_numpy(program, arguments):
    arrays = {b.name: np.asarray(arguments[b.name]).reshape(*b.shape, -1) for b in program.arguments}
    arrays |= {b.name: np.full((*b.shape, 11), np.nan) for b in program.results}
    machine = NumpyBackend({k: np.array(a, float) for k, a in arrays.items()})
    program.run(machine)
    return {b.name: machine.buffers[b.name].reshape(*b.shape, 11) for b in program.results}


def compare(found, wanted, rtol):
    assert found.keys() == wanted.keys()
    for name, own in wanted.items():
        own, other = own.reshape(-1, 11), np.asarray(found[name]).reshape(-1, 11)
        largest = np.maximum(np.abs(own).max(axis=1, keepdims=True), 1e-12)
        assert np.max(np.abs(own - other) / largest, initial=0.0) < rtol, name


@pytest.mark.parametrize("kind, schedule, integrals", SHARED_CASES)
def test_shared_schedules_against_numpy(kind, schedule, integrals):
    """The schedules on which whole solutions are compared with the portable engine's (tests/solve). They are long, and errors
    relative to what is present when a window begins, of which little is left at its end."""
    system, timeline, p = build_case(kind, schedule, patients=11)
    per_patient = timeline.time.shape[-1] > 1
    check_there_and_back(*plan_programs(system, timeline, p, kind == "saturable", integrals, per_patient), rtol=1e-10)


def test_there_and_back_against_numpy(solution):
    check_there_and_back(*solution)


def check_there_and_back(layout, arguments, rtol=1e-11):
    there = SolutionProgram(layout, True)
    wanted = by_numpy(there, arguments)
    found = jax.jit(lambda g: kernel.run_solution(layout, g, keep_residuals=True))(arguments)
    # Nothing is known of windows of no length, or of what a step's error is beside rounding.
    compare(
        {k: found[k] for k in ("amounts", "nonfinite", "window_starts")},
        {k: wanted[k] for k in ("amounts", "nonfinite", "window_starts")},
        rtol,
    )
    assert np.all(np.isfinite(wanted["amounts"]))
    rng = np.random.default_rng(1)
    handed = {"of_amounts": rng.standard_normal((layout.output_rows, layout.size, 11))}
    if layout.integrals:
        compare({"integral": found["integral"]}, {"integral": wanted["integral"]}, rtol)
        handed["of_integral"] = rng.standard_normal((layout.output_rows, layout.size, 11))
    every = dict(arguments) | {b.name: found[b.name] for b in layout.residuals} | handed
    back = SolutionAdjointProgram(layout, kernel.adjoint_of(layout.window))
    wanted = by_numpy(back, {k: np.asarray(v) for k, v in every.items()})
    found = jax.jit(lambda g: kernel.run_solution_adjoint(layout, g))(every)
    compare({f"of_{k}": v for k, v in found.items()}, wanted, 1e-9)


def test_readings_against_numpy(solution):
    layout, arguments = solution
    readings = ((1,), (2, 0, 1))
    window = replace(layout.window, readings=readings) if hasattr(layout.window, "readings") else layout.window
    layout = replace(layout, window=window, readings=readings)
    wanted = by_numpy(SolutionProgram(layout, False), arguments)
    found = jax.jit(lambda g: kernel.run_solution(layout, g, keep_residuals=False))(arguments)
    names = ["amounts", "nonfinite", *(["integral"] if layout.integrals else [])]
    compare({k: found[k] for k in names}, {k: wanted[k] for k in names}, 1e-11)
    assert found["amounts"].shape == (layout.output_rows, 2, 11)


def test_no_table_makes_a_program_write_elsewhere(solution):
    """Indices beyond all rows, negative ones and no numbers are kept within; the results are wrong, and all there is."""
    layout, arguments = solution
    run = jax.jit(
        lambda g: [kernel.run_solution(layout, g, keep_residuals=keeps)["amounts"] for keeps in (False, True)]
    )
    for wrong in (1e300, -1e300, np.nan, np.inf, 7.9e8):
        spoilt, voids = dict(arguments), ["target"] if layout.has_void else []
        for name in (
            "stop_outputs",
            "output_index" if layout.per_patient else "initial_outputs",
            "compartment",
            *voids,
        ):
            spoilt[name] = jnp.full_like(arguments[name], wrong)
        assert all(found.shape == (layout.output_rows, layout.size, 11) for found in run(spoilt))


def quadratic(f, y, sd):
    return ((y - f) / sd) ** 2 + 2 * jnp.log(sd)


def relative(f, y, sd):
    return jnp.log1p((y / (f + 0.1)) ** 2) * sd


TERMS = LikelihoodTerms(
    ((1,), (2, 0, 1)), (LikelihoodTerm(quadratic, (0,), ("y",), (0,)), LikelihoodTerm(relative, (1,), ("y",), (1,))), 2
)


def with_likelihood(layout, arguments):
    """A layout, and arguments beside it, of a likelihood: some outputs are of either term, some of none."""
    window = replace(layout.window, readings=TERMS.readings) if hasattr(layout.window, "readings") else layout.window
    rng, shape = np.random.default_rng(2), (layout.output_rows, 11)
    more = {"factors": rng.uniform(0.1, 1.0, (2, 11)), "parameters": rng.uniform(0.5, 2.0, (2, 11))}
    more |= {"term_index": rng.integers(0, 3, shape).astype(float), "data_y": rng.uniform(0, 9, shape)}
    return replace(layout, window=window, readings=TERMS.readings), dict(arguments) | {
        k: jnp.asarray(a) for k, a in more.items()
    }


@pytest.mark.parametrize("solution", [("own",)], indirect=True)
def test_likelihood_against_numpy(solution):
    layout, arguments = with_likelihood(*solution)
    for with_slopes in (False, True):
        program = LikelihoodProgram(layout, TERMS, kernel.adjoint_of(layout.window) if with_slopes else None)
        wanted = by_numpy(program, arguments)
        found = jax.jit(lambda g: kernel.run_likelihood(layout, TERMS, g, with_slopes=with_slopes))(arguments)  # noqa: B023
        named = [
            name for name in wanted if name not in layout.window.diagnostics
        ]  # of which rounding says as much as anything
        compare({k: found[k] for k in named}, {k: wanted[k] for k in named}, 1e-9)
        assert np.all(wanted["nonfinite"] == 0) and np.all(np.isfinite(wanted["minus2ll"]))
    assert {"of_factors", "of_parameters", "of_initial_states"} < found.keys()


@pytest.mark.parametrize("solution", [("own",)], indirect=True)
def test_slopes_are_the_losses_own(solution):
    """By differences; where two outputs of a patient are of one state, and one is of the first initial state."""
    layout, arguments = with_likelihood(*solution)
    output_index = np.asarray(arguments["output_index"]).copy()
    output_index[0], output_index[2] = 0.0, output_index[1]
    arguments |= {
        "output_index": jnp.asarray(output_index),
        "term_index": arguments["term_index"].at[:3].set(jnp.array([1.0, 1.0, 2.0])[:, None]),
    }
    loss = jax.jit(lambda g: kernel.run_likelihood(layout, TERMS, g, with_slopes=False)["minus2ll"][0])
    found = jax.jit(lambda g: kernel.run_likelihood(layout, TERMS, g, with_slopes=True))(arguments)
    for name in ("initial_states", "jump", "reset_state", "factors", "parameters"):
        rng = np.random.default_rng(3)
        way = jnp.asarray(rng.standard_normal(arguments[name].shape))
        by = jnp.sum((found[f"of_{name}"] * way).reshape(-1, 11), axis=0)
        onward = (
            loss(arguments | {name: arguments[name] + 1e-4 * way})
            - loss(arguments | {name: arguments[name] - 1e-4 * way})
        ) / 2e-4
        np.testing.assert_allclose(by, onward, rtol=1e-5, atol=1e-5 * np.abs(onward).max(), err_msg=name)
        assert np.abs(onward).max() > 1e-3


@pytest.mark.parametrize("solution", [("own",)], indirect=True)
def test_no_table_makes_a_likelihood_write_elsewhere(solution):
    layout, arguments = with_likelihood(*solution)
    run = jax.jit(lambda g: kernel.run_likelihood(layout, TERMS, g, with_slopes=True)["minus2ll"])
    for wrong in (1e300, -1e300, np.nan, 7.9e8):
        spoilt = dict(arguments) | {
            k: jnp.full_like(arguments[k], wrong) for k in ("output_index", "stop_outputs", "compartment", "term_index")
        }
        assert run(spoilt).shape == (1, 11)
