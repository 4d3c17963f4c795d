"""The XLA FFI handler that launches a kernel on XLA's own stream, as LLVM assembly for the host: no C, no Python in the call.

It checks what it is given (handler_checks.py), asks XLA for the stream and calls the driver's cuLaunchKernel. The addresses
of that function and of the kernel are put into globals when the handler is loaded. It waits for nothing, so that XLA may
record a launch and play it again. XLA itself allocates the scratch, as one more result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pbpk.compile.backend.ptx import BLOCK
from pbpk.compile.xla.handler_checks import (
    AssemblyWriter,
    list_complaints,
    load_dimension,
    write_checks,
    write_failure,
    write_metadata_answer,
    write_refusal,
    write_texts,
)
from pbpk.compile.xla.layout import CONSTANTS, OFFSETS

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Buffer

_FAILED = "pbpk kernel: the launch failed, CUDA error "
_DIGITS = 4


def scratch_shape(slots: int) -> tuple[int, int]:
    """What follows the number of blocks in the shape of scratch."""
    return max(slots, 1), BLOCK


def write_launcher(arguments: Sequence[Buffer], results: Sequence[Buffer], slots: int) -> str:
    """@handler, which launches @device_kernel by @launch; the number of blocks is the first dimension of scratch."""
    said = list_complaints(arguments, results, 1, scratch_shape(slots))
    template = f"{_FAILED}{'0' * _DIGITS}"
    parameters = len(arguments) + len(results) + 2
    text = f"[{len(template) + 1} x i8]"

    c = AssemblyWriter("define ptr @handler(ptr %frame) {", "entry:")
    c.do("%error = alloca [4 x i64]", "%call = alloca [4 x i64]", f"%text = alloca {text}")
    c.do(f"%values = alloca [{parameters} x i64]", f"%places = alloca [{parameters} x ptr]")
    write_metadata_answer(c, CONSTANTS["XLA_FFI_HANDLER_TRAITS_COMMAND_BUFFER_COMPATIBLE"])
    api, context = c.field("%frame", "XLA_FFI_CallFrame.api"), c.field("%frame", "XLA_FFI_CallFrame.ctx")
    structs, addresses, patients, _ = write_checks(c, arguments, results, 1, scratch_shape(slots))
    blocks = c.let(f"trunc i64 {load_dimension(c, structs[-1], 0)} to i32")

    ask = "XLA_FFI_Stream_Get_Args"
    c.call(32, {f"{ask}.ctx": context, f"{ask}.stream": "null"})
    refused = c.let(f"call ptr {c.field(api, 'XLA_FFI_Api.XLA_FFI_Stream_Get')}(ptr %call)")
    none = c.let(f"icmp eq ptr {refused}, null")
    c.do(f"br i1 {none}, label %streamed, label %streamless", "streamless:", f"ret ptr {refused}", "streamed:")
    stream = c.load("%call", OFFSETS[f"{ask}.stream"])

    values = [f"i64 {patients}", *(f"ptr {a}" for a in (addresses[-1], *addresses[:-1]))]
    for k, value in enumerate(values):
        kind, name = value.split()
        c.store("%values", 8 * k, kind, name)
        c.store("%places", 8 * k, "ptr", c.at("%values", 8 * k))
    function, kernel = c.let("load ptr, ptr @launch"), c.let("load ptr, ptr @device_kernel")
    grid = f"i32 {blocks}, i32 1, i32 1, i32 {BLOCK}, i32 1, i32 1"
    result = c.let(f"call i32 {function}(ptr {kernel}, {grid}, i32 0, ptr {stream}, ptr %places, ptr null)")
    launched = c.let(f"icmp eq i32 {result}, 0")
    c.do(f"br i1 {launched}, label %end, label %failed", "end:", "ret ptr null", "failed:")
    c.do(f'store {text} c"{template}\\00", ptr %text')
    for k in range(_DIGITS):
        digit = c.let(f"urem i32 {result}, 10")
        result = c.let(f"udiv i32 {result}, 10")
        sign = c.let(f"trunc i32 {c.let(f'add i32 {digit}, 48')} to i8")
        c.store("%text", len(template) - 1 - k, "i8", sign)
    write_failure(c, api, "%text", "INTERNAL")
    write_refusal(c, api, said, {})
    held = ["@launch = global ptr null", "@device_kernel = global ptr null"]
    return "\n".join([*write_texts(said), *held, c.text()])
