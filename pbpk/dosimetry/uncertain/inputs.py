"""What is not known, as functions of standard normals: rows of a model, given relative SDs, RBEs.

A relative SD u is that of a log-normal whose median is the usual value: x·e^(σz), σ = √ln(1 + u²). Ours for masses and S values
are assumed: 20 % for an organ whose mass nobody measured (a CV of 20 to 50 % between adults); for S, 2 % of alphas (energies,
straggling), 5 % of electrons, 25 % of photons (what this phantom's miss ICRP's by, docs/dosimetry.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jax.scipy.special import ndtr

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.population.patients import build_typical_patient

if TYPE_CHECKING:
    from pbpk.dosimetry.effect.rbe import Rbe
    from pbpk.model.load import Model
    from pbpk.model.parameters import Parameter

KINETICS, MASS, S, RBE = "kinetics", "mass", "S", "RBE"
ORIGINS = (KINETICS, MASS, S, RBE)
MASS_SD = 0.2
S_SD: Mapping[str, float] = MappingProxyType({"alpha": 0.02, "electron": 0.05, "photon": 0.25})


@dataclass(frozen=True, eq=False)
class UncertainKinetics:
    """What is not known of a model's rows, as functions of standard normals z (len(origins), N).

    `origins` of each normal; `values(z, linear)` the rows in their own units; `ranges`: what is possible at all, by row;
    `about`: where this is from, in words.
    """

    origins: tuple[str, ...]
    values: Callable[[Any, bool], dict[str, Any]]
    ranges: Mapping[str, tuple[float, float]]
    about: str


def log_sd(relative: float) -> float:
    """The SD of the logarithm, for a relative SD: σ = √ln(1 + u²)."""
    return math.sqrt(math.log1p(relative**2))


def check_relative_sd(name: str, value: float) -> float:
    """The value itself; raises `BadInput` below 0 and from 10 on, which is rather a per cent."""
    if not 0 <= value < 10:
        raise BadInput(f"the relative SD of {name} is {value:g}", hint="0.2 is 20 %")
    return value


def kinetics_from_table(
    model: Model, masses: Collection[str], relative: Mapping[str, float] | None = None, spreads: bool = True
) -> UncertainKinetics:
    """The spreads between patients that the model's own table states, but for covariates, and `relative` SDs by row.

    The latter go before the former (0: known exactly). Rows in `masses` hold masses. Raises `BadInput` for a row the model
    lacks.
    """
    stated = dict(relative or {})
    for name, value in stated.items():
        if name not in model.parameters or name not in model.system.parameter_names:
            hint = did_you_mean(name, model.parameters)
            raise BadInput(f"`{model.name}` has no parameter `{name}` to be uncertain", hint=hint)
        check_relative_sd(name, value)
    rows = [r for r in model.parameters.rows.values() if r.name in stated or (spreads and r.spread)]
    rows = [r for r in rows if stated.get(r.name, 1.0) > 0]
    typical = build_typical_patient(model).values[:, 0]  # with what covariates do to it
    usual = {r.name: float(typical[model.system.parameter_index(r.name)]) / units.unit_factor(r.unit) for r in rows}

    def values(z: Any, linear: bool) -> dict[str, Any]:
        return {r.name: _row_at(r, usual[r.name], stated.get(r.name), z[i], linear) for i, r in enumerate(rows)}

    from_table = sum(r.name not in stated for r in rows)
    about = f"{from_table} rows of `{model.name}` by the spread between patients that its table states"
    return UncertainKinetics(
        tuple(MASS if r.name in masses else KINETICS for r in rows),
        values,
        {r.name: r.range for r in rows if r.range},
        about + (f"; {len(rows) - from_table} as given" if len(rows) > from_table else ""),
    )


def _row_at(row: Parameter, typical: float, relative: float | None, z: Any, linear: bool) -> Any:
    if relative is not None:
        return typical * jnp.exp(log_sd(relative) * z)
    assert row.spread is not None
    size = row.spread.size
    if row.spread.distribution == "lognormal":
        return typical * jnp.exp(log_sd(size[0]) * z)
    if row.spread.distribution == "normal":
        return typical + size[0] * z
    return uniform_at(size[0], size[1], z, linear)


def uniform_at(low: float, high: float, z: Any, linear: bool) -> Any:
    """Uniform from `low` to `high`, of a normal z; `linear`: its mean and SD."""
    return (low + high) / 2 + (high - low) / math.sqrt(12) * z if linear else low + (high - low) * ndtr(z)


def rbe_at(rbe: Rbe, z: Any, linear: bool) -> Any:
    """An RBE at a normal z; at 0 its median."""
    if rbe.distribution == "lognormal":
        return rbe.a * jnp.exp(math.log(rbe.b) * z)
    if rbe.distribution == "uniform":
        return uniform_at(rbe.a, rbe.b, z, linear)
    return rbe.a + 0.0 * z
