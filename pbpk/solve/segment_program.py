"""What the linear and the saturable solver bring to a whole solution in one call (compiled_solution.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from pbpk.compile.programs.linear.kernel import tables
from pbpk.compile.programs.rosenbrock.kernel import bound_arrays
from pbpk.compile.programs.rosenbrock.step import weights
from pbpk.compile.programs.solution.kernel import Arrays, linear_leg, march_leg
from pbpk.linalg.packing import produces
from pbpk.solve.base import Readings, cast
from pbpk.solve.compiled_solution import accurate

if TYPE_CHECKING:
    from pbpk.compile.programs.rosenbrock.window import Method
    from pbpk.linalg.series import Series
    from pbpk.model.system import System


@dataclass(frozen=True)
class Linear:
    """Rows are the rates' slopes (1, entries, N) and what is produced (1, n, N)."""

    system: System
    series: Series
    integrals: bool
    tolerance: float

    @property
    def makes(self) -> bool:
        return bool(produces(self.system))

    def leg(self, stops: int, fed: bool, readings: Readings) -> Any:
        return linear_leg(self.system, self.series, stops, self.integrals, fed, readings)

    def arrays(self, leg: Any, rows: Any, stops: jax.Array, patients: int) -> Arrays:
        rates, produced = (jnp.broadcast_to(a[0], (a.shape[1], patients)) for a in rows)
        made = jax.vmap(lambda one: tables(leg, rates, one))(stops)
        return dict(zip(("stops", "weights", "right"), made, strict=False)) | {"rates": rates, "base": produced}

    def code(self, judged: jax.Array) -> jax.Array:
        return accurate(judged[0], self.tolerance)


@dataclass(frozen=True)
class Saturable:
    """Rows are a field's bound parameters, (1, ...) each."""

    method: Method
    makes = False

    def leg(self, stops: int, fed: bool, readings: Readings) -> Any:
        return march_leg(self.method, stops, fed)

    def arrays(self, leg: Any, rows: Any, stops: jax.Array, patients: int) -> Arrays:
        bound = jax.tree.map(lambda a: a[0], rows)
        found = bound_arrays(self.method.field, bound, patients)
        found["edges"] = jnp.pad(stops, ((0, 0), (1, 0), *[(0, 0)] * (stops.ndim - 2)))
        found["table"] = jnp.asarray(weights(self.method.tableau))
        return found | {"base": jnp.zeros_like(found["constant"])}

    def code(self, judged: jax.Array) -> jax.Array:
        return cast(judged[0] + judged[1])
