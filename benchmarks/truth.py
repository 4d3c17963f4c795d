"""The body as a peer's user writes it, the numbers that all solvers are judged by, and how their tolerance is set.

`Written` takes the System's arrows apart into a matrix and the saturable uptakes: A·y + E·(Vmax c/(Km + c)). The matrix
form proved the fastest for diffrax (twice the System's own scatter) and for SciPy, and the reference uses it too.

The error of a patient is the largest over compartments and times of |error| over the compartment's own largest amount
at those times; a population's is the 95th percentile of its patients'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from body import DOSE, TIMES, body, population
from clock import figures
from scipy.integrate import odeint, solve_ivp
from scipy.linalg import expm

from pbpk.model.system import System

CHECKED = 64  # patients whose error is measured
DISTINCT = 1024
HALF_LIVES = 10 * 7.214  # h; of 211At, which is the slowest process of the body


@dataclass(frozen=True, eq=False)
class Written:
    """Index arrays: which parameter, from where, to where; index n means outside. `uptake` (n, q) is E."""

    system: System
    k: np.ndarray
    source: np.ndarray
    target: np.ndarray
    vmax: np.ndarray
    km: np.ndarray
    volume: int
    uptake: np.ndarray

    @property
    def n(self) -> int:
        return len(self.system.names)

    def start(self) -> np.ndarray:
        return DOSE * np.eye(self.n)[self.system.index("plasma")]

    def matrix(self, p: np.ndarray) -> np.ndarray:
        """A (n, n) of one patient's parameters (m,)."""
        a = np.zeros((self.n + 1, self.n + 1))
        np.add.at(a, (self.source, self.source), -p[self.k])
        np.add.at(a, (self.target, self.source), p[self.k])
        return a[: self.n, : self.n]


@cache
def written(system: System) -> Written:
    linear = [i for i, f in enumerate(system.fluxes) if f not in system.nonlinear]
    uptakes = [i for i, f in enumerate(system.fluxes) if f in system.nonlinear]

    def parameter(flux: int, role: str) -> int:
        return system.parameter_index(str(dict(system.fluxes[flux].bindings)[role]))

    uptake = np.zeros((len(system.names), len(uptakes)))
    for q, i in enumerate(uptakes):
        uptake[system.source[i], q], uptake[system.target[i], q] = -1.0, 1.0
    return Written(
        system,
        np.array([parameter(i, "k") for i in linear]),
        system.source[linear],
        system.target[linear],
        np.array([parameter(i, "vmax") for i in uptakes], dtype=int),
        np.array([parameter(i, "km") for i in uptakes], dtype=int),
        system.parameter_index("V"),
        uptake,
    )


def numpy_rhs(w: Written, p: np.ndarray) -> tuple[Callable, Callable]:
    """f(t, y) and its Jacobian for one patient's parameters (m,)."""
    a, vmax, km, v, e = w.matrix(p), p[w.vmax], p[w.km], p[w.volume], w.uptake
    if not len(vmax):
        return lambda t, y: a @ y, lambda t, y: a

    def rhs(t, y):
        c = y[0] / v
        return a @ y + e @ (vmax * c / (km + c))

    def jacobian(t, y):
        j = a.copy()
        j[:, 0] += e @ (vmax * km / (km + y[0] / v) ** 2) / v
        return j

    return rhs, jacobian


@cache
def _drawn(system: System) -> np.ndarray:
    return population(system, DISTINCT)


def patients(system: System, n: int) -> np.ndarray:
    """Parameters (1, m, n): the first of 1024 patients, and beyond them the same again."""
    return _drawn(system)[:, :, np.arange(n) % DISTINCT]


@cache
def reference(system: System, n: int = CHECKED) -> tuple[np.ndarray, float]:
    """Amounts (N, T, n) to about 1e-10, and how far a second method is from them on three patients.

    Linear: SciPy's matrix exponential, against LSODA; saturable: LSODA at 1e-12, against Radau at 1e-11.
    """
    w, p = written(system), patients(system, n)[0]
    agreement = 0.0
    amounts = np.empty((n, len(TIMES), w.n))
    for i in range(n):
        rhs, jacobian = numpy_rhs(w, p[:, i])
        if not system.nonlinear:
            a = w.matrix(p[:, i])
            amounts[i] = [expm(a * t) @ w.start() for t in TIMES]
        if system.nonlinear or i < 3:
            times, tight = np.r_[0.0, TIMES], {"rtol": 1e-12, "atol": 1e-13, "mxstep": 200_000}
            stepped = odeint(rhs, w.start(), times, Dfun=jacobian, tfirst=True, **tight)[1:]
        if system.nonlinear:
            amounts[i] = stepped
        if system.nonlinear and i < 3:
            over, more = (0.0, TIMES[-1]), {"jac": jacobian, "rtol": 1e-11, "atol": 1e-12}
            stepped = solve_ivp(rhs, over, w.start(), "Radau", TIMES, **more).y.T  # pyright: ignore[reportArgumentType]
        if i < 3:
            agreement = max(agreement, float(errors(stepped[None], amounts[i : i + 1]).max()))
    return amounts, agreement


def reference_to_infinity(system: System, n: int = CHECKED) -> np.ndarray:
    """∫₀^∞ of the amounts (N, 1, n) of the linear body: −A⁻¹x₀ by a dense solve."""
    w, p = written(system), patients(system, n)[0]
    return np.stack([[np.linalg.solve(-w.matrix(p[:, i]), w.start())] for i in range(n)])


def lost_after_ten_half_lives(system: System) -> float:
    """What the linear body's integrals to ten half-lives miss of those to infinity, as `p95` measures it."""
    w, p, whole = written(system), patients(system, CHECKED)[0], reference_to_infinity(system)
    rest = [np.linalg.solve(a := w.matrix(q), expm(a * HALF_LIVES) @ w.start()) for q in p.T]
    return p95(whole + np.array(rest)[:, None], whole)


def errors(amounts: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Of each patient (N,); what is not finite is infinitely wrong."""
    wrong = np.abs(amounts - true) / np.abs(true).max(axis=1, keepdims=True)
    return np.where(np.isfinite(wrong), wrong, np.inf).max(axis=(1, 2))


def p95(amounts: np.ndarray, true: np.ndarray) -> float:
    return figures(float(np.percentile(errors(amounts, true[: len(amounts)]), 95)), 3)


def meet(error_at: Callable[[float], float], target: float, *, step: float = 0.25, first: float | None = None):
    """(rtol, error): the loosest tolerance on a grid of `step` decades whose error meets the target.

    Tightens by what the error says is missing, then loosens as long as it may. Raises `LookupError` below 1e-13.
    """
    known: dict[int, float] = {}

    def error(k: int) -> float:
        if k not in known:
            known[k] = error_at(10.0 ** (k * step))
        return known[k]

    k = round(np.log10(first or target) / step)
    while error(k) > target:
        missing = np.log10(error(k) / target) / step
        k -= int(np.clip(np.ceil(missing * 0.8), 1, round(2 / step))) if np.isfinite(missing) else round(1 / step)
        if k * step < -13:
            raise LookupError(f"no tolerance reaches {target:g}")
    while k * step < -1 and error(k + 1) <= target:
        k += 1
    return figures(10.0 ** (k * step), 3), known[k]


def bodies(compartments: int = 24) -> dict[str, System]:
    return {kind: body(nonlinear=kind == "saturable", compartments=compartments) for kind in ("linear", "saturable")}
