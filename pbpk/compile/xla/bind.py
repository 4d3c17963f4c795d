"""A compiled program as a function of JAX arrays, for use inside `jit` and any number of `vmap`s.

Every array has its own axes first and the patients' last, whatever the number of those; one that is the same for all
patients may have none of them. A `vmap` adds one more axis of patients, 1 long for what it does not reach: those who differ
in later axes alone are a group (many draws of each subject's parameters, say), for which its data are read once a vector
and never copied. No derivatives here: those are the callers'.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.compile.backend.llvm import LlvmBackend
from pbpk.compile.backend.llvm_kernel import write_kernel
from pbpk.compile.xla import jit
from pbpk.compile.xla.handler import write_handler
from pbpk.compile.xla.protocols import SelectiveKernel, StructuredKernel

if TYPE_CHECKING:
    from pbpk.compile.xla.protocols import Kernel, OperandProgram


def call_kernel(kernel: Kernel, *arrays: jax.Array) -> list[jax.Array]:
    """The results (*buffer's shape, *patients). The first array that has axes of patients says which."""
    axes = max((a.ndim - r for a, r in zip(arrays, kernel.ranks, strict=False)), default=0)
    patients = next(a.shape[r:] for a, r in zip(arrays, kernel.ranks, strict=False) if a.ndim - r == axes)
    for k, (a, r) in enumerate(zip(arrays, kernel.ranks, strict=False)):
        if a.dtype != np.float64:
            raise TypeError(f"argument {k} of a kernel must be float64, not {a.dtype}")
        if a.shape[r:] != patients and not (kernel.common[k] and a.ndim == r):
            raise TypeError(f"argument {k} of a kernel has shape {a.shape}: its last axes must be {patients}")
    return _make_batched(kernel)(*arrays)


@cache
def _make_batched(kernel: Kernel):
    """The kernel with any axes of patients, and the rule that makes of a vmapped axis one more of them."""
    run = jax.custom_batching.custom_vmap(lambda *arrays: _call_flat(kernel, *arrays))

    @run.def_vmap
    def rule(size: int, batched: list[bool], *arrays: jax.Array):
        if isinstance(kernel, StructuredKernel) and any(b and f for b, f in zip(batched, kernel.fixed, strict=True)):
            results = _call_one_by_one(kernel, batched, arrays)
            return results, [True] * len(results)
        # Axes of patients that some member has already: what all of them had in common must grow these too.
        member_axes = [a.shape[1:] if has else a.shape for a, has in zip(arrays, batched, strict=True)]
        inner = max((shape[r:] for shape, r in zip(member_axes, kernel.ranks, strict=False)), key=len)
        out = []
        for array, has, r, common in zip(arrays, batched, kernel.ranks, kernel.common, strict=False):
            if not has and common and array.ndim == r:
                out.append(array)
                continue
            last = jnp.moveaxis(array, 0, -1) if has else array[..., None]
            if last.ndim == r + 1:
                last = last.reshape(*last.shape[:r], *([1] * len(inner)), last.shape[-1])
            out.append(last)
        results = _make_batched(kernel)(*out)
        reached = kernel.reached(batched) if isinstance(kernel, SelectiveKernel) else [True] * len(results)
        return [jnp.moveaxis(x, -1, 0) if r else x[..., 0] for x, r in zip(results, reached, strict=True)], reached

    return run


def _call_one_by_one(kernel: Kernel, batched: list[bool], arrays: Sequence[jax.Array]) -> list[jax.Array]:
    def one(moving: list[jax.Array]):
        left = iter(moving)
        return _make_batched(kernel)(*(next(left) if has else a for a, has in zip(arrays, batched, strict=True)))

    return jax.lax.map(one, [a for a, has in zip(arrays, batched, strict=True) if has])


def _call_flat(kernel: Kernel, *arrays: jax.Array) -> list[jax.Array]:
    """One call with all patients on one axis, as many of them as a vector has lanes at least."""
    patient_axes = [a.shape[r:] for a, r in zip(arrays, kernel.ranks, strict=False)]
    patients = tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*filter(None, patient_axes), strict=True))
    count, lanes = int(np.prod(patients)), jit.host_processor().lanes
    inner = _find_group_axes(patients, patient_axes, lanes)
    flat, shared = [], []
    for a, r, shape in zip(arrays, kernel.ranks, patient_axes, strict=False):
        same = not shape and bool(patients)
        alike = all(n == 1 for n in shape[len(inner) :])  # in each group
        axes = () if same else inner if alike else patients
        one = a.reshape(*a.shape[:r], *shape[: len(axes)]) if len(axes) < len(shape) else a
        one = jnp.broadcast_to(one, (*a.shape[:r], *axes)).reshape(*a.shape[:r], int(np.prod(axes)))
        if not same and 0 < count < lanes:
            one = jnp.pad(one, [(0, 0)] * r + [(0, lanes - count)], mode="edge")
        flat.append(one)
        shared.append(same)
    program, arguments = kernel.prepare(tuple(shared), flat)
    if count == 0:
        return [jnp.zeros((*b.shape, *patients)) for b in program.results]
    types = [jax.ShapeDtypeStruct((*b.shape, max(count, lanes)), np.float64) for b in program.results]
    done = _call_compiled(program, types, arguments)
    return [x[..., :count].reshape(*x.shape[:-1], *patients) for x in done]


_WASTE = 1.25  # lanes computed over patients, by which groups may cost more than copies for each


def _find_group_axes(patients: tuple[int, ...], patient_axes: Sequence[tuple[int, ...]], lanes: int) -> tuple[int, ...]:
    """The axes that tell groups apart: those beyond which some arrays do not differ, the most that leave groups to fill
    vectors with. All where there are no such."""
    if _has_cuda():
        return patients
    ends = {max((k + 1 for k, n in enumerate(shape) if n != 1), default=0) for shape in patient_axes if shape}
    for end in sorted(ends - {len(patients)}, reverse=True):
        each = int(np.prod(patients[end:]))
        if lanes <= each and -(-each // lanes) * lanes <= _WASTE * each:
            return patients[:end]
    return patients


def _call_compiled(
    program: OperandProgram, types: list[jax.ShapeDtypeStruct], values: Sequence[jax.Array]
) -> list[jax.Array]:
    """The handler's call; where there are CUDA devices, either platform's, whichever the program is lowered for."""
    patients = types[0].shape[-1]
    arguments = zip(program.arguments, values, strict=True)
    grouped = frozenset(b.name for b, a in arguments if not b.share and a.shape[-1] != patients)
    on_processor = jax.ffi.ffi_call(register_program(program, grouped), types)
    if not _has_cuda():
        return list(on_processor(*values))
    from pbpk.compile.xla import cuda

    return jax.lax.platform_dependent(
        *values, cpu=lambda *a: list(on_processor(*a)), cuda=lambda *a: cuda.call_program(program, types, a)
    )


@cache
def register_program(program: OperandProgram, grouped: frozenset[str] = frozenset()) -> str:
    """The name under which JAX knows the compiled program."""
    return jit.register_handler(write_assembly(program, jit.host_processor(), grouped))


def write_assembly(program: OperandProgram, processor: jit.Processor, grouped: frozenset[str] = frozenset()) -> str:
    """LLVM's assembly of the program and its handler; the arguments named in `grouped` have one number for each group."""
    machine, arguments, results = LlvmBackend(processor.lanes, grouped=grouped), program.arguments, program.results
    kernel = write_kernel(machine, (*arguments, *results), lambda: program.run(machine))
    return kernel + "\n" + write_handler(arguments, results, processor.lanes, machine.vectors, grouped)


def _has_cuda() -> bool:
    """Whether programs can run on a CUDA device here. The driver's code is loaded on the first question, not before."""
    from pbpk.compile.xla import cuda

    return not cuda.explain_unavailable()
