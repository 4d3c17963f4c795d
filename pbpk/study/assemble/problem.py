"""The records of a study as a `Problem`: the arrays of all subjects beside the structure that they are evaluated with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from pbpk.errors import BadInput
from pbpk.likelihood.mixture import repeat_by_class
from pbpk.likelihood.problem import ModelStructure, Problem
from pbpk.population.records import (
    build_parameters_by_record,
    count_rows_needed,
    find_covariates_used,
    stack_by_record,
)
from pbpk.solve.timeline import build_timeline, moves_events
from pbpk.study.assemble.observations import read_observed
from pbpk.study.assemble.records import read_voids

if TYPE_CHECKING:
    from pbpk.data.events import EventTable
    from pbpk.model.load import Model
    from pbpk.study.schema import StudySpec


def build_problem(
    structure: ModelStructure, spec: StudySpec, model: Model, events: EventTable, natural: np.ndarray, where: str
) -> Problem:
    """The problem of these records; `natural` are the initial values (coherent). Raises `BadInput` where there is no
    observation or one that its endpoint cannot have."""
    frames = [g for _, g in events.frame.groupby("ID", sort=False)]
    if not any((g["MDV"] == 0).any() for g in frames):
        raise BadInput("holds no observation", where=events.source)
    individual, system = structure.individual_model, structure.system
    changing = [
        *individual.overrides,
        *(f.covariate for f in individual.factors),
        *([individual.occasion] if individual.occasion else []),
        *find_covariates_used(model, events),
    ]
    rows = count_rows_needed(frames, list(dict.fromkeys(changing)))
    # A covariate that neither the data nor [values] speak of is at no one's value: its effects stay out.
    spoken_of = find_covariates_used(model, events) | set(spec.values)
    constants = build_parameters_by_record(model, events, frames, rows, spoken_of)
    covariates = stack_by_record(frames, individual.covariates, rows)
    overrides = stack_by_record(frames, individual.overrides, rows)
    varying = {v.name for v in individual.varying} | set(individual.overrides)
    infusions = bool(((events.frame["RATE"] != 0) | (events.frame["DUR"] > 0)).any())
    moving = moves_events(system, model.values[None, :, None], varying, infusions)
    typical = None
    if moving and (events.frame["SS"] > 0).any():  # what overlaps at steady state is foreseen from the initial values
        typical = _typical_parameters(structure, natural, constants, covariates, overrides)
    timeline = build_timeline(
        frames,
        system,
        moving=moving,
        typical=typical,
        voids=read_voids(spec, where),
        between=spec.data.covariates_over_time,
    )
    mask = timeline.output_mask
    observed, endpoint_index, parameter_row = read_observed(
        structure, spec, model, events, frames, mask.shape[0], rows, where
    )
    problem = Problem(
        *(structure, timeline, observed, mask, endpoint_index, parameter_row),
        *(covariates, overrides, constants, natural),
    )
    if spec.mixture is None:
        return problem
    return repeat_by_class(problem, spec.mixture.covariate, len(spec.mixture.probabilities))


def _typical_parameters(
    structure: ModelStructure,
    natural: np.ndarray,
    constants: np.ndarray,
    covariates: np.ndarray,
    overrides: np.ndarray,
) -> np.ndarray:
    """The system's parameters (C, m, N) of each subject at η = 0 and the initial values."""
    individual, layout = structure.individual_model, structure.layout
    theta, _, _ = layout.unpack(jnp.asarray(layout.to_unconstrained(natural)), jnp.asarray(natural))
    eta = jnp.zeros((len(layout.etas), covariates.shape[-1]))
    parameters = individual.individual_parameters(theta, eta, jnp.asarray(covariates[0]))
    arrays = (jnp.asarray(a) for a in (constants, covariates, overrides))
    return np.asarray(individual.system_parameters(structure.system, parameters, *arrays))
