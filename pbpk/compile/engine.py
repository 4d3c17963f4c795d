"""Which engine computes: compiled kernels, the same algorithms in JAX, or diffrax.

`PBPK_ENGINE=kernel|jax|diffrax` for a process, `using(...)` for a stretch of a program; without either, kernels where they
can be: on a processor, in float64, with llvmlite installed and a jaxlib whose call frame is the one we know. A program
that JAX compiled under one engine is not run under another.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal, get_args

import jax
import numpy as np

from pbpk.compile.xla import jit
from pbpk.errors import MissingExtra, Note, WrongUsage

Engine = Literal["kernel", "jax", "diffrax"]
ENGINES = get_args(Engine)
_asked = jax.make_user_context(None)  # and so programs that were compiled for one engine are not run for another


def requested_engine() -> str | None:
    """What the user asked for, checked; None where nobody asked."""
    name = _asked.value or os.environ.get("PBPK_ENGINE") or None
    if name is None:
        return None
    if name not in ENGINES:
        raise WrongUsage(
            f"no engine `{name}`", why="PBPK_ENGINE or --engine names it", hint="one of " + ", ".join(ENGINES)
        )
    if name == "kernel" and (reason := jit.explain_no_jit()):
        raise MissingExtra("kernels are off", why=reason, hint="the JAX engine does the same, slower")
    return name


@contextmanager
def using_engine(name: str | None) -> Iterator[None]:
    """The engine within, in this thread; None leaves it as it is. Raises as `asked` does."""
    with _asked(name or _asked.value):
        requested_engine()
        yield


def use_kernels(dtype: np.dtype) -> bool:
    """Whether a solver that has a kernel should use it, for numbers of this type on the device JAX would choose.

    On a CUDA device only who asks for kernels gets them, until they have been run on one.
    """
    name = requested_engine()
    if name not in (None, "kernel") or dtype != np.float64:
        return False
    if _platform() in ("gpu", "cuda"):
        return name == "kernel" and _are_possible_on_cuda()
    return _platform() == "cpu" and (name == "kernel" or _are_possible())


def note_unsupported(reason: str) -> bool:
    """Whether there is no reason against a kernel; where there is, a note says it."""
    if reason:
        warnings.warn(f"the JAX engine solves this model, slower: {reason}, which no kernel has", Note, stacklevel=2)
    return not reason


@cache
def _are_possible_on_cuda() -> bool:
    from pbpk.compile.xla import cuda

    if reason := cuda.explain_unavailable():
        warnings.warn(f"compiled kernels are off on this device: {reason}", Note, stacklevel=2)
    return not reason


@cache
def _are_possible() -> bool:
    reason = jit.explain_no_jit()
    if reason and "not installed" not in reason:
        warnings.warn(f"compiled kernels are off: {reason}", Note, stacklevel=2)  # slower, and otherwise the same
    return not reason


def _platform() -> str:
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    return device.platform if isinstance(device, jax.Device) else str(device or jax.default_backend())
