"""What every XLA FFI handler does before its work, as LLVM assembly: it answers XLA's question for the API's version, and
checks the number of arguments and results and every one's dtype, rank and dimensions. Nothing is read or written before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pbpk.compile.xla.layout import API, CONSTANTS, OFFSETS

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Buffer


class AssemblyWriter:
    """Lines of one function, its registers numbered."""

    def __init__(self, *lines: str):
        self.lines, self._count = list(lines), 0

    def let(self, text: str) -> str:
        """Append an instruction and give the name of its result."""
        self._count += 1
        self.lines.append(f"  %t{self._count} = {text}")
        return f"%t{self._count}"

    def do(self, *lines: str) -> None:
        """Append an instruction without a result."""
        self.lines += [line if line.endswith(":") else f"  {line}" for line in lines]

    def at(self, base: str, offset: int) -> str:
        """The address some bytes after another."""
        return self.let(f"getelementptr i8, ptr {base}, i64 {offset}")

    def load(self, base: str, offset: int, kind: str = "ptr") -> str:
        """Load a value of a type from an address."""
        return self.let(f"load {kind}, ptr {self.at(base, offset)}")

    def field(self, base: str, name: str, kind: str = "ptr") -> str:
        """Load a field of one of XLA's structs."""
        return self.load(base, OFFSETS[name], kind)

    def store(self, base: str, offset: int, kind: str, value: str | int) -> None:
        """Store a value at an address."""
        self.do(f"store {kind} {value}, ptr {self.at(base, offset)}")

    def need(self, kind: str, value: str, wanted: str | int, otherwise: str) -> None:
        """Go on where the value is the one wanted, else to a label."""
        same = self.let(f"icmp eq {kind} {value}, {wanted}")
        self._count += 1
        self.do(f"br i1 {same}, label %ok{self._count}, label %{otherwise}", f"ok{self._count}:")

    def call(self, size: int, pointers: dict[str, str]) -> None:
        """%call as the struct of one call into XLA."""
        self.store("%call", 0, "i64", size)
        self.store("%call", 8, "ptr", "null")
        for name, value in pointers.items():
            self.store("%call", OFFSETS[name], "ptr", value)

    def text(self) -> str:
        """All lines written so far."""
        return "\n".join([*self.lines, "}"])


def list_complaints(
    arguments: Sequence[Buffer],
    results: Sequence[Buffer],
    lanes: int,
    room: tuple[int, ...] = (),
    grouped: Collection[str] = (),
) -> list[str]:
    """What a handler says at the labels bad0, bad1 … of `check`; it may go on with some of its own."""
    said = [f"there must be {len(arguments)} arguments and {len(results) + bool(room)} results"]
    said.append(f"there must be no patient or at least {lanes}" + (" in each of equal groups" if grouped else ""))
    said += [f"{b.name} must be float64 {_shape(b, b.name in grouped)}" for b in (*arguments, *results)]
    return said + [f"scratch must be float64 (blocks, {', '.join(map(str, room))})"] * bool(room)


def _shape(buffer: Buffer, grouped: bool) -> str:
    return (
        "(" + ", ".join([*map(str, buffer.shape), "1" if buffer.share else "groups" if grouped else "patients"]) + ")"
    )


def write_texts(complaints: Sequence[str]) -> list[str]:
    """The constants @said0 … that they are."""
    whole = [f"pbpk kernel: {said}" for said in complaints]
    return [f'@said{k} = internal constant [{len(w) + 1} x i8] c"{w}\\00"' for k, w in enumerate(whole)]


def write_refusal(c: AssemblyWriter, api: str, complaints: Sequence[str], codes: dict[int, str]) -> None:
    """The ends of a handler that does not do its work: an error of XLA's for each complaint, INVALID_ARGUMENT unless
    `codes` says otherwise. %error is room for its struct."""
    for k in range(len(complaints)):
        c.do(f"bad{k}:")
        write_failure(c, api, f"@said{k}", codes.get(k, "INVALID_ARGUMENT"))


def write_failure(c: AssemblyWriter, api: str, text: str, code: str) -> None:
    """Return an error with this text."""
    create = "XLA_FFI_Error_Create_Args"
    c.store("%error", 0, "i64", 28)
    c.store("%error", 8, "ptr", "null")
    c.store("%error", OFFSETS[f"{create}.message"], "ptr", text)
    c.store("%error", OFFSETS[f"{create}.errc"], "i32", CONSTANTS[f"XLA_FFI_Error_Code_{code}"])
    function = c.field(api, "XLA_FFI_Api.XLA_FFI_Error_Create")
    c.do(f"ret ptr {c.let(f'call ptr {function}(ptr %error)')}")


def write_metadata_answer(c: AssemblyWriter, traits: int = 0) -> None:
    """Write the answer to XLA's question for the version of the API."""
    extension = c.field("%frame", "XLA_FFI_CallFrame.extension_start")
    c.do(
        f"%asked_more = icmp ne ptr {extension}, null",
        "br i1 %asked_more, label %extended, label %execute",
        "extended:",
    )
    kind = c.field(extension, "XLA_FFI_Extension_Base.type", "i32")
    c.do(f"%about = icmp eq i32 {kind}, {CONSTANTS['XLA_FFI_Extension_Metadata']}")
    c.do("br i1 %about, label %metadata, label %execute", "metadata:")
    answer = c.field(extension, "XLA_FFI_Metadata_Extension.metadata")
    version = OFFSETS["XLA_FFI_Metadata.api_version"]
    c.store(answer, version + OFFSETS["XLA_FFI_Api_Version.major_version"], "i32", API[0])
    c.store(answer, version + OFFSETS["XLA_FFI_Api_Version.minor_version"], "i32", API[1])
    c.store(answer, OFFSETS["XLA_FFI_Metadata.traits"], "i32", traits)
    c.do("ret ptr null", "execute:")


class CheckedArrays(NamedTuple):
    """Registers with each buffer's struct and the address of its numbers, arguments first, and the numbers of patients and
    of groups."""

    structs: list[str]
    addresses: list[str]
    patients: str
    groups: str


def write_checks(
    c: AssemblyWriter,
    arguments: Sequence[Buffer],
    results: Sequence[Buffer],
    lanes: int,
    room: tuple[int, ...] = (),
    grouped: Collection[str] = (),
) -> CheckedArrays:
    """Refuse what was not compiled for: see `complaints`. No patients are no work.

    The number of patients is the last dimension of the first buffer that is neither shared nor `grouped`; that of groups
    the last of the first that is, or 1. Where there is `room`, one more result, the last, must be scratch (blocks, *room).
    """
    structs = []
    for where, name, wanted in (
        ("args", "Args.args", len(arguments)),
        ("rets", "Rets.rets", len(results) + bool(room)),
    ):
        base = c.at("%frame", OFFSETS[f"XLA_FFI_CallFrame.{where}"])
        size = c.load(base, OFFSETS[f"XLA_FFI_{name.split('.')[0]}.size"], "i64")
        c.need("i64", size, wanted, "bad0")
        pointers = c.load(base, OFFSETS[f"XLA_FFI_{name}"])
        structs += [(pointers, k) for k in range(wanted)]
    structs = [c.load(pointers, 8 * k) for pointers, k in structs]
    buffers = (*arguments, *results)
    ranks = [len(b.shape) + 1 for b in buffers] + [len(room) + 1] * bool(room)
    for k, (struct, rank) in enumerate(zip(structs, ranks, strict=True)):
        c.need("i32", c.field(struct, "XLA_FFI_Buffer.dtype", "i32"), CONSTANTS["XLA_FFI_DataType_F64"], f"bad{2 + k}")
        c.need("i64", c.field(struct, "XLA_FFI_Buffer.rank", "i64"), rank, f"bad{2 + k}")

    def counted(among: bool) -> str:
        first = next((k for k, b in enumerate(buffers) if not b.share and (b.name in grouped) == among), None)
        return "1" if first is None else load_dimension(c, structs[first], len(buffers[first].shape))

    patients, groups = counted(False), counted(True)
    last = [1 if b.share else groups if b.name in grouped else patients for b in buffers]
    shapes = [(*b.shape, n) for b, n in zip(buffers, last, strict=True)] + [(None, *room)] * bool(room)
    for k, (struct, shape) in enumerate(zip(structs, shapes, strict=True)):
        for axis, wanted in enumerate(shape):
            if wanted is not None:
                c.need("i64", load_dimension(c, struct, axis), wanted, f"bad{2 + k}")
    addresses = [c.field(struct, "XLA_FFI_Buffer.data") for struct in structs]
    c.do(f"%nobody = icmp eq i64 {patients}, 0", "br i1 %nobody, label %nothing, label %somebody", "nothing:")
    c.do("ret ptr null", "somebody:", f"%some = icmp sgt i64 {groups}, 0", "br i1 %some, label %counted, label %bad1")
    c.do("counted:", f"%each = udiv i64 {patients}, {groups}", f"%enough = icmp sge i64 %each, {lanes}")
    c.do(f"%fit = mul i64 %each, {groups}", f"%even = icmp eq i64 %fit, {patients}", "%good = and i1 %enough, %even")
    c.do("br i1 %good, label %checked, label %bad1", "checked:")
    return CheckedArrays(structs, addresses, patients, groups)


def load_dimension(c: AssemblyWriter, struct: str, axis: int) -> str:
    """Write the load of one dimension of an array's shape."""
    return c.load(c.field(struct, "XLA_FFI_Buffer.dims"), 8 * axis, "i64")
