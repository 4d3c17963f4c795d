"""An algorithm's program for a CUDA device: LLVM's assembly for one patient a thread, and the PTX that LLVM makes of it.

A thread takes the patients thread, thread + threads, … Its scratch is its column of the block's, (slots, BLOCK): threads
side by side touch numbers side by side, and where a slot stands is known when the program is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbpk.compile.backend.llvm import LlvmBackend
from pbpk.compile.xla import jit

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Buffer

ENTRY = "pbpk_kernel"
BLOCK = 128
"""Threads in a block: with all the registers a thread may have, two or more blocks fit a multiprocessor."""
TRIPLE = "nvptx64-nvidia-cuda"
TARGETS = (70, 80, 90)
"""What code is made for, as tenths of compute capability. PTX runs on anything newer."""


class PtxBackend(LlvmBackend):
    """The backend that writes a thread's program."""

    def __init__(self):
        super().__init__(1, stride=BLOCK)


def write_entry(machine: PtxBackend, arguments: tuple[Buffer, ...], results: tuple[Buffer, ...]) -> str:
    """The kernel @pbpk_kernel(patients, scratch, buffers …) around the body that the backend has written.

    Scratch is (blocks, slots, BLOCK).
    """
    pointers = ["scratch", *(b.name for b in (*arguments, *results))]
    read_only = {b.name for b in arguments}
    parameters = ", ".join(
        f"ptr addrspace(1) noalias {'readonly ' if name in read_only else ''}%global.{name}" for name in pointers
    )
    generic = [
        f"  %{'room' if name == 'scratch' else name} = addrspacecast ptr addrspace(1) %global.{name} to ptr"
        for name in pointers
    ]
    registers = {"thread": "tid", "block": "ctaid", "blocks": "nctaid"}
    read = [
        line
        for name, register in registers.items()
        for line in (
            f"  %{name}.short = call i32 @llvm.nvvm.read.ptx.sreg.{register}.x()",
            f"  %{name} = zext i32 %{name}.short to i64",
        )
    ]
    return "\n".join(
        [
            f'target triple = "{TRIPLE}"',
            *(f"declare i32 @llvm.nvvm.read.ptx.sreg.{register}.x()" for register in registers.values()),
            f"define ptx_kernel void @{ENTRY}(i64 %patients, {parameters}) #0 {{",
            "entry:",
            *generic,
            *read,
            f"  %block.room = mul i64 %block, {BLOCK * machine.vectors}",
            "  %own = add i64 %block.room, %thread",
            "  %scratch = getelementptr double, ptr %room, i64 %own",
            f"  %block.first = mul i64 %block, {BLOCK}",
            "  %first = add i64 %block.first, %thread",
            f"  %threads = mul i64 %blocks, {BLOCK}",
            "  %any = icmp slt i64 %first, %patients",
            "  br i1 %any, label %body, label %done",
            "body:",
            f"  %at = phi i64 [ %first, %entry ], [ %next, %{machine.block} ]",
            *machine.lines,
            "  %next = add i64 %at, %threads",
            "  %more = icmp slt i64 %next, %patients",
            "  br i1 %more, label %body, label %done",
            "done:",
            "  ret void",
            "}",
            machine.declarations,
            f'attributes #0 = {{ nounwind "nvvm.maxntid"="{BLOCK}" }}',
        ]
    )


def generate_ptx(source: str, target: int) -> str:
    """PTX for devices of this compute capability and newer."""
    return jit.generate_code_for(source, TRIPLE, f"sm_{target}")


def find_target(capability: int) -> int | None:
    """The newest target that a device of this capability (80 for 8.0) runs; None where it is too old."""
    return max((t for t in TARGETS if t <= capability), default=None)
