"""The study of a fit.toml with `[summary]`: aggregates alone (no `[error]`), or beside individual data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.aggregate_data.assemble import Aggregates, as_events, extended, join, read_aggregates, summary_problem
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


def study_with_summary(
    folder: Path, spec: StudySpec, model: Model, solver: str | None, plainly: Callable[[StudySpec], Study]
) -> Study:
    """`plainly` assembles the study of the individual data, without the aggregates. Raises `BadInput`."""
    where = str(folder / "fit.toml")
    assert spec.summary is not None
    if spec.mixture or any(p.iov for p in spec.parameters.values()):
        raise BadInput("aggregates cannot be fitted with a mixture or with variability between occasions", where=where)
    etas = sum(p.iiv is not None for p in spec.parameters.values())
    given = read_aggregates(spec.summary, model, folder, etas, spec.estimation.seed, where)
    return _beside(spec, given, plainly, where) if spec.error else _alone(folder, spec, model, given, solver, where)


def _alone(folder: Path, spec: StudySpec, model: Model, given: Aggregates, solver: str | None, where: str) -> Study:
    check_parameters(spec, model, where)
    events = as_events(given)
    individual = build_individual_model(spec, model, _one_row(events, given), where)
    layout, *tables = build_layout(spec, model, individual, (), where)
    layout, (natural, scale, shown, labels) = extended(layout, tuple(tables), given)
    individual = replace(individual, order=layout.etas)
    priors = read_priors(spec, layout, natural, scale, where)
    chosen = choose_solver(model.system, solver).forward_mode()
    problem = join(
        summary_problem(given, model, chosen, individual, layout, natural, spec.values, priors),
        None,
    )
    spec = spec.model_copy(update={"estimation": spec.estimation.model_copy(update={"method": "summary"})})
    return Study(folder.name, folder, spec, model, events, problem, scale, shown, labels)  # type: ignore[arg-type]


def _beside(spec: StudySpec, given: Aggregates, plainly: Callable[[StudySpec], Study], where: str) -> Study:
    """The data's study with its layout extended by the responses' numbers, and their priors."""
    responses = tuple(f"{n}." for n in given.part.responses)
    rest = {k: v for k, v in spec.priors.items() if not k.startswith(responses)} if responses else spec.priors
    study = plainly(spec.model_copy(update={"summary": None, "priors": rest}))
    old = study.problem
    individual = old.structure.individual_model
    lacking = [c for c in individual.covariates if c not in given.arms.covariates]
    if lacking:
        raise BadInput(f"no group says anything of the covariate `{lacking[0]}`", where=f"{where} [summary]")
    tables = (np.asarray(old.initial), study.scale, study.units, study.labels)
    layout, (natural, scale, shown, labels) = extended(old.structure.layout, tables, given)
    priors = read_priors(spec, layout, natural, scale, where)
    solver = old.structure.solver
    summary = summary_problem(given, study.model, solver, individual, layout, natural, spec.values, priors)
    data = replace(old, structure=replace(old.structure, priors=priors))
    notes = (*study.events.notes, *as_events(given).notes)
    return replace(
        *(study,), spec=spec, problem=join(summary, data), scale=scale, units=shown, labels=labels,  # type: ignore[arg-type]
        events=replace(study.events, notes=notes),
    )  # fmt: skip


def _one_row(events, given: Aggregates):
    """Individual asks which covariates change within a subject: none does, each lane being a subject."""
    lanes = given.arms.covariates
    frame = pd.DataFrame({"ID": [str(i) for i in range(len(lanes))]}).join(lanes)
    return replace(events, frame=frame)
