"""Which solver: the model chooses, a name overrides."""

from __future__ import annotations

from pbpk.errors import BadInput, did_you_mean
from pbpk.model.system import System
from pbpk.solve.base import Solver
from pbpk.solve.general import SOLVERS, General
from pbpk.solve.resolvent import Resolvent

# In order of preference; the first that does not refuse is taken.
PREFERRED = (Resolvent, General)


def solver_names() -> list[str]:
    return ["resolvent", *sorted(SOLVERS)]


def choose_solver(system: System, name: str | None = None) -> Solver:
    """The solver called `name`, or the best one for the system. Raises `BadInput` when the named one refuses."""
    if name is None or name == "auto":
        return next(s for s in (kind() for kind in PREFERRED) if not s.refuses(system))
    if name.lower() not in solver_names():
        raise BadInput(f"no solver `{name}`", hint=did_you_mean(name, ["auto", *solver_names()]))
    solver = Resolvent() if name.lower() == "resolvent" else General(name.lower())
    if reason := solver.refuses(system):
        raise BadInput(f"the solver {solver.name} cannot be used on this model", why=reason, hint="leave --solver out")
    return solver
