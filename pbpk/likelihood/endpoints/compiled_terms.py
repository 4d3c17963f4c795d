"""Endpoints as what a solver judges observations by itself (pbpk.solve.compiled_likelihood): a term each, where its loss is one record's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from pbpk.compile.programs.solution.likelihood import LikelihoodTerm, LikelihoodTerms
from pbpk.likelihood.endpoints.base import Endpoint, Numbers, Observed, Predicted
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.observe.readings import find_compartments_read, observe_sums
from pbpk.solve.compiled_likelihood import LikelihoodData

if TYPE_CHECKING:
    from pbpk.likelihood.endpoints.likelihood import Endpoints
    from pbpk.model.system import System


@dataclass(frozen=True)
class RecordMinus2LL:
    """An endpoint's loss as a function of its prediction, its columns and its parameters, in this order."""

    endpoint: Endpoint

    def __call__(self, f: Numbers, *rest: Numbers) -> Numbers:
        e, columns = self.endpoint, self.endpoint.data_columns or ()
        o = dict(zip(columns, rest, strict=False))
        y = o["y"]
        seen = Observed(y, o.get("low", y), o.get("high", y), o.get("floor", -jnp.inf), 0.0, -1)
        own = dict(zip((name for _, name in e.parameter_names), rest[len(columns) :], strict=True))
        return e.minus2ll(Predicted(f, f, 1.0, 0.0), seen, own)


@cache
def likelihood_terms(system: System, endpoints: Endpoints) -> LikelihoodTerms | None:
    """A term for each endpoint, and one more for what limits leave of its observations: what was quantified costs no
    distribution function. None where an observation's likelihood depends on other records."""
    names = _parameter_names(endpoints)
    readings = find_compartments_read(system, [e.observable for e in endpoints])
    terms = []
    for k, e in enumerate(endpoints):
        for one in _variants(e):
            if one.data_columns is None:
                return None
            terms.append(
                LikelihoodTerm(
                    RecordMinus2LL(one),
                    (k,),
                    one.data_columns,
                    tuple(names.index(name) for _, name in one.parameter_names),
                )
            )
    return LikelihoodTerms(readings, tuple(terms), len(names))


def likelihood_data(
    system: System, endpoints: Endpoints, p: jax.Array, which: Any, seen: Any, o: Observed, sigma: dict[str, Any]
) -> LikelihoodData:
    """What the judge judges by, for patients with parameters p (1, m, N); which, seen and `o` (T, N)."""
    patients, names = p.shape[-1], _parameter_names(endpoints)
    ones = jnp.ones((1, len(endpoints), patients))
    factor = observe_sums(system, [e.observable for e in endpoints], ones, p)[:, 0]
    parameters = [jnp.broadcast_to(sigma[name], (patients,)) for name in names]
    needed = {name for e in endpoints for name in e.data_columns or ()}
    columns = {name: jnp.asarray(getattr(o, name), float) for name in sorted(needed)}
    term, limited, first = jnp.zeros(jnp.shape(which)), o.is_censored | jnp.isfinite(o.floor), 1.0
    for k, e in enumerate(endpoints):
        kinds = len(_variants(e))
        own = jnp.where(limited, first + kinds - 1, first)
        term, first = jnp.where(jnp.asarray(seen) & (jnp.asarray(which) == k), own, term), first + kinds
    return LikelihoodData(factor, jnp.stack(parameters) if names else jnp.zeros((0, patients)), term, columns)


def _variants(e: Endpoint) -> tuple[Endpoint, ...]:
    """The endpoint for observations without limits, and for those with some, where there may be any."""
    return (replace(e, has_limits=False), e) if isinstance(e, GaussianEndpoint) and e.has_limits else (e,)


def _parameter_names(endpoints: Endpoints) -> list[str]:
    return list(dict.fromkeys(name for e in endpoints for _, name in e.parameter_names))
