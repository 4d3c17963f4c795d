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
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.parameters import read_number
from pbpk.nuclides import load_nuclide
from pbpk.observe.readings import find_observable_unit, select_observables
from pbpk.regimen.times import read_hours
from pbpk.study.summary_schema import QUANTITY_KINDS, QuantityPart, SummaryPart

if TYPE_CHECKING:
    from pbpk.model.load import Model


@dataclass(frozen=True)
class DoseTerm:
    """One source of a dose: `s` is S in Gy per coherent unit of the integral of `observable` (its index).

    It is scaled by (covariate / reference) ** power where `covariate` names one.
    """

    observable: int
    s: float
    covariate: str | None
    reference: float
    power: float


@dataclass(frozen=True)
class MeasuredQuantity:
    """A quantity that is measured of each patient; see the module for its `kind`.

    `time_index` and `until_index` are positions in the times, None for infinity; `unit` is the shown one;
    `decay_exponent`: λ · time, which undoes decay; `span`: hours between the two times; `noise`: the CV of measurement.
    """

    name: str
    kind: str
    unit: str
    observable: int = -1
    time_index: int | None = None
    until_index: int | None = None
    decay_exponent: float = 0.0
    span: float = 0.0
    per_activity: bool = False
    terms: tuple[DoseTerm, ...] = ()
    noise: float = 0.0


@dataclass(frozen=True)
class MeasuredQuantities:
    """All quantities: the observables (names) and the times (h) they need."""

    quantities: tuple[MeasuredQuantity, ...]
    observables: tuple[str, ...]
    times: tuple[float, ...]

    @property
    def needs_infinity(self) -> bool:
        """Whether any quantity is an integral to infinity."""
        kinds = ("residence", "dose")
        return any(q.kind in kinds or (q.kind == "integral" and q.time_index is None) for q in self.quantities)

    def index(self, name: str) -> int:
        """The position of a quantity by name."""
        return [q.name for q in self.quantities].index(name)

    @property
    def covariates(self) -> tuple[str, ...]:
        """The covariates that doses are scaled by."""
        return tuple(dict.fromkeys(t.covariate for q in self.quantities for t in q.terms if t.covariate))

    def evaluate(self, readings, integrals, infinite, activity, covariates: Mapping[str, Any]) -> jax.Array:
        """All quantities (K, N), coherent, from observables at the times (O, T, N), their integrals, those to infinity
        (O, N), the activity given (N,) and covariates (N,)."""
        return jnp.stack(
            [_evaluate_quantity(q, readings, integrals, infinite, activity, covariates) for q in self.quantities]
        )


def _evaluate_quantity(q: MeasuredQuantity, readings, integrals, infinite, activity, covariates) -> jax.Array:
    """One quantity (N,), from the arrays of `MeasuredQuantities.evaluate`."""
    if q.kind == "dose":
        total = jnp.zeros(())
        for t in q.terms:
            scale = (covariates[t.covariate] / t.reference) ** t.power if t.covariate else 1.0
            total = total + t.s * scale * infinite[t.observable]
        return total / activity if q.per_activity else total
    o = q.observable
    if q.kind == "value":
        return readings[o, q.time_index]
    if q.kind in ("fraction", "excreted"):
        share = readings[o, q.time_index] * jnp.exp(q.decay_exponent) / activity
        return 1 - share if q.kind == "excreted" else share
    if q.kind == "half_life":
        return jnp.log(2.0) * q.span / jnp.log(readings[o, q.time_index] / readings[o, q.until_index])
    total = infinite[o] if q.time_index is None else integrals[o, q.time_index]
    return total / activity if q.kind == "residence" else total


def read_quantities(part: SummaryPart, model: Model, dose_unit: str, where: str) -> MeasuredQuantities:
    """Read the quantities of `[summary]`; `dose_unit` is the unit of the doses. Raises `BadInput` naming the quantity."""
    names: list[str] = []
    times: list[float] = []

    def add_observable(name: str | None, place: str) -> int:
        """The position of an observable, which is added where it is new."""
        if name is None:
            raise BadInput("needs an `observable`", where=place)
        known = [*model.system.observables, *model.system.names]
        if name not in known:
            raise BadInput(f"nothing called `{name}` can be observed", where=place, hint=did_you_mean(name, known))
        select_observables(model.system, [name])
        if name not in names:
            names.append(name)
        return names.index(name)

    def add_time(value: float | str | None, what: str, place: str) -> int:
        """The position of a time in hours, which is added."""
        if value is None:
            raise BadInput(f"needs a `{what}`", where=place, hint=f'{what} = "48 h"')
        times.append(read_hours(value, f"{place}: {what}"))
        return len(times) - 1

    quantities = []
    for name, quantity in part.quantities.items():
        location = f"{where} [summary.quantities.{name}]"
        if quantity.kind not in QUANTITY_KINDS:
            raise BadInput(
                f"no kind of quantity `{quantity.kind}`",
                where=location,
                hint=did_you_mean(quantity.kind, QUANTITY_KINDS),
            )
        _refuse_unused_settings(quantity, location)
        if quantity.kind == "dose":
            quantities.append(_read_dose_quantity(name, quantity, model, dose_unit, add_observable, location))
            continue
        o = add_observable(quantity.observable, location)
        shown_unit = find_observable_unit(model.system, model.parameters, names[o])
        at = until = None
        decay_exponent = span = 0.0
        if quantity.kind != "residence" and not (quantity.kind == "integral" and quantity.time in (None, "infinity")):
            at = add_time(quantity.time, "time", location)
        if quantity.kind == "half_life":
            until = add_time(quantity.until, "until", location)
            span = times[until] - times[at or 0]
            if span <= 0:
                raise BadInput("`until` is not after `time`", where=location)
        if quantity.kind in ("fraction", "excreted", "residence") and not units.have_same_dimension(
            shown_unit, dose_unit
        ):
            raise BadInput(
                f"`{names[o]}` is in {shown_unit}, so it is no share of a dose in {dose_unit}", where=location
            )
        if quantity.kind in ("fraction", "excreted"):
            decay_exponent = _compute_decay_exponent(quantity, model, times[-1], location)
        unit = {"value": shown_unit, "integral": f"({shown_unit})*h", "residence": "h", "half_life": "h"}.get(
            quantity.kind, "1"
        )
        quantities.append(
            MeasuredQuantity(name, quantity.kind, unit, o, at, until, decay_exponent, span, noise=quantity.noise or 0.0)
        )
    return MeasuredQuantities(tuple(quantities), tuple(names), tuple(times))


def _refuse_unused_settings(quantity: QuantityPart, location: str) -> None:
    """Refuse settings that the kind has no use for: silence would hide a misunderstanding. Raises `BadInput`."""
    uses = {
        "value": ("observable", "time"),
        "fraction": ("observable", "time", "decay_corrected"),
        "excreted": ("observable", "time", "decay_corrected"),
        "integral": ("observable", "time"),
        "residence": ("observable",),
        "half_life": ("observable", "time", "until"),
        "dose": ("terms", "per_activity"),
    }[quantity.kind]
    for name, field in QuantityPart.model_fields.items():
        if name not in ("kind", "noise", *uses) and getattr(quantity, name) != field.default:
            raise BadInput(f"a {quantity.kind} has no `{name}`", where=location, hint=f"it has {', '.join(uses)}")


def _compute_decay_exponent(quantity: QuantityPart, model: Model, time: float, location: str) -> float:
    """λ · time of a decay-corrected fraction, else 0. Raises `BadInput` where the setting is missing or has no meaning."""
    if quantity.decay_corrected is None and model.nuclide:
        raise BadInput("`decay_corrected` must be said", where=location,
                       why="With a short half-life a fraction and its decay-corrected form differ many times over.",
                       hint="true for what would be there without decay, false for what is")  # fmt: skip
    if not quantity.decay_corrected:
        return 0.0
    if not model.nuclide:
        raise BadInput("the model has no nuclide, so nothing decays", where=location, hint="decay_corrected = false")
    return load_nuclide(model.nuclide).decay_constant * time


def _read_dose_quantity(
    name: str, quantity: QuantityPart, model: Model, dose_unit: str, add_observable, location: str
) -> MeasuredQuantity:
    """A dose with its S-values in coherent units. Raises `BadInput` naming the term."""
    if not quantity.terms:
        raise BadInput("needs `terms`: S-values with their sources", where=location,
                       hint='terms = [{ observable = "…", s = "1.3 mGy/(MBq*h)", source = "…" }]')  # fmt: skip
    terms = []
    for k, t in enumerate(quantity.terms, start=1):
        term_location = f"{location} term {k}"
        o = add_observable(t.observable, term_location)
        shown_unit = find_observable_unit(model.system, model.parameters, t.observable)
        try:
            number, unit = read_number(t.s)
        except ValueError:
            raise BadInput(f'S = "{t.s}" cannot be read', where=term_location, hint='s = "1.3 mGy/(MBq*h)"') from None
        factor = units.require_dimension(unit or "1", f"Gy/(({shown_unit})*h)", "S", where=term_location)
        if number <= 0:
            raise BadInput(f"S = {number:g} must be above 0", where=term_location)
        if not t.source.strip():
            raise BadInput("an S-value without a source", where=term_location)
        terms.append(DoseTerm(o, number * factor, t.covariate, t.reference, t.power))
    unit = f"mGy/({dose_unit})" if quantity.per_activity else "Gy"
    return MeasuredQuantity(
        name, "dose", unit, per_activity=quantity.per_activity, terms=tuple(terms), noise=quantity.noise or 0.0
    )
