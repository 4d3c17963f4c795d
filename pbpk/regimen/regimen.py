"""A regimen: doses, and the voids beside them, as they were asked for and as records of one patient.

`Dose` and `Void` are what dose.py and void.py read from words and arguments. A `Regimen` holds both; its records have the
columns of an event table (`pbpk.data.events`), which is what the solver's timeline is built from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk import units
from pbpk.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.model.system import System


@dataclass(frozen=True)
class Dose:
    """What is administered: `amount` in `unit` (per kg if `per_kg`) into a compartment or by a route, `into`.

    `into` None means the model's only one. Times are in h: `at`, `addl` further doses every `ii`, and `over`, the length of
    an infusion. `ss` 1: given every `ii` forever before, which replaces what is there; 2: the same on top of what is there.
    """

    amount: float
    unit: str
    into: str | None
    at: float = 0.0
    ii: float = 0.0
    addl: int = 0
    over: float = 0.0
    per_kg: bool = False
    ss: int = 0

    def find_compartment(self, model: Model) -> str:
        """The compartment that the dose enters: by a route's word, its own name, or as the model's only route or compartment.

        Raises `BadInput` where the model has no such route or compartment, or several and `into` is None.
        """
        routes, names = model.system.block.routes, model.system.held_names
        if self.into is None:
            if len({c.name for c in routes.values()}) == 1:
                return next(iter(routes.values())).name
            if len(names) == 1:
                return names[0]
            raise BadInput(
                f"the dose {self.amount:g} {self.unit} does not say where it goes",
                where=f"model `{model.name}`",
                hint="add one of: " + ", ".join(sorted(routes) or names),
            )
        if self.into in names:
            return self.into
        lower = {**{n.lower(): n for n in names}, **{w.lower(): c.name for w, c in routes.items()}}
        lower |= {"orally": lower["oral"]} if "oral" in lower else {}
        if self.into.lower() in lower:
            return lower[self.into.lower()]
        raise BadInput(
            f"no compartment or route `{self.into}`",
            where=f"model `{model.name}`",
            hint=did_you_mean(self.into, [*routes, *names]),
        )

    def find_factor(self, model: Model) -> float:
        """How many coherent units of its compartment one `unit` of the dose is. Raises `BadInput` for another dimension."""
        unit = model.system.compartments[model.system.index(self.find_compartment(model))].unit
        subject = f"the dose {self.amount:g} {self.unit}"
        return units.require_dimension(self.unit, unit, subject, where=f"model `{model.name}`")


@dataclass(frozen=True)
class Void:
    """An emptying of `compartment` into another, `into`, or out of the model (None); the fraction `left` stays.

    It comes at the times `at` (h), or each `every` h from `start` on.
    """

    compartment: str
    into: str | None
    at: tuple[float, ...] = ()
    every: float = 0.0
    start: float = 0.0
    left: float = 0.0

    def times(self, begin: float, end: float, most: int) -> list[float]:
        """The voids' times from `begin` to `end`, both included; one more than `most` where there would be more."""
        if self.at:
            return [t for t in self.at if begin <= t <= end]
        slack = 1e-9  # intervals: a multiple of `every` that misses `begin` or `end` by a rounding counts
        first = max(int(np.ceil((begin - self.start) / self.every - slack)), 0)
        last = int(min(np.floor((end - self.start) / self.every + slack), first + most))
        return [self.start + k * self.every for k in range(first, last + 1)]

    def find_compartments(self, system: System) -> tuple[int, int]:
        """(from, to) as indices, the number of compartments meaning outside. Raises `BadInput` for what the model lacks."""
        indices = []
        for name in (self.compartment, self.into):
            if name is None:
                indices.append(len(system.names))
                continue
            names = system.held_names
            same = [n for n in names if n == name] or [n for n in names if n.lower() == name.lower()]
            if len(same) != 1:
                hint = did_you_mean(name, names)
                where = f"the voids of `{self.compartment}`"
                raise BadInput(f"no compartment `{name}` to void", where=where, hint=hint)
            indices.append(system.index(same[0]))
        source, target = indices
        if source == target:
            raise BadInput(f"`{self.compartment}` cannot be voided into itself")
        if target < len(system.names):
            unit, target_unit = (system.compartments[i].unit for i in (source, target))
            if not units.have_same_dimension(unit, target_unit):
                raise BadInput(f"voiding `{self.compartment}` into `{self.into}` joins {unit} to {target_unit}")
        return source, target


@dataclass(frozen=True)
class Regimen:
    """The `doses` of one patient in the order they were asked for, and the `voids` that go on beside them."""

    doses: tuple[Dose, ...]
    voids: tuple[Void, ...] = ()

    def __add__(self, other: Regimen) -> Regimen:
        return Regimen(self.doses + other.doses, self.voids + other.voids)

    @property
    def per_kg(self) -> bool:
        """Whether any dose is to be multiplied by a patient's weight."""
        return any(d.per_kg for d in self.doses)

    def to_frame(self, model: Model, times: np.ndarray) -> pd.DataFrame:
        """Records for one patient: the doses, then an observation at each of `times` (h); amounts in coherent units.

        Observations at the time of a dose come after it. Two columns are not in event tables: PER_KG marks doses to be
        multiplied by weight, and DOSE is the number of the dose in `doses` (from 0; -1 at observations), by which its
        records and events are found again after they are sorted by time.
        """
        rows = []
        for number, d in enumerate(self.doses):
            amount = d.amount * d.find_factor(model)
            compartment = d.find_compartment(model)
            rows.append((d.at, 1, amount, 0.0, d.over, d.addl, d.ii, d.ss, compartment, 1, d.per_kg, number))
        rows += [(float(t), 0, 0.0, 0.0, 0.0, 0, 0.0, 0, "", 0, False, -1) for t in times]
        columns = ["TIME", "EVID", "AMT", "RATE", "DUR", "ADDL", "II", "SS", "CMT", "MDV", "PER_KG", "DOSE"]
        return pd.DataFrame(rows, columns=columns).sort_values("TIME", kind="stable").reset_index(drop=True)
