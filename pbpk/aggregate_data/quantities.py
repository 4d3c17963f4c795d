"""What is measured of each patient, from the trajectory of one solution: values, retention, integrals, half-lives, doses.

value       the observable at `time`
fraction    the same over the activity given; `decay_corrected` to the time of dosing, or not
excreted    1 − that fraction
integral    ∫ of the observable to `time`, or to infinity
residence   the integral to infinity over the activity given
half_life   ln 2 · (until − time)/ln(value at time / value at until)
dose        Σ S · integral to infinity, over the activity given where `per_activity`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from pbpk import units
from pbpk.study.summary_schema import KINDS, QuantityPart, SummaryPart
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.parameters import read_number
from pbpk.nuclides import load_nuclide
from pbpk.observe.readings import find_observable_unit, select_observables
from pbpk.regimen.times import read_hours

if TYPE_CHECKING:
    from pbpk.model.load import Model


@dataclass(frozen=True)
class Term:
    """S in Gy per coherent unit of the observable's integral; `covariate` scales it."""

    observable: int
    s: float
    covariate: str | None
    reference: float
    power: float


@dataclass(frozen=True)
class Quantity:
    """`at`, `until`: rows of the times, None for infinity; `unit` the shown one; `grow`: λ · time, to undo decay."""

    name: str
    kind: str
    unit: str
    observable: int = -1
    at: int | None = None
    until: int | None = None
    grow: float = 0.0
    span: float = 0.0
    per_activity: bool = False
    terms: tuple[Term, ...] = ()
    noise: float = 0.0


@dataclass(frozen=True)
class Measured:
    """All quantities: the observables (names) and the times (h) they need."""

    quantities: tuple[Quantity, ...]
    observables: tuple[str, ...]
    times: tuple[float, ...]

    @property
    def endless(self) -> bool:
        kinds = ("residence", "dose")
        return any(q.kind in kinds or (q.kind == "integral" and q.at is None) for q in self.quantities)

    def index(self, name: str) -> int:
        return [q.name for q in self.quantities].index(name)

    @property
    def covariates(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(t.covariate for q in self.quantities for t in q.terms if t.covariate))

    def evaluate(self, shown, integral, infinite, given, covariates: Mapping[str, Any]) -> jax.Array:
        """(K, N) coherent, from observables at the times (O, T, N), their integrals, those to infinity (O, N), the activity
        given (N,) and covariates (N,)."""
        return jnp.stack([_one(q, shown, integral, infinite, given, covariates) for q in self.quantities])


def _one(q: Quantity, shown, integral, infinite, given, covariates) -> jax.Array:
    if q.kind == "dose":
        total = jnp.zeros(())
        for t in q.terms:
            scale = (covariates[t.covariate] / t.reference) ** t.power if t.covariate else 1.0
            total = total + t.s * scale * infinite[t.observable]
        return total / given if q.per_activity else total
    o = q.observable
    if q.kind == "value":
        return shown[o, q.at]
    if q.kind in ("fraction", "excreted"):
        share = shown[o, q.at] * jnp.exp(q.grow) / given
        return 1 - share if q.kind == "excreted" else share
    if q.kind == "half_life":
        return jnp.log(2.0) * q.span / jnp.log(shown[o, q.at] / shown[o, q.until])
    whole = infinite[o] if q.at is None else integral[o, q.at]
    return whole / given if q.kind == "residence" else whole


def read_quantities(part: SummaryPart, model: Model, dosed: str, where: str) -> Measured:
    """`dosed` is the unit of what is given. Raises `BadInput` naming the quantity."""
    names: list[str] = []
    times: list[float] = []

    def observable(name: str | None, place: str) -> int:
        if name is None:
            raise BadInput("needs an `observable`", where=place)
        known = [*model.system.observables, *model.system.names]
        if name not in known:
            raise BadInput(f"nothing called `{name}` can be observed", where=place, hint=did_you_mean(name, known))
        select_observables(model.system, [name])
        if name not in names:
            names.append(name)
        return names.index(name)

    def moment(value: float | str | None, what: str, place: str) -> int:
        if value is None:
            raise BadInput(f"needs a `{what}`", where=place, hint=f'{what} = "48 h"')
        times.append(read_hours(value, f"{place}: {what}"))
        return len(times) - 1

    found = []
    for name, said in part.quantities.items():
        place = f"{where} [summary.quantities.{name}]"
        if said.kind not in KINDS:
            raise BadInput(f"no kind of quantity `{said.kind}`", where=place, hint=did_you_mean(said.kind, KINDS))
        _no_more_than(said, place)
        if said.kind == "dose":
            found.append(_dose(name, said, model, dosed, observable, place))
            continue
        o = observable(said.observable, place)
        shown = find_observable_unit(model.system, model.parameters, names[o])
        at = until = None
        grow = span = 0.0
        if said.kind != "residence" and not (said.kind == "integral" and said.time in (None, "infinity")):
            at = moment(said.time, "time", place)
        if said.kind == "half_life":
            until = moment(said.until, "until", place)
            span = times[until] - times[at or 0]
            if span <= 0:
                raise BadInput("`until` is not after `time`", where=place)
        if said.kind in ("fraction", "excreted", "residence") and not units.have_same_dimension(shown, dosed):
            raise BadInput(f"`{names[o]}` is in {shown}, so it is no share of a dose in {dosed}", where=place)
        if said.kind in ("fraction", "excreted"):
            grow = _growth(said, model, times[-1], place)
        unit = {"value": shown, "integral": f"({shown})*h", "residence": "h", "half_life": "h"}.get(said.kind, "1")
        found.append(Quantity(name, said.kind, unit, o, at, until, grow, span, noise=said.noise or 0.0))
    return Measured(tuple(found), tuple(names), tuple(times))


def _no_more_than(said: QuantityPart, place: str) -> None:
    """Refuses settings that the kind has no use for: silence would hide a misunderstanding."""
    uses = {
        "value": ("observable", "time"),
        "fraction": ("observable", "time", "decay_corrected"),
        "excreted": ("observable", "time", "decay_corrected"),
        "integral": ("observable", "time"),
        "residence": ("observable",),
        "half_life": ("observable", "time", "until"),
        "dose": ("terms", "per_activity"),
    }[said.kind]
    for name, field in QuantityPart.model_fields.items():
        if name not in ("kind", "noise", *uses) and getattr(said, name) != field.default:
            raise BadInput(f"a {said.kind} has no `{name}`", where=place, hint=f"it has {', '.join(uses)}")


def _growth(said: QuantityPart, model: Model, time: float, place: str) -> float:
    if said.decay_corrected is None and model.nuclide:
        raise BadInput("`decay_corrected` must be said", where=place,
                       why="With a short half-life a fraction and its decay-corrected form differ many times over.",
                       hint="true for what would be there without decay, false for what is")  # fmt: skip
    if not said.decay_corrected:
        return 0.0
    if not model.nuclide:
        raise BadInput("the model has no nuclide, so nothing decays", where=place, hint="decay_corrected = false")
    return load_nuclide(model.nuclide).decay_constant * time


def _dose(name: str, said: QuantityPart, model: Model, dosed: str, observable, place: str) -> Quantity:
    if not said.terms:
        raise BadInput("needs `terms`: S-values with their sources", where=place,
                       hint='terms = [{ observable = "…", s = "1.3 mGy/(MBq*h)", source = "…" }]')  # fmt: skip
    terms = []
    for k, t in enumerate(said.terms, start=1):
        here = f"{place} term {k}"
        o = observable(t.observable, here)
        shown = find_observable_unit(model.system, model.parameters, t.observable)
        try:
            number, unit = read_number(t.s)
        except ValueError:
            raise BadInput(f'S = "{t.s}" cannot be read', where=here, hint='s = "1.3 mGy/(MBq*h)"') from None
        factor = units.require_dimension(unit or "1", f"Gy/(({shown})*h)", "S", where=here)
        if number <= 0:
            raise BadInput(f"S = {number:g} must be above 0", where=here)
        if not t.source.strip():
            raise BadInput("an S-value without a source", where=here)
        terms.append(Term(o, number * factor, t.covariate, t.reference, t.power))
    unit = f"mGy/({dosed})" if said.per_activity else "Gy"
    return Quantity(name, "dose", unit, per_activity=said.per_activity, terms=tuple(terms), noise=said.noise or 0.0)
