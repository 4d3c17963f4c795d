"""Whether absorption is slower than disposition at the estimates (flip-flop): then the slope at the end is absorption's.

Where a drug is given into a depot alone and one compartment lies behind it, curves with KA and CL/V exchanged, and V scaled
to suit, are the same (Garrison, Sahin & Benet 2015, AAPS J 17:1): the data cannot tell which of the two is absorption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from pbpk.solve.event_kinds import BOLUS, START

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

_CLEARLY = 0.98  # of the other: nearer than that the two are one


def warn_of_flip_flop(problem: Problem, psi: np.ndarray) -> list[str]:
    """A sentence where the one compartment that is dosed empties more slowly than what lies behind it."""
    system, timeline = problem.structure.system, problem.timeline
    given_into = np.unique(np.asarray(timeline.compartment)[np.isin(timeline.kind, (BOLUS, START))])
    given_into = [int(i) for i in given_into if i < len(system.names) and system.compartments[i].clock is None]
    if system.nonlinear or len(given_into) != 1:
        return []
    (depot,) = given_into
    rates = _rate_matrix(problem, psi)
    behind = np.flatnonzero(_reach_from(rates, depot))
    observed = _is_observed(problem, depot)
    if observed or not len(behind) or np.any(np.delete(rates[depot], depot) != 0) or not np.isfinite(rates).all():
        return []
    disposition = rates[np.ix_(behind, behind)]
    decaying = -np.linalg.eigvals(disposition).real
    decaying = decaying[decaying > 1e-9 * max(decaying.max(), 1e-300)]  # what only fills has no rate
    absorption = -rates[depot, depot]
    if not len(decaying) or not 0 < absorption < _CLEARLY * decaying.min():
        return []
    text = (
        f"flip-flop: `{system.names[depot]}` empties at {absorption:.3g} 1/h, more slowly than the drug then disappears"
        f" ({decaying.min():.3g} 1/h), so the slope at the end is absorption's"
    )
    if len(decaying) == 1:
        text += (
            "; the fit is as good with the two exchanged: bounds, or data after intravenous doses, tell which is meant"
        )
    return [text]


def _rate_matrix(problem: Problem, psi: np.ndarray) -> np.ndarray:
    """d(dy/dt)/dy (n, n), 1/h, of the first subject at η = 0."""
    system = problem.structure.system
    theta = problem.unpack(jnp.asarray(psi))[0]
    eta = jnp.zeros((len(problem.structure.layout.etas), problem.columns))
    p = problem.system_parameters(problem.individual_parameters(theta, eta))[0, :, 0]
    n = len(system.names)
    slopes = np.asarray(system.rate_jacobian(0.0, jnp.zeros(n), p))
    matrix = np.zeros((n + 1, n))
    for slope, flux, state in zip(slopes, *system.slopes, strict=True):
        matrix[system.source[flux], state] -= slope
        matrix[system.target[flux], state] += slope
    return matrix[:n]


def _reach_from(rates: np.ndarray, start: int) -> np.ndarray:
    """(n,) the compartments that something of `start` comes to, itself left out."""
    reached, edges = np.zeros(len(rates), bool), np.abs(rates) > 0
    waiting = [start]
    while waiting:
        into = np.flatnonzero(edges[:, waiting.pop()] & ~reached)
        reached[into] = True
        waiting += [int(i) for i in into]
    reached[start] = False
    return reached


def _is_observed(problem: Problem, compartment: int) -> bool:
    from pbpk.observe.readings import find_compartments_read

    names = [e.observable for e in problem.structure.endpoints]
    return any(compartment in numbers for numbers in find_compartments_read(problem.structure.system, names))
