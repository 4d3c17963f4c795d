"""`"CL: WT power, SEX equals"` as relations of a parameter with a covariate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pbpk.errors import BadInput, did_you_mean
from pbpk.population.covariates import FORMS

CATEGORICAL, HOCKEY = "equals", "hockey"
SLOPES = ("linear_below", "linear_above")
RELATION_FORMS = (*(f for f in FORMS if f not in SLOPES), HOCKEY)
"""Forms that may be asked for. `equals` stands for a factor of each category but the reference, `hockey` for two slopes that
meet at the reference; the others are single lines of `FORMS`."""


@dataclass(frozen=True)
class Relation:
    """An effect of a covariate on a parameter, in one form, that a search is asked to test.

    `reference` is the one asked for; None stands for the median or the most common category.
    """

    parameter: str
    covariate: str
    form: str
    reference: float | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """The parameter and the covariate."""
        return self.parameter, self.covariate

    @property
    def name(self) -> str:
        """The name in tables and messages: `CL-WT power`, with the reference where one is asked for."""
        at = "" if self.reference is None else f" {self.reference:g}"
        return f"{self.parameter}-{self.covariate} {self.form}{at}"


def read_relations(texts: Iterable[str]) -> tuple[Relation, ...]:
    """Read relations; each text is `PARAMETER: COVARIATE FORM [REFERENCE], …`. Raises `BadInput` for one that cannot
    be read or comes twice."""
    relations = [r for text in texts for r in _split_relations(text)]
    if not relations:
        raise BadInput("no relation is given", hint='--relation "CL: WT power, SEX equals"')
    for r in relations:
        if relations.count(r) > 1:
            raise BadInput(f"the relation `{r.name}` is asked for twice")
    return tuple(relations)


def _split_relations(text: str) -> list[Relation]:
    """The relations of one text, which share their parameter."""
    parameter, colon, rest = text.partition(":")
    wanted = [part.split() for part in rest.split(",")]
    if not colon or not parameter.strip() or any(len(w) not in (2, 3) for w in wanted):
        raise BadInput(
            f'the relation "{text}" cannot be read',
            hint='write PARAMETER: COVARIATE FORM, such as "CL: WT power, SEX equals"',
        )
    return [_make_relation(parameter.strip(), text, *w) for w in wanted]


def _make_relation(parameter: str, text: str, covariate: str, form: str, reference: str | None = None) -> Relation:
    """One relation from its words. Raises `BadInput` naming the text."""
    if form not in RELATION_FORMS:
        raise BadInput(
            f"no covariate form `{form}`", where=f'relation "{text}"', hint=did_you_mean(form, RELATION_FORMS)
        )
    try:
        return Relation(parameter, covariate, form, None if reference is None else float(reference))
    except ValueError:
        raise BadInput(f"the reference `{reference}` is no number", where=f'relation "{text}"') from None
