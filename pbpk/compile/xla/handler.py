"""The XLA FFI handler around a kernel, as LLVM assembly: no C, no Python in the call.

It checks what it is given (handler_checks.py) and shares the patients out, in chunks, with the threads of XLA's own pool.

Nothing can wait for what has not begun: the handler takes chunks like any helper and then waits only for chunks that are
being computed. A helper that comes late finds none left; the job's record is freed by whoever lets go of it last.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pbpk.compile.xla.handler_checks import (
    AssemblyWriter,
    list_complaints,
    write_checks,
    write_metadata_answer,
    write_refusal,
    write_texts,
)
from pbpk.compile.xla.layout import OFFSETS

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Buffer

CHUNK = 256
"""Patients that a thread takes at a time, in whole vectors: a multiple of every width."""

# The job's record, before the buffers' addresses.
_NEXT, _DONE, _CHUNKS, _HOLDERS, _SLOT, _PATIENTS, _GROUPS, _VECTORS, _SCRATCH, _BUFFERS = range(0, 80, 8)


def write_handler(
    arguments: Sequence[Buffer], results: Sequence[Buffer], lanes: int, scratch: int, grouped: Collection[str] = ()
) -> str:
    """@handler for a @kernel (see llvm.py) on these buffers, with `scratch` vectors of room for each thread.

    The number of patients is the last dimension of the first buffer that is neither shared nor `grouped`.
    """
    buffers = (*arguments, *results)
    said = [*list_complaints(arguments, results, lanes, grouped=grouped), "no memory"]
    room = -(-scratch * 8 * lanes // 64) * 64
    externals = [
        "declare ptr @malloc(i64)",
        "declare void @free(ptr)",
    ]
    parts = [
        _write_entry(arguments, results, lanes, room, said, grouped),
        _write_work(buffers, lanes, room),
        _TASK,
        _LET_GO,
    ]
    return "\n".join([*write_texts(said), *externals, *parts])


def _write_entry(
    arguments: Sequence[Buffer],
    results: Sequence[Buffer],
    lanes: int,
    room: int,
    said: list[str],
    grouped: Collection[str],
) -> str:
    c = AssemblyWriter("define ptr @handler(ptr %frame) {", "entry:")
    c.do("%error = alloca [4 x i64]", "%threads = alloca i64", "%call = alloca [5 x i64]")
    write_metadata_answer(c)
    api, context = c.field("%frame", "XLA_FFI_CallFrame.api"), c.field("%frame", "XLA_FFI_CallFrame.ctx")
    _, addresses, patients, groups = write_checks(c, arguments, results, lanes, grouped=grouped)
    each = c.let(f"udiv i64 {patients}, {groups}")
    vectors = c.let(f"udiv i64 {c.let(f'add i64 {each}, {lanes - 1}')}, {lanes}")
    vectors = c.let(f"mul i64 {vectors}, {groups}")

    # How many threads: one where XLA has no pool to offer, and no more than chunks.
    c.do("store i64 1, ptr %threads")
    ask = "XLA_FFI_ThreadPool_NumThreads_Args"
    c.call(32, {f"{ask}.ctx": context, f"{ask}.num_threads": "%threads"})
    refused = c.let(f"call ptr {c.field(api, 'XLA_FFI_Api.XLA_FFI_ThreadPool_NumThreads')}(ptr %call)")
    c.do(f"call void @destroy(ptr {api}, ptr {refused})")
    offered = c.let("load i64, ptr %threads")
    positive = c.let(f"icmp sgt i64 {offered}, 1")
    offered = c.let(f"select i1 {positive}, i64 {offered}, i64 1")
    chunks = c.let(f"sdiv i64 {c.let(f'add i64 {vectors}, {CHUNK // lanes - 1}')}, {CHUNK // lanes}")
    threads = c.let(f"call i64 @llvm.smin.i64(i64 {offered}, i64 {chunks})")

    header = _BUFFERS + 8 * len(addresses)
    bytes_ = c.let(f"add i64 {c.let(f'mul i64 {threads}, {room}')}, {header + 64}")
    job = c.let(f"call ptr @malloc(i64 {bytes_})")
    none = c.let(f"icmp eq ptr {job}, null")
    c.do(f"br i1 {none}, label %bad{len(said) - 1}, label %begin", "begin:")
    after = c.let(f"ptrtoint ptr {c.at(job, header + 63)} to i64")
    aligned = c.let(f"inttoptr i64 {c.let(f'and i64 {after}, -64')} to ptr")
    record = {_NEXT: 0, _DONE: 0, _CHUNKS: chunks, _HOLDERS: threads, _SLOT: 0, _PATIENTS: patients}
    record |= {_GROUPS: groups, _VECTORS: vectors}
    for place, value in record.items():
        c.store(job, place, "i64", value)
    c.store(job, _SCRATCH, "ptr", aligned)
    for k, address in enumerate(addresses):
        c.store(job, _BUFFERS + 8 * k, "ptr", address)

    schedule = "XLA_FFI_ThreadPool_Schedule_Args"
    c.call(40, {f"{schedule}.ctx": context, f"{schedule}.task": "@task", f"{schedule}.data": job})
    function = c.field(api, "XLA_FFI_Api.XLA_FFI_ThreadPool_Schedule")
    c.do("br label %call_for_help", "call_for_help:")
    c.do("%helper = phi i64 [ 1, %begin ], [ %helpers, %asked ]")
    c.do(f"%few = icmp slt i64 %helper, {threads}", "br i1 %few, label %ask, label %self", "ask:")
    refused = c.let(f"call ptr {function}(ptr %call)")
    c.do("%helpers = add i64 %helper, 1", f"%came = icmp eq ptr {refused}, null")
    c.do("br i1 %came, label %asked, label %alone", "alone:")
    c.do(f"call void @destroy(ptr {api}, ptr {refused})", f"call void @let_go(ptr {job})", "br label %asked", "asked:")
    c.do("br label %call_for_help", "self:")
    c.do(f"call void @work(ptr {job})", "br label %wait", "wait:")
    done = c.let(f"load atomic i64, ptr {c.at(job, _DONE)} acquire, align 8")
    c.do(f"%all = icmp sge i64 {done}, {chunks}", "br i1 %all, label %end, label %wait", "end:")
    c.do(f"call void @let_go(ptr {job})", "ret ptr null")

    write_refusal(c, api, said, {len(said) - 1: "RESOURCE_EXHAUSTED"})
    return c.text() + "\n" + _write_destroy()


def _write_work(buffers: Sequence[Buffer], lanes: int, room: int) -> str:
    """Take chunks until none is left, in a stretch of scratch of one's own."""
    c = AssemblyWriter("define internal void @work(ptr %job) {", "entry:")
    chunks, vectors = c.load("%job", _CHUNKS, "i64"), c.load("%job", _VECTORS, "i64")
    patients, groups = c.load("%job", _PATIENTS, "i64"), c.load("%job", _GROUPS, "i64")
    slot = c.let(f"atomicrmw add ptr {c.at('%job', _SLOT)}, i64 1 acq_rel")
    scratch = c.load("%job", _SCRATCH)
    scratch = c.let(f"getelementptr i8, ptr {scratch}, i64 {c.let(f'mul i64 {slot}, {room}')}")
    addresses = ", ".join(f"ptr {c.load('%job', _BUFFERS + 8 * k)}" for k in range(len(buffers)))
    next_, done = c.at("%job", _NEXT), c.at("%job", _DONE)
    c.do("br label %take", "take:", f"%mine = atomicrmw add ptr {next_}, i64 1 acq_rel")
    c.do(f"%left = icmp slt i64 %mine, {chunks}", "br i1 %left, label %run, label %out", "run:")
    low = c.let(f"mul i64 %mine, {CHUNK // lanes}")
    high = c.let(f"call i64 @llvm.smin.i64(i64 {c.let(f'add i64 {low}, {CHUNK // lanes}')}, i64 {vectors})")
    c.do(f"call void @kernel(i64 {low}, i64 {high}, i64 {patients}, i64 {groups}, ptr {scratch}, {addresses})")
    c.do(f"%counted = atomicrmw add ptr {done}, i64 1 acq_rel", "br label %take", "out:", "ret void")
    return c.text()


def _write_destroy() -> str:
    """Of an error that XLA returned, if it did."""
    c = AssemblyWriter("define internal void @destroy(ptr %api, ptr %error) {", "entry:")
    c.do(
        "%call = alloca [3 x i64]", "%none = icmp eq ptr %error, null", "br i1 %none, label %out, label %some", "some:"
    )
    c.store("%call", 0, "i64", 24)
    c.store("%call", 8, "ptr", "null")
    c.store("%call", OFFSETS["XLA_FFI_Error_Destroy_Args.error"], "ptr", "%error")
    c.do(f"call void {c.field('%api', 'XLA_FFI_Api.XLA_FFI_Error_Destroy')}(ptr %call)", "br label %out", "out:")
    c.do("ret void")
    return c.text()


_TASK = """define internal void @task(ptr %job) {
  call void @work(ptr %job)
  call void @let_go(ptr %job)
  ret void
}"""

_LET_GO = f"""define internal void @let_go(ptr %job) {{
  %holders = getelementptr i8, ptr %job, i64 {_HOLDERS}
  %before = atomicrmw sub ptr %holders, i64 1 acq_rel
  %last = icmp eq i64 %before, 1
  br i1 %last, label %free, label %out
free:
  call void @free(ptr %job)
  br label %out
out:
  ret void
}}"""
