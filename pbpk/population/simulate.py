"""Simulation: one model, one regimen, any number of patients; or the records of a data file.

A patient that fails is solved again by stricter methods (batch.py); where none of them helps it keeps its result code and
its place, and its values are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk import units
from pbpk.compile.engine import Engine, using
from pbpk.errors import BadInput
from pbpk.observe import find_display_factor, find_observable_unit, select_observables
from pbpk.population.batch import CHUNK, choose_width, is_traced, solve_in_chunks, solve_in_this_process
from pbpk.population.doses import extend_records, read_dose_values, replace_doses, rows_of_doses
from pbpk.population.farm import WorkerPool
from pbpk.population.infinity import explain_no_infinity, find_last_input, is_too_late
from pbpk.population.lanes import Batch, OutputRequest
from pbpk.population.patients import Patients, build_typical_patient
from pbpk.population.records import build_parameters_by_record
from pbpk.solve.choose import choose_solver
from pbpk.solve.timeline import Between, Timeline, build_timeline, moves_events, scale_doses_by_weight

if TYPE_CHECKING:
    from pbpk.data.events import EventTable
    from pbpk.model.load import Model
    from pbpk.regimen.regimen import Regimen
    from pbpk.solve.base import Solver

Precision = Literal["float32", "float64"]


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a simulation gives: `path["thyroid"]` is (T, N) in `unit["thyroid"]`; times in h; `result` (N,) codes.

    `solved_again` (N,) is how often each patient was solved again by a stricter method. If asked for, `integral[name]`
    (T, N) is that of the observable from the first event to each time, in `unit` · h, and `to_infinity[name]` (N,) that to
    infinity; where this has no value, it is None and `no_infinity` says why. `model` is what was simulated, `given` (N,) the
    sum of all doses in coherent units, None at steady state.
    """

    time: np.ndarray
    observables: dict[str, jax.Array]
    unit: dict[str, str]
    result: jax.Array
    patients: Patients
    solved_again: np.ndarray
    integral: dict[str, jax.Array] | None = None
    to_infinity: dict[str, jax.Array] | None = None
    no_infinity: str = ""
    model: Model | None = None
    administered: Any = None

    def __getitem__(self, name: str) -> jax.Array:
        return self.observables[name]


def simulate(
    model: Model,
    regimen: Regimen,
    times: Sequence[float] | np.ndarray,
    *,
    patients: Patients | None = None,
    observe: Sequence[str] | None = None,
    values: Mapping[str, Any] | None = None,
    dose_amounts: Any = None,
    dose_times: Any = None,
    solver: str | None = None,
    engine: Engine | None = None,
    forward: bool = False,
    dtype: Precision = "float64",
    integrate: bool = False,
    processes: int = 1,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Simulation:
    """Observables at `times` (h) for each patient (one typical patient when none are given).

    `values` replaces parameters, in their own units, by numbers or arrays (N,). `dose_amounts` and `dose_times` (doses,)
    replace each dose's amount, in its own unit, and time (h), in the order of `regimen.doses`; additional doses go with
    theirs. All three may be traced: the result is differentiable in them and may be under jit or vmap. Derivatives are
    by reverse mode (`jax.grad`, `jax.vjp`); those by forward mode, and second ones, need `forward=True`, which in turn
    excludes reverse mode.

    `engine` is what computes (docs/kernels.md); by default compiled kernels where they can.

    `integrate` asks for time-integrals too. `dtype="float32"` computes in single precision. `processes` solves chunks in
    that many processes of their own, with the same numbers; `progress(done, of)` is called after each chunk.

    Raises `BadInput` for what cannot be meant. A patient whose solution fails is solved again by stricter methods; if
    they fail too it has a nonzero `result` and NaN. Under tracing nobody can look, and nobody is solved again.
    """
    times = np.asarray(times, dtype=float)
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all() or (times < 0).any():
        raise BadInput("times must be a list of hours from 0 on")
    if (np.diff(times) < 0).any():
        raise BadInput("times must not go back")
    if dtype not in get_args(Precision):
        raise BadInput(f"dtype = {dtype!r} is not known", hint="float64 or float32")
    for what, number in (("chunk", chunk), ("processes", processes)):
        if number < 1:
            raise BadInput(f"{what} = {number} must be at least 1")
    who = build_typical_patient(model) if patients is None else patients
    system, names = model.system, tuple(select_observables(model.system, observe))
    with using(engine):
        chosen: Solver = choose_solver(system, solver)
    chosen = chosen.forward_mode() if forward else chosen
    amounts = None if dose_amounts is None else read_dose_values(dose_amounts, regimen, "dose_amounts")
    moments = None if dose_times is None else read_dose_values(dose_times, regimen, "dose_times")
    p = _replace_parameters(model, who, values or {}).astype(dtype)

    frame = regimen.to_frame(model, times)
    frame = frame if moments is None else extend_records(frame, regimen)
    infusions = bool((frame["DUR"] > 0).any())
    moving = moments is not None or moves_events(system, who.values[None], set(values or {}), infusions)
    timeline = build_timeline([frame], system, moving=moving, typical=who.values[None], voids=regimen.voids)
    timeline = replace_doses(timeline, frame, regimen, model, amounts, moments)
    weights, per_kg = _read_weights(regimen, who), frame["PER_KG"].to_numpy(bool)

    reason, late = explain_no_infinity(model, regimen) if integrate else "", None
    if integrate and not reason:
        at = np.array([d.at for d in regimen.doses]) if moments is None else moments
        late = is_too_late(find_last_input(model, regimen, p, at), times[-1])
        if not is_traced(late) and bool(late.any()):
            reason = "a dose or void comes after the last time, or is not over by then"
    asked = OutputRequest(names, integrate, integrate and not reason)

    def lanes(take: np.ndarray) -> Batch:
        line = timeline if weights is None else scale_doses_by_weight(timeline, per_kg, weights[take])
        return Batch(line, p[:, :, take], np.zeros((1, 1), int), np.array(len(times) - 1))

    n = len(who)
    several = processes > 1 and n > choose_width(n, chunk)
    if processes > 1 and is_traced((p, timeline)):
        raise BadInput("what is being traced stays in its process", hint="leave processes out")
    with (
        using(engine),
        WorkerPool(model, processes, engine) if several else nullcontext(solve_in_this_process(system)) as run,
    ):
        found, again = solve_in_chunks(
            *(system, chosen, asked, lanes, n),
            times=len(times),
            run=run,
            chunk=chunk,
            progress=progress,
        )
    scale = {k: find_display_factor(system, model.parameters, k) for k in names}

    def by_name(arrays) -> dict[str, jax.Array]:
        return {k: jnp.asarray(arrays[i]) / scale[k] for i, k in enumerate(names)}

    endless = found.to_infinity
    if endless is not None and late is not None and is_traced(late):
        endless = jnp.where(late, jnp.nan, endless)
    return Simulation(
        times,
        by_name(found.observables),
        {k: find_observable_unit(system, model.parameters, k) for k in names},
        jnp.asarray(found.code),
        replace(who, values=p[0]) if values else who,  # with what `values` set: doses read masses here
        again,
        None if found.integrals is None else by_name(found.integrals),
        None if endless is None else by_name(endless),
        reason,
        model,
        _sum_doses(regimen, frame, amounts, weights, n),
    )


def _replace_parameters(model: Model, who: Patients, values: Mapping[str, Any]) -> Any:
    """p (1, m, N), coherent: the patients' own with `values` in place. NumPy's unless something is traced."""
    p = who.values
    for name, value in values.items():
        row = model.parameters.with_values({name: 0.0})[name]
        index = model.system.parameter_index(row.name)
        p = jnp.asarray(p).at[index].set(jnp.asarray(value) * units.unit_factor(row.unit))
    p = model.system.derive(p) if values else p
    return p[None] if is_traced(p) else np.asarray(p)[None]


def _sum_doses(regimen: Regimen, frame: pd.DataFrame, amounts: Any, weights: np.ndarray | None, n: int) -> Any:
    """The sum of all doses of each patient (N,); None where it has no end."""
    if any(d.ss for d in regimen.doses):
        return None
    rows, whole = frame.iloc[rows_of_doses(frame, regimen)], jnp.zeros(n)
    for k, d in enumerate(regimen.doses):
        factor = float(rows["AMT"].iloc[k]) / d.amount if d.amount else 0.0
        each = (d.amount if amounts is None else amounts[k]) * factor * (1 + d.addl)
        whole = whole + (each * jnp.asarray(weights) if d.per_kg and weights is not None else each)
    return whole


def _read_weights(regimen: Regimen, who: Patients) -> np.ndarray | None:
    """Each patient's weight (N,) where a dose is per kg; None when none is."""
    if not regimen.per_kg:
        return None
    if "WT" not in who.covariates:
        hint = "give the whole dose, or declare [covariates.WT] in the model's parameters.toml"
        raise BadInput("a dose per kg needs the covariate WT, which this model does not declare", hint=hint)
    return who.covariates["WT"].to_numpy(float)


class RecordPredictions(NamedTuple):
    """Predictions by record (ID, TIME in h, observables; NaN for subjects that failed), their units, and by subject the
    result code and how often it was solved again."""

    table: pd.DataFrame
    unit: dict[str, str]
    result: np.ndarray
    solved_again: np.ndarray


def simulate_table(
    model: Model,
    events: EventTable,
    *,
    observe: Sequence[str] | None = None,
    solver: str | None = None,
    voids: Regimen | None = None,
    covariates_over_time: Between = "nocb",
    dtype: Precision = "float64",
) -> RecordPredictions:
    """Predictions at every record of a data file.

    Columns named like parameters override them, per subject or over time; covariates act through the model's effects.
    Between two records those of the next hold ("nocb", NONMEM's rule) or those of the last ("locf"). `voids` happen to
    every subject.
    """
    if covariates_over_time not in get_args(Between):
        hint = "nocb (the next record's values hold, as in NONMEM) or locf (the last one's)"
        raise BadInput(f"covariates_over_time = {covariates_over_time!r} is not known", hint=hint)
    if voids is not None and voids.doses:
        raise BadInput("a data file brings its own doses", hint="voids alone can be added")
    system, names = model.system, tuple(select_observables(model.system, observe))
    frames = [g.assign(MDV=0) for _, g in events.frame.groupby("ID", sort=False)]
    p = build_parameters_by_record(model, events, frames).astype(dtype)
    infusions = bool(((events.frame["RATE"] != 0) | (events.frame["DUR"] > 0)).any())
    moving = moves_events(system, p, set(), infusions)
    habits = voids.voids if voids else ()
    timeline = build_timeline(frames, system, moving=moving, typical=p, voids=habits, between=covariates_over_time)
    row = np.minimum(np.arange(len(timeline.output_index))[:, None], p.shape[0] - 1) + 0 * timeline.output_index

    def lanes(take: np.ndarray) -> Batch:
        line: Timeline = jax.tree.map(lambda a: a[..., take], timeline)
        return Batch(line, p[:, :, take], row[:, take], np.array(0))

    found, again = solve_in_chunks(
        *(system, choose_solver(system, solver), OutputRequest(names), lanes, len(frames)),
        times=len(timeline.output_index),
        run=solve_in_this_process(system),
    )
    scale = {k: find_display_factor(system, model.parameters, k) for k in names}
    table = pd.concat(
        [
            pd.DataFrame(
                {"ID": g["ID"].to_numpy(), "TIME": g["TIME"].to_numpy()}
                | {k: found.observables[j, : len(g), i] / scale[k] for j, k in enumerate(names)}
            )
            for i, g in enumerate(frames)
        ],
        ignore_index=True,
    )
    unit = {k: find_observable_unit(system, model.parameters, k) for k in names}
    return RecordPredictions(table, unit, np.asarray(found.code), again)
