"""What the linear and the saturable solver bring to a whole solution in one call (compiled_solution.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from pbpk.compile.programs.linear.kernel import series_tables
from pbpk.compile.programs.rosenbrock.kernel import bind_arrays
from pbpk.compile.programs.rosenbrock.step import step_weights
from pbpk.compile.programs.solution.kernel import NamedArrays, linear_window, rosenbrock_window
from pbpk.linalg.packing import produces
from pbpk.solve.base import Readings, as_code
from pbpk.solve.compiled_solution import flag_inaccurate

if TYPE_CHECKING:
    from pbpk.compile.programs.rosenbrock.window import RosenbrockMethod
    from pbpk.linalg.series import Series
    from pbpk.model.system import System


@dataclass(frozen=True)
class LinearSegments:
    """Rows are the rates' slopes (1, entries, N) and what is produced (1, n, N)."""

    system: System
    series: Series
    integrals: bool
    tolerance: float

    @property
    def has_production(self) -> bool:
        return bool(produces(self.system))

    def build_window(self, stops: int, fed: bool, readings: Readings) -> Any:
        return linear_window(self.system, self.series, stops, self.integrals, fed, readings)

    def window_arguments(self, leg: Any, rows: Any, stops: jax.Array, patients: int) -> NamedArrays:
        rates, produced = (jnp.broadcast_to(a[0], (a.shape[1], patients)) for a in rows)
        made = jax.vmap(lambda one: series_tables(leg, rates, one))(stops)
        return dict(zip(("stops", "weights", "right"), made, strict=False)) | {"rates": rates, "base": produced}

    def result_codes(self, judged: jax.Array) -> jax.Array:
        return flag_inaccurate(judged[0], self.tolerance)


@dataclass(frozen=True)
class SaturableSegments:
    """Rows are a field's bound parameters, (1, ...) each."""

    method: RosenbrockMethod
    has_production = False

    def build_window(self, stops: int, fed: bool, readings: Readings) -> Any:
        return rosenbrock_window(self.method, stops, fed)

    def window_arguments(self, leg: Any, rows: Any, stops: jax.Array, patients: int) -> NamedArrays:
        bound = jax.tree.map(lambda a: a[0], rows)
        found = bind_arrays(self.method.field, bound, patients)
        found["edges"] = jnp.pad(stops, ((0, 0), (1, 0), *[(0, 0)] * (stops.ndim - 2)))
        found["table"] = jnp.asarray(step_weights(self.method.tableau))
        return found | {"base": jnp.zeros_like(found["constant"])}

    def result_codes(self, judged: jax.Array) -> jax.Array:
        return as_code(judged[0] + judged[1])
