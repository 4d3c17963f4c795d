"""A model's observables as functions of the amounts and the parameters: which there are, their units, their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.declare import Amount, Concentration, Observable, TotalAmount

if TYPE_CHECKING:
    from pbpk.model.parameters import ParameterTable
    from pbpk.model.system import System

_AMOUNT = "amount:"


def name_amount(compartment: str) -> str:
    """The name by which one compartment's amount is observed, also where an observable has the compartment's name."""
    return _AMOUNT + compartment


def select_observables(system: System, wanted: Sequence[str] | None = None) -> list[str]:
    """The names in `wanted`, checked; all observables when there are none, or all compartments where a model has no observable.

    A compartment's name stands for its amount, unless an observable has that name: `amount:NAME` is always the
    compartment's. Raises `BadInput` for a name that is neither.
    """
    known = [*system.observables, *(n for n in system.names if n not in system.observables)]
    if not wanted:
        return list(system.observables) or list(system.names)
    for name in wanted:
        if name.removeprefix(_AMOUNT) not in (system.names if name.startswith(_AMOUNT) else known):
            raise BadInput(f"nothing called `{name}` can be observed", hint=did_you_mean(name, known))
    return list(wanted)


def find_observable(system: System, name: str) -> Observable:
    """The observable of that name, or one that is the amount in the compartment of that name."""
    if name in system.observables:
        return system.observables[name]
    compartment = system.compartments[system.index(name.removeprefix(_AMOUNT))]
    return Observable(name, Amount(compartment), f"amount in {compartment.name}")


def find_observable_unit(system: System, parameters: ParameterTable, name: str) -> str:
    """The unit an observable is shown in."""
    reading = find_observable(system, name).reading
    if isinstance(reading, TotalAmount):
        return reading.compartments[0].unit
    if isinstance(reading, Amount):
        return reading.compartment.unit
    return f"{reading.compartment.unit}/{parameters[reading.compartment.volume or ''].unit}"


def find_compartments_read(system: System, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """The numbers of the compartments whose amounts each observable is a sum of: all that a solver need give back."""

    def list_compartments(observable: Observable) -> tuple[int, ...]:
        reading = observable.reading
        if isinstance(reading, TotalAmount):
            return tuple(system.index(c) for c in reading.compartments)
        return (system.index(reading.compartment),)

    return tuple(list_compartments(find_observable(system, n)) for n in names)


def observe_sums(system: System, names: Sequence[str], sums: jax.Array, p: jax.Array) -> jax.Array:
    """The observables' values (len(names), T, N), coherent units, from sums of amounts and parameters.

    The sums (T, len(names), N) are those that `find_compartments_read` names; p (T or 1, m, N) is each time's parameters.
    """
    return jnp.stack([_apply_scale(system, find_observable(system, n), sums[:, k], p) for k, n in enumerate(names)])


def observe_all(system: System, names: Sequence[str], amounts: jax.Array, p: jax.Array) -> jax.Array:
    """The observables' values as from `observe_sums`, from all amounts (T, n, N)."""
    # One by one: a reduction's order, and so its last digit, depends on how many threads it is spread over.
    read = find_compartments_read(system, names)
    sums = [sum((amounts[:, k] for k in numbers[1:]), amounts[:, numbers[0]]) for numbers in read]
    return observe_sums(system, names, jnp.stack(sums, axis=1), p)


def _apply_scale(system: System, observable: Observable, total: jax.Array, p: jax.Array) -> jax.Array:
    """The value (T, N) of an observable from its sum of amounts: over the volume, times its scale, where it has them."""
    if isinstance(observable.reading, Concentration):
        total = total / p[:, system.parameter_index(observable.reading.compartment.volume or "")]
    return total * p[:, system.parameter_index(observable.scale)] if observable.scale else total


def find_display_factor(system: System, parameters: ParameterTable, name: str) -> float:
    """How many coherent units one shown unit of the observable is."""
    return units.unit_factor(find_observable_unit(system, parameters, name))
