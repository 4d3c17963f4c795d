"""The peers that solve one patient after another on one core: SciPy, plain and with numba, and libroadrunner.

Each is a function (p (m, N), rtol, atol) -> amounts (N, T, n).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from body import DOSE, TIMES
from ours import Missing
from scipy.integrate import odeint, solve_ivp
from truth import Written, numpy_rhs, written

from pbpk.model.system import System

Peer = Callable[[np.ndarray, float, float], np.ndarray]


def lsoda(system: System, *, numba: bool = False) -> Peer:
    """SciPy's LSODA through `odeint`, whose loop is compiled: twice as fast as `solve_ivp(method="LSODA")`."""
    equations, times = _equations(system, numba), np.r_[0.0, TIMES]

    def one(w: Written, p: np.ndarray, rtol: float, atol: float) -> np.ndarray:
        rhs, jacobian, args = equations(p)
        loose = {"rtol": rtol, "atol": atol, "mxstep": 100_000}
        return odeint(rhs, w.start(), times, args, jacobian, tfirst=True, **loose)[1:]

    return _each(system, one)


def bdf(system: System, *, numba: bool = False) -> Peer:
    """SciPy's BDF, with the Jacobian."""
    equations = _equations(system, numba)

    def one(w: Written, p: np.ndarray, rtol: float, atol: float) -> np.ndarray:
        rhs, jacobian, args = equations(p)
        loose: dict[str, Any] = {"rtol": rtol, "atol": atol, "jac": jacobian, "args": args or None}
        return solve_ivp(rhs, (0.0, TIMES[-1]), w.start(), "BDF", t_eval=TIMES, **loose).y.T

    return _each(system, one)


def _each(system: System, one: Callable) -> Peer:
    w = written(system)
    return lambda p, rtol, atol: np.stack([one(w, q, rtol, atol) for q in p.T])


def _equations(system: System, numba: bool) -> Callable:
    """One patient's (m,) right-hand side, Jacobian and further arguments."""
    w = written(system)
    if not numba:
        return lambda p: (*numpy_rhs(w, p), ())
    try:
        compiled = import_module("numba").njit
    except ImportError:
        raise Missing("SciPy with numba: numba is not installed") from None
    into = np.array([int(np.flatnonzero(e > 0)[0]) for e in w.uptake.T], dtype=int)

    @compiled
    def rhs(t, y, a, vmax, km, v):
        r = a @ y
        c = y[0] / v
        for q in range(len(into)):
            taken = vmax[q] * c / (km[q] + c)
            r[0] -= taken
            r[into[q]] += taken
        return r

    @compiled
    def jacobian(t, y, a, vmax, km, v):
        j = a.copy()
        c = y[0] / v
        for q in range(len(into)):
            slope = vmax[q] * km[q] / (km[q] + c) ** 2 / v
            j[0, 0] -= slope
            j[into[q], 0] += slope
        return j

    return lambda p: (rhs, jacobian, (np.ascontiguousarray(w.matrix(p)), p[w.vmax], p[w.km], p[w.volume]))


def roadrunner(system: System) -> Peer:
    """libroadrunner: SBML compiled by LLVM, CVODE's BDF. A call sets all parameters, resets, and simulates.

    The routes to set and reset (the runner's, the model's, amounts by hand) are equally fast.
    """
    try:
        engine = import_module("roadrunner")
    except ImportError:
        raise Missing("libroadrunner is not installed") from None
    runner = engine.RoadRunner(sbml(system))
    runner.timeCourseSelections = list(system.names)
    order = np.array([int(name[1:]) for name in runner.model.getGlobalParameterIds()])
    times = [0.0, *TIMES]

    def simulate(p: np.ndarray) -> np.ndarray:
        runner.reset()
        runner.model.setGlobalParameterValues(p[order])
        return np.array(runner.simulate(times=times))[1:]

    def solve(p: np.ndarray, rtol: float, atol: float) -> np.ndarray:
        runner.integrator.setValue("relative_tolerance", rtol)
        runner.integrator.setValue("absolute_tolerance", atol)
        return np.stack([simulate(q) for q in p.T])

    return solve


def sbml(system: System) -> str:
    """SBML level 3: the amounts are species of one compartment of size 1, every arrow a reaction, p0, p1, … parameters."""
    start = {name: DOSE if name == "plasma" else 0.0 for name in system.names}
    species = "".join(
        f'<species id="{name}" compartment="c" initialAmount="{amount}" hasOnlySubstanceUnits="true"'
        ' boundaryCondition="false" constant="false"/>'
        for name, amount in start.items()
    )
    parameters = "".join(
        f'<parameter id="p{i}" value="1" constant="false"/>' for i in range(len(system.parameter_names))
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="body">'
        '<listOfCompartments><compartment id="c" size="1" constant="true"/></listOfCompartments>'
        f"<listOfSpecies>{species}</listOfSpecies><listOfParameters>{parameters}</listOfParameters>"
        f"<listOfReactions>{''.join(_reaction(system, i) for i in range(len(system.fluxes)))}</listOfReactions>"
        "</model></sbml>"
    )


def _reaction(system: System, i: int) -> str:
    flux = system.fluxes[i]
    source, target = flux.path.source.name, flux.path.target.name
    own = {k: f"p{system.parameter_index(v)}" for k, v in flux.bindings if isinstance(v, str)}
    if flux in system.nonlinear:
        volume = f"p{system.parameter_index('V')}"
        above = f"<apply><times/><ci>{own['vmax']}</ci><ci>{source}</ci></apply>"
        below = f"<apply><plus/><apply><times/><ci>{own['km']}</ci><ci>{volume}</ci></apply><ci>{source}</ci></apply>"
        law = f"<apply><divide/>{above}{below}</apply>"
    else:
        law = f"<apply><times/><ci>{own['k']}</ci><ci>{source}</ci></apply>"
    one = '<speciesReference species="{}" stoichiometry="1" constant="true"/>'
    made = f"<listOfProducts>{one.format(target)}</listOfProducts>" if target in system.names else ""
    return (
        f'<reaction id="r{i}" reversible="false" fast="false"><listOfReactants>{one.format(source)}</listOfReactants>'
        f'{made}<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">{law}</math></kineticLaw></reaction>'
    )
