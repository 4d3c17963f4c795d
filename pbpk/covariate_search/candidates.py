"""The study with every candidate effect in it, each at 0: the one problem that all models of a search are parts of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pbpk.covariate_search.covariate_table import Column, collinear, column, reference_of, sparse_categories
from pbpk.covariate_search.relations import CATEGORICAL, HOCKEY, SLOPES, Relation
from pbpk.errors import BadInput, WrongUsage, did_you_mean
from pbpk.study.load import Study, replace_spec
from pbpk.study.schema import EffectPart, StudySpec


@dataclass(frozen=True)
class Candidate:
    """A relation with its effects: one coefficient each."""

    relation: Relation
    reference: float
    effects: tuple[EffectPart, ...]

    @property
    def name(self) -> str:
        return self.relation.name

    @property
    def coefficients(self) -> tuple[str, ...]:
        return tuple(str(e.estimate) for e in self.effects)

    @property
    def df(self) -> int:
        return len(self.effects)


@dataclass(frozen=True, eq=False)
class Enlarged:
    """`study` has all candidates in it, `base` none. `notes` say what was taken from the data and what to beware of."""

    base: Study
    study: Study
    candidates: tuple[Candidate, ...]
    columns: dict[str, Column]
    collinear: tuple[tuple[str, str, float], ...]
    notes: tuple[str, ...]

    def places(self, candidates: tuple[Candidate, ...]) -> list[int]:
        """Where their coefficients stand in ψ."""
        layout = self.study.problem.structure.layout
        free = [n for n, held in zip(layout.names, layout.fixed_mask, strict=True) if not held]
        return [free.index(n) for c in candidates for n in c.coefficients]

    def mask(self, chosen: tuple[Candidate, ...]) -> np.ndarray:
        """Which of ψ (P,) a model with these candidates estimates."""
        out = np.ones(len(self.study.problem.initial_unconstrained), dtype=bool)
        out[self.places(self.candidates)] = False
        out[self.places(chosen)] = True
        return out


def enlarge(study: Study, relations: tuple[Relation, ...], references: dict[str, float], one_each: bool) -> Enlarged:
    """Raises `BadInput` for relations that the study or its data cannot have; `one_each`: also for two forms of one pair and
    for collinear covariates on one parameter, which one model cannot tell apart."""
    if study.spec.summary:
        raise WrongUsage("a study of published aggregates has no subjects whose covariates could explain anything")
    columns = {r.covariate: column(study, r.covariate) for r in relations}
    _check(study, relations)
    candidates = tuple(_candidate(r, columns[r.covariate], references, relations) for r in relations)
    near = collinear(list(columns.values()), {r.covariate for r in relations if r.form == CATEGORICAL})
    if one_each:
        _check_apart(relations, near)
    notes = [f"{c.name}: {_reference_words(c, columns[c.relation.covariate])}" for c in candidates]
    notes += [f"{a} and {b} are collinear (r = {r:.2f}): what one explains, the other may" for a, b, r in near]
    for c in candidates:
        if c.relation.form == CATEGORICAL:
            notes += [n for n in sparse_categories(columns[c.relation.covariate], c.reference) if n not in notes]
    return Enlarged(
        study, replace_spec(study, enlarged_spec(study.spec, candidates)), candidates, columns, tuple(near), tuple(notes)
    )


def enlarged_spec(spec: StudySpec, candidates: tuple[Candidate, ...]) -> StudySpec:
    """The specification with these effects, at their own initial values."""
    parts = dict(spec.parameters)
    for c in candidates:
        part = parts[c.relation.parameter]
        parts[c.relation.parameter] = part.model_copy(update={"covariates": [*part.covariates, *c.effects]})
    return spec.model_copy(update={"parameters": parts})


def _check(study: Study, relations: tuple[Relation, ...]) -> None:
    where = str(study.folder / "fit.toml")
    for r in relations:
        part = study.spec.parameters.get(r.parameter)
        if part is None:
            hint = did_you_mean(r.parameter, study.spec.parameters)
            raise BadInput(f"`{r.name}`: the study estimates no `{r.parameter}`", where=where, hint=hint)
        for e in part.covariates:
            if e.covariate == r.covariate:
                held = f"estimated as {e.estimate}" if e.estimate else f"held at {e.coefficient:g}"
                raise BadInput(
                    f"`{r.name}`: {r.covariate} is on {r.parameter} already ({e.form}, {held})",
                    where=where,
                    hint="take it out of the study to have it tested",
                )
        names = set(study.problem.structure.layout.names)
        if f"{r.parameter}_{r.covariate}" in names:
            raise BadInput(f"`{r.name}`: the study has a parameter `{r.parameter}_{r.covariate}` already", where=where)


def _check_apart(relations: tuple[Relation, ...], near: list[tuple[str, str, float]]) -> None:
    pairs = [r.pair for r in relations]
    for r in relations:
        if pairs.count(r.pair) > 1:
            raise BadInput(f"a full model can hold one form of {r.covariate} on {r.parameter}, and two are asked for")
    for a, b, r in near:
        both = {p for p, c in pairs if c == a} & {p for p, c in pairs if c == b}
        if both:
            raise BadInput(
                f"{a} and {b} are collinear (r = {r:.2f}), so a full model cannot tell their effects on {min(both)} apart",
                hint="keep the one with the better reason, or use --method scm",
            )


def _candidate(r: Relation, c: Column, references: dict[str, float], all_of_them: tuple[Relation, ...]) -> Candidate:
    reference = reference_of(c, r, references)
    stem = f"{r.parameter}_{r.covariate}"
    if sum(o.pair == r.pair for o in all_of_them) > 1:
        stem += f"_{r.form}" + ("" if r.reference is None else f"_{r.reference:g}")

    def effect(name: str, form: str, at: float) -> EffectPart:
        return EffectPart(covariate=r.covariate, form=form, reference=at, estimate=name, initial=0.0)

    if r.form == CATEGORICAL:
        found = tuple(effect(f"{stem}_{v:g}", CATEGORICAL, float(v)) for v in c.values if v != reference)
    elif r.form == HOCKEY:
        found = tuple(effect(f"{stem}_{s.removeprefix('linear_')}", s, reference) for s in SLOPES)
    else:
        found = (effect(stem, r.form, reference),)
    return Candidate(r, reference, found)


def _reference_words(c: Candidate, of: Column) -> str:
    r = c.relation
    if r.form == CATEGORICAL:
        why = "the most common of subjects" if c.reference == of.most_common else "as asked for"
        return f"reference {c.reference:g} ({why}), {c.df} other{'s' * (c.df != 1)}"
    why = "the median of subjects" if c.reference == of.median else "as asked for"
    return f"reference {c.reference:g} ({why}), from {of.values[0]:g} to {of.values[-1]:g}"


def at_estimates(candidate: Candidate, estimates: dict[str, float]) -> Candidate:
    """The same with its effects starting from those values."""
    moved = tuple(e.model_copy(update={"initial": estimates[str(e.estimate)]}) for e in candidate.effects)
    return replace(candidate, effects=moved)
