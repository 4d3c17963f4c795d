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
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.model.clocks import add_clocks
from pbpk.model.declare import (
    OUT,
    Amount,
    Binding,
    Block,
    Compartment,
    ComputedReading,
    Concentration,
    CourseReading,
    DerivedParameter,
    Flux,
    Observable,
    sort_derived,
)
from pbpk.model.linear import is_linear


@dataclass(frozen=True, eq=False)
class LawArgument:
    """One argument of a law for all fluxes of a group: a gather from the state (over a volume) or from the parameters p."""

    name: str
    state: np.ndarray | None
    parameter: np.ndarray | None  # the parameter itself; for a concentration, its volume

    def __call__(self, y: jax.Array, p: jax.Array) -> jax.Array:
        if self.state is None:
            return p[self.parameter]
        return y[self.state] if self.parameter is None else y[self.state] / p[self.parameter]


@dataclass(frozen=True, eq=False)
class FluxGroup:
    """All fluxes of one law whose arguments are bound alike: evaluated together, by gathers from state and parameters."""

    law: Callable
    arguments: tuple[LawArgument, ...]
    size: int

    def __call__(self, y: jax.Array, p: jax.Array) -> jax.Array:
        rate = self.law(**{a.name: a(y, p) for a in self.arguments})
        return jnp.broadcast_to(rate, (self.size, *jnp.broadcast_shapes(y.shape[1:], p.shape[1:])))

    def slope(self, argument: LawArgument, y: jax.Array, p: jax.Array) -> jax.Array:
        """d rate / d state through one argument. Laws act element by element, so one tangent of ones gives them all."""
        values = {a.name: a(y, p) for a in self.arguments}
        x = values.pop(argument.name)
        tangent = jnp.ones_like(x) if argument.parameter is None else jnp.ones_like(x) / p[argument.parameter]
        _, slope = jax.jvp(lambda v: self.law(**{argument.name: v}, **values), (x,), (tangent,))
        return jnp.broadcast_to(slope, (self.size, *jnp.broadcast_shapes(y.shape[1:], p.shape[1:])))


@dataclass(frozen=True, eq=False)
class DerivedRule:
    """One rule for all parameters that it derives at the same distance from the table: gathers, and one write."""

    function: Callable
    arguments: tuple[tuple[str, np.ndarray | list[np.ndarray]], ...]
    into: np.ndarray

    def __call__(self, p):
        def of(rows):
            return [p[..., r, :] for r in rows] if isinstance(rows, list) else p[..., rows, :]

        values = self.function(**{name: of(rows) for name, rows in self.arguments})
        if isinstance(p, np.ndarray):
            p = p.copy()
            p[..., self.into, :] = values
            return p
        return p.at[..., self.into, :].set(values)


@dataclass(frozen=True, eq=False)
class System:
    """A model's structure as arrays, without values. `fluxes` are in the order of `groups`; index `len(names)` in `source` or
    `target` means outside the model."""

    block: Block
    names: tuple[str, ...]
    parameter_names: tuple[str, ...]
    fluxes: tuple[Flux, ...]
    groups: tuple[FluxGroup, ...]
    source: np.ndarray
    target: np.ndarray
    nonlinear: tuple[Flux, ...]
    rules: tuple[DerivedRule, ...] = ()

    def initial(self, p: jax.Array) -> jax.Array:
        """Amounts (n, N) before the first record and after a reset, from parameters p (m, N)."""
        x = jnp.zeros((len(self.names), *p.shape[1:]), p.dtype)
        begins = [(i, c.initial) for i, c in enumerate(self.compartments) if c.initial]
        if not begins:
            return x
        rows = np.array([self.parameter_index(name) for _, name in begins])
        return x.at[np.array([i for i, _ in begins])].set(p[rows])

    @cached_property
    def species(self) -> np.ndarray:
        """(n,): the number of the group of compartments that exchange with one another. Amounts of other groups have
        other units or another size: they say little of which amounts of this group are negligible."""
        label = np.arange(len(self.names) + 1)
        for a, b in zip(self.source, self.target, strict=True):
            if max(a, b) < len(self.names):
                label[label == label[b]] = label[a]
        return np.unique(label[:-1], return_inverse=True)[1]

    @cached_property
    def unit_of_species(self) -> np.ndarray:
        """(groups,): the number of the unit in which each group of `species` is measured."""
        _, unit = np.unique([c.unit for c in self.compartments], return_inverse=True)
        return unit[np.unique(self.species, return_index=True)[1]]

    def derive(self, p):
        """p (..., m, N), numpy or JAX, with the derived parameters computed from the others."""
        for rule in self.rules:
            p = rule(p)
        return p

    @property
    def compartments(self) -> tuple[Compartment, ...]:
        """The compartments, in the order of the states."""
        return self.block.compartments

    @property
    def held_names(self) -> tuple[str, ...]:
        """The names of the compartments that hold amounts: all but the clocks, which come last."""
        return tuple(c.name for c in self.compartments if c.clock is None)

    @property
    def has_timed_kinetics(self) -> bool:
        """Whether a rate depends on the records' time or on a change-point, so that repeated doses lead to no steady state.
        One that depends on the time since the last dose may have one."""
        return bool(self._clocks_in_fluxes - {"since_dose"})

    @property
    def reads_time_since_dose(self) -> bool:
        """Whether a rate depends on the time since the last dose."""
        return "since_dose" in self._clocks_in_fluxes

    @property
    def _clocks_in_fluxes(self) -> set[str]:
        read = (b.compartment.clock for f in self.block.fluxes for _, b in f.bindings if isinstance(b, Amount))
        return {clock.shows for clock in read if clock is not None}

    @property
    def observables(self) -> dict[str, Observable]:
        """What can be observed, by name."""
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
        """The row of a parameter in p. Raises `KeyError`."""
        return self.parameter_names.index(name)

    def index(self, compartment: Compartment | str) -> int:
        """The row of a compartment in y. Raises `KeyError`."""
        return self.names.index(compartment if isinstance(compartment, str) else compartment.name)


def build_system(block: Block, extra_parameters: tuple[str, ...] = ()) -> System:
    """Assemble a checked Block (see check.py). `extra_parameters` are rows that no law uses but an effect or fit may."""
    block = add_clocks(block)
    names = tuple(c.name for c in block.compartments)
    place = {c.name: i for i, c in enumerate(block.compartments)}
    place[OUT.name] = len(names)

    used = [b for f in block.fluxes for _, b in f.bindings if isinstance(b, str)]
    for c in block.compartments:
        used += c.roles
    for o in block.observables:
        used += o.reading.parameters if isinstance(o.reading, ComputedReading) else []
        used += [o.reading.level] if isinstance(o.reading, CourseReading) and o.reading.level else []
    for d in block.derived:
        used += [d.name, *d.parents]
    parameter_names = tuple(dict.fromkeys([*used, *extra_parameters]))
    row = {name: i for i, name in enumerate(parameter_names)}

    shapes: dict[tuple, list[Flux]] = {}
    for f in block.fluxes:
        shapes.setdefault((f.law, tuple((n, _kind_of_binding(b)) for n, b in f.bindings)), []).append(f)
    groups, fluxes = [], []
    for (law, _), members in shapes.items():
        columns = zip(*(f.bindings for f in members), strict=True)
        groups.append(FluxGroup(law, tuple(_gather_argument(c, place, row) for c in columns), len(members)))
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
        _group_rules(block, row),
    )


def _group_rules(block: Block, row: dict[str, int]) -> tuple[DerivedRule, ...]:
    """The rules of derived parameters, grouped by distance from the table, then by function."""
    remove: dict[str, int] = {}
    alike: dict[tuple, list[DerivedParameter]] = {}
    for d in sort_derived(block.derived):
        remove[d.name] = 1 + max((remove.get(name, 0) for name in d.parents), default=0)
        shape = tuple((a, None if isinstance(n, str) else len(n)) for a, n in d.of)
        alike.setdefault((remove[d.name], d.rule, shape), []).append(d)
    rules = []
    for (_, function, shape), members in sorted(alike.items(), key=lambda item: item[0][0]):
        gathered = []
        for i, (argument, count) in enumerate(shape):
            names: list[Any] = [d.of[i][1] for d in members]
            each = [names] if count is None else list(zip(*names, strict=True))
            rows = [np.array([row[n] for n in column]) for column in each]
            gathered.append((argument, rows[0] if count is None else rows))
        rules.append(DerivedRule(function, tuple(gathered), np.array([row[d.name] for d in members])))
    return tuple(rules)


def _kind_of_binding(binding: Binding) -> str:
    return "parameter" if isinstance(binding, str) else type(binding).__name__


def _gather_argument(column: tuple, place: dict[str, int], row: dict[str, int]) -> LawArgument:
    name, first = column[0]
    if isinstance(first, str):
        return LawArgument(name, None, np.array([row[b] for _, b in column]))
    state = np.array([place[b.compartment.name] for _, b in column])
    if isinstance(first, Amount):
        return LawArgument(name, state, None)
    assert isinstance(first, Concentration)
    return LawArgument(name, state, np.array([row[b.compartment.volume] for _, b in column]))
