"""`[parameters]` and the records as an `IndividualModel`: which parameters vary, and which covariates act on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbpk.errors import BadInput, did_you_mean
from pbpk.population.distributions import DISTRIBUTIONS
from pbpk.population.individual import CovariateFactor, IndividualModel, VaryingParameter
from pbpk.study.assemble.parameters import read_bounds

if TYPE_CHECKING:
    from pbpk.data.events import EventTable
    from pbpk.model.load import Model
    from pbpk.study.schema import EffectPart, StudySpec


def _explain_absence(name: str, events: EventTable) -> str:
    """Why the data lack a covariate: what was noted of a column of that name, else the nearest names."""
    notes = [n for n in events.notes if f"`{name}`" in n]
    if notes:
        return f'{notes[0]}; of a column of text name a category: form = "equals", reference = "F"'
    return did_you_mean(name, events.covariates)


def list_text_covariates(spec: StudySpec, where: str) -> list[str]:
    """The covariates of which an effect names a category in words. Raises `BadInput` where its form takes no category, and
    where another effect takes the same covariate for numbers."""
    effects = [(name, e) for name, part in spec.parameters.items() for e in part.covariates]
    texts = [e.covariate for _, e in effects if isinstance(e.reference, str)]
    for name, e in effects:
        if isinstance(e.reference, str) and e.form != "equals":
            hint = 'form = "equals": a factor 1 + b for the category that `reference` names'
            raise BadInput(f"`{name}`: {e.form} takes no category, `{e.reference}`", where=where, hint=hint)
        if e.covariate in texts and not isinstance(e.reference, str):
            raise BadInput(
                f"`{name}`: {e.covariate} is a column of text in another effect, and {e.reference:g} is no category of it",
                where=where,
                hint=f'write the category as text: reference = "{e.reference:g}"',
            )
    return list(dict.fromkeys(texts))


def _find_reference(name: str, effect: EffectPart, events: EventTable, where: str) -> float:
    """The reference as a number: of a category, its number in the table. Raises `BadInput` for one that no record has."""
    if not isinstance(effect.reference, str):
        return effect.reference
    words = events.categories[effect.covariate]
    if effect.reference not in words:
        raise BadInput(
            f"`{name}`: no record has the {effect.covariate} `{effect.reference}`",
            where=where,
            hint=did_you_mean(effect.reference, words) or f"there are {', '.join(words[:8])}",
        )
    return float(words.index(effect.reference))


def _check_power(name: str, effect: EffectPart, events: EventTable) -> None:
    """Raise `BadInput` at the first covariate of zero or less that a power is taken of: often a code for "missing"."""
    if effect.form != "power":
        return
    values = events.frame[effect.covariate]
    wrong = values.index[(values <= 0).to_numpy()]
    if len(wrong):
        raise BadInput(
            f"{effect.covariate} is {values[wrong[0]]:g}, of which `{name}` takes a power",
            where=f"{events.source} row {wrong[0]:g} (ID {events.frame['ID'][wrong[0]]})",
            why="A power of zero or less is no factor: is it a code for a missing value?",
            hint="leave the cell empty where the subject has another value, or leave the rows out by ignore_rows",
        )


def build_individual_model(spec: StudySpec, model: Model, events: EventTable, where: str) -> IndividualModel:
    """The population model of the parameters that the study names. Raises `BadInput` for a covariate or an occasion that the
    data do not have."""
    factors, covariates = [], []
    for name, part in spec.parameters.items():
        for e in part.covariates:
            if e.covariate not in events.covariates:
                raise BadInput(
                    f"`{name}`: the data have no covariate `{e.covariate}`",
                    where=where,
                    hint=_explain_absence(e.covariate, events),
                )
            _check_power(name, e, events)
            changes = bool((events.frame.groupby("ID")[e.covariate].nunique() > 1).any())
            coefficient = e.estimate if e.estimate else float(e.coefficient or 0.0)
            reference = _find_reference(name, e, events, where)
            factors.append(CovariateFactor(name, e.covariate, e.form, reference, coefficient, changes))
            covariates.append(e.covariate)
    occasions = _count_occasions(spec, events, where)
    varying = []
    for name, part in spec.parameters.items():
        low, high = read_bounds(name, part, model)
        shape = DISTRIBUTIONS[part.distribution].shape
        shape_name = f"{name}_{shape[0]}" if shape else None
        times = occasions if part.iov is not None else 0
        varying.append(
            VaryingParameter(name, part.distribution, part.iiv is not None, times, shape_name, low or 0.0, high or 1.0)
        )
    if occasions:
        covariates.append(spec.data.occasion)
    occasion = spec.data.occasion if occasions else None
    return IndividualModel(tuple(varying), tuple(factors), tuple(dict.fromkeys(covariates)), events.overrides, occasion)


def _count_occasions(spec: StudySpec, events: EventTable, where: str) -> int:
    """How many occasions the subject with the most has; 0 where no parameter varies between them."""
    varying = [n for n, p in spec.parameters.items() if p.iov is not None]
    if not varying:
        return 0
    column = spec.data.occasion
    if column not in events.covariates:
        hint = did_you_mean(column, events.covariates) or 'name it:  [data] occasion = "VISIT"'
        raise BadInput(f"`{varying[0]}` has `iov`, but the data have no column `{column}`", where=where, hint=hint)
    most = int(events.frame.groupby("ID")[column].nunique().max())
    if most < 2:
        why = "with one occasion a subject, variation between occasions cannot be told from that between subjects"
        raise BadInput(
            f"`{varying[0]}` has `iov`, but no subject has two occasions in `{column}`", where=where, why=why
        )
    return most
