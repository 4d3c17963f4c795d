"""`pbpk.simulate`: a model, or a finished run with what it estimated: new patients under any regimen."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pandas as pd

from pbpk.errors import require_type
from pbpk.model.load import Model
from pbpk.population.courses import simulate_with_courses as simulate_model
from pbpk.population.simulate import Simulation
from pbpk.run_folders.fitted_patients import FittedPatients, draw_fitted_patients
from pbpk.run_folders.reopen import reopen_for_simulation

if TYPE_CHECKING:
    from pbpk.diagnostics.fitted_model import FittedStudy
    from pbpk.population.options import SimulationOptions
    from pbpk.population.patients import Patients
    from pbpk.regimen.regimen import Regimen
    from pbpk.uncertainty.finished_fit import FinishedFit

WITH_ERROR = "DV:"
"""Before an endpoint's name: its observations, the individual predictions with residual error."""


@dataclass(frozen=True, eq=False)
class FittedSimulation(Simulation):
    """A simulation of a finished run. Beside the individual predictions, `path["DV:cp"]` (T, N) are observations of the
    endpoint `cp`, with residual error, in the data's unit. `estimates` has the population parameters of each patient, in
    shown units, and `source` says where they come from; `varying` are the parameters that the fit speaks of."""

    estimates: pd.DataFrame = field(default_factory=pd.DataFrame)
    source: str = ""
    varying: tuple[str, ...] = ()


def simulate(
    model: Model | str | Path | FittedStudy | FinishedFit,
    regimen: Regimen,
    times: Sequence[float] | np.ndarray,
    *,
    patients: Patients | int | None = None,
    observe: Sequence[str] | None = None,
    values: Mapping[str, Any] | None = None,
    dose_amounts: Any = None,
    dose_times: Any = None,
    integrate: bool = False,
    seed: int = 1,
    uncertainty: str = "none",
    **options: Unpack[SimulationOptions],
) -> Simulation:
    """Observables at `times` (h) for each patient (one typical patient when none are given), of a model or a finished run.

    Of a model: `patients` are those of `virtual_patients`. `values` replaces parameters, in their own units, by numbers or
    arrays (N,). `dose_amounts` and `dose_times` (doses,) replace each dose's amount, in its own unit, and time (h), in the
    order of `regimen.doses`; additional doses go with theirs. All three may be traced: the result is differentiable in them
    and may be under jit or vmap. Derivatives are by reverse mode (`jax.grad`, `jax.vjp`); those by forward mode, and second
    ones, need `forward=True`, which in turn excludes reverse mode. `integrate` asks for time-integrals too.

    Of a run (its folder, `STUDY/NUMBER`, a study's name): `patients` is a number N of new ones, with the run's Ω and residual
    error. Patient n of a `seed` is the same whatever N is. `uncertainty` gives each a vector of estimates of its own:
    "covariance", "bootstrap", "sir" or "posterior"; "none" the estimates themselves. `values` replace estimates, constants of
    the model and covariates. The result is a `FittedSimulation`, with observations as `path["DV:ENDPOINT"]` of every endpoint
    whose observable is observed.

    `options` are keywords too: `solver`, `engine`, `forward`, `dtype`, `processes`, `chunk`, `progress`
    (`population.options.SimulationOptions`).

    Raises `BadInput` for what cannot be meant. A patient whose solution fails is solved again by stricter methods; if
    they fail too it has a nonzero `result` and NaN. Under tracing results have no values yet, and no patient is solved again.

    >>> model = pbpk.load_model("oral_one_compartment")
    >>> path = pbpk.simulate(model, pbpk.dose("100 mg", into="oral"), [1.0, 24.0])
    >>> path["cp"].shape, path.unit["cp"]  # (times, patients)
    ((2, 1), 'mg/L')
    """
    how: dict[str, Any] = dict(dose_amounts=dose_amounts, dose_times=dose_times, integrate=integrate, **options)
    if isinstance(model, Model) or not _is_run(model):
        return simulate_model(model, regimen, times, patients=patients, observe=observe, values=values, **how)  # type: ignore[arg-type]
    if patients is not None:
        require_type(patients, (int, np.integer), "patients of a run", "how many new ones, such as 1000")
    count = None if patients is None else int(patients)  # type: ignore[arg-type]
    fit = reopen_for_simulation(model) if isinstance(model, str | Path) else model
    fitted = draw_fitted_patients(model, fit, count, seed, uncertainty, values)
    path = simulate_model(fitted.model, regimen, times, patients=fitted.patients, observe=observe, **how)
    estimates = _tabulate_estimates(fit, fitted)
    more: dict[str, Any] = {"estimates": estimates, "source": fitted.source, "varying": fitted.names}
    if count is not None:
        drawn, unit = _add_residual_error(fit, fitted, regimen, path, seed, how)
        more |= {"observables": path.observables | drawn, "unit": path.unit | unit}
    return FittedSimulation(**{f.name: getattr(path, f.name) for f in fields(path)} | more)


def _is_run(model: object) -> bool:
    """Whether this is a run rather than another thing that is no model either, of which the model's own check speaks."""
    from pbpk.diagnostics.fitted_model import FittedStudy
    from pbpk.model.load import list_models
    from pbpk.uncertainty.finished_fit import FinishedFit

    if isinstance(model, str | Path):
        return str(model) not in list_models() or (Path(model) / "results.json").exists()
    return isinstance(model, FittedStudy | FinishedFit)


def _tabulate_estimates(fit: FittedStudy | FinishedFit, fitted: FittedPatients) -> pd.DataFrame:
    """θ and σ of each patient, in shown units."""
    names = fit.study.problem.structure.layout.names
    scale = {n: fit.study.scale[names.index(n)] for n in fitted.values}
    count = len(fitted.patients)
    columns = {n: np.broadcast_to(np.asarray(v), (count,)) / scale[n] for n, v in fitted.values.items()}
    return pd.DataFrame(columns, index=fitted.patients.ids)


def _add_residual_error(
    fit: FittedStudy | FinishedFit,
    fitted: FittedPatients,
    regimen: Regimen,
    path: Simulation,
    seed: int,
    how: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, str]]:
    """An observation of each endpoint at each time and patient (T, N), and their units, in those of the data."""
    import jax.numpy as jnp

    from pbpk import units
    from pbpk.likelihood.endpoints.base import Observed, Predicted
    from pbpk.likelihood.endpoints.gaussian import draw_standard_normals
    from pbpk.observe.readings import find_observable_unit
    from pbpk.study.data_units import find_data_unit, is_in_data_unit

    model, spec = fitted.model, fit.study.spec
    endpoints = [e for e in fit.problem.structure.endpoints if e.observable in path.observables]
    needed = [e.second_observable for e in endpoints if e.second_observable]
    missing = [n for n in dict.fromkeys(needed) if n not in path.observables]
    curves, unit = dict(path.observables), dict(path.unit)
    if missing:
        plain = {k: v for k, v in how.items() if k != "integrate"}
        other = simulate_model(model, regimen, path.time, patients=fitted.patients, observe=missing, **plain)
        curves, unit = curves | other.observables, unit | other.unit
    ids, hours = fitted.patients.ids, np.asarray(path.time)
    time = jnp.broadcast_to(jnp.asarray(hours)[:, None], (len(hours), len(ids)))
    previous = jnp.broadcast_to(jnp.arange(-1, len(hours) - 1)[:, None], time.shape)
    nothing = jnp.zeros(time.shape)
    drawn, drawn_unit = {}, {}
    for e in endpoints:
        f = jnp.asarray(curves[e.observable]) * units.unit_factor(unit[e.observable])
        second = jnp.ones_like(f)
        if e.second_observable:
            second = jnp.asarray(curves[e.second_observable]) * units.unit_factor(unit[e.second_observable])
        before = jnp.concatenate([jnp.zeros_like(f[:1]), f[:-1]])
        o = Observed(nothing, nothing, nothing, nothing - jnp.inf, time, previous)
        behind = draw_standard_normals(_make_keys(seed, ids, hours, e.partner[0])) if e.partner else None
        y = e.draw(_make_keys(seed, ids, hours, e.name), Predicted(f, f, second, before), o, fitted.values, behind)
        name, shown = WITH_ERROR + e.name, ""
        if is_in_data_unit(spec.error[e.name]):
            shown = find_data_unit(spec, e.name) or find_observable_unit(model.system, model.parameters, e.observable)
        drawn[name] = jnp.where(jnp.asarray(path.result) == 0, y, jnp.nan) / (
            units.unit_factor(shown) if shown else 1.0
        )
        drawn_unit[name] = shown or "1"
    return drawn, drawn_unit


def _make_keys(seed: int, ids: np.ndarray, hours: np.ndarray, name: str) -> Any:
    """A key (T, N) for each patient, endpoint and time (to a tenth of a second)."""
    import jax
    import jax.numpy as jnp

    tag = np.uint32(zlib.crc32(f"residual error of {name}".encode()))
    tenths = jnp.asarray(np.round(hours * 36000).astype(np.int64) % 2**32, jnp.uint32)

    def one(tenth, patient):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), patient), tag)
        return jax.random.fold_in(key, tenth)

    return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(tenths, jnp.asarray(ids))
