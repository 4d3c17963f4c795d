"""Endpoints as terms that a compiled solver evaluates with the solution (pbpk.solve.compiled_likelihood).

A term is possible where the likelihood of an observation depends on that one record alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from pbpk.compile.programs.solution.likelihood import LikelihoodTerm, LikelihoodTerms
from pbpk.likelihood.endpoints.base import Endpoint, Numbers, Observed, Predicted
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.observe.readings import find_compartments_read, is_computed, observe_sums
from pbpk.solve.likelihood import LikelihoodData

if TYPE_CHECKING:
    from pbpk.likelihood.endpoints.likelihood import Endpoints
    from pbpk.model.system import System


@dataclass(frozen=True)
class RecordMinus2LL:
    """An endpoint's −2 log likelihood of one record, as a function of its prediction, the endpoint's `data_columns` and its
    parameters, in this order. Compared by the endpoint, so that equal endpoints share a compiled program."""

    endpoint: Endpoint

    def __call__(self, f: Numbers, *columns_and_parameters: Numbers) -> Numbers:
        e, columns = self.endpoint, self.endpoint.data_columns or ()
        known = dict(zip(columns, columns_and_parameters, strict=False))
        y = known["y"]
        observed = Observed(y, known.get("low", y), known.get("high", y), known.get("floor", -jnp.inf), 0.0, -1)
        parameters = columns_and_parameters[len(columns) :]
        values = dict(zip((name for _, name in e.parameter_names), parameters, strict=True))
        return e.minus2ll(Predicted(f, f, 1.0, 0.0), observed, values)


@cache
def make_likelihood_terms(system: System, endpoints: Endpoints) -> LikelihoodTerms | None:
    """A term for each endpoint, and one more where some of its observations have limits: those that were quantified then cost
    no distribution function. None where an observation's likelihood depends on other records, or a law is observed."""
    if any(is_computed(system, e.observable) for e in endpoints):
        return None
    names = _parameter_names(endpoints)
    readings = find_compartments_read(system, [e.observable for e in endpoints])
    terms = []
    for k, e in enumerate(endpoints):
        for variant in _split_by_limits(e):
            if variant.data_columns is None:
                return None
            positions = tuple(names.index(name) for _, name in variant.parameter_names)
            terms.append(LikelihoodTerm(RecordMinus2LL(variant), (k,), variant.data_columns, positions))
    return LikelihoodTerms(readings, tuple(terms), len(names))


def make_likelihood_data(
    system: System, endpoints: Endpoints, p: jax.Array, which: Any, mask: Any, o: Observed, values: dict[str, Any]
) -> LikelihoodData:
    """What the terms are evaluated with, for patients with parameters p (1, m, N); which, mask and `o` (T, N)."""
    patients, names = p.shape[-1], _parameter_names(endpoints)
    ones = jnp.ones((1, len(endpoints), patients))
    factor = observe_sums(system, [e.observable for e in endpoints], ones, p)[:, 0]
    parameters = [jnp.broadcast_to(values[name], (patients,)) for name in names]
    needed = {name for e in endpoints for name in e.data_columns or ()}
    columns = {name: jnp.asarray(getattr(o, name), float) for name in sorted(needed)}
    # Terms are numbered from 1, as `make_likelihood_terms` lists them; 0 says that there is no observation.
    term, limited, first = jnp.zeros(jnp.shape(which)), o.is_censored | jnp.isfinite(o.floor), 1.0
    for k, e in enumerate(endpoints):
        variants = len(_split_by_limits(e))
        number = jnp.where(limited, first + variants - 1, first)
        term = jnp.where(jnp.asarray(mask) & (jnp.asarray(which) == k), number, term)
        first = first + variants
    return LikelihoodData(factor, jnp.stack(parameters) if names else jnp.zeros((0, patients)), term, columns)


def _split_by_limits(e: Endpoint) -> tuple[Endpoint, ...]:
    """The endpoint for observations without limits, and for those with some, where there may be any."""
    return (replace(e, has_limits=False), e) if isinstance(e, GaussianEndpoint) and e.has_limits else (e,)


def _parameter_names(endpoints: Endpoints) -> list[str]:
    """The fit's names of all endpoints' parameters, each once."""
    return list(dict.fromkeys(name for e in endpoints for _, name in e.parameter_names))
