"""Virtual patients: draws from a model's spreads and covariates.

Randomness is counter-based: patient k of a seed gets the key fold_in(seed, k), and each parameter its own key by name.
The k-th patient is therefore the same whatever the number of patients, their order or their chunks, and adding a spread
to one parameter leaves the others' draws alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk import units
from pbpk.errors import BadInput, require_type
from pbpk.model.load import Model
from pbpk.population.covariates import FORMS

if TYPE_CHECKING:
    from pbpk.model.parameters import Parameter


@dataclass(frozen=True, eq=False)
class Patients:
    """Patients as arrays: their numbers `ids` (N,), the System's parameters `values` (m, N), coherent, and `covariates`,
    one row per patient, in their own units."""

    ids: np.ndarray
    values: np.ndarray
    covariates: pd.DataFrame

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice | np.ndarray) -> Patients:
        return Patients(self.ids[part], self.values[:, part], self.covariates.iloc[part])


def build_typical_patient(model: Model) -> Patients:
    """One patient at every typical value."""
    covariates = pd.DataFrame({n: [row.value] for n, row in model.parameters.covariates.items()}, index=[0])
    return Patients(
        np.zeros(1, int), apply_covariate_effects(model, model.values[:, None].copy(), covariates), covariates
    )


def virtual_patients(model: Model, patients: int | Sequence[int], seed: int = 1) -> Patients:
    """Draw patients 1..N, or those with the numbers in `patients`. Spreads come from the model's parameter table.

    Raises `BadInput` for fewer than one patient and a seed beyond 64 bits.

    >>> patients = pbpk.virtual_patients(pbpk.load_model("nis_body"), 3, seed=1)
    >>> len(patients), sorted(patients.covariates)[-1]
    (3, 'WT')
    """
    require_type(model, Model, "model", 'load it first: pbpk.load_model("nis_body")')
    require_type(patients, (Integral, list, tuple, range, np.ndarray), "patients", "how many, or their numbers")
    if isinstance(patients, Integral) and patients < 1:
        raise BadInput(f"cannot draw {patients} patients", hint="ask for at least one")
    if not -(2**63) <= seed < 2**63:
        raise BadInput(f"the seed {seed} does not fit into 64 bits")
    ids = np.arange(1, int(patients) + 1) if isinstance(patients, Integral) else np.asarray(patients, dtype=int)
    table, system = model.parameters, model.system
    spread = [row for row in (*table.rows.values(), *table.covariates.values()) if row.spread]
    tags = np.array([zlib.crc32(row.name.encode()) for row in spread], dtype=np.uint32)
    normal, uniform = (
        (np.asarray(x) for x in draw_numbers(seed, ids, tags)) if spread else (np.zeros((0, len(ids))),) * 2
    )
    drawn = {row.name: _transform_draw(row, normal[k], uniform[k]) for k, row in enumerate(spread)}

    covariates = pd.DataFrame(
        {n: drawn.get(n, np.full(len(ids), row.value)) for n, row in table.covariates.items()}, index=ids
    )
    values = np.repeat(model.values[:, None], len(ids), axis=1)
    for name, value in drawn.items():
        if name in table.rows:
            values[system.parameter_index(name)] = value * units.unit_factor(table[name].unit)
    return Patients(ids, apply_covariate_effects(model, values, covariates), covariates)


@jax.jit
def draw_numbers(seed, ids, tags):
    """A normal and a uniform number (tags, N) for each patient and tag, which no other number depends on."""

    def one(patient, tag):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), patient), tag)
        a, b = jax.random.split(key)
        return jax.random.normal(a), jax.random.uniform(b)

    return jax.vmap(jax.vmap(one, (0, None)), (None, 0))(jnp.asarray(ids), jnp.asarray(tags))


def _transform_draw(row: Parameter, normal: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """The drawn value in the row's unit; a log-normal's typical value is its median."""
    spread = row.spread
    assert spread is not None
    if spread.distribution == "lognormal":
        return row.value * np.exp(np.sqrt(np.log1p(spread.size[0] ** 2)) * normal)
    if spread.distribution == "normal":
        return row.value + spread.size[0] * normal
    return spread.size[0] + (spread.size[1] - spread.size[0]) * uniform


def apply_covariate_effects(
    model: Model, values: np.ndarray, covariates: pd.DataFrame, only: Collection[str] | None = None
) -> np.ndarray:
    """Parameters with covariate effects: `values` (m, N), changed in place, times the factors of the model's parameter table,
    and what derives from them. `only`: the effects of these covariates alone. Raises `BadInput` for an unknown form.
    """
    for row in model.parameters.rows.values():
        for e in row.effects:
            if only is not None and e.covariate not in only:
                continue
            if e.form not in FORMS:
                raise BadInput(f"no covariate form `{e.form}`", where=f"{model.parameters.path}: `{row.name}`")
            x = covariates[e.covariate].to_numpy()
            values[model.system.parameter_index(row.name)] *= np.asarray(FORMS[e.form](x, e.reference, e.coefficient))
    return model.system.derive(values)
