"""Floor 4: what a study will tell before it is run. Built on estimation (pbpk.fit), which knows nothing of it.

The package is itself callable, so that the library reads `pbpk.design("alpha_t1_recovery", samples=3, …)` (see plan.py).
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbpk.design.result import Design


def _design(*args: Any, **how: Any) -> Design:
    from pbpk.design.plan import design_study

    return design_study(*args, **how)


class _Callable(ModuleType):
    """`pbpk.design` names both the folder and the verb."""

    __call__ = staticmethod(_design)


sys.modules[__name__].__class__ = _Callable
