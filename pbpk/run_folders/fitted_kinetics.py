"""`pbpk.fitted_kinetics`: a finished fit as the kinetics of a dose, its model at the estimates and their covariance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pbpk.errors import BadInput
from pbpk.run_folders.reopen import reopen_fit

if TYPE_CHECKING:
    from pbpk.dosimetry.uncertain.inputs import UncertainKinetics
    from pbpk.model.load import Model
    from pbpk.study.load import Study
    from pbpk.uncertainty.finished_fit import FinishedFit


def fitted_kinetics(run: str | Path | FinishedFit, between: bool = False) -> tuple[Model, UncertainKinetics]:
    """The fit's model, and its parameters as uncertain as the covariance says: drawn on ψ, where every vector is a valid model.

    They are of the typical patient, at the model's usual covariates. `between` adds the differences between patients that the
    fit found (Ω at its estimate), so that they are of the next patient. The model is the one of that name, because a run's
    copy does not say which compartment lies in which organ. Raises `BadInput` where that model has changed since the fit, for
    a fit without a covariance, and where what was fitted changes within a patient.
    """
    from pbpk.dosimetry.region_map import read_region_map
    from pbpk.dosimetry.uncertain.inputs import KINETICS, UncertainKinetics

    fit = reopen_fit(run)
    covariance, spec, model = fit.psi_covariance, fit.problem.structure, restore_model(fit.study)
    if covariance is None:
        raise BadInput(
            "the fit has no covariance matrix, or a parameter on its edge",
            where=fit.study.name,
            hint="state relative SDs of parameters instead",
        )
    individual = spec.individual_model
    varying = [name for kind, name in individual.slots if kind != "base" or "@" in name]
    if varying:
        raise BadInput(
            f"{', '.join(varying)} changes within a patient in this fit",
            where=fit.study.name,
            hint="doses are of one set of parameters",
        )
    names = [name for _, name in individual.slots]
    x = _usual_covariates(fit, individual.covariates)
    factor = np.linalg.cholesky(covariance)
    free, etas = len(fit.psi), len(individual.etas) if between else 0
    scale = _unit_factors(fit, names)

    def values(z: Any, linear: bool) -> dict[str, Any]:
        import jax
        import jax.numpy as jnp

        psi = jnp.asarray(fit.psi)[:, None] + jnp.asarray(factor) @ z[:free]

        def one(psi: Any, standard_eta: Any) -> Any:
            theta, omega, _ = fit.problem.unpack(psi)
            eta = jnp.linalg.cholesky(omega) @ standard_eta if etas else jnp.zeros(len(individual.etas))
            return individual.individual_parameters(theta, eta[:, None], jnp.asarray(x))[:, 0]

        u = jax.vmap(one, (1, 1), 1)(psi, z[free:])
        return {name: u[k] / scale[k] for k, name in enumerate(names)}

    placement = read_region_map(model, "adult-male")
    mass_names = {*placement.mass_rows.values(), *(str(x.mass) for x in placement.lesions)}
    if fitted_masses := mass_names & set(names):
        raise BadInput(
            f"{', '.join(fitted_masses)} is a mass, and the fit's parameters move together", where=fit.study.name
        )
    ranges = {n: r for n in names if (r := model.parameters[n].range)}
    more = ", and the differences between patients it found" if between else ""
    about = f"the fit of {fit.study.name}: {free} parameters with their covariance ({fit.matrix}){more}"
    kinetics = UncertainKinetics((KINETICS,) * (free + etas), values, ranges, about)
    typical = values(np.zeros((free + etas, 1)), False)
    return model.with_values({k: float(np.asarray(v)[0]) for k, v in typical.items()}), kinetics


def restore_model(study: Study) -> Model:
    """The model that a study was fitted with, loaded by its name, with the constants that the study set.

    Raises `BadInput` where the model of that name has other compartments or parameters by now.
    """
    from pbpk.model.load import load_model
    from pbpk.model.parameters import DERIVED

    fitted = study.model
    model = load_model(fitted.name, nuclide=fitted.nuclide, options=fitted.options)
    if model.system.names != fitted.system.names or set(model.parameters) != set(fitted.parameters):
        raise BadInput(f"the model `{fitted.name}` is another than the one that was fitted", where=study.name)
    table_rows = {n: p for n, p in fitted.parameters.items() if p.status != DERIVED}
    return model.with_values({n: p.value for n, p in table_rows.items() if p.value != model.parameters[n].value})


def _usual_covariates(fit: FinishedFit, names: tuple[str, ...]) -> np.ndarray:
    """The covariates (k, 1) at the model's usual values. Raises `BadInput` for one that the model gives no usual value."""
    known = fit.study.model.parameters.covariates
    missing = [n for n in names if n not in known]
    if missing:
        raise BadInput(
            f"the model does not say what {', '.join(missing)} usually is",
            where=fit.study.name,
            hint="declare it under [covariates] in the model's parameters.toml",
        )
    return np.array([[known[n].internal] for n in names]).reshape(len(names), 1)


def _unit_factors(fit: FinishedFit, names: list[str]) -> list[float]:
    from pbpk.units import unit_factor

    return [unit_factor(fit.study.model.parameters[n].unit) for n in names]
