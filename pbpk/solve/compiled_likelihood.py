"""The likelihood of each patient's observations by one call of machine code, with its derivatives (pbpk.compile.programs.solution.likelihood).

A solver that has it need not say what the amounts are: what is observed is judged where it is looked at. Solved, judged and,
where derivatives are asked for, gone back through in one call; what it has no derivatives for (those of times, derivatives
forward and of derivatives) is taken of the same by a scan.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from pbpk.compile.programs.solution.kernel import NamedArrays, run_likelihood
from pbpk.compile.programs.solution.likelihood import LikelihoodTerms, column_buffer_name
from pbpk.compile.xla.opaque import opaque
from pbpk.results import ResultCode
from pbpk.solve.base import as_code
from pbpk.solve.compiled_solution import SegmentProgram, Differentiable, Scan, plan_solution, collect_cotangents, jvp, partition, zero_cotangent, combine
from pbpk.solve.schedule import Schedule, ScheduleResult, sum_readings

if TYPE_CHECKING:
    from pbpk.compile.programs.solution.layout import SolutionLayout
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline


class LikelihoodData(NamedTuple):
    """What a `Judge` judges by: of each reading its factor (R, N), the parameters (P, N), of each look which term judges it,
    from 1, or 0 where there is none (T, N), and columns of the data (T, N) by name. Floats all."""

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
    """A solver that may judge by itself, ready for derivatives as its `solve` is (base.py)."""

    def supports_likelihood(self, system: System, p: jax.Array, judge: LikelihoodTerms) -> bool:
        """Whether it can, under parameters like p (C, m, N): by their shape and type alone."""
        ...

    def solve_likelihood(self, system: System, timeline: Timeline, p: jax.Array, judge: LikelihoodTerms, facts: LikelihoodData) -> LikelihoodResult: ...


class _Own(NamedTuple):
    """What the way back has cotangents of."""

    moved: Differentiable
    factor: jax.Array
    parameters: jax.Array


def minus2ll_of_readings(judge: LikelihoodTerms, facts: LikelihoodData, read: jax.Array) -> jax.Array:
    """−2 ln likelihood of each patient (N,), from what is read (T, R, N): what the call computes, by JAX."""
    seen = read * facts.factors
    found = jnp.zeros(facts.term_index.shape)
    for k, term in enumerate(judge.terms):
        mine = facts.term_index == k + 1
        given = [jnp.where(mine, seen[:, r], 1.0) for r in term.readings]
        given += [jnp.where(mine, facts.columns[name], 1.0) for name in term.columns]
        found = jnp.where(mine, term.function(*given, *(facts.parameters[p] for p in term.parameters)), found)
    return jnp.sum(found, axis=0)


def judge_in_one_call_forward(
    work: SegmentProgram, judge: LikelihoodTerms, facts: LikelihoodData, legs: Schedule, _: Scan, scan_forward: Scan, own: bool
) -> ScheduleResult:
    """Differentiable by jvp: by the scan then. The verdict takes the place of the amounts."""

    @jax.custom_jvp
    def solve(legs: Schedule, facts: LikelihoodData) -> LikelihoodResult:
        return _there(work, judge, legs, facts, sloped=False)[0]

    @partial(solve.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        return jvp(partial(_by_scan, scan_forward, judge), primals, tangents)

    return _seen(solve(legs, facts))


def judge_in_one_call(
    work: SegmentProgram, judge: LikelihoodTerms, facts: LikelihoodData, legs: Schedule, scan: Scan, scan_forward: Scan, own: bool
) -> ScheduleResult:
    """Differentiable by vjp, and by jvp of that."""

    @jax.custom_jvp
    def there(legs: Schedule, facts: LikelihoodData):
        return _there(work, judge, legs, facts, sloped=True)

    @partial(there.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        found, slopes = there(*primals)
        onward = jvp(partial(_by_scan, scan_forward, judge), primals, tangents)[1]
        return (found, slopes), (onward, jax.tree.map(jnp.zeros_like, slopes))  # `back` has the slopes' derivatives

    @jax.custom_jvp
    def back(legs: Schedule, facts: LikelihoodData, slopes: NamedArrays, bar: jax.Array) -> _Own:
        plan, _ = _planned(work, judge, legs, facts)
        found = {name: slope * bar for name, slope in slopes.items()}
        return _Own(collect_cotangents(work, legs, plan, found), found["factor"], found.get("parameters", facts.parameters))

    @partial(back.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        (legs, facts, slopes, bar), (legs_moved, facts_moved, _, bar_moved) = primals, tangents

        def again(legs: Schedule, facts: LikelihoodData, bar: jax.Array) -> _Own:
            def loss(own: _Own) -> jax.Array:
                legs_, facts_ = _with(legs, facts, own)
                return _by_scan(scan, judge, legs_, facts_).minus2ll

            return jax.vjp(loss, _own(legs, facts))[1](bar)[0]

        onward = jvp(again, (legs, facts, bar), (legs_moved, facts_moved, bar_moved))[1]
        return back(legs, facts, slopes, bar), onward

    @jax.custom_vjp
    def solve(legs: Schedule, facts: LikelihoodData) -> LikelihoodResult:
        return _there(work, judge, legs, facts, sloped=False)[0]

    def forward(legs, facts):
        given = jax.tree.map(lambda leaf: leaf.value, (legs, facts))
        perturbed = jax.tree.map(
            lambda leaf: leaf.perturbed and jnp.issubdtype(leaf.value.dtype, jnp.floating), (legs, facts)
        )
        mine = jax.tree.map(lambda _: False, _own(*perturbed))
        if any(jax.tree.leaves(_with(perturbed[0], perturbed[1], mine))):
            found, pull = jax.vjp(partial(_by_scan, scan, judge), *given)
            return found, (*given, None, pull)
        found, slopes = opaque(there)(*given)
        return found, (*given, slopes, None)

    def backward(residual, bars: LikelihoodResult):
        legs, facts, slopes, pull = residual
        bar = jnp.zeros(legs.begin.shape[-1:]) if isinstance(bars.minus2ll, SymbolicZero) else bars.minus2ll
        if pull is not None:
            return pull(LikelihoodResult(bar, zero_cotangent(jnp.zeros(bar.shape, jnp.int32))))
        own = opaque(back)(legs, facts, slopes, bar)
        return _with(jax.tree.map(zero_cotangent, legs), jax.tree.map(zero_cotangent, facts), own)

    solve.defvjp(forward, backward, symbolic_zeros=True)
    return _seen(solve(legs, facts))


def _seen(verdict: LikelihoodResult) -> ScheduleResult:
    return ScheduleResult(verdict.minus2ll, None, verdict.code)


def _by_scan(scan: Scan, judge: LikelihoodTerms, legs: Schedule, facts: LikelihoodData) -> LikelihoodResult:
    seen = sum_readings(scan(legs), judge.readings)
    return LikelihoodResult(minus2ll_of_readings(judge, facts, seen.amounts), seen.code)


def _own(legs: Schedule, facts: LikelihoodData) -> _Own:
    return _Own(partition(legs), facts.factors, facts.parameters)


def _with(legs: Schedule, facts: LikelihoodData, own: _Own) -> tuple[Schedule, LikelihoodData]:
    return combine(legs, own.moved), facts._replace(factor=own.factor, parameters=own.parameters)


def _planned(work: SegmentProgram, judge: LikelihoodTerms, legs: Schedule, facts: LikelihoodData) -> tuple[SolutionLayout, NamedArrays]:
    plan, given, _ = plan_solution(work, legs, True, judge.readings)
    given |= {"factor": facts.factors, "parameters": facts.parameters, "which": facts.term_index}
    return plan, given | {column_buffer_name(name): a for name, a in facts.columns.items()}


def _there(work: SegmentProgram, judge: LikelihoodTerms, legs: Schedule, facts: LikelihoodData, *, sloped: bool) -> tuple[LikelihoodResult, NamedArrays]:
    """The verdict, and the slopes by the name of what they are slopes in."""
    plan, given = _planned(work, judge, legs, facts)
    found = run_likelihood(plan, judge, given, sloped=sloped)
    code = work.result_codes(found["judged"]) | as_code(jnp.where(found["sound"][0] == 0, 0, ResultCode.NOT_FINITE))
    slopes = {name.removeprefix("of_"): a for name, a in found.items() if name.startswith("of_")}
    return LikelihoodResult(found["loss"][0], code), slopes
