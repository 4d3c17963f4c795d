"""A model's observables as functions of the amounts and the parameters: which there are, their units, their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.declare import Amount, ComputedReading, Concentration, CourseReading, Observable, TotalAmount
from pbpk.model.law_check import find_reading_unit

if TYPE_CHECKING:
    from pbpk.model.parameters import ParameterTable
    from pbpk.model.system import System

_AMOUNT = "amount:"


def name_amount(compartment: str) -> str:
    """The name by which one compartment's amount is observed, also where an observable has the compartment's name."""
    return _AMOUNT + compartment


def is_course(system: System, name: str) -> bool:
    """Whether an observable is read of another one's course: an extreme or a duration."""
    return isinstance(find_observable(system, name).reading, CourseReading)


def select_observables(system: System, wanted: Sequence[str] | None = None, *, courses: bool = False) -> list[str]:
    """The names in `wanted`, checked; all observables when there are none, or all compartments where a model has no observable.

    A compartment's name stands for its amount, unless an observable has that name: `amount:NAME` is always the
    compartment's. `courses`: all observables have those that are read of a course among them. Raises `BadInput` for a name
    that is neither.
    """
    known = [*system.observables, *(n for n in system.names if n not in system.observables)]
    if not wanted:
        shown = [n for n in system.observables if courses or not is_course(system, n)]
        return shown or [c.name for c in system.compartments if c.clock is None]
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
    observable = find_observable(system, name)
    if not isinstance(observable.reading, CourseReading):
        return find_reading_unit(observable, parameters)
    if observable.reading.level:
        return str(parameters.settings.get("time", "h"))
    return find_observable_unit(system, parameters, observable.reading.observable)


def find_compartments_read(system: System, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """The sums of amounts that the observables are made of, each by the numbers of its compartments, one observable's after
    another's: all that a solver need give back. A law that is observed has one for each argument that is read of amounts."""

    def list_compartments(reading: Amount | Concentration | TotalAmount) -> tuple[int, ...]:
        if isinstance(reading, TotalAmount):
            return tuple(system.index(c) for c in reading.compartments)
        return (system.index(reading.compartment),)

    return tuple(list_compartments(r) for n in names for r in _list_sums(find_observable(system, n)))


def is_computed(system: System, name: str) -> bool:
    """Whether an observable is a law: it is then no sum of amounts, and has no time-integral that is one of theirs."""
    return isinstance(find_observable(system, name).reading, ComputedReading)


def _list_sums(observable: Observable) -> list[Amount | Concentration | TotalAmount]:
    """What an observable reads of amounts."""
    reading = observable.reading
    if isinstance(reading, CourseReading):
        raise BadInput(
            f"`{observable.name}` is read of a course, which only a simulation has: pbpk.simulate, pbpk simulate",
            hint=f"observe `{reading.observable}` here",
        )
    if not isinstance(reading, ComputedReading):
        return [reading]
    return [b for _, b in reading.bindings if isinstance(b, Amount | Concentration | TotalAmount)]


@dataclass(frozen=True)
class ObservedLaw:
    """A law as a function of its sums of amounts in order, then its parameters, then its scale if it has one."""

    law: Callable[..., Any]
    arguments: tuple[tuple[str, bool], ...]
    has_scale: bool

    def __call__(self, *values: Any) -> Any:
        sums = iter(values[: sum(of_amounts for _, of_amounts in self.arguments)])
        rest = iter(values[sum(of_amounts for _, of_amounts in self.arguments) :])
        bound = {name: next(sums) if of_amounts else next(rest) for name, of_amounts in self.arguments}
        result = self.law(**bound)
        return result * next(rest) if self.has_scale else result


class ObservableParts(NamedTuple):
    """How an observable is made: a law of its sums of amounts, each times its own factor, and of
    `parameters` by name; what each sum is divided by, `volumes`, a parameter or None; `scale`: a further factor's parameter,
    already an argument of a law's function, and a factor of the sum elsewhere."""

    function: ObservedLaw | None
    volumes: tuple[str | None, ...]
    parameters: tuple[str, ...]
    scale: str | None


def take_apart(system: System, name: str) -> ObservableParts:
    """How an observable is made of sums of amounts and parameters, for programs that evaluate it with the solution."""
    observable = find_observable(system, name)
    reading, sums = observable.reading, _list_sums(observable)
    volumes = tuple(r.compartment.volume if isinstance(r, Concentration) else None for r in sums)
    if not isinstance(reading, ComputedReading):
        return ObservableParts(None, volumes, (), observable.scale)
    law = ObservedLaw(
        reading.law, tuple((a, not isinstance(b, str)) for a, b in reading.bindings), observable.scale is not None
    )
    parameters = (*reading.parameters, *([observable.scale] if observable.scale else []))
    return ObservableParts(law, volumes, parameters, None)


def observe_sums(system: System, names: Sequence[str], sums: jax.Array, p: jax.Array) -> jax.Array:
    """The observables' values (len(names), T, N), coherent units, from sums of amounts and parameters.

    The sums (T, S, N) are those that `find_compartments_read` names; p (T or 1, m, N) is each time's parameters.
    """
    values, first = [], 0
    for name in names:
        observable = find_observable(system, name)
        count = len(_list_sums(observable))
        values.append(_evaluate(system, observable, [sums[:, first + k] for k in range(count)], p))
        first += count
    return jnp.stack([jnp.broadcast_to(v, (sums.shape[0], sums.shape[-1])) for v in values])


def observe_all(system: System, names: Sequence[str], amounts: jax.Array, p: jax.Array) -> jax.Array:
    """The observables' values as from `observe_sums`, from all amounts (T, n, N)."""
    # One by one: a reduction's order, and so its last digit, depends on how many threads it is spread over.
    read = find_compartments_read(system, names)
    sums = [sum((amounts[:, k] for k in numbers[1:]), amounts[:, numbers[0]]) for numbers in read]
    none = jnp.zeros((amounts.shape[0], 0, amounts.shape[-1]), amounts.dtype)
    return observe_sums(system, names, jnp.stack(sums, axis=1) if sums else none, p)


def _evaluate(system: System, observable: Observable, sums: list[jax.Array], p: jax.Array) -> jax.Array:
    """The value (T, N) of an observable from its sums of amounts: over volumes, through its law, times its scale, where it has
    them."""

    def row(name: str | None) -> jax.Array:
        return p[:, system.parameter_index(name or "")]

    readings = iter(
        a / row(r.compartment.volume) if isinstance(r, Concentration) else a
        for r, a in zip(_list_sums(observable), sums, strict=True)
    )
    if isinstance(observable.reading, ComputedReading):
        arguments = {a: row(b) if isinstance(b, str) else next(readings) for a, b in observable.reading.bindings}
        value = jnp.asarray(observable.reading.law(**arguments), p.dtype)
    else:
        value = next(readings)
    return value * row(observable.scale) if observable.scale else value


def find_display_factor(system: System, parameters: ParameterTable, name: str) -> float:
    """How many coherent units one shown unit of the observable is."""
    return units.unit_factor(find_observable_unit(system, parameters, name))
