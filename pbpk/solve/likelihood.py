"""Likelihoods that a solver computes by itself: what it needs, what it returns, and what it must equal.

A solver that can (`LikelihoodSolver`) compares observations with its solution where they are taken, and need not say what the
amounts are. compiled_likelihood.py is how the linear and the saturable solver do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from pbpk.compile.programs.solution.likelihood import LikelihoodTerms
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline


class LikelihoodData(NamedTuple):
    """What `LikelihoodTerms` compare a solution with: `factors` of each reading (R, N), `parameters` (P, N), for each output
    which term it belongs to, from 1, or 0 where there is none, `term_index` (T, N), and `columns` of the data (T, N) by name.
    Floats all."""

    factors: jax.Array
    parameters: jax.Array
    term_index: jax.Array
    columns: dict[str, jax.Array]


class LikelihoodResult(NamedTuple):
    """−2 ln likelihood of each patient's observations (N,), and result codes (N,)."""

    minus2ll: jax.Array
    code: jax.Array


@runtime_checkable
class LikelihoodSolver(Protocol):
    """A solver that may compute likelihoods by itself, ready for derivatives as its `solve` is (base.py)."""

    def supports_likelihood(self, system: System, p: jax.Array, terms: LikelihoodTerms) -> bool:
        """Whether it can, under parameters like p (C, m, N): by their shape and type alone."""
        ...

    def solve_likelihood(
        self, system: System, timeline: Timeline, p: jax.Array, terms: LikelihoodTerms, data: LikelihoodData
    ) -> LikelihoodResult:
        """The likelihood of all patients of `timeline` with parameters p (1, m, N)."""
        ...


def minus2ll_of_readings(terms: LikelihoodTerms, data: LikelihoodData, readings: jax.Array) -> jax.Array:
    """−2 ln likelihood of each patient (N,) from readings (T, R, N): in JAX, what the call computes."""
    scaled = readings * data.factors
    minus2ll = jnp.zeros(data.term_index.shape)
    for k, term in enumerate(terms.terms):
        of_term = data.term_index == k + 1
        arguments = [jnp.where(of_term, scaled[:, r], 1.0) for r in term.readings]
        arguments += [jnp.where(of_term, data.columns[name], 1.0) for name in term.columns]
        parameters = (data.parameters[p] for p in term.parameters)
        minus2ll = jnp.where(of_term, term.function(*arguments, *parameters), minus2ll)
    return jnp.sum(minus2ll, axis=0)
