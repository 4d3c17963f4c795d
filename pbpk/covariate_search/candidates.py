"""The study with every candidate effect in it, each at 0: the one problem that all models of a search are parts of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pbpk.covariate_search.covariate_table import (
    CovariateColumn,
    choose_reference,
    describe_sparse_categories,
    find_collinear_pairs,
    read_column,
)
from pbpk.covariate_search.relations import CATEGORICAL, HOCKEY, SLOPES, Relation
from pbpk.errors import BadInput, WrongUsage, did_you_mean
from pbpk.study.load import Study, replace_spec
from pbpk.study.schema import EffectPart, StudySpec


@dataclass(frozen=True)
class CandidateRelation:
    """A relation that the search tests, with its `reference` and its `effects`: each has one coefficient."""

    relation: Relation
    reference: float
    effects: tuple[EffectPart, ...]

    @property
    def name(self) -> str:
        """The name of the relation, as tables and messages show it."""
        return self.relation.name

    @property
    def coefficients(self) -> tuple[str, ...]:
        """The names of its coefficients among the parameters of the enlarged study."""
        return tuple(str(e.estimate) for e in self.effects)

    @property
    def df(self) -> int:
        """Degrees of freedom: the number of coefficients."""
        return len(self.effects)


@dataclass(frozen=True, eq=False)
class EnlargedStudy:
    """The study that a search fits parts of: `study` has all candidates in it, `base` none.

    `columns` are the covariates by name, `collinear` the pairs of them with their correlation. `notes` say what was taken
    from the data and what to beware of.
    """

    base: Study
    study: Study
    candidates: tuple[CandidateRelation, ...]
    columns: dict[str, CovariateColumn]
    collinear: tuple[tuple[str, str, float], ...]
    notes: tuple[str, ...]

    def locate_coefficients(self, candidates: tuple[CandidateRelation, ...]) -> list[int]:
        """The positions in ψ of the coefficients of these candidates."""
        layout = self.study.problem.structure.layout
        estimated_names = [n for n, is_fixed in zip(layout.names, layout.fixed_mask, strict=True) if not is_fixed]
        return [estimated_names.index(n) for c in candidates for n in c.coefficients]

    def mask_estimated(self, chosen: tuple[CandidateRelation, ...]) -> np.ndarray:
        """Mark the coordinates of ψ (P,) that a submodel with these candidates estimates."""
        estimated = np.ones(len(self.study.problem.initial_unconstrained), dtype=bool)
        estimated[self.locate_coefficients(self.candidates)] = False
        estimated[self.locate_coefficients(chosen)] = True
        return estimated


def enlarge_study(
    study: Study, relations: tuple[Relation, ...], references: dict[str, float], require_distinct: bool
) -> EnlargedStudy:
    """Add every relation to the study, with its coefficients at 0.

    Raises `BadInput` for relations that the study or its data cannot have. With `require_distinct` also for two forms of one
    pair and for collinear covariates on one parameter, which one model cannot tell apart.
    """
    if study.spec.summary:
        raise WrongUsage("a study of published aggregates has no subjects whose covariates could explain anything")
    columns = {r.covariate: read_column(study, r.covariate) for r in relations}
    _check_relations(study, relations)
    candidates = tuple(_make_candidate(r, columns[r.covariate], references, relations) for r in relations)
    collinear_pairs = find_collinear_pairs(
        list(columns.values()), {r.covariate for r in relations if r.form == CATEGORICAL}
    )
    if require_distinct:
        _check_distinguishable(relations, collinear_pairs)
    notes = [f"{c.name}: {_describe_reference(c, columns[c.relation.covariate])}" for c in candidates]
    notes += [
        f"{a} and {b} are collinear (r = {r:.2f}): what one explains, the other may" for a, b, r in collinear_pairs
    ]
    for c in candidates:
        if c.relation.form == CATEGORICAL:
            notes += [
                n for n in describe_sparse_categories(columns[c.relation.covariate], c.reference) if n not in notes
            ]
    return EnlargedStudy(
        study,
        replace_spec(study, add_effects(study.spec, candidates)),
        candidates,
        columns,
        tuple(collinear_pairs),
        tuple(notes),
    )


def add_effects(spec: StudySpec, candidates: tuple[CandidateRelation, ...]) -> StudySpec:
    """The specification with the effects of these candidates added, each at its initial value."""
    parts = dict(spec.parameters)
    for c in candidates:
        part = parts[c.relation.parameter]
        parts[c.relation.parameter] = part.model_copy(update={"covariates": [*part.covariates, *c.effects]})
    return spec.model_copy(update={"parameters": parts})


def _check_relations(study: Study, relations: tuple[Relation, ...]) -> None:
    """Refuse relations that the study cannot have, or has already. Raises `BadInput`."""
    where = str(study.folder / "fit.toml")
    for r in relations:
        parameter = study.spec.parameters.get(r.parameter)
        if parameter is None:
            hint = did_you_mean(r.parameter, study.spec.parameters)
            raise BadInput(f"`{r.name}`: the study estimates no `{r.parameter}`", where=where, hint=hint)
        for e in parameter.covariates:
            if e.covariate == r.covariate:
                state = f"estimated as {e.estimate}" if e.estimate else f"held at {e.coefficient:g}"
                raise BadInput(
                    f"`{r.name}`: {r.covariate} is on {r.parameter} already ({e.form}, {state})",
                    where=where,
                    hint="take it out of the study to have it tested",
                )
        names = set(study.problem.structure.layout.names)
        if f"{r.parameter}_{r.covariate}" in names:
            raise BadInput(f"`{r.name}`: the study has a parameter `{r.parameter}_{r.covariate}` already", where=where)


def _check_distinguishable(relations: tuple[Relation, ...], collinear_pairs: list[tuple[str, str, float]]) -> None:
    """Refuse relations that one model cannot tell apart. Raises `BadInput`."""
    pairs = [r.pair for r in relations]
    for r in relations:
        if pairs.count(r.pair) > 1:
            raise BadInput(f"a full model can hold one form of {r.covariate} on {r.parameter}, and two are asked for")
    for a, b, r in collinear_pairs:
        shared_parameters = {p for p, c in pairs if c == a} & {p for p, c in pairs if c == b}
        if shared_parameters:
            raise BadInput(
                f"{a} and {b} are collinear (r = {r:.2f}), "
                f"so a full model cannot tell their effects on {min(shared_parameters)} apart",
                hint="keep the one with the better reason, or use --method scm",
            )


def _make_candidate(
    r: Relation, c: CovariateColumn, references: dict[str, float], relations: tuple[Relation, ...]
) -> CandidateRelation:
    """The effects of a relation; their names say the form only where several forms of one pair are asked for."""
    reference = choose_reference(c, r, references)
    stem = f"{r.parameter}_{r.covariate}"
    if sum(o.pair == r.pair for o in relations) > 1:
        stem += f"_{r.form}" + ("" if r.reference is None else f"_{r.reference:g}")

    def make_effect(name: str, form: str, reference: float) -> EffectPart:
        return EffectPart(covariate=r.covariate, form=form, reference=reference, estimate=name, initial=0.0)

    if r.form == CATEGORICAL:
        effects = tuple(make_effect(f"{stem}_{v:g}", CATEGORICAL, float(v)) for v in c.values if v != reference)
    elif r.form == HOCKEY:
        effects = tuple(make_effect(f"{stem}_{s.removeprefix('linear_')}", s, reference) for s in SLOPES)
    else:
        effects = (make_effect(stem, r.form, reference),)
    return CandidateRelation(r, reference, effects)


def _describe_reference(c: CandidateRelation, covariate: CovariateColumn) -> str:
    """The reference of a candidate in words, and where it is from."""
    r = c.relation
    if r.form == CATEGORICAL:
        why = "the most common of subjects" if c.reference == covariate.most_common else "as asked for"
        return f"reference {c.reference:g} ({why}), {c.df} other{'s' * (c.df != 1)}"
    why = "the median of subjects" if c.reference == covariate.median else "as asked for"
    return f"reference {c.reference:g} ({why}), from {covariate.values[0]:g} to {covariate.values[-1]:g}"


def start_at_estimates(candidate: CandidateRelation, estimates: dict[str, float]) -> CandidateRelation:
    """The candidate with its effects starting from the estimates of their coefficients."""
    effects = tuple(e.model_copy(update={"initial": estimates[str(e.estimate)]}) for e in candidate.effects)
    return replace(candidate, effects=effects)
