"""The seldom-used keywords of `pbpk.simulate`: their types for editors and type checkers, their defaults and checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

from pbpk.errors import BadInput

if TYPE_CHECKING:
    from pbpk.compile.engine import Engine

Precision = Literal["float32", "float64"]
CHUNK = 1024  # a call costs 0.15 ms, and a kernel takes 256 patients to a core; 512 to 4,096 are as good


class SimulationOptions(TypedDict, total=False):
    """Keywords that `pbpk.simulate` takes beside those of its signature; none is required."""

    solver: str | None
    """The method by name instead of the model's own choice (docs/numerics.md)."""
    engine: Engine | None
    """What computes (docs/kernels.md); by default compiled kernels where they can."""
    forward: bool
    """True: derivatives by forward mode and second ones, which excludes reverse mode; default False."""
    dtype: Precision
    """The precision of the computation; default "float64"."""
    processes: int
    """Solve chunks in that many processes of their own, with the same numbers; default 1."""
    chunk: int
    """The most patients that are solved together; default 1024."""
    progress: Callable[[int, int], None]
    """Called as progress(done, of) with numbers of patients after each chunk."""


@dataclass(frozen=True)
class SolvingOptions:
    """`SimulationOptions` with their defaults. Raises `BadInput` for values that cannot be meant."""

    solver: str | None = None
    engine: Engine | None = None
    forward: bool = False
    dtype: Precision = "float64"
    processes: int = 1
    chunk: int = CHUNK
    progress: Callable[[int, int], None] = lambda done, of: None

    def __post_init__(self):
        if self.dtype not in get_args(Precision):
            raise BadInput(f"dtype = {self.dtype!r} is not known", hint="float64 or float32")
        for name in ("chunk", "processes"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} = {getattr(self, name)} must be at least 1")


def read_options(options: SimulationOptions) -> SolvingOptions:
    """The keywords of a call of `simulate`, with defaults. Raises `TypeError` for one that it does not have."""
    for name in options.keys() - SimulationOptions.__annotations__.keys():
        raise TypeError(f"simulate() got an unexpected keyword argument {name!r}")
    return SolvingOptions(**options)
