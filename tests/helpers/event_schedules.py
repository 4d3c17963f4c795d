"""Event schedules of every kind for small bodies and patients who differ: what both engines, and both ways of solving by
machine code, must agree about (tests/solve, tests/compile)."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, saturable, total
from pbpk.model import observe as declare_observable
from pbpk.model.system import build_system
from pbpk.regimen.void import void
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock
from pbpk.solve.timeline import build_timeline

GRID = (0.01, 24.0)
LINEAR, SATURABLE = Resolvent(), Rosenbrock(rtol=1e-6)
SOLVERS = {"linear": LINEAR, "saturable": SATURABLE, "grid": replace(SATURABLE, grid=GRID, rtol=1e-2)}


def build_body(is_nonlinear):
    depot, blood, tissue, bladder = (
        Compartment(name, "MBq", volume="V" if name == "blood" else None)
        for name in ("depot", "blood", "tissue", "bladder")
    )
    out = (
        flux(blood >> tissue, saturable, c=conc(blood), vmax="VM", km="KM")
        if is_nonlinear
        else flux(blood >> tissue, first_order, a=amount(blood), k="VM")
    )
    arrows = [(depot, blood, "KA"), (tissue, blood, "KT"), (blood, bladder, "KB"), (blood, OUT, "KE")]
    fluxes = [flux(a >> b, first_order, a=amount(a), k=k) for a, b, k in arrows]
    decay = [flux(c >> OUT, first_order, a=amount(c), k="D") for c in (depot, blood, tissue, bladder)]
    observables = (
        declare_observable("cp", conc(blood), "blood"),
        declare_observable("all", total(depot, blood, tissue, bladder), "everything"),
    )
    return build_system(Block((depot, blood, tissue, bladder), (*fluxes, out, *decay), observables))


BODIES = {"linear": build_body(False), "saturable": build_body(True)}
BODIES["grid"] = BODIES["saturable"]
VALUES = {"KA": 1.2, "VM": 2.0, "KM": 4.0, "KT": 0.3, "KB": 0.2, "KE": 0.1, "D": 0.096, "V": 3.0}


EMPTY = {"EVID": 0, "AMT": 0.0, "RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": ""}


def dose(time, amount, into, **more):
    """One dose record: `dose(time, amount, compartment, RATE=…)`."""
    return {**EMPTY, "TIME": float(time), "EVID": 1, "AMT": float(amount), "CMT": into, "MDV": 1, **more}


def observe(*times):
    """Observation records at the times given."""
    return [{**EMPTY, "TIME": float(t), "MDV": 0} for t in times]


SCHEDULES = {
    "boluses": [
        *observe(0.0),
        dose(0, 50, "blood"),
        dose(0, 20, "depot"),
        *observe(0.0, 0.5, 1.0, 2.0, 5.0),
        dose(6, 30, "tissue"),
        *observe(6.0, 7.0, 9.0, 20.0),
        dose(24, 40, "depot"),
        dose(24, 5, "blood"),
        dose(25, 5, "blood"),
        *observe(30.0),
        dose(31, 5, "blood"),
    ],
    "infusions": [
        dose(0, 50, "blood", RATE=25.0),
        *observe(0.5, 1.0, 2.0, 3.0),
        dose(4, 20, "depot", DUR=2.0),
        *observe(5.0, 9.0),
        dose(9, 20, "blood"),
        *observe(11.0, 30.0),
    ],
    "resets": [
        dose(0, 50, "blood", RATE=5.0),
        *observe(1.0, 2.0, 3.0),
        dose(4, 30, "depot", EVID=4),
        *observe(4.0, 5.0, 8.0),
        dose(9, 0, "", EVID=3, MDV=1),
        *observe(9.0, 10.0),
        dose(11, 10, "blood"),
        *observe(12.0),
    ],
    "voids": [dose(0, 50, "blood"), *observe(0.5, 1.0, 2.0, 3.0, 6.0), dose(6, 10, "blood"), *observe(7.0, 8.0, 12.0)],
    "steady": [
        dose(0, 40, "depot", SS=1, II=12.0),
        *observe(0.0, 2.0),
        dose(6, 30, "blood", SS=2, II=24.0, RATE=10.0),
        *observe(7.0, 8.0),
        dose(20, 25, "tissue", EVID=4, SS=1, II=8.0, DUR=2.0),
        *observe(20.0, 21.0, 26.0),
    ],
    "look": observe(0.0, 3.0),
}
"""Records of one patient, by name. Doses observed and not observed, at the same times and apart, into three compartments; a
reset; a dose after the last observation; infusions; steady states."""

MIXED = {
    "mixed": ("boluses", "resets", "infusions", "look", "voids"),
    "steady": ("steady", "boluses", "steady", "infusions"),
    "moving": ("infusions", "steady", "boluses"),
}
"""Schedules that patients have in turn, each a patient's own."""


VOIDS = [*void("bladder", into="tissue", every=2, left=0.1).voids, *void("bladder", at=[5]).voids]


def build_case(kind, schedule, patients=9, voids=()):
    """(system, timeline, p (1, m, N)) of a body and a schedule, by name, for patients who differ."""
    system = BODIES[kind]
    rng = np.random.default_rng(3)
    p = np.array([np.full(patients, VALUES[n]) for n in system.parameter_names])
    p = p * np.exp(0.3 * rng.standard_normal(p.shape))
    mixed = MIXED.get(schedule)
    names = [mixed[k % len(mixed)] for k in range(patients)] if mixed else [schedule]
    frames = [pd.DataFrame(SCHEDULES[name]) for name in names]
    timeline = build_timeline(frames, system, voids=voids, moving=schedule == "moving", typical=p)
    amount = timeline.amount * rng.uniform(0.5, 2.0, (1, patients)) if schedule == "boluses" else timeline.amount
    return system, replace(timeline, amount=amount), jnp.asarray(p[None])


def assert_close(a, b, rtol):
    """Every array within rtol of the other's largest number."""
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=rtol * max(float(np.abs(y).max()), 1e-300))


SOLUTION_CASES = [
    *((kind, "boluses", True) for kind in SOLVERS),
    *((kind, "infusions", False) for kind in SOLVERS),
    ("saturable", "infusions", True),
    ("linear", "resets", False),
    ("saturable", "resets", True),
    *((kind, "mixed", kind == "saturable") for kind in SOLVERS),
    *((kind, what, False) for kind in ("linear", "saturable") for what in ("steady", "moving")),
]
"""(body, schedule, whether integrals are wanted)."""
