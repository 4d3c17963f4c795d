"""From typical values, random effects and covariates to one patient's parameters.

    parameter = move(typical · Π covariate factors, η)      (distributions.py; log-normal: typical · Π factors · exp(η))

η is the patient's own deviation and, where a parameter varies between occasions, that of the occasion added to it. In two
stages, because estimation differentiates the solver only with respect to the few numbers that vary between patients.
`individual_parameters` makes those numbers, u, from θ, η and the covariates that are constant in each patient;
`system_parameters` spreads u into the System's vector, record by record where covariates change in time, occasions differ or
data columns override.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from pbpk.population.covariates import FORMS
from pbpk.population.distributions import DISTRIBUTIONS

if TYPE_CHECKING:
    from pbpk.model.system import System


@dataclass(frozen=True)
class VaryingParameter:
    """A structural parameter the population model speaks of. `random`: it has an η; `occasions`: an η for each of so many
    occasions; `shape`: the θ that is its distribution's own parameter; `low`, `high`: the ends of a bounded one."""

    name: str
    distribution: str = "lognormal"
    random: bool = True
    occasions: int = 0
    shape: str | None = None
    low: float = 0.0
    high: float = 1.0

    @property
    def is_random(self) -> bool:
        """Whether an η moves it, of the patient or of an occasion."""
        return self.random or self.occasions > 0


@dataclass(frozen=True)
class CovariateFactor:
    """A covariate's factor on a parameter. `coefficient` is the name of a θ, or a constant; `changes`: within patients."""

    parameter: str
    covariate: str
    form: str
    reference: float
    coefficient: str | float
    changes: bool = False


@dataclass(frozen=True)
class IndividualModel:
    """The population model of parameters: which vary, how covariates act on them, and which a data column overrides.

    `occasion` names the covariate that numbers the occasions from 0; `etas` are all random effects in their order (`order`,
    where it is not the usual one), those of occasion k (from 1) called `CL@k`.
    """

    varying: tuple[VaryingParameter, ...]
    factors: tuple[CovariateFactor, ...]
    covariates: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    occasion: str | None = None
    order: tuple[str, ...] | None = None

    @property
    def etas(self) -> tuple[str, ...]:
        """The random effects, in the order of η (`order` where blocks of occasions ask for one of their own)."""
        if self.order is not None:
            return self.order
        between = tuple(v.name for v in self.varying if v.random)
        within = [v for v in self.varying if v.occasions]
        last = max((v.occasions for v in within), default=0)
        return (*between, *(f"{v.name}@{k}" for k in range(1, last + 1) for v in within))

    @property
    def slots(self) -> tuple[tuple[str, str], ...]:
        """What u holds, in order: ("base", parameter), by occasion ("base", "CL@1") …, then ("eta", parameter), likewise,
        and ("theta", coefficient) where needed."""
        changing = {f.parameter for f in self.factors if f.changes}
        slots: list[tuple[str, str]] = []
        for v in self.varying:
            by_occasion = v.occasions and not self._keeps_eta(v, changing)
            slots += [("base", n) for n in (self._occasion_names(v) if by_occasion else (v.name,))]
        for v in self.varying:
            if v.is_random and self._keeps_eta(v, changing):
                slots += [("eta", n) for n in (self._occasion_names(v) if v.occasions else (v.name,))]
        needed = [f.coefficient for f in self.factors if f.changes and isinstance(f.coefficient, str)]
        needed += [v.shape for v in self.varying if v.shape and v.is_random and self._keeps_eta(v, changing)]
        return (*slots, *(("theta", c) for c in dict.fromkeys(needed)))

    @staticmethod
    def _occasion_names(v: VaryingParameter) -> tuple[str, ...]:
        return tuple(f"{v.name}@{k}" for k in range(1, v.occasions + 1))

    @staticmethod
    def _keeps_eta(v: VaryingParameter, changing: set[str]) -> bool:
        """Where a factor changes in time and η does not simply multiply, it must reach the second stage by itself."""
        return v.name in changing and not DISTRIBUTIONS[v.distribution].multiplies

    def individual_parameters(self, theta: Mapping[str, jax.Array], eta: jax.Array, covariates: jax.Array) -> jax.Array:
        """u (slots, ...) from θ (named), η (q, ...) and constant covariates (covariates, ...)."""
        changing = {f.parameter for f in self.factors if f.changes}
        known, at = {v.name: v for v in self.varying}, {n: i for i, n in enumerate(self.etas)}
        ones, typical, out = jnp.ones(covariates.shape[1:]), {}, []
        for v in self.varying:
            value = theta[v.name] * ones
            for f in self.factors:
                if f.parameter == v.name and not f.changes:
                    value = value * self._evaluate_factor(f, theta, covariates[self.covariates.index(f.covariate)])
            typical[v.name] = value
        for kind, name in self.slots:
            if kind == "theta":
                out.append(theta[name] * ones)
                continue
            v = known[name.partition("@")[0]]
            random = sum((eta[at[n]] for n in dict.fromkeys((v.name, name)) if n in at), 0.0 * ones)
            if kind == "eta":
                out.append(random)
            elif not v.is_random or self._keeps_eta(v, changing):
                out.append(typical[v.name])
            else:
                out.append(self._apply_distribution(v, typical[v.name], random, theta))
        return jnp.stack(out)

    @staticmethod
    def _apply_distribution(
        v: VaryingParameter, typical: jax.Array, random: jax.Array, theta: Mapping[str, jax.Array]
    ) -> jax.Array:
        shape = theta[v.shape] if v.shape else None
        return DISTRIBUTIONS[v.distribution].move(typical, random, v.low, v.high, shape)

    @staticmethod
    def _evaluate_factor(f: CovariateFactor, theta: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
        b = theta[f.coefficient] if isinstance(f.coefficient, str) else f.coefficient
        return FORMS[f.form](x, f.reference, b)

    def system_parameters(
        self, system: System, u: jax.Array, constants: jax.Array, covariates: jax.Array, overrides: jax.Array
    ) -> jax.Array:
        """p (C, m, N) from u (slots, N), constants (1 or C, m, N), covariates (C, k, N) and overrides (C, o, N; NaN: none)."""
        rows, patients = max(covariates.shape[0], constants.shape[0]), u.shape[-1]
        p = jnp.broadcast_to(constants, (rows, constants.shape[1], patients))
        at = {slot: i for i, slot in enumerate(self.slots)}
        theta = {name: u[i] for (kind, name), i in at.items() if kind == "theta"}

        def read(kind: str, v: VaryingParameter) -> jax.Array | None:
            """The slot of the parameter, or of each record's occasion."""
            if (kind, v.name) in at:
                return u[at[kind, v.name]]
            if (kind, f"{v.name}@1") not in at:
                return None
            which = covariates[:, self.covariates.index(self.occasion or "")]
            value = u[at[kind, f"{v.name}@1"]] + 0 * which
            for k in range(2, v.occasions + 1):
                value = jnp.where(which == k - 1, u[at[kind, f"{v.name}@{k}"]], value)
            return value

        for v in self.varying:
            value = read("base", v)
            assert value is not None
            for f in self.factors:
                if f.parameter == v.name and f.changes:
                    value = value * self._evaluate_factor(f, theta, covariates[:, self.covariates.index(f.covariate)])
            if (random := read("eta", v)) is not None:
                value = self._apply_distribution(v, value, random, theta)
            p = p.at[:, system.parameter_index(v.name)].set(value)
        for k, name in enumerate(self.overrides):
            i = system.parameter_index(name)
            p = p.at[:, i].set(jnp.where(jnp.isnan(overrides[:, k]), p[:, i], overrides[:, k]))
        return jnp.asarray(system.derive(p))
