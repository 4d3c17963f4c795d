"""Linear segments exactly: exp(At)x + ∫exp(As)r ds as a contour sum of resolvents, by sparse elimination.

With production or infusion r constant over a segment of length t, one solve per node gives both parts:

    x(t) = Im Σ w (ζI − At)⁻¹ (x₀ + r t/ζ)

Scaling time into A keeps the nodes fixed and makes t = 0 an ordinary value, so segments of any length, none included,
share one program, and derivatives with respect to t (dose times, lags) are as smooth as the others. Accuracy is that of
the quadrature, about 1e-13 of the amount present without cycles and 1e-11 with long ones (contour.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.model.system import System
from pbpk.solve.base import NEGATIVE_RATE, NOT_FINITE, Trajectory, cast
from pbpk.solve.contour import hyperbola, longest_cycle, wedge
from pbpk.solve.eliminate import Elimination, plan_elimination
from pbpk.solve.segments import run_segments
from pbpk.solve.timeline import Timeline

_LONGEST = 12  # beyond it the contour needs over 150 nodes, and the general solver is the better choice


@dataclass(frozen=True, eq=False)
class Plan:
    """What one system's structure fixes: the elimination, and where each rate constant goes in the packed matrix."""

    elimination: Elimination
    nodes: np.ndarray
    weights: np.ndarray
    slot: np.ndarray
    entry: np.ndarray
    sign: np.ndarray
    diagonal: np.ndarray
    produces: bool


@cache
def plan(system: System) -> Plan:
    n = len(system.names)
    flux, state = system.slopes
    places = []  # (row, column, entry of the Jacobian, sign); (j, j) stands for the sum of column j, see eliminate.py
    for k, (f, j) in enumerate(zip(flux, state, strict=True)):
        ends = [(int(end[f]), sign) for end, sign in ((system.source, -1.0), (system.target, 1.0)) if end[f] < n]
        places += [(i, int(j), k, sign) for i, sign in ends if i != j]
        if len(ends) == 1:  # only what crosses the model's border changes a column's sum
            places.append((int(j), int(j), k, ends[0][1]))
    elimination = plan_elimination(n, set(system.sparsity))
    nodes, weights = hyperbola(wedge(longest_cycle({(j, i) for i, j in system.sparsity if i != j})))
    return Plan(
        elimination,
        nodes,
        weights,
        np.array([elimination.position[i, j] for i, j, _, _ in places], dtype=int),
        np.array([k for _, _, k, _ in places], dtype=int),
        np.array([s for *_, s in places]),
        np.array([elimination.position[i, i] for i in range(n)], dtype=int),
        _produces(system),
    )


def _produces(system: System) -> bool:
    """Whether anything flows at zero amounts: production, or a law with a constant term, on whichever arrow."""
    with jax.ensure_compile_time_eval():  # numbers, even where the caller is being traced
        rates = system.rates(0.0, jnp.zeros(len(system.names)), jnp.full(len(system.parameter_names), 1.5))
        return bool(jnp.any(rates != 0))


def matrix(system: System, p: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The packed A (nonzeros, ...), the production b (n, ...) and the rate constants, from parameters p (m, ...)."""
    layout = plan(system)
    y = jnp.zeros((len(system.names), *p.shape[1:]))
    k = system.rate_jacobian(0.0, y, p)
    sign = layout.sign.reshape(-1, *([1] * (k.ndim - 1)))
    packed = jnp.zeros((layout.elimination.nonzeros, *k.shape[1:])).at[layout.slot].add(sign * k[layout.entry])
    return packed, system.vector_field(0.0, y, p), k


@dataclass(frozen=True)
class Resolvent:
    """Exact for linear systems in which every flux is driven by its own source's amount."""

    name: str = "resolvent"

    def refuses(self, system: System) -> str:
        if system.nonlinear:
            return "nonlinear fluxes: " + ", ".join(str(f) for f in system.nonlinear)
        flux, state = system.slopes
        foreign = [str(system.fluxes[f]) for f, j in zip(flux, state, strict=True) if system.source[f] != j]
        if foreign:
            return "fluxes driven by another compartment than their source: " + ", ".join(foreign)
        n = len(system.names)
        cycle = longest_cycle(
            {(int(s), int(t)) for s, t in zip(system.source, system.target, strict=True) if n not in (s, t)}
        )
        if cycle > _LONGEST:
            return f"a cycle of {cycle} compartments; beyond {_LONGEST} its oscillations need too many contour nodes"
        return ""

    def forward_mode(self) -> Resolvent:
        return self

    def solve(self, system: System, timeline: Timeline, p: jax.Array) -> Trajectory:
        layout = plan(system)
        packed, production, k = jax.vmap(lambda q: matrix(system, q))(p)
        negative = jnp.any(k < 0, axis=(0, 1))

        def advance(x, rate, dt, row):
            a, b = row
            source = None if rate is None and not layout.produces else (0.0 if rate is None else rate) + b
            return propagate(layout, a, x, source, dt), cast(jnp.zeros(x.shape[-1]))

        amounts, code = run_segments(system, timeline, p, (packed, production), advance)
        code = code | cast(jnp.where(negative, NEGATIVE_RATE, 0))
        finite = jnp.all(jnp.isfinite(amounts) | ~timeline.seen[:, None, :], axis=(0, 1))
        return Trajectory(amounts, code | cast(jnp.where(finite, 0, NOT_FINITE)))


def propagate(layout: Plan, packed: jax.Array, x: jax.Array, source: jax.Array | None, dt: jax.Array) -> jax.Array:
    """x (n, N) after dt (N,) hours under packed A (nonzeros, N) and a constant source (n, N) or None."""
    node = layout.nodes[:, None]
    shifted = (-(packed * dt))[:, None, :].astype(complex)
    shifted = jnp.broadcast_to(shifted, (packed.shape[0], len(layout.nodes), x.shape[-1]))
    shifted = shifted.at[layout.diagonal].add(node)
    rhs = x[:, None, :] + 0j * node
    if source is not None:
        rhs = rhs + (source * dt)[:, None, :] / node
    y = layout.elimination.solve(layout.elimination.factor(shifted), rhs)
    return jnp.einsum("k,ikn->in", layout.weights, y).imag
