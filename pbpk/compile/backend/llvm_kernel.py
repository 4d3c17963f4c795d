"""The function around a program in LLVM's assembly: a loop over vectors of patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pbpk.compile.backend.llvm import BYTES

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Buffer
    from pbpk.compile.backend.llvm import LlvmBackend


def write_kernel(machine: LlvmBackend, buffers: Sequence[Buffer], body: Callable[[], None]) -> str:
    """A function @kernel(%low, %high, %patients, %groups, %scratch, buffers …) that runs `body` for the vectors low … high − 1.

    A group must be `lanes` patients at least. Its last vector reaches back to patients already done, and gives them the
    same results again. Where no buffer is grouped, all patients are one.
    """
    body()
    addresses = ", ".join(f"ptr noalias %{b.name}" for b in buffers)
    wide, lanes = 8 * BYTES * machine.lanes, machine.lanes
    begin, where = ["  %each = udiv i64 %patients, %groups"], ["  %group = udiv i64 %vector, %vectors"]
    where += ["  %before = mul i64 %group, %vectors", "  %own = sub i64 %vector, %before"]
    if not machine.grouped:
        begin, where = ["  %each = add i64 %patients, 0"], ["  %group = add i64 0, 0", "  %own = add i64 %vector, 0"]
    head = f"i64 %low, i64 %high, i64 %patients, i64 %groups, ptr noalias %scratch, {addresses}"
    return "\n".join(
        [
            f"define internal void @kernel({head}) #0 {{",
            "entry:",
            *begin,
            f"  %last = sub i64 %each, {lanes}",
            f"  %filled = add i64 %each, {lanes - 1}",
            f"  %vectors = udiv i64 %filled, {lanes}",
            "  %any = icmp slt i64 %low, %high",
            "  br i1 %any, label %body, label %done",
            "body:",
            f"  %vector = phi i64 [ %low, %entry ], [ %next, %{machine.block} ]",
            *where,
            f"  %from = mul i64 %own, {lanes}",
            "  %inside = icmp slt i64 %from, %last",
            "  %within = select i1 %inside, i64 %from, i64 %last",
            "  %first = mul i64 %group, %each",
            "  %at = add i64 %first, %within",
            *machine.lines,
            "  %next = add i64 %vector, 1",
            "  %more = icmp slt i64 %next, %high",
            "  br i1 %more, label %body, label %done",
            "done:",
            "  fence seq_cst",  # stores past the caches are ordered by nothing else
            "  ret void",
            "}",
            machine.declarations,
            f'attributes #0 = {{ nounwind "prefer-vector-width"="{wide}" "min-legal-vector-width"="{wide}" }}',
        ]
    )
