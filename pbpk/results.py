"""What can go wrong with a patient's solution: one code for each patient, the same in every engine.

Failure is a value. Nothing raises inside a compiled batch: solvers and kernels return codes, and callers put them into words.
"""

from __future__ import annotations

from enum import IntFlag


class ResultCode(IntFlag):
    """Flags that may add up; 0 is good. JAX arrays of codes are int32 (`pbpk.solve.base.as_code`), those in kernels floats."""

    OK = 0
    NOT_FINITE = 1
    NEGATIVE_RATE = 2
    GAVE_UP = 4
    NO_STEADY_STATE = 8
    OVERLAPS = 16
    BAD_DOSE = 32
    INACCURATE = 64


_WORDS = {
    ResultCode.NOT_FINITE: "the solution is not finite",
    ResultCode.NEGATIVE_RATE: "a rate constant is negative",
    ResultCode.GAVE_UP: "the solver reached its step limit or could not reach its tolerance",
    ResultCode.NO_STEADY_STATE: "no steady state was found",
    ResultCode.OVERLAPS: "more doses overlap at steady state than the typical lag and infusion let foresee",
    ResultCode.BAD_DOSE: "a modelled rate or duration is not above zero, or a lag or bioavailability is below zero",
    ResultCode.INACCURATE: "the solver's own estimate of its error exceeds the tolerance",
}


def explain(code: int) -> str:
    """Words for a result code, "ok" for 0; those of several flags are joined by semicolons."""
    return "; ".join(words for flag, words in _WORDS.items() if code & flag) or "ok"
