"""Kernels on CUDA devices: the driver, by ctypes, assembles our PTX; no toolkit is needed, and nothing but the driver.

Not run on a device yet: what is shown without one is in docs/kernels.md.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from pbpk.compile.backend import ptx
from pbpk.compile.xla import cache as disk
from pbpk.compile.xla import cuda_handler as cuda_frame
from pbpk.compile.xla import jit

if TYPE_CHECKING:
    from pbpk.compile.xla.protocols import OperandProgram

_CUDA_12 = 12000  # libraries, whose kernels may be launched in any context, came with it
_MAJOR, _MINOR, _MULTIPROCESSORS = 75, 76, 16  # CU_DEVICE_ATTRIBUTE_…
_RESIDENT = 2  # blocks of ptx.BLOCK threads with 255 registers each that fit a multiprocessor
_SCRATCH = 2**30  # bytes that scratch may be at most


@cache
def explain_unavailable() -> str:
    """Why no kernel can run on a CUDA device here, in one line; "" when they can."""
    if reason := jit.explain_no_jit():
        return reason
    if not list_devices():
        return "JAX has no CUDA device"
    try:
        driver = _driver()
    except OSError as e:
        return f"the CUDA driver cannot be loaded: {e}"
    version = ctypes.c_int()
    try:
        _call_driver("cuInit", 0)
        _call_driver("cuDriverGetVersion", ctypes.byref(version))
        if version.value >= _CUDA_12 and ptx.find_target(_least_capability()) is None:
            return f"compute capability {_least_capability() / 10} is below {ptx.TARGETS[0] / 10}"
    except RuntimeError as e:
        return str(e)
    if version.value < _CUDA_12 or not hasattr(driver, "cuLibraryLoadData"):
        return f"the CUDA driver's version {version.value} is older than {_CUDA_12}"
    return ""


@cache
def list_devices() -> tuple[Any, ...]:
    """JAX's CUDA devices of this process."""
    try:
        return tuple(jax.local_devices(backend="cuda"))
    except RuntimeError:
        return ()


@cache
def write_program(program: OperandProgram) -> tuple[str, str, int]:
    """The device's program and the host's handler, as LLVM's assembly, and the slots of scratch that a thread has."""
    machine = ptx.PtxBackend()
    program.run(machine)
    device = ptx.write_entry(machine, program.arguments, program.results)
    return device, cuda_frame.write_launcher(program.arguments, program.results, machine.vectors), machine.vectors


def call_program(
    program: OperandProgram, results: list[jax.ShapeDtypeStruct], values: tuple[jax.Array, ...]
) -> list[jax.Array]:
    """The program's results on a CUDA device; to be lowered for CUDA alone."""
    slots, patients = cuda_frame.scratch_shape(write_program(program)[2]), results[0].shape[-1]
    scratch = jax.ShapeDtypeStruct((count_blocks(patients, slots[0]), *slots), np.float64)
    return list(jax.ffi.ffi_call(register_on_cuda(program), [*results, scratch])(*values)[:-1])


def count_blocks(patients: int, slots: int) -> int:
    """Of threads: no more than the devices run at a time, than there is work for, and than scratch may have."""
    running = _RESIDENT * min(_attribute(k, _MULTIPROCESSORS) for k in _ordinals())
    return max(1, min(running, -(-patients // ptx.BLOCK), _SCRATCH // (8 * ptx.BLOCK * slots)))


@cache
def register_on_cuda(program: OperandProgram) -> str:
    """The name under which JAX knows the program on CUDA; assembled on the first occasion, for every device here."""
    device, host, _ = write_program(program)
    name = jit.name_source(device + host)
    addresses = {"launch": _address("cuLaunchKernel"), "device_kernel": load_ptx(read_ptx(device, _find_target()))}
    handler = jit.compile_handler(host, name, addresses)
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(handler), platform="CUDA")
    return name


def read_ptx(source: str, target: int) -> bytes:
    """PTX, from the disk where it has been made before."""
    name = f"{jit.name_source(source)}.sm_{target}.ptx"
    ptx_code = disk.load_code(name)
    if ptx_code is None:
        ptx_code = ptx.generate_ptx(source, target).encode()
        disk.keep_code(name, ptx_code)
    return ptx_code


def load_ptx(code: bytes) -> int:
    """The handle of the PTX's kernel. The driver assembles it here and now for every device, not in the first call, which
    may be one that XLA records."""
    library, kernel = ctypes.c_void_p(), ctypes.c_void_p()
    _call_driver("cuLibraryLoadData", ctypes.byref(library), code + b"\0", None, None, 0, None, None, 0)
    _call_driver("cuLibraryGetKernel", ctypes.byref(kernel), library, ptx.ENTRY.encode())
    context, function = ctypes.c_void_p(), ctypes.c_void_p()
    for device in map(_device, _ordinals()):
        _call_driver("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        _call_driver("cuCtxPushCurrent_v2", context)
        try:
            _call_driver("cuKernelGetFunction", ctypes.byref(function), kernel)
        finally:
            _call_driver("cuCtxPopCurrent_v2", ctypes.byref(context))
            _call_driver("cuDevicePrimaryCtxRelease_v2", device)
    assert kernel.value
    return kernel.value


def _find_target() -> int:
    target = ptx.find_target(_least_capability())
    assert target is not None  # why_not() has asked
    return target


def _least_capability() -> int:
    """The least of the devices', as 80 for 8.0."""
    return min(10 * _attribute(k, _MAJOR) + _attribute(k, _MINOR) for k in _ordinals())


def _ordinals() -> list[int]:
    """The driver's numbers of JAX's devices."""
    return [int(d.local_hardware_id) for d in list_devices()]


@cache
def _attribute(ordinal: int, which: int) -> int:
    value = ctypes.c_int()
    _call_driver("cuDeviceGetAttribute", ctypes.byref(value), which, _device(ordinal))
    return value.value


def _device(ordinal: int) -> ctypes.c_int:
    device = ctypes.c_int()
    _call_driver("cuDeviceGet", ctypes.byref(device), ordinal)
    return device


def _call_driver(function: str, *arguments: Any) -> None:
    """Call the driver; anything but success is a RuntimeError with the driver's own words."""
    result = getattr(_driver(), function)(*arguments)
    if result:
        words = ctypes.c_char_p()
        _driver().cuGetErrorString(result, ctypes.byref(words))
        raise RuntimeError(f"{function}: {(words.value or b'unknown error').decode()} ({result})")


def _address(function: str) -> int:
    address = ctypes.cast(getattr(_driver(), function), ctypes.c_void_p).value
    assert address
    return address


@cache
def _driver() -> Any:
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
