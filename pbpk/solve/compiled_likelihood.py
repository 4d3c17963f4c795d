"""The likelihood of each patient's observations by one call of machine code (pbpk.compile.programs.solution.likelihood).

A solver that has it need not say what the amounts are: each observation is compared with the solution where it is taken.
Solution, likelihood and, where derivatives are asked for, the adjoint of both are one call. Derivatives that the call has
none for (those of times, derivatives forward and of derivatives) are taken of a scan that does the same
(compiled_or_scan.py).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from pbpk.compile.programs.solution.kernel import NamedArrays, run_likelihood
from pbpk.compile.programs.solution.likelihood import column_buffer_name
from pbpk.results import ResultCode
from pbpk.solve.base import as_code
from pbpk.solve.compiled_or_scan import CompiledOrScan, evaluate_for_jvp, evaluate_for_vjp
from pbpk.solve.compiled_solution import (
    Differentiable,
    SegmentProgram,
    collect_cotangents,
    combine,
    partition,
    plan_solution,
)
from pbpk.solve.likelihood import LikelihoodData, LikelihoodResult, minus2ll_of_readings
from pbpk.solve.schedule import Scan, Schedule, ScheduleResult, sum_readings

if TYPE_CHECKING:
    from pbpk.compile.programs.solution.layout import SolutionLayout
    from pbpk.compile.programs.solution.likelihood import LikelihoodTerms


class _LikelihoodInputs(NamedTuple):
    """What a compiled likelihood is a function of."""

    schedule: Schedule
    data: LikelihoodData


class _DifferentiableInputs(NamedTuple):
    """The part of them that the adjoint program has cotangents of."""

    schedule: Differentiable
    factors: jax.Array
    parameters: jax.Array


def solve_likelihood_compiled(
    program: SegmentProgram,
    terms: LikelihoodTerms,
    data: LikelihoodData,
    reverse: bool,
    schedule: Schedule,
    scan: Scan,
    scan_forward: Scan,
    per_patient: bool,
) -> ScheduleResult:
    """The likelihood by one call (`CompiledSchedule`), in the place of the amounts; differentiable by vjp if `reverse`, else
    by jvp. Observations are always each patient's own, whatever `per_patient` says of the events."""
    function = CompiledOrScan(
        evaluate=lambda inputs: _run(program, terms, inputs, with_slopes=False)[0],
        record=lambda inputs: _run(program, terms, inputs, with_slopes=True),
        adjoint=partial(_scale_slopes, program, terms),
        scan=partial(_solve_by_scan, scan, terms),
        scan_forward=partial(_solve_by_scan, scan_forward, terms),
        partition=_partition_inputs,
        combine=_combine_inputs,
    )
    result = (evaluate_for_vjp if reverse else evaluate_for_jvp)(function, _LikelihoodInputs(schedule, data))
    return ScheduleResult(result.minus2ll, None, result.code)


def _solve_by_scan(scan: Scan, terms: LikelihoodTerms, inputs: _LikelihoodInputs) -> LikelihoodResult:
    """What the call computes, by the portable engine."""
    result = sum_readings(scan(inputs.schedule), terms.readings)
    return LikelihoodResult(minus2ll_of_readings(terms, inputs.data, result.amounts), result.code)


def _partition_inputs(inputs: _LikelihoodInputs) -> _DifferentiableInputs:
    return _DifferentiableInputs(partition(inputs.schedule), inputs.data.factors, inputs.data.parameters)


def _combine_inputs(inputs: _LikelihoodInputs, part: _DifferentiableInputs) -> _LikelihoodInputs:
    data = inputs.data._replace(factors=part.factors, parameters=part.parameters)
    return _LikelihoodInputs(combine(inputs.schedule, part.schedule), data)


def _plan_likelihood(
    program: SegmentProgram, terms: LikelihoodTerms, inputs: _LikelihoodInputs
) -> tuple[SolutionLayout, NamedArrays]:
    """The layout of the solution, and the likelihood program's arguments by name."""
    data = inputs.data
    layout, arguments, _ = plan_solution(program, inputs.schedule, True, terms.readings)
    arguments |= {"factors": data.factors, "parameters": data.parameters, "term_index": data.term_index}
    return layout, arguments | {column_buffer_name(name): a for name, a in data.columns.items()}


def _run(
    program: SegmentProgram, terms: LikelihoodTerms, inputs: _LikelihoodInputs, *, with_slopes: bool
) -> tuple[LikelihoodResult, NamedArrays]:
    """The likelihood, and its slopes by the name of the argument they are slopes in."""
    layout, arguments = _plan_likelihood(program, terms, inputs)
    results = run_likelihood(layout, terms, arguments, with_slopes=with_slopes)
    finite = as_code(jnp.where(results["nonfinite"][0] == 0, 0, ResultCode.NOT_FINITE))
    slopes = {name.removeprefix("of_"): a for name, a in results.items() if name.startswith("of_")}
    return LikelihoodResult(results["minus2ll"][0], program.result_codes(results) | finite), slopes


def _scale_slopes(
    program: SegmentProgram,
    terms: LikelihoodTerms,
    inputs: _LikelihoodInputs,
    slopes: NamedArrays,
    bars: tuple[jax.Array],
) -> _DifferentiableInputs:
    """Cotangents of the inputs: the slopes were computed with the value, and one number scales each patient's."""
    layout, _ = _plan_likelihood(program, terms, inputs)
    scaled = {name: slope * bars[0] for name, slope in slopes.items()}
    return _DifferentiableInputs(
        collect_cotangents(program, inputs.schedule, layout, scaled),
        scaled["factors"],
        scaled.get("parameters", inputs.data.parameters),
    )
