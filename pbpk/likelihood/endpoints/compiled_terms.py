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
from pbpk.observe.readings import ObservedLaw, find_compartments_read, take_apart
from pbpk.solve.likelihood import LikelihoodData

if TYPE_CHECKING:
    from pbpk.likelihood.endpoints.likelihood import Endpoints
    from pbpk.model.system import System


@dataclass(frozen=True)
class RecordMinus2LL:
    """An endpoint's −2 log likelihood of one record, as a function of its sums of amounts, the endpoint's `data_columns`, its
    parameters, and those of the law that is observed if it is one, in this order. Compared by the endpoint and the law, so that
    equal endpoints share a compiled program."""

    endpoint: Endpoint
    law: ObservedLaw | None = None
    sums: int = 1

    def __call__(self, *values: Numbers) -> Numbers:
        e, columns = self.endpoint, self.endpoint.data_columns or ()
        sums, rest = values[: self.sums], values[self.sums :]
        known = dict(zip(columns, rest, strict=False))
        y = known["y"]
        observed = Observed(y, known.get("low", y), known.get("high", y), known.get("floor", -jnp.inf), 0.0, -1)
        own_parameters = rest[len(columns) : len(columns) + len(e.parameter_names)]
        named = dict(zip((name for _, name in e.parameter_names), own_parameters, strict=True))
        f = sums[0] if self.law is None else self.law(*sums, *rest[len(columns) + len(e.parameter_names) :])
        return e.minus2ll(Predicted(f, f, 1.0, 0.0), observed, named)


@cache
def make_likelihood_terms(system: System, endpoints: Endpoints) -> LikelihoodTerms | None:
    """A term for each endpoint, and one more where some of its observations have limits: those that were quantified then cost
    no distribution function. None where an observation's likelihood depends on other records, or on no amount at all."""
    names, model_names = _parameter_names(endpoints), _model_parameters(system, endpoints)
    readings = find_compartments_read(system, [e.observable for e in endpoints])
    terms, first = [], 0
    for e in endpoints:
        parts = take_apart(system, e.observable)
        numbers = tuple(range(first, first + len(parts.volumes)))
        first += len(numbers)
        of_law = tuple(len(names) + model_names.index(n) for n in parts.parameters)
        for variant in _split_by_limits(e):
            if variant.data_columns is None or not numbers:
                return None
            positions = tuple(names.index(name) for _, name in variant.parameter_names)
            function = RecordMinus2LL(variant, parts.function, len(numbers))
            terms.append(LikelihoodTerm(function, numbers, variant.data_columns, positions + of_law))
    return LikelihoodTerms(readings, tuple(terms), len(names) + len(model_names))


def make_likelihood_data(
    system: System, endpoints: Endpoints, p: jax.Array, which: Any, mask: Any, o: Observed, values: dict[str, Any]
) -> LikelihoodData:
    """What the terms are evaluated with, for patients with parameters p (1, m, N); which, mask and `o` (T, N)."""
    patients, names = p.shape[-1], _parameter_names(endpoints)
    parameters = [jnp.broadcast_to(values[name], (patients,)) for name in names]
    parameters += [p[0, system.parameter_index(name)] for name in _model_parameters(system, endpoints)]
    needed = {name for e in endpoints for name in e.data_columns or ()}
    columns = {name: jnp.asarray(getattr(o, name), float) for name in sorted(needed)}
    # Terms are numbered from 1, as `make_likelihood_terms` lists them; 0 says that there is no observation.
    term, limited, first = jnp.zeros(jnp.shape(which)), o.is_censored | jnp.isfinite(o.floor), 1.0
    for k, e in enumerate(endpoints):
        variants = len(_split_by_limits(e))
        number = jnp.where(limited, first + variants - 1, first)
        term = jnp.where(jnp.asarray(mask) & (jnp.asarray(which) == k), number, term)
        first = first + variants
    stacked = jnp.stack(parameters) if parameters else jnp.zeros((0, patients))
    return LikelihoodData(_find_factors(system, endpoints, p[0]), stacked, term, columns)


def _find_factors(system: System, endpoints: Endpoints, p: jax.Array) -> jax.Array:
    """What each sum of amounts is multiplied by (R, N): 1, or 1 over a volume, and the scale of what is no law."""

    def row(name: str) -> jax.Array:
        return p[system.parameter_index(name)]

    factors = []
    for e in endpoints:
        parts = take_apart(system, e.observable)
        scale = row(parts.scale) if parts.scale else jnp.ones(p.shape[-1])
        factors += [scale / row(volume) if volume else scale for volume in parts.volumes]
    return jnp.stack(factors)


def _model_parameters(system: System, endpoints: Endpoints) -> list[str]:
    """The model's parameters that observed laws read, each once."""
    return list(dict.fromkeys(n for e in endpoints for n in take_apart(system, e.observable).parameters))


def _split_by_limits(e: Endpoint) -> tuple[Endpoint, ...]:
    """The endpoint for observations without limits, and for those with some, where there may be any."""
    return (replace(e, has_limits=False), e) if isinstance(e, GaussianEndpoint) and e.has_limits else (e,)


def _parameter_names(endpoints: Endpoints) -> list[str]:
    """The fit's names of all endpoints' parameters, each once."""
    return list(dict.fromkeys(name for e in endpoints for _, name in e.parameter_names))
