"""How a model is said: compartments, arrows with a law on each, and what can be read off.

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

An arrow leaves one compartment and enters another, so mass balance cannot be typed wrong. A string is the name of a row
of `parameters.toml`. Nothing here computes: `System` (system.py) turns a Block into arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from pbpk.errors import BadInput


@dataclass(frozen=True)
class Compartment:
    """A well-mixed amount. The rest name parameters: its volume, and what acts on doses into it.

    `rate` and `duration` are those of an infusion whose record says RATE = -1 or -2.
    """

    name: str
    unit: str
    volume: str | None = None
    lag: str | None = None
    bioavailability: str | None = None
    rate: str | None = None
    duration: str | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The parameters it names."""
        named = (self.volume, self.lag, self.bioavailability, self.rate, self.duration)
        return tuple(name for name in named if name)

    def __rshift__(self, target: Compartment) -> Path:
        return Path(self, target)


@dataclass(frozen=True)
class Path:
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
class Total:
    """The sum of amounts over several compartments of one unit."""

    compartments: tuple[Compartment, ...]


Binding = Amount | Concentration | str
Reading = Amount | Concentration | Total


def amount(compartment: Compartment) -> Amount:
    return Amount(compartment)


def conc(compartment: Compartment) -> Concentration:
    if compartment.volume is None:
        raise BadInput(
            f"`{compartment.name}` has no volume, so it has no concentration",
            where=_caller(),
            hint=f'give it one: Compartment("{compartment.name}", "{compartment.unit}", volume="V")',
        )
    return Concentration(compartment)


def total(*compartments: Compartment) -> Total:
    return Total(tuple(compartments))


@dataclass(frozen=True)
class Flux:
    path: Path
    law: Callable
    bindings: tuple[tuple[str, Binding], ...]
    where: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.path} ({self.law.__name__}, {self.where})"


def flux(path: Path, law: Callable, **bindings: Binding) -> Flux:
    """An arrow and the law of its rate; each keyword is an argument of the law (units: amount of the source per time)."""
    return Flux(path, law, tuple(bindings.items()), _caller())


@dataclass(frozen=True)
class Observable:
    name: str
    reading: Reading
    about: str


def observe(name: str, reading: Reading, about: str) -> Observable:
    """Something a user can ask for by name: an amount, a concentration, or a total."""
    return Observable(name, reading, about)


@dataclass(frozen=True)
class Block:
    """A model or a part of one; `+` joins two, and a compartment in both is the same compartment.

    `routes` maps the word a dose may use ("oral", "iv") to the compartment it enters.
    """

    compartments: tuple[Compartment, ...] = ()
    fluxes: tuple[Flux, ...] = ()
    observables: tuple[Observable, ...] = ()
    routes: Mapping[str, Compartment] = field(default_factory=dict)

    def __add__(self, other: Block) -> Block:
        for name in self.routes.keys() & other.routes.keys():
            if self.routes[name] != other.routes[name]:
                raise BadInput(f"two blocks give the route `{name}` different compartments", where=_caller())
        return Block(
            tuple(dict.fromkeys(self.compartments + other.compartments)),
            self.fluxes + other.fluxes,
            self.observables + other.observables,
            {**self.routes, **other.routes},
        )


def _caller() -> str:
    """File and line of the nearest frame outside the files that build blocks: where the modeller wrote it."""
    frame = sys._getframe(1)
    builders = ("declare.py", "organs.py")
    while frame.f_back and FilePath(frame.f_code.co_filename).name in builders:
        frame = frame.f_back
    return f"{FilePath(frame.f_code.co_filename).name}:{frame.f_lineno}"
