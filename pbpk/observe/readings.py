"""What a model shows: its observables, as functions of the amounts and the parameters."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.declare import Amount, Concentration, Observable, Total
from pbpk.model.parameters import ParameterTable
from pbpk.model.system import System


def observable_names(system: System, wanted: Sequence[str] | None = None) -> list[str]:
    """The observables asked for (all when none are); a compartment's own name stands for its amount."""
    known = [*system.observables, *(n for n in system.names if n not in system.observables)]
    if not wanted:
        return list(system.observables) or list(system.names)
    for name in wanted:
        if name not in known:
            raise BadInput(f"nothing called `{name}` can be observed", hint=did_you_mean(name, known))
    return list(wanted)


def find_observable(system: System, name: str) -> Observable:
    if name in system.observables:
        return system.observables[name]
    compartment = system.compartments[system.index(name)]
    return Observable(name, Amount(compartment), f"amount in {name}")


def observable_unit(system: System, parameters: ParameterTable, name: str) -> str:
    """The unit an observable is shown in."""
    reading = find_observable(system, name).reading
    if isinstance(reading, Total):
        return reading.compartments[0].unit
    if isinstance(reading, Amount):
        return reading.compartment.unit
    return f"{reading.compartment.unit}/{parameters[reading.compartment.volume or ''].unit}"


def observe_all(system: System, names: Sequence[str], amounts: jax.Array, p: jax.Array) -> jax.Array:
    """Readings (len(names), T, N), coherent units, from amounts (T, n, N) and each time's parameters p (T or 1, m, N)."""
    return jnp.stack([_scaled(system, find_observable(system, n), amounts, p) for n in names])


def _scaled(system: System, observable: Observable, amounts: jax.Array, p: jax.Array) -> jax.Array:
    value = _read(system, observable, amounts, p)
    return value * p[:, system.parameter_index(observable.scale)] if observable.scale else value


def _read(system: System, observable: Observable, amounts: jax.Array, p: jax.Array) -> jax.Array:
    reading = observable.reading
    if isinstance(reading, Total):
        # One by one: a reduction's order, and so its last digit, depends on how many threads it is spread over.
        return sum(
            (amounts[:, system.index(c)] for c in reading.compartments[1:]),
            amounts[:, system.index(reading.compartments[0])],
        )
    value = amounts[:, system.index(reading.compartment)]
    if isinstance(reading, Concentration):
        return value / p[:, system.parameter_index(reading.compartment.volume or "")]
    return value


def display_factor(system: System, parameters: ParameterTable, name: str) -> float:
    """How many coherent units one shown unit of the observable is."""
    return units.factor(observable_unit(system, parameters, name))
