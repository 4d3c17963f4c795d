"""Which solver: the model chooses, a name overrides, and so does the engine diffrax where there is no name."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from pbpk.compile import engine
from pbpk.errors import BadInput, did_you_mean
from pbpk.linalg.tableau import TABLEAUS
from pbpk.solve.contour import Contour
from pbpk.solve.general import DIFFRAX_SOLVERS, General
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.base import Solver

# In order of preference; the first that supports the system is taken.
PREFERRED_SOLVERS = (Resolvent, Rosenbrock)

_SOLVER_CLASSES = {"resolvent": Resolvent, "contour": Contour, "rosenbrock": Rosenbrock}


def list_solver_names() -> list[str]:
    """What `--solver` takes, beside auto."""
    return [*_SOLVER_CLASSES, *sorted(TABLEAUS), *sorted(DIFFRAX_SOLVERS)]


def choose_solver(system: System, name: str | None = None) -> Solver:
    """The solver called `name`, or the best one for the system. Raises `BadInput` where the named one does not support the
    system, and what `engine.requested_engine` raises: here, before anything is compiled."""
    asks_for_diffrax = engine.requested_engine() == "diffrax"
    if name is None or name == "auto":
        if asks_for_diffrax:
            return General()
        candidates = (solver_class() for solver_class in PREFERRED_SOLVERS)
        return next(solver for solver in candidates if not solver.unsupported_reason(system))
    lower_name = name.lower()
    if lower_name not in list_solver_names():
        raise BadInput(f"no solver `{name}`", hint=did_you_mean(name, ["auto", *list_solver_names()]))
    solver_class = _SOLVER_CLASSES.get(lower_name)
    by_method = Rosenbrock if lower_name in TABLEAUS else General
    solver = solver_class() if solver_class else by_method(lower_name)
    if reason := solver.unsupported_reason(system):
        raise BadInput(f"the solver {solver.name} cannot be used on this model", why=reason, hint="leave --solver out")
    return solver


def restore_reverse_mode(solver: Solver) -> Solver:
    """The inverse of `forward_mode`: the solver as it comes, with the same tolerances."""
    settings = {f.name: getattr(solver, f.name) for f in fields(solver) if f.name not in ("reverse", "adjoint")}  # type: ignore[arg-type]
    return type(solver)(**settings)
