"""How a model is declared: compartments, fluxes with a rate law each, and observables.

    depot   = Compartment("depot", "mg")
    central = Compartment("central", "mg", volume="V")
    model = Block(
        (depot, central),
        (
            flux(depot >> central, first_order, a=amount(depot), k="KA"),
            flux(central >> OUT, clearance, c=conc(central), cl="CL"),
        ),
        observables=(observe("cp", conc(central), "plasma concentration"),),
    )

A flux leaves one compartment and enters another, so that no typing error can break mass balance. A string is the name of
a row of `parameters.toml`. Nothing here computes: `System` (system.py) turns a Block into arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from pbpk.errors import BadInput

_BUILDERS = FilePath(__file__).parent


@dataclass(frozen=True)
class Clock:
    """What a law may read of time: "time", "since_dose", or "after", which is 1 from the time of parameter `at` on."""

    shows: str
    at: str | None = None


@dataclass(frozen=True)
class Compartment:
    """A well-mixed amount in `unit`. The other fields name parameters: its volume, its initial amount, and what acts on doses
    into it. `rate` and `duration` are those of an infusion whose record says RATE = -1 or -2. `clock`: it counts time for
    laws, and holds nothing (clocks.py makes such compartments).
    """

    name: str
    unit: str
    volume: str | None = None
    lag: str | None = None
    bioavailability: str | None = None
    rate: str | None = None
    duration: str | None = None
    initial: str | None = None
    clock: Clock | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The names of the parameters that it refers to."""
        named = (self.volume, self.lag, self.bioavailability, self.rate, self.duration, self.initial)
        return tuple(name for name in named if name)

    def __rshift__(self, target: Compartment) -> Arrow:
        return Arrow(self, target)


@dataclass(frozen=True)
class Arrow:
    """Where a flux leaves and where it enters; `source >> target` makes one."""

    source: Compartment
    target: Compartment

    def __str__(self) -> str:
        return f"{self.source.name} -> {self.target.name}"


OUT = Compartment("out", "")
"""Outside the model: where an eliminated amount goes and a produced one comes from."""


@dataclass(frozen=True)
class Amount:
    """The amount in a compartment, as a law's argument or an observable."""

    compartment: Compartment


@dataclass(frozen=True)
class Concentration:
    """Amount over the compartment's volume."""

    compartment: Compartment


@dataclass(frozen=True)
class TotalAmount:
    """The sum of amounts over several compartments of one unit."""

    compartments: tuple[Compartment, ...]


Binding = Amount | Concentration | Clock | str
Reading = Amount | Concentration | TotalAmount


def time() -> Clock:
    """The time of the records (h in the compiled program), to bind to a law's argument."""
    return Clock("time")


def time_since_dose() -> Clock:
    """The time since the last dose was given, additional doses included and a lag left out; before the first dose, the time
    since the first record or reset."""
    return Clock("since_dose")


def after(parameter: str) -> Clock:
    """0 before the time that the parameter names and 1 from it on: a change-point, as NONMEM's MTIME. The solution stops
    there, so that it is exact, and so are derivatives in the time itself, which may be estimated."""
    return Clock("after", parameter)


def amount(compartment: Compartment) -> Amount:
    """The amount in a compartment, to bind to a law's argument or to observe."""
    return Amount(compartment)


def conc(compartment: Compartment) -> Concentration:
    """The concentration in a compartment, to bind or to observe. Raises `BadInput` where it has no volume."""
    if compartment.volume is None:
        raise BadInput(
            f"`{compartment.name}` has no volume, so it has no concentration",
            where=_locate_caller(),
            hint=f'give it one: Compartment("{compartment.name}", "{compartment.unit}", volume="V")',
        )
    return Concentration(compartment)


def total(*compartments: Compartment) -> TotalAmount:
    """The sum of amounts over several compartments of one unit, to observe. Raises `BadInput` for anything else."""
    for c in compartments:
        if not isinstance(c, Compartment):
            raise BadInput(
                f"total(…) adds the amounts of compartments, and one of its arguments is {_describe_argument(c)}",
                where=_locate_caller(),
                why="Concentrations in different volumes have no sum that means anything.",
                hint="name the compartments: total(a, b); for another combination, write a law and observe it",
            )
    return TotalAmount(tuple(compartments))


def _describe_argument(value: object) -> str:
    """What stands where a compartment should, in the words of this language."""
    if isinstance(value, Amount | Concentration):
        word = "amount" if isinstance(value, Amount) else "conc"
        return f"{word}({value.compartment.name})"
    return f"{value!r:.40}"


@dataclass(frozen=True)
class Flux:
    """An arrow with the law of its rate, what is bound to each argument, and where the modeller wrote it."""

    path: Arrow
    law: Callable
    bindings: tuple[tuple[str, Binding], ...]
    where: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.path} ({self.law.__name__}, {self.where})"


def flux(path: Arrow, law: Callable, **bindings: Binding) -> Flux:
    """An arrow and the law of its rate; each keyword is an argument of the law (units: amount of the source per time).
    Raises `BadInput` for what is no arrow, no law or nothing that an argument can be bound to."""
    where = _locate_caller()
    if not isinstance(path, Arrow):
        raise BadInput(f"a flux needs an arrow, not {path!r:.40}", where=where, hint="flux(a >> b, law, …)")
    if not callable(law):
        raise BadInput(f"a flux needs a law, not {law!r:.40}", where=where, hint='first_order, a=amount(a), k="K"')
    for name, binding in bindings.items():
        _check_binding(name, binding, Binding, where)
    return Flux(path, law, tuple(bindings.items()), where)


def _check_binding(name: str, binding: object, kinds: object, where: str) -> None:
    if isinstance(binding, kinds):  # type: ignore[arg-type]
        return
    if isinstance(binding, TotalAmount):
        what, hint = "a total", "bind each amount to an argument of its own, and add them in the law"
    elif isinstance(binding, Compartment):
        what, hint = f"the compartment `{binding.name}`", f"amount({binding.name}) or conc({binding.name})"
    elif callable(binding):
        what, hint = f"the function {getattr(binding, '__name__', '?')}", "call it, as in time()"
    else:
        what, hint = f"{binding!r:.40}", f'give the number a name and a row in parameters.toml: {name}="NAME"'
    raise BadInput(f"the argument `{name}` of a law cannot be bound to {what}", where=where, hint=hint)


@dataclass(frozen=True)
class DerivedParameter:
    """A parameter computed from others, so that no number stands in the table twice."""

    name: str
    rule: Callable
    of: tuple[tuple[str, str | tuple[str, ...]], ...]
    about: str
    where: str = field(compare=False)

    @property
    def parents(self) -> tuple[str, ...]:
        """The names of the parameters that it is computed from."""
        return tuple(name for _, names in self.of for name in ((names,) if isinstance(names, str) else names))


def derive(name: str, rule: Callable, about: str, **of: str | tuple[str, ...]) -> DerivedParameter:
    """The parameter `name` as a scalar function of other parameters; each keyword is an argument of the rule, and a tuple
    of names arrives as a list.

    It can be used wherever a row of the table can, follows its parents through covariates, random effects and derivatives,
    and takes its unit from them.
    """
    return DerivedParameter(name, rule, tuple(of.items()), about, _locate_caller())


def sort_derived(derived: Iterable[DerivedParameter]) -> list[DerivedParameter]:
    """The derived parameters in an order in which each comes after its parents. Raises `BadInput` for a circle."""
    waiting = {d.name: d for d in derived}
    out: list[DerivedParameter] = []
    while waiting:
        free = [d for d in waiting.values() if not any(n in waiting for n in d.parents)]
        if not free:
            first = next(iter(waiting.values()))
            raise BadInput(
                f"`{first.name}` follows from itself, by way of {', '.join(list(waiting)[1:4])}", where=first.where
            )
        out += free
        waiting = {n: d for n, d in waiting.items() if d not in free}
    return out


@dataclass(frozen=True)
class ParameterDemand:
    """A condition that the parameters must meet for the model to be loaded (see `demand`)."""

    words: str
    rule: Callable
    of: tuple[tuple[str, str], ...]
    where: str = field(compare=False)


def demand(words: str, rule: Callable, **of: str) -> ParameterDemand:
    """A condition on the parameters: the value of `rule` must not be below zero. Otherwise the model is refused with `words`,
    which say what is wrong."""
    return ParameterDemand(words, rule, tuple(of.items()), _locate_caller())


@dataclass(frozen=True)
class ModelOption:
    """A choice of structure: a word out of `choices`, or words separated by commas when `several`."""

    name: str
    default: str
    choices: tuple[str, ...]
    about: str
    several: bool = False


def option(name: str, choices: str, about: str, *, default: str | None = None, several: bool = False) -> ModelOption:
    """Declare a choice of structure. `choices` are words separated by spaces; the first is the default."""
    words = tuple(choices.split())
    return ModelOption(name, words[0] if default is None else default, words, about, several)


@dataclass(frozen=True)
class ComputedReading:
    """A law of amounts, concentrations, times and parameters that is observed; `unit`: the one it is shown in, if not the one
    that its arguments make."""

    law: Callable
    bindings: tuple[tuple[str, Binding | TotalAmount], ...]
    unit: str | None
    where: str = field(compare=False)

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters that it reads."""
        return [b for _, b in self.bindings if isinstance(b, str)]


@dataclass(frozen=True)
class CourseReading:
    """What is read of another observable's course so far: its "lowest" or "highest" value, or the time "below" or "above" the
    parameter `level`."""

    kind: str
    observable: str
    level: str | None = None


def lowest(observable: str) -> CourseReading:
    """The lowest value of another observable since the start: a nadir, to observe."""
    return CourseReading("lowest", observable)


def highest(observable: str) -> CourseReading:
    """The highest value of another observable since the start, to observe."""
    return CourseReading("highest", observable)


def time_below(observable: str, level: str) -> CourseReading:
    """How long another observable has been below the parameter `level` since the start, to observe."""
    return CourseReading("below", observable, level)


def time_above(observable: str, level: str) -> CourseReading:
    """How long another observable has been above the parameter `level` since the start, to observe."""
    return CourseReading("above", observable, level)


@dataclass(frozen=True)
class Observable:
    """What a user can ask for by name: a reading, what it is about, and the parameter that scales it."""

    name: str
    reading: Reading | ComputedReading | CourseReading
    about: str
    scale: str | None = None


def observe(
    name: str,
    reading: Reading | CourseReading | Callable,
    about: str = "",
    scale: str | None = None,
    *,
    unit: str | None = None,
    **bindings: Binding | TotalAmount,
) -> Observable:
    """Declare what a user can ask for by name: an amount, a concentration or a total, times the parameter `scale` if given;
    an extreme or a duration of another observable so far; or a law, with each of its arguments bound as in a flux, and shown
    in `unit` if given.

        observe("effect", emax, "fall of blood pressure", a=conc(central), vmax="EMAX", half="EC50")

    Raises `BadInput` for what cannot be observed.
    """
    where = _locate_caller()
    if isinstance(reading, Reading | CourseReading):
        if bindings or unit is not None:
            extra = next(iter(bindings), "unit")
            raise BadInput(f"only a law takes `{extra}`, and `{name}` observes no law", where=where)
        return Observable(name, reading, about, scale)
    if isinstance(reading, Compartment | Clock | str) or not callable(reading):
        hint = f'observe("{name}", amount(…)) or conc(…); or a law: observe("{name}", emax, a=conc(…), …)'
        raise BadInput(f"`{name}` cannot observe {_describe_argument(reading)}", where=where, hint=hint)
    for argument, binding in bindings.items():
        _check_binding(argument, binding, Binding | TotalAmount, where)
    computed = ComputedReading(reading, tuple(bindings.items()), unit, where)
    return Observable(name, computed, about or (reading.__doc__ or reading.__name__).split("\n")[0].rstrip("."), scale)


@dataclass(frozen=True)
class Block:
    """A model or a part of one; `+` joins two, and a compartment in both is the same compartment.

    `routes` maps the word a dose may use ("oral", "iv") to the compartment it enters.
    """

    compartments: tuple[Compartment, ...] = ()
    fluxes: tuple[Flux, ...] = ()
    observables: tuple[Observable, ...] = ()
    routes: Mapping[str, Compartment] = field(default_factory=dict)
    derived: tuple[DerivedParameter, ...] = ()
    demands: tuple[ParameterDemand, ...] = ()

    def __add__(self, other: Block) -> Block:
        for name in self.routes.keys() & other.routes.keys():
            if self.routes[name] != other.routes[name]:
                raise BadInput(f"two blocks give the route `{name}` different compartments", where=_locate_caller())
        return Block(
            tuple(dict.fromkeys(self.compartments + other.compartments)),
            self.fluxes + other.fluxes,
            self.observables + other.observables,
            {**self.routes, **other.routes},
            tuple(dict.fromkeys(self.derived + other.derived)),
            tuple(dict.fromkeys(self.demands + other.demands)),
        )


def _locate_caller() -> str:
    """File and line of the nearest frame outside this folder, whose files build blocks: where the modeller wrote it."""
    frame = sys._getframe(1)
    while frame.f_back and FilePath(frame.f_code.co_filename).parent == _BUILDERS:
        frame = frame.f_back
    return f"{FilePath(frame.f_code.co_filename).name}:{frame.f_lineno}"
