"""What a method's objective gives back at one parameter vector: its value, its slope and η, by subject."""

from __future__ import annotations

from typing import NamedTuple

from pbpk.likelihood.endpoints.base import Numbers


class Evaluation(NamedTuple):
    """An objective at one ψ. Per subject: its value (N,), its gradient in ψ (P, N), η (q, N) at which it was taken, and
    whether the solver and the search for η succeeded (N,). In a mixture N counts subjects once for each class, until
    `combine_classes` has put them together."""

    objective: Numbers
    gradient: Numbers
    eta: Numbers
    good: Numbers
