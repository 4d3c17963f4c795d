"""A problem with some of its subjects, or with some of them several times."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import numpy as np

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


def select_columns(problem: Problem, columns: np.ndarray) -> Problem:
    """The same problem with these columns, in this order; one may come several times."""
    arrays = {k: v for k, v in vars(problem).items() if k not in ("structure", "initial")}
    return replace(problem, **jax.tree.map(lambda a: np.asarray(a)[..., columns], arrays))
