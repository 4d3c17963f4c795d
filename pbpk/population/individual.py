"""From typical values, random effects and covariates to one patient's parameters.

    parameter = typical · Π covariate factors · exp(η)     (log-normal)
    parameter = typical · Π covariate factors + η          (normal)

In two stages, because estimation differentiates the solver only with respect to the few numbers that vary between
patients. `mixed` makes those numbers, u, from θ, η and the covariates that are constant in each patient; `parameters`
spreads u into the System's vector, record by record where covariates change in time or data columns override.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from pbpk.model.system import System
from pbpk.population.covariates import FORMS


@dataclass(frozen=True)
class Varying:
    """A structural parameter the population model speaks of. `random`: it has an η."""

    name: str
    distribution: str = "lognormal"
    random: bool = True


@dataclass(frozen=True)
class Factor:
    """A covariate's factor on a parameter. `coefficient` is the name of a θ, or a constant; `changes`: within patients."""

    parameter: str
    covariate: str
    form: str
    reference: float
    coefficient: str | float
    changes: bool = False


@dataclass(frozen=True)
class Individual:
    varying: tuple[Varying, ...]
    factors: tuple[Factor, ...]
    covariates: tuple[str, ...]
    overrides: tuple[str, ...] = ()

    @property
    def etas(self) -> tuple[str, ...]:
        """The parameters with a random effect, in the order of η."""
        return tuple(v.name for v in self.varying if v.random)

    @property
    def slots(self) -> tuple[tuple[str, str], ...]:
        """What u holds, in order: ("base", parameter), then ("eta", parameter) and ("theta", coefficient) where needed."""
        slots = [("base", v.name) for v in self.varying]
        changing = {f.parameter for f in self.factors if f.changes}
        slots += [("eta", v.name) for v in self.varying if v.random and self._apart(v, changing)]
        coefficients = [f.coefficient for f in self.factors if f.changes and isinstance(f.coefficient, str)]
        return (*slots, *(("theta", c) for c in dict.fromkeys(coefficients)))

    @staticmethod
    def _apart(v: Varying, changing: set[str]) -> bool:
        """A normal η is added after the factors, so it must reach the second stage by itself when one changes in time."""
        return v.distribution == "normal" and v.name in changing

    def mixed(self, theta: Mapping[str, jax.Array], eta: jax.Array, covariates: jax.Array) -> jax.Array:
        """u (slots, ...) from θ (named), η (q, ...) and constant covariates (covariates, ...)."""
        changing = {f.parameter for f in self.factors if f.changes}
        out = []
        for kind, name in self.slots:
            if kind == "theta":
                out.append(theta[name] + jnp.zeros(covariates.shape[1:]))
                continue
            random = eta[self.etas.index(name)] if name in self.etas else 0.0
            if kind == "eta":
                out.append(random + jnp.zeros(covariates.shape[1:]))
                continue
            value = theta[name] * jnp.ones(covariates.shape[1:])
            for f in self.factors:
                if f.parameter == name and not f.changes:
                    value = value * self._factor(f, theta, covariates[self.covariates.index(f.covariate)])
            (v,) = (v for v in self.varying if v.name == name)
            if v.distribution == "lognormal":
                value = value * jnp.exp(random)
            elif not self._apart(v, changing):
                value = value + random
            out.append(value)
        return jnp.stack(out)

    @staticmethod
    def _factor(f: Factor, theta: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
        b = theta[f.coefficient] if isinstance(f.coefficient, str) else f.coefficient
        return FORMS[f.form](x, f.reference, b)

    def parameters(
        self, system: System, u: jax.Array, constants: jax.Array, covariates: jax.Array, overrides: jax.Array
    ) -> jax.Array:
        """p (C, m, N) from u (slots, N), constants (1 or C, m, N), covariates (C, k, N) and overrides (C, o, N; NaN: none)."""
        rows, patients = max(covariates.shape[0], constants.shape[0]), u.shape[-1]
        p = jnp.broadcast_to(constants, (rows, constants.shape[1], patients))
        at = {slot: i for i, slot in enumerate(self.slots)}
        theta = {name: u[i] for (kind, name), i in at.items() if kind == "theta"}
        for v in self.varying:
            value = u[at["base", v.name]]
            for f in self.factors:
                if f.parameter == v.name and f.changes:
                    value = value * self._factor(f, theta, covariates[:, self.covariates.index(f.covariate)])
            if ("eta", v.name) in at:
                value = value + u[at["eta", v.name]]
            p = p.at[:, system.parameter_index(v.name)].set(value)
        for k, name in enumerate(self.overrides):
            i = system.parameter_index(name)
            p = p.at[:, i].set(jnp.where(jnp.isnan(overrides[:, k]), p[:, i], overrides[:, k]))
        return jnp.asarray(system.derive(p))
