"""Quadrature nodes for exp(At)x = Im Σ w (ζI − At)⁻¹ x on a hyperbola around the spectrum.

A hyperbola ζ = μ(1 + sin(iu − α)) with the three error terms (two of discretisation, one of truncation) balanced as in
Weideman & Trefethen 2007 (Math. Comp. 76:1341), for a spectrum in the wedge of half-angle δ about the negative axis.
δ is not guessed: a compartmental matrix whose longest directed cycle has k compartments keeps its spectrum in
|Im λ| ≤ −Re λ · cot(π/k) (Kellogg & Stephens 1978, Linear Algebra Appl. 20:179), so δ = π/2 − π/k, and 0 without a
cycle of three or more. The price of long cycles is more nodes: 14 for a catenary or mammillary model, 54 for k = 6.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.optimize import minimize_scalar


def wedge_angle(longest_cycle: int) -> float:
    """Half-angle δ (radians) that holds every eigenvalue, from the length of the longest directed cycle."""
    return 0.0 if longest_cycle <= 2 else np.pi / 2 - np.pi / longest_cycle


def _rate(alpha: float, delta: float) -> tuple[float, float, float]:
    """(error exponent per node, node spacing × number of nodes, the balance term of μ) at the angle α."""
    balance = 4 * alpha + 2 * delta - np.pi
    spacing = np.arccosh(2 * alpha / (balance * np.sin(alpha)))
    return (np.pi**2 - 2 * np.pi * delta - 2 * np.pi * alpha) / spacing, spacing, balance


@cache
def hyperbola_nodes(delta: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes ζ and weights w (upper half; the lower is their conjugate), as many as double precision can use.

    Discretisation falls as exp(−B·N) while rounding grows as exp(max Re ζ): N is where the two meet.
    """
    low, high = np.pi / 4 - delta / 2, np.pi / 2 - delta
    span = high - low
    best = minimize_scalar(
        lambda a: -_rate(a, delta)[0], bounds=(low + 1e-6 * span, high - 1e-6 * span), method="bounded"
    )
    alpha = float(best.x)
    exponent, spacing, balance = _rate(alpha, delta)
    growth = np.pi * balance / spacing * (1 - np.sin(alpha))  # max Re ζ per node
    count = int(np.ceil(-np.log(np.finfo(float).eps) / (exponent + growth)))
    h = spacing / count
    mu = np.pi * balance / h
    u = (np.arange(count) + 0.5) * h
    node = mu * (1 - np.sin(alpha) * np.cosh(u) + 1j * np.cos(alpha) * np.sinh(u))
    slope = 1j * mu * (np.cos(alpha) * np.cosh(u) + 1j * np.sin(alpha) * np.sinh(u))
    return node, h / np.pi * np.exp(node) * slope


def longest_cycle(edges: set[tuple[int, int]], budget: int = 200_000) -> int:
    """Length of the longest simple directed cycle (0 if none); where the search outgrows `budget`, an upper bound.

    Only nodes of one strongly connected component can share a cycle, and each is searched by itself.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not edges:
        return 0
    size = max(max(e) for e in edges) + 1
    ends = np.array(sorted(edges)).T
    graph = coo_array((np.ones(len(edges)), (ends[0], ends[1])), shape=(size, size))
    _, label = connected_components(graph, directed=True, connection="strong")
    best, spent = 0, 0
    for component in range(label.max() + 1):
        nodes = [int(v) for v in np.flatnonzero(label == component)]
        if len(nodes) <= max(best, 1):
            continue
        inside = {v: sorted(b for a, b in edges if a == v and label[b] == component and b != v) for v in nodes}
        for start in nodes:  # cycles whose least node is `start`, so that each is met once
            stack = [(start, iter(inside[start]))]
            on_path = {start}
            while stack:
                spent += 1
                if spent > budget:  # no component's cycles are longer than the largest component
                    return int(np.bincount(label).max())
                node, onward = stack[-1]
                step = next(onward, None)
                if step is None:
                    stack.pop()
                    on_path.discard(node)
                elif step == start:
                    best = max(best, len(stack))
                elif step > start and step not in on_path:
                    stack.append((step, iter(inside[step])))
                    on_path.add(step)
    return best
