"""The windows of the linear and of the saturable solver, for whole solutions in machine code (compiled_solution.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from pbpk.compile.programs.linear.kernel import series_tables
from pbpk.compile.programs.rosenbrock.kernel import bind_arrays, encode_result
from pbpk.compile.programs.rosenbrock.step import step_weights
from pbpk.compile.programs.solution.kernel import NamedArrays, linear_window, rosenbrock_window
from pbpk.linalg.packing import produces
from pbpk.solve.base import Readings, flag_inaccurate

if TYPE_CHECKING:
    from pbpk.compile.programs.rosenbrock.window import RosenbrockMethod
    from pbpk.linalg.series import ResolventSeries
    from pbpk.model.system import System


@dataclass(frozen=True)
class LinearSegments:
    """A `SegmentProgram` of linear windows. Rows are the rates' slopes (1, entries, N) and what is produced (1, n, N)."""

    system: System
    series: ResolventSeries
    integrals: bool
    tolerance: float

    @property
    def has_production(self) -> bool:
        """Whether the system produces anything at zero amounts."""
        return bool(produces(self.system))

    def build_window(self, stops: int, has_inflow: bool, readings: Readings) -> Any:
        """The linear window's program."""
        return linear_window(self.system, self.series, stops, self.integrals, has_inflow, readings)

    def window_arguments(self, window: Any, rows: Any, stops: jax.Array, patients: int) -> NamedArrays:
        """Rates, production, and the series' tables at the stops."""
        rates, production = (jnp.broadcast_to(a[0], (a.shape[1], patients)) for a in rows)
        tables = jax.vmap(lambda stops: series_tables(window, rates, stops))(stops)
        named = dict(zip((b.name for b in window.stop_tables), tables, strict=False))
        return named | {"rates": rates, "production": production}

    def result_codes(self, diagnostics: NamedArrays) -> jax.Array:
        """INACCURATE where an estimated error exceeds the tolerance."""
        return flag_inaccurate(diagnostics["error"][0], self.tolerance)


@dataclass(frozen=True)
class SaturableSegments:
    """A `SegmentProgram` of Rosenbrock windows. Rows are a vector field's bound parameters, (1, ...) each."""

    method: RosenbrockMethod
    has_production = False

    def build_window(self, stops: int, has_inflow: bool, readings: Readings) -> Any:
        """The Rosenbrock window's program; it gives all amounts, whatever the readings."""
        return rosenbrock_window(self.method, stops, has_inflow)

    def window_arguments(self, window: Any, rows: Any, stops: jax.Array, patients: int) -> NamedArrays:
        """The bound parameters, the stops with 0 before them, and the method's numbers."""
        bound = jax.tree.map(lambda a: a[0], rows)
        arguments = bind_arrays(self.method.field, bound, patients)
        arguments["edges"] = jnp.pad(stops, ((0, 0), (1, 0), *[(0, 0)] * (stops.ndim - 2)))
        arguments["step_weights"] = jnp.asarray(step_weights(self.method.tableau))
        return arguments | {"production": jnp.zeros_like(arguments["constant"])}

    def result_codes(self, diagnostics: NamedArrays) -> jax.Array:
        """GAVE_UP and INACCURATE, as the programs flag them."""
        return encode_result(diagnostics["gave_up"][0], diagnostics["inaccurate"][0])
