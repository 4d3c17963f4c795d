"""Which solver: the model chooses, a name overrides, and so does the engine diffrax where there is no name."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from pbpk.compile import engine
from pbpk.errors import BadInput, did_you_mean
from pbpk.linalg.tableau import TABLEAUS
from pbpk.solve.contour import Contour
from pbpk.solve.general import SOLVERS, General
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.base import Solver

# In order of preference; the first that does not refuse is taken.
PREFERRED = (Resolvent, Rosenbrock)

_OWN = {"resolvent": Resolvent, "contour": Contour, "rosenbrock": Rosenbrock}


def solver_names() -> list[str]:
    return [*_OWN, *sorted(TABLEAUS), *sorted(SOLVERS)]


def choose_solver(system: System, name: str | None = None) -> Solver:
    """The solver called `name`, or the best one for the system. Raises `BadInput` when the named one refuses, and what
    `engine.asked` raises: here, before anything is compiled."""
    diffrax = engine.asked() == "diffrax"
    if name is None or name == "auto":
        if diffrax:
            return General()
        return next(s for s in (kind() for kind in PREFERRED) if not s.refuses(system))
    wanted = name.lower()
    if wanted not in solver_names():
        raise BadInput(f"no solver `{name}`", hint=did_you_mean(name, ["auto", *solver_names()]))
    kind = _OWN.get(wanted)
    solver = kind() if kind else Rosenbrock(wanted) if wanted in TABLEAUS else General(wanted)
    if reason := solver.refuses(system):
        raise BadInput(f"the solver {solver.name} cannot be used on this model", why=reason, hint="leave --solver out")
    return solver


def reverse_mode(solver: Solver) -> Solver:
    """The inverse of `forward_mode`: the solver as it comes, with the same tolerances."""
    kept = {f.name: getattr(solver, f.name) for f in fields(solver) if f.name not in ("reverse", "adjoint")}  # type: ignore[arg-type]
    return type(solver)(**kept)
