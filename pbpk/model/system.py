"""A Block as arrays: stoichiometry, rates, their Jacobian, and which fluxes are nonlinear.

Fluxes are grouped by law, with gathers for their arguments and one scatter for the result, so that the traced program is
as long as the list of laws and not as the list of states: 200 compartments compile like 6.

All arrays may carry trailing axes (patients last): y is (n, ...), p is (m, ...), rates are (fluxes, ...). Amounts, times
and parameters are in coherent units (pbpk/units.py). A System holds no values and is compared by identity, so that one
structure is compiled once whatever its numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.model.declare import OUT, Amount, Binding, Block, Compartment, Concentration, Flux, Observable
from pbpk.model.linear import is_linear


@dataclass(frozen=True, eq=False)
class Argument:
    """One argument of a law for all fluxes of its group: a gather from the state (over a volume) or from p."""

    name: str
    state: np.ndarray | None
    parameter: np.ndarray | None  # the parameter itself; for a concentration, its volume

    def __call__(self, y: jax.Array, p: jax.Array) -> jax.Array:
        if self.state is None:
            return p[self.parameter]
        return y[self.state] if self.parameter is None else y[self.state] / p[self.parameter]


@dataclass(frozen=True, eq=False)
class Group:
    law: Callable
    arguments: tuple[Argument, ...]
    size: int

    def __call__(self, y: jax.Array, p: jax.Array) -> jax.Array:
        rate = self.law(**{a.name: a(y, p) for a in self.arguments})
        return jnp.broadcast_to(rate, (self.size, *jnp.broadcast_shapes(y.shape[1:], p.shape[1:])))

    def slope(self, argument: Argument, y: jax.Array, p: jax.Array) -> jax.Array:
        """d rate / d state through one argument. Laws act element by element, so one tangent of ones gives them all."""
        values = {a.name: a(y, p) for a in self.arguments}
        x = values.pop(argument.name)
        tangent = jnp.ones_like(x) if argument.parameter is None else jnp.ones_like(x) / p[argument.parameter]
        _, slope = jax.jvp(lambda v: self.law(**{argument.name: v}, **values), (x,), (tangent,))
        return jnp.broadcast_to(slope, (self.size, *jnp.broadcast_shapes(y.shape[1:], p.shape[1:])))


@dataclass(frozen=True, eq=False)
class System:
    """Floor 1's product. `fluxes` are in group order; index `len(names)` in source/target means outside."""

    block: Block
    names: tuple[str, ...]
    parameter_names: tuple[str, ...]
    fluxes: tuple[Flux, ...]
    groups: tuple[Group, ...]
    source: np.ndarray
    target: np.ndarray
    nonlinear: tuple[Flux, ...]

    @property
    def compartments(self) -> tuple[Compartment, ...]:
        return self.block.compartments

    @property
    def observables(self) -> dict[str, Observable]:
        return {o.name: o for o in self.block.observables}

    @property
    def stoichiometry(self) -> np.ndarray:
        """S, (compartments, fluxes): −1 where a flux leaves, +1 where it enters; dy/dt = S · rates."""
        n = len(self.names)
        s = np.zeros((n + 1, len(self.fluxes)))
        s[self.source, np.arange(len(self.fluxes))] -= 1
        s[self.target, np.arange(len(self.fluxes))] += 1
        return s[:n]

    def rates(self, t, y: jax.Array, p: jax.Array) -> jax.Array:
        """Rate of every flux, (fluxes, ...), amount/h. `t` (h) is for laws to come: none depends on time today."""
        return jnp.concatenate([g(y, p) for g in self.groups])

    def vector_field(self, t, y: jax.Array, p: jax.Array) -> jax.Array:
        """dy/dt, (n, ...), amount/h: one scatter of the rates along the arrows."""
        r = self.rates(t, y, p)
        dy = jnp.zeros((len(self.names) + 1, *r.shape[1:]), r.dtype)
        return dy.at[self.source].add(-r).at[self.target].add(r)[:-1]

    @property
    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """The sparsity of `rate_jacobian`: (flux index, state index) of each of its entries."""
        flux_index, state_index, start = [], [], 0
        for g in self.groups:
            for a in g.arguments:
                if a.state is not None:
                    flux_index.append(np.arange(start, start + g.size))
                    state_index.append(a.state)
            start += g.size
        none = [np.zeros(0, int)]
        return np.concatenate(flux_index or none), np.concatenate(state_index or none)

    @property
    def sparsity(self) -> frozenset[tuple[int, int]]:
        """Where d(dy/dt)/dy can be nonzero: (row, column) pairs."""
        n = len(self.names)
        ends = [(end[f], j) for f, j in zip(*self.slopes, strict=True) for end in (self.source, self.target)]
        return frozenset((int(i), int(j)) for i, j in ends if i < n)

    def rate_jacobian(self, t, y: jax.Array, p: jax.Array) -> jax.Array:
        """d rate / d state for the entries that `slopes` lists, (entries, ...), 1/h."""
        parts = [g.slope(a, y, p) for g in self.groups for a in g.arguments if a.state is not None]
        return jnp.concatenate(parts) if parts else jnp.zeros((0, *jnp.broadcast_shapes(y.shape[1:], p.shape[1:])))

    def parameter_index(self, name: str) -> int:
        return self.parameter_names.index(name)

    def index(self, compartment: Compartment | str) -> int:
        return self.names.index(compartment if isinstance(compartment, str) else compartment.name)


def build_system(block: Block, extra_parameters: tuple[str, ...] = ()) -> System:
    """Assemble a checked Block (see check.py). `extra_parameters` are rows that no law uses but an effect or fit may."""
    names = tuple(c.name for c in block.compartments)
    place = {c.name: i for i, c in enumerate(block.compartments)}
    place[OUT.name] = len(names)

    used = [b for f in block.fluxes for _, b in f.bindings if isinstance(b, str)]
    for c in block.compartments:
        used += c.roles
    parameter_names = tuple(dict.fromkeys([*used, *extra_parameters]))
    row = {name: i for i, name in enumerate(parameter_names)}

    shapes: dict[tuple, list[Flux]] = {}
    for f in block.fluxes:
        shapes.setdefault((f.law, tuple((n, _kind(b)) for n, b in f.bindings)), []).append(f)
    groups, fluxes = [], []
    for (law, _), members in shapes.items():
        columns = zip(*(f.bindings for f in members), strict=True)
        groups.append(Group(law, tuple(_argument(c, place, row) for c in columns), len(members)))
        fluxes += members

    return System(
        block,
        names,
        parameter_names,
        tuple(fluxes),
        tuple(groups),
        np.array([place[f.path.source.name] for f in fluxes]),
        np.array([place[f.path.target.name] for f in fluxes]),
        tuple(f for f in fluxes if not is_linear(f)),
    )


def _kind(binding: Binding) -> str:
    return "parameter" if isinstance(binding, str) else type(binding).__name__


def _argument(column: tuple, place: dict[str, int], row: dict[str, int]) -> Argument:
    name, first = column[0]
    if isinstance(first, str):
        return Argument(name, None, np.array([row[b] for _, b in column]))
    state = np.array([place[b.compartment.name] for _, b in column])
    if isinstance(first, Amount):
        return Argument(name, state, None)
    assert isinstance(first, Concentration)
    return Argument(name, state, np.array([row[b.compartment.volume] for _, b in column]))
