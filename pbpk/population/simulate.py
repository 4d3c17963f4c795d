"""Simulation of one model under one regimen for any number of patients.

A patient that fails is solved again by stricter methods (chunks.py); where none of them helps it keeps its result code and
its place, and its values are NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from pbpk import units
from pbpk.compile.engine import using_engine
from pbpk.errors import BadInput, did_you_mean, require_type
from pbpk.model.load import Model
from pbpk.model.ranges import check_range, list_role_ranges
from pbpk.observe.readings import (
    find_display_factor,
    find_observable_unit,
    is_computed,
    select_observables,
)
from pbpk.population.batch import Batch, BatchResult, OutputRequest
from pbpk.population.chunks import BatchRunner, choose_width, is_traced, solve_in_chunks, solve_in_this_process
from pbpk.population.doses import (
    begin_records,
    extend_records,
    read_dose_values,
    read_weights,
    replace_doses,
    scale_doses_by_weight,
    sum_doses,
)
from pbpk.population.infinite_integrals import explain_no_infinity, find_last_input, is_too_late
from pbpk.population.options import SimulationOptions, SolvingOptions, read_options
from pbpk.population.patients import Patients, build_typical_patient
from pbpk.population.workers import WorkerPool
from pbpk.regimen.regimen import Regimen
from pbpk.solve.choose import choose_solver
from pbpk.solve.timeline import Timeline, build_timeline, moves_events

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.regimen.regimen import Regimen


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a simulation gives: `path["thyroid"]` is (T, N) in `unit["thyroid"]`; times in h; `result` (N,) codes.

    `solved_again` (N,) is how often each patient was solved again by a stricter method. If asked for, `integral[name]`
    (T, N) is that of the observable from the first event to each time, in `unit` · h, and `to_infinity[name]` (N,) that to
    infinity; where this has no value, it is None and `no_infinity` says why. `model` is what was simulated, `administered`
    (N,) the sum of all doses in coherent units, None at steady state.
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

    @property
    def given(self) -> Any:
        """The earlier name of `administered`."""
        return self.administered

    def __getitem__(self, name: str) -> jax.Array:
        if name not in self.observables:
            raise BadInput(
                f"this simulation has no observable `{name}`", hint=did_you_mean(str(name), self.observables)
            )
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
    integrate: bool = False,
    **options: Unpack[SimulationOptions],
) -> Simulation:
    """Observables at `times` (h) for each patient (one typical patient when none are given).

    `values` replaces parameters, in their own units, by numbers or arrays (N,). `dose_amounts` and `dose_times` (doses,)
    replace each dose's amount, in its own unit, and time (h), in the order of `regimen.doses`; additional doses go with
    theirs. All three may be traced: the result is differentiable in them and may be under jit or vmap. Derivatives are
    by reverse mode (`jax.grad`, `jax.vjp`); those by forward mode, and second ones, need `forward=True`, which in turn
    excludes reverse mode. `integrate` asks for time-integrals too.

    `options` are keywords too: `solver`, `engine`, `forward`, `dtype`, `processes`, `chunk`, `progress`
    (`population.options.SimulationOptions`).

    Raises `BadInput` for what cannot be meant. A patient whose solution fails is solved again by stricter methods; if
    they fail too it has a nonzero `result` and NaN. Under tracing results have no values yet, and no patient is solved again.

    >>> model = pbpk.load_model("oral_one_compartment")
    >>> path = pbpk.simulate(model, pbpk.dose("100 mg", into="oral"), [1.0, 24.0])
    >>> path["cp"].shape, path.unit["cp"]  # (times, patients)
    ((2, 1), 'mg/L')
    """
    _check_arguments(model, regimen, patients)
    times, how = check_times(times), read_options(options)
    patients = build_typical_patient(model) if patients is None else patients
    names = tuple(select_observables(model.system, observe))
    with using_engine(how.engine):
        solver = choose_solver(model.system, how.solver)
    amounts = None if dose_amounts is None else read_dose_values(dose_amounts, regimen, "dose_amounts")
    moments = None if dose_times is None else read_dose_values(dose_times, regimen, "dose_times")
    p = _replace_parameters(model, patients, values or {}).astype(how.dtype)
    timeline = _build_regimen_timeline(model, regimen, times, patients, set(values or {}), moments)
    timeline = replace_doses(timeline, regimen, model, amounts, moments)
    weights = read_weights(regimen, patients)
    reason, late = _check_infinity(model, regimen, p, moments, times[-1], names) if integrate else ("", None)

    def take(numbers: np.ndarray) -> Batch:
        events = timeline if weights is None else scale_doses_by_weight(timeline, regimen, weights[numbers])
        return Batch(events, p[:, :, numbers], np.zeros((1, 1), int), np.array(len(times) - 1))

    request = OutputRequest(names, integrate, integrate and not reason)
    runner = _choose_runner(model, how, len(patients), is_traced((p, timeline)))
    with using_engine(how.engine), runner as run:
        result, solved_again = solve_in_chunks(
            *(model.system, solver.forward_mode() if how.forward else solver, request, take, len(patients)),
            times=len(times),
            run=run,
            chunk=how.chunk,
            progress=how.progress,
        )
    return Simulation(
        times,
        **_name_outputs(model, names, result, late),
        result=jnp.asarray(result.code),
        patients=patients if not values else replace(patients, values=p[0]),  # absorbed doses read masses from them
        solved_again=solved_again,
        no_infinity=reason,
        model=model,
        administered=sum_doses(regimen, model, amounts, weights, len(patients)),
    )


def _check_arguments(model: Model, regimen: Regimen, patients: Patients | None) -> None:
    """Raise `WrongUsage` for arguments of another kind, and say how to make those that are wanted."""
    require_type(model, Model, "model", 'load it first: pbpk.load_model("iodide")')
    require_type(
        regimen, Regimen, "regimen", 'make one: pbpk.dose("245 MBq", into="iv"), or pbpk.parse_dose("245 MBq iv")'
    )
    if patients is not None:
        require_type(patients, Patients, "patients", "draw them: pbpk.virtual_patients(model, 10)")


def _check_integrable(model: Model, names: Sequence[str]) -> None:
    """Raise `BadInput` for a law among the observables of which integrals are asked for: theirs are those of amounts."""
    computed = [n for n in names if is_computed(model.system, n)]
    if computed:
        raise BadInput(
            f"`{computed[0]}` is a law, and integrals are computed of amounts, concentrations and totals",
            hint=f"name what is integrated: observe=[…] without `{computed[0]}`; or add a compartment that it fills",
        )


def check_times(times: Sequence[float] | np.ndarray) -> np.ndarray:
    """The times of observations (T,), h. Raises `BadInput` where there are none, or one is below 0 or goes back."""
    try:
        times = np.asarray(times, dtype=float)
    except (TypeError, ValueError):
        raise BadInput(f"times cannot be {times!r:.60}", hint="a list of hours, such as [0.5, 1, 24]") from None
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all() or (times < 0).any():
        raise BadInput("times must be a list of hours from 0 on")
    if (np.diff(times) < 0).any():
        raise BadInput("times must not go back")
    return times


def _check_role(model: Model, name: str, value: Any) -> None:
    """Raise `BadInput` where one number for all patients is nothing that the parameter's role allows. Of an array each patient
    has a number and a result code, as has what is traced."""
    if not is_traced(value) and np.ndim(value) == 0:
        row = replace(model.parameters[name], value=float(value))
        check_range(list_role_ranges(model.system.block), row, "values")


def _replace_parameters(model: Model, patients: Patients, values: Mapping[str, Any]) -> Any:
    """p (1, m, N), coherent: the patients' own with `values` in place. NumPy's unless something is traced."""
    p = patients.values
    for name, value in values.items():
        row = model.parameters.with_values({name: 0.0})[name]
        index = model.system.parameter_index(row.name)
        value = model.parameters.with_values({name: value})[name].value if isinstance(value, str) else value
        _check_role(model, row.name, value)
        p = jnp.asarray(p).at[index].set(jnp.asarray(value) * units.unit_factor(row.unit))
    p = model.system.derive(p) if values else p
    return p[None] if is_traced(p) else np.asarray(p)[None]


def _build_regimen_timeline(
    model: Model, regimen: Regimen, times: np.ndarray, patients: Patients, varying: set[str], moments: Any
) -> Timeline:
    """The regimen's events, shared by all patients, with room for doses that come at `moments` instead."""
    frame = regimen.to_frame(model, times)
    if moments is not None:
        frame = extend_records(frame, regimen)
        if any(c.clock is not None for c in model.system.compartments):  # clocks are set at the first record
            frame = begin_records(frame)
    infusions = bool((frame["DUR"] > 0).any())
    moving = moments is not None or moves_events(model.system, patients.values[None], varying, infusions)
    typical = patients.values[None]
    return build_timeline([frame], model.system, moving=moving, typical=typical, voids=regimen.voids)


def _check_infinity(
    model: Model, regimen: Regimen, p: Any, moments: Any, last: float, names: Sequence[str]
) -> tuple[str, Any]:
    """Why there is no integral to infinity from the time `last` (h) on, or "" and for which patients (N,) there is none,
    where doses are traced and this is not known before they have values. Raises `BadInput` for what has no integral."""
    _check_integrable(model, names)
    if reason := explain_no_infinity(model, regimen):
        return reason, None
    dose_times = np.array([d.at for d in regimen.doses]) if moments is None else moments
    late = is_too_late(find_last_input(model, regimen, p, dose_times), last)
    if not is_traced(late) and bool(late.any()):
        return "a dose or void comes after the last time, or is not over by then", late
    return "", late


def _choose_runner(
    model: Model, how: SolvingOptions, patients: int, traced: bool
) -> AbstractContextManager[BatchRunner]:
    """What solves the chunks: this process, or worker processes where there is more than one chunk to share.

    Raises `BadInput` where workers are asked for what JAX is tracing.
    """
    if how.processes > 1 and traced:
        raise BadInput("what is being traced stays in its process", hint="leave processes out")
    if how.processes > 1 and patients > choose_width(patients, how.chunk):
        return WorkerPool(model, how.processes, how.engine)
    return nullcontext(solve_in_this_process(model.system))


def _name_outputs(model: Model, names: Sequence[str], result: BatchResult, late: Any) -> dict[str, Any]:
    """The result's arrays by observable, in the units that `Simulation` has them in."""
    factor = {k: find_display_factor(model.system, model.parameters, k) for k in names}

    def by_name(arrays: Any) -> dict[str, jax.Array]:
        return {k: jnp.asarray(arrays[i]) / factor[k] for i, k in enumerate(names)}

    to_infinity = result.to_infinity
    if to_infinity is not None and late is not None and is_traced(late):
        to_infinity = jnp.where(late, jnp.nan, to_infinity)
    return {
        "observables": by_name(result.observables),
        "unit": {k: find_observable_unit(model.system, model.parameters, k) for k in names},
        "integral": None if result.integrals is None else by_name(result.integrals),
        "to_infinity": None if to_infinity is None else by_name(to_infinity),
    }
