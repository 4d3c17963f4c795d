"""A system's right-hand side and Jacobian, arranged for being evaluated a thousand times at the same parameters.

Most arrows of a body are linear, also in a model that is not: their part is one sparse matrix, packed once an event. What
remains of each step are the saturable arrows and a product by rows. Scattering every flux to its two ends, as
`System.vector_field` does, takes three times as long on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.linalg.packing import JacobianPacking, make_unlike_parameters, plan_packing

if TYPE_CHECKING:
    from pbpk.linalg.elimination import Elimination
    from pbpk.model.system import FluxGroup, System


class BoundParameters(NamedTuple):
    """Parameters as a field uses them, patients last: the linear arrows' packed matrix, what flows at zero amounts (n, N),
    and the gathered arguments of each nonlinear group's law (amounts left out; for a concentration, its volume)."""

    linear: jax.Array
    constant: jax.Array
    arguments: tuple[tuple[jax.Array | None, ...], ...]


@dataclass(frozen=True, eq=False)
class VectorField:
    """A system's right-hand side for solvers: which groups of fluxes are linear and which are not.

    `layout` is where the Jacobian's entries are packed; `linear_entries` and `nonlinear_entries` place the slopes of either
    kind there. `linear_flux` are the numbers of the linear fluxes; `nonlinear_ends` where the others leave and enter.
    """

    system: System
    layout: JacobianPacking
    linear_groups: tuple[FluxGroup, ...]
    nonlinear_groups: tuple[FluxGroup, ...]
    linear_flux: np.ndarray
    nonlinear_ends: tuple[np.ndarray, np.ndarray]
    linear_entries: JacobianPacking
    nonlinear_entries: JacobianPacking

    @property
    def elimination(self) -> Elimination:
        """Solves with matrices that are packed like the Jacobian."""
        return self.layout.elimination

    @cached_property
    def nonlinear_compartments(self) -> np.ndarray:
        """The compartments that nonlinear arrows depend on."""
        states = [a.state for g in self.nonlinear_groups for a in g.arguments if a.state is not None]
        return np.unique(np.concatenate([np.zeros(0, int), *states]))

    @cached_property
    def has_production(self) -> bool:
        """Whether linear arrows carry anything at zero amounts."""
        with jax.ensure_compile_time_eval():  # numbers, even where the caller is being traced
            y, values = jnp.zeros(len(self.system.names)), make_unlike_parameters(len(self.system.parameter_names))
            return any(bool(jnp.any(g(y, p) != 0)) for g in self.linear_groups for p in values)

    def bind(self, p: jax.Array) -> BoundParameters:
        """The parameters p (m, ...) as the methods below take them: done once an event."""
        n = len(self.system.names)
        y = jnp.zeros((n, *p.shape[1:]), p.dtype)
        slopes = [g.slope(a, y, p) for g in self.linear_groups for a in g.arguments if a.state is not None]
        none = jnp.zeros((0, *p.shape[1:]), p.dtype)
        linear = self.linear_entries.pack(jnp.concatenate([none, *slopes]))
        constant = y
        if self.has_production:
            rates = jnp.concatenate([g(y, p) for g in self.linear_groups])
            source, target = self.system.source[self.linear_flux], self.system.target[self.linear_flux]
            constant = jnp.pad(y, [(0, 1)] + [(0, 0)] * (p.ndim - 1)).at[source].add(-rates).at[target].add(rates)[:n]
        arguments = tuple(
            tuple(None if a.parameter is None else p[a.parameter] for a in g.arguments) for g in self.nonlinear_groups
        )
        return BoundParameters(linear, constant, arguments)

    def make_slope(self, bound: BoundParameters):
        """y (n, ...) ↦ dy/dt, for many y."""
        product = self.elimination.product(bound.linear)
        return lambda y: product(y) + bound.constant + self.nonlinear_slope(y, bound.arguments)

    def nonlinear_slope(self, y: jax.Array, arguments) -> jax.Array:
        """The nonlinear arrows' part of dy/dt."""
        if not self.nonlinear_groups:
            return jnp.zeros_like(y)
        groups = zip(self.nonlinear_groups, arguments, strict=True)
        rates = jnp.concatenate([_evaluate_group(g, y, of_group, None)[0] for g, of_group in groups])
        source, target = self.nonlinear_ends
        padded = jnp.zeros((y.shape[0] + 1, *y.shape[1:]), y.dtype)
        return padded.at[np.concatenate([source, target])].add(jnp.concatenate([-rates, rates]))[:-1]

    def jacobian(self, y: jax.Array, bound: BoundParameters) -> jax.Array:
        """The packed Jacobian (nonzeros, ...) at y."""
        return bound.linear + self.nonlinear_jacobian(y, bound.arguments) if self.nonlinear_groups else bound.linear

    def nonlinear_jacobian(self, y: jax.Array, arguments) -> jax.Array:
        """The nonlinear arrows' part of the packed Jacobian."""
        slopes = [
            _evaluate_group(g, y, of_group, k)[1]
            for g, of_group in zip(self.nonlinear_groups, arguments, strict=True)
            for k, a in enumerate(g.arguments)
            if a.state is not None
        ]
        return self.nonlinear_entries.pack(jnp.concatenate(slopes))


def _evaluate_group(group: FluxGroup, y: jax.Array, bound: tuple, argument: int | None) -> tuple[jax.Array, jax.Array]:
    """(rate, its slope in the state of `argument`) of every flux in a group."""
    values, direction = {}, {}
    for k, (a, known) in enumerate(zip(group.arguments, bound, strict=True)):
        if a.state is None:
            values[a.name] = known
            continue
        values[a.name] = y[a.state] if known is None else y[a.state] / known
        if k == argument:
            direction[a.name] = jnp.ones_like(y[a.state]) if known is None else jnp.ones_like(y[a.state]) / known
    if argument is None:
        return jnp.broadcast_to(group.law(**values), (group.size, *y.shape[1:])), y[:0]
    ((name, tangent),) = direction.items()
    fixed = {k: v for k, v in values.items() if k != name}
    rate, slope = jax.jvp(lambda x: group.law(**fixed, **{name: x}), (values[name],), (tangent,))
    return rate, jnp.broadcast_to(slope, (group.size, *y.shape[1:]))


@cache
def build_vector_field(system: System) -> VectorField:
    """The system's right-hand side, its linear fluxes apart from the others."""
    nonlinear = {id(f) for f in system.nonlinear}
    linear_groups, nonlinear_groups, linear_flux, nonlinear_flux, start = [], [], [], [], 0
    for g in system.groups:
        fluxes = range(start, start + g.size)
        start += g.size
        is_linear = id(system.fluxes[fluxes[0]]) not in nonlinear
        (linear_groups if is_linear else nonlinear_groups).append(g)
        (linear_flux if is_linear else nonlinear_flux).extend(fluxes)
    ends = np.array(nonlinear_flux, dtype=int)
    return VectorField(
        system=system,
        layout=plan_packing(system),
        linear_groups=tuple(linear_groups),
        nonlinear_groups=tuple(nonlinear_groups),
        linear_flux=np.array(linear_flux, dtype=int),
        nonlinear_ends=(system.source[ends], system.target[ends]),
        linear_entries=plan_packing(system).only(np.isin(system.slopes[0], linear_flux)),
        nonlinear_entries=plan_packing(system).only(np.isin(system.slopes[0], nonlinear_flux)),
    )
