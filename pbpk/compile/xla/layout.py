"""XLA's FFI structs as a handler reads them: byte offsets, and whether the installed jaxlib's header agrees.

A handler is called with plain C structs. Its code has these offsets in it, so they are compared with those that follow
from the header `xla/ffi/api/c_api.h`, which jaxlib carries, before any handler is written.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

OFFSETS = {
    "XLA_FFI_CallFrame.extension_start": 8,
    "XLA_FFI_CallFrame.api": 16,
    "XLA_FFI_CallFrame.ctx": 24,
    "XLA_FFI_CallFrame.args": 40,
    "XLA_FFI_CallFrame.rets": 80,
    "XLA_FFI_Extension_Base.type": 8,
    "XLA_FFI_Metadata_Extension.metadata": 24,
    "XLA_FFI_Metadata.api_version": 8,
    "XLA_FFI_Metadata.traits": 32,
    "XLA_FFI_Api_Version.major_version": 16,
    "XLA_FFI_Api_Version.minor_version": 20,
    "XLA_FFI_Args.size": 16,
    "XLA_FFI_Args.args": 32,
    "XLA_FFI_Rets.size": 16,
    "XLA_FFI_Rets.rets": 32,
    "XLA_FFI_Buffer.dtype": 16,
    "XLA_FFI_Buffer.data": 24,
    "XLA_FFI_Buffer.rank": 32,
    "XLA_FFI_Buffer.dims": 40,
    "XLA_FFI_Api.XLA_FFI_Error_Create": 48,
    "XLA_FFI_Api.XLA_FFI_Error_Destroy": 64,
    "XLA_FFI_Api.XLA_FFI_Stream_Get": 80,
    "XLA_FFI_Api.XLA_FFI_ThreadPool_Schedule": 136,
    "XLA_FFI_Api.XLA_FFI_ThreadPool_NumThreads": 144,
    "XLA_FFI_Error_Create_Args.message": 16,
    "XLA_FFI_Error_Create_Args.errc": 24,
    "XLA_FFI_Error_Destroy_Args.error": 16,
    "XLA_FFI_Stream_Get_Args.ctx": 16,
    "XLA_FFI_Stream_Get_Args.stream": 24,
    "XLA_FFI_ThreadPool_Schedule_Args.ctx": 16,
    "XLA_FFI_ThreadPool_Schedule_Args.task": 24,
    "XLA_FFI_ThreadPool_Schedule_Args.data": 32,
    "XLA_FFI_ThreadPool_NumThreads_Args.ctx": 16,
    "XLA_FFI_ThreadPool_NumThreads_Args.num_threads": 24,
}
RENAMED = {"XLA_FFI_Extension_Base": "XLA_FFI_InternalExtension"}
"""What a struct above is called from some jaxlib after 0.10.2 on, by 0.12."""
CONSTANTS = {
    "XLA_FFI_Extension_Metadata": 1,
    "XLA_FFI_DataType_F64": 12,
    "XLA_FFI_Error_Code_INVALID_ARGUMENT": 3,
    "XLA_FFI_Error_Code_RESOURCE_EXHAUSTED": 8,
    "XLA_FFI_Error_Code_INTERNAL": 13,
    "XLA_FFI_HANDLER_TRAITS_COMMAND_BUFFER_COMPATIBLE": 1,
    "XLA_FFI_API_MAJOR": 0,
}
API = (0, 1)
"""The version handlers declare: nothing newer is used, and the runtime takes older ones."""

_SIZES = {"size_t": 8, "int64_t": 8, "uint64_t": 8, "int": 4, "int32_t": 4, "uint32_t": 4}


def read_installed_header() -> str:
    """The text of jaxlib's header."""
    import jax

    return (Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h").read_text(encoding="utf-8")


def find_disagreement(header: str) -> str:
    """What of the above does not hold for a header, "" when all does."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", header, flags=re.DOTALL)
    structs = dict(re.findall(r"struct (\w+) \{(.*?)\n\}", text, flags=re.DOTALL))
    sizes = _SIZES | dict.fromkeys(re.findall(r"typedef enum \{[^}]*\} (\w+);", text), 4)
    sizes |= {alias: sizes[of] for of, alias in re.findall(r"typedef (\w+) (\w+);", text) if of in sizes}

    @cache
    def fields(struct: str) -> dict[str, tuple[int, int, int]]:
        """Offset, size and alignment of each field, by the rules of the C languages of 64-bit machines."""
        places, at = {}, 0
        for line in re.findall(r"[^;]+(?=;)", structs[struct]):
            size, align, name = _field(line)
            at = -(-at // align) * align
            places[name] = (at, size, align)
            at += size
        return places

    def _field(line: str) -> tuple[int, int, str]:
        if member := re.fullmatch(r"\s*_XLA_FFI_API_STRUCT_FIELD\((\w+)\)", line):
            return 8, 8, member[1]
        kind, name = line.replace("*", "* ").strip().rsplit(None, 1)
        kind = kind.removeprefix("const ").removeprefix("struct ").strip()
        if kind.endswith("*"):
            return 8, 8, name
        if kind in sizes:
            return sizes[kind], sizes[kind], name
        parts = fields(kind).values()
        align = max(a for _, _, a in parts)
        return -(-max(at + size for at, size, _ in parts) // align) * align, align, name

    for place, offset in OFFSETS.items():
        struct, name = place.split(".")
        struct = struct if struct in structs else RENAMED.get(struct, struct)
        try:
            at = fields(struct)[name][0]
        except KeyError as e:
            return f"{place} is not understood ({e})"
        if at != offset:
            return f"{place} is at {at} instead of {offset}"
    for name, value in CONSTANTS.items():
        if not re.search(rf"\b{name}(?: =)? {value}(?:u << 0)?\b", text):
            return f"{name} is not {value}"
    minor = re.search(r"XLA_FFI_API_MINOR (\d+)", text)
    return "" if minor and int(minor[1]) >= API[1] else "the API's version is not understood"
