"""The study of a fit.toml with `[summary]`: aggregates alone (no `[error]`), or beside individual data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pbpk.aggregate_data.assemble import (
    AggregateData,
    build_summary_problem,
    extend_layout,
    join_problems,
    make_event_table,
    read_aggregates,
)
from pbpk.errors import BadInput
from pbpk.solve.choose import choose_solver
from pbpk.study.assemble.individual_model import build_individual_model
from pbpk.study.assemble.layout import build_layout
from pbpk.study.assemble.parameters import check_parameters
from pbpk.study.assemble.priors import read_priors
from pbpk.study.load import Study

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.study.schema import StudySpec


def load_summary_study(
    folder: Path, spec: StudySpec, model: Model, solver: str | None, assemble_individual: Callable[[StudySpec], Study]
) -> Study:
    """Load a study whose fit.toml has `[summary]`; the loader of this kind of study in study/kinds.py. Raises `BadInput`.

    `assemble_individual` assembles the study of the individual data, without the aggregates.
    """
    where = str(folder / "fit.toml")
    assert spec.summary is not None
    if spec.mixture or any(p.iov for p in spec.parameters.values()):
        raise BadInput("aggregates cannot be fitted with a mixture or with variability between occasions", where=where)
    etas = sum(p.iiv is not None for p in spec.parameters.values())
    aggregates = read_aggregates(spec.summary, model, folder, etas, spec.estimation.seed, where)
    return (
        _assemble_beside(spec, aggregates, assemble_individual, where)
        if spec.error
        else _assemble_alone(folder, spec, model, aggregates, solver, where)
    )


def _assemble_alone(
    folder: Path, spec: StudySpec, model: Model, aggregates: AggregateData, solver: str | None, where: str
) -> Study:
    """The study of aggregates without individual data."""
    check_parameters(spec, model, where)
    events = make_event_table(aggregates)
    individual = build_individual_model(spec, model, _list_lanes_as_subjects(events, aggregates), where)
    layout, *tables = build_layout(spec, model, individual, (), where)
    layout, (natural, scale, shown_units, labels) = extend_layout(layout, tuple(tables), aggregates)
    individual = replace(individual, order=layout.etas)
    priors = read_priors(spec, layout, natural, scale, where)
    chosen = choose_solver(model.system, solver).forward_mode()
    problem = join_problems(
        build_summary_problem(aggregates, model, chosen, individual, layout, natural, spec.values, priors),
        None,
    )
    spec = spec.model_copy(update={"estimation": spec.estimation.model_copy(update={"method": "summary"})})
    return Study(folder.name, folder, spec, model, events, problem, scale, shown_units, labels)  # type: ignore[arg-type]


def _assemble_beside(
    spec: StudySpec, aggregates: AggregateData, assemble_individual: Callable[[StudySpec], Study], where: str
) -> Study:
    """The data's study with its layout extended by the responses' numbers, and their priors."""
    responses = tuple(f"{n}." for n in aggregates.part.responses)
    rest = {k: v for k, v in spec.priors.items() if not k.startswith(responses)} if responses else spec.priors
    study = assemble_individual(spec.model_copy(update={"summary": None, "priors": rest}))
    individual_problem = study.problem
    individual = individual_problem.structure.individual_model
    missing = [c for c in individual.covariates if c not in aggregates.arms.covariates]
    if missing:
        raise BadInput(f"no group says anything of the covariate `{missing[0]}`", where=f"{where} [summary]")
    tables = (np.asarray(individual_problem.initial), study.scale, study.units, study.labels)
    layout, (natural, scale, shown_units, labels) = extend_layout(
        individual_problem.structure.layout, tables, aggregates
    )
    priors = read_priors(spec, layout, natural, scale, where)
    solver = individual_problem.structure.solver
    summary = build_summary_problem(aggregates, study.model, solver, individual, layout, natural, spec.values, priors)
    data = replace(individual_problem, structure=replace(individual_problem.structure, priors=priors))
    notes = (*study.events.notes, *make_event_table(aggregates).notes)
    problem: Any = join_problems(summary, data)  # has the attributes of a `Problem` that a fit reads
    events = replace(study.events, notes=notes)
    return replace(study, spec=spec, problem=problem, scale=scale, units=shown_units, labels=labels, events=events)


def _list_lanes_as_subjects(events, aggregates: AggregateData):
    """The event table with a subject for each lane, from which the individual model sees that no covariate changes
    within a subject."""
    lanes = aggregates.arms.covariates
    frame = pd.DataFrame({"ID": [str(i) for i in range(len(lanes))]}).join(lanes)
    return replace(events, frame=frame)
