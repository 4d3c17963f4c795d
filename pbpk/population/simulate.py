"""Simulation: one model, one regimen, any number of patients; or the records of a data file.

Patients run in chunks of lanes that fit the cache; the last chunk is padded, so that nothing compiles twice. A patient
that fails keeps its result code and its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk import units
from pbpk.data.events import EventTable
from pbpk.errors import BadInput
from pbpk.model.load import Model
from pbpk.model.system import System
from pbpk.observe import display_factor, observable_names, observable_unit, observe_all
from pbpk.population.patients import Patients, typical_patient
from pbpk.population.records import parameters_by_record
from pbpk.regimen import Regimen
from pbpk.solve.base import Solver
from pbpk.solve.choose import choose_solver
from pbpk.solve.timeline import Timeline, build_timeline, moves_events

CHUNK = 256


@dataclass(frozen=True, eq=False)
class Path:
    """What a simulation gives: `path["thyroid"]` is (T, N) in `unit["thyroid"]`; times in h; `result` (N,) codes."""

    time: np.ndarray
    observables: dict[str, jax.Array]
    unit: dict[str, str]
    result: jax.Array
    patients: Patients

    def __getitem__(self, name: str) -> jax.Array:
        return self.observables[name]


@partial(jax.jit, static_argnames=("system", "solver", "names"))
def _batch(system: System, solver: Solver, names: tuple[str, ...], timeline: Timeline, p: jax.Array, row: jax.Array):
    path = solver.solve(system, timeline, p)
    here = p if p.shape[0] == 1 else jnp.take_along_axis(p, row[:, None, :], axis=0)
    return observe_all(system, names, path.amounts, here), path.result


def simulate(
    model: Model,
    regimen: Regimen,
    times: Sequence[float] | np.ndarray,
    *,
    patients: Patients | None = None,
    observe: Sequence[str] | None = None,
    values: Mapping[str, jax.Array | float] | None = None,
    solver: str | None = None,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Path:
    """Observables at `times` (h) for each patient (one typical patient when none are given).

    `values` replaces parameters, in their own units, by numbers or traced arrays: the result is differentiable in them
    (forward or reverse) and may be under jit or vmap. Raises `BadInput` for what cannot be meant; a patient whose
    solution fails has a nonzero `result` and NaN or partial values.
    """
    times = np.asarray(times, dtype=float)
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all() or (times < 0).any():
        raise BadInput("times must be a list of hours from 0 on")
    if (np.diff(times) < 0).any():
        raise BadInput("times must not go back")
    who = typical_patient(model) if patients is None else patients
    system, names = model.system, tuple(observable_names(model.system, observe))
    chosen = choose_solver(system, solver)
    frame = regimen.to_frame(model, times)
    varying = set(values or {})
    infusions = bool((frame["DUR"] > 0).any())
    moving = moves_events(system, who.values[None], varying, infusions)
    timeline = build_timeline([frame], system, moving=moving)
    mass = _per_kg(regimen, frame, who, system, moving)

    parts, codes = [], []
    n = len(who)
    size = min(chunk, n if n == 1 else max(16, 1 << (n - 1).bit_length()))  # few sizes, so few programs
    for start in range(0, n, size):
        take = np.minimum(np.arange(start, start + size), n - 1)
        p = jnp.asarray(who.values[:, take])
        for name, value in (values or {}).items():
            row = model.parameters.with_values({name: 0.0})[name]
            index = system.parameter_index(row.name)
            p = p.at[index].set(jnp.asarray(value) * units.factor(row.unit))
        line = timeline if mass is None else replace(timeline, amount=mass[:, take])
        found, code = _batch(system, chosen, names, line, p[None], jnp.zeros((1, 1), int))
        keep = min(size, n - start)
        parts.append(found[:, : len(times), :keep])
        codes.append(code[:keep])
        progress(start + keep, n)
    whole = jnp.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    shown = {k: whole[i] / display_factor(system, model.parameters, k) for i, k in enumerate(names)}
    unit = {k: observable_unit(system, model.parameters, k) for k in names}
    return Path(times, shown, unit, jnp.concatenate(codes), who)


def _per_kg(regimen: Regimen, frame: pd.DataFrame, who: Patients, system: System, moving: bool) -> np.ndarray | None:
    """Event amounts (E, N) with per-kg doses multiplied by each patient's weight; None when there are none."""
    if not regimen.per_kg:
        return None
    if "WT" not in who.covariates:
        hint = "give the whole dose, or declare [covariates.WT] in the model's parameters.toml"
        raise BadInput("a dose per kg needs the covariate WT, which this model does not declare", hint=hint)
    marked = build_timeline([frame.assign(AMT=frame["PER_KG"].astype(float))], system, moving=moving).amount
    plain = build_timeline([frame], system, moving=moving).amount
    return np.where(marked > 0, plain * who.covariates["WT"].to_numpy()[None, :], plain)


def simulate_table(
    model: Model, events: EventTable, *, observe: Sequence[str] | None = None, solver: str | None = None
) -> tuple[pd.DataFrame, dict[str, str], np.ndarray]:
    """Predictions at every record of a data file: a table (ID, TIME in h, observables), their units, and result codes.

    Columns named like parameters override them, per subject or over time; covariates act through the model's effects.
    """
    system, names = model.system, tuple(observable_names(model.system, observe))
    frames = [g.assign(MDV=0) for _, g in events.frame.groupby("ID", sort=False)]
    p = parameters_by_record(model, events, frames)
    infusions = bool(((events.frame["RATE"] > 0) | (events.frame["DUR"] > 0)).any())
    timeline = build_timeline(frames, system, moving=moves_events(system, p, set(), infusions))
    row = np.minimum(np.arange(len(timeline.at))[:, None], p.shape[0] - 1) + 0 * timeline.at
    found, code = _batch(system, choose_solver(system, solver), names, timeline, jnp.asarray(p), jnp.asarray(row))
    found = np.asarray(found)
    table = pd.concat(
        [
            pd.DataFrame(
                {"ID": g["ID"].to_numpy(), "TIME": g["TIME"].to_numpy()}
                | {k: found[j, : len(g), i] / display_factor(system, model.parameters, k) for j, k in enumerate(names)}
            )
            for i, g in enumerate(frames)
        ],
        ignore_index=True,
    )
    return table, {k: observable_unit(system, model.parameters, k) for k in names}, np.asarray(code)
