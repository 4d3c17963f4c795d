"""The backend that writes LLVM's assembly: an operand is a vector register, a few patients wide.

Everything is straight-line code and counted loops in static single assignment; nothing is left for LLVM's optimiser, and
its passes are not run. The only freedom it has is to fuse a product and a sum (`contract`), so that results do not
depend on how it reorders, and not on the batch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pbpk.compile.backend.base import Buffer, Index, Operand

BYTES = 8  # of a float64
MANY = 2048  # patients whose results are larger than a cache


@dataclass(frozen=True, eq=False)
class LlvmVector:
    """One value of the program; every operation on it appends an instruction."""

    machine: LlvmBackend
    name: str

    def __add__(self, other):
        return self.machine.arithmetic("fadd", self, other)

    def __radd__(self, other):
        return self if other == 0 else self.machine.arithmetic("fadd", other, self)

    def __sub__(self, other):
        return self.machine.arithmetic("fsub", self, other)

    def __rsub__(self, other):
        return self.machine.arithmetic("fsub", other, self)

    def __mul__(self, other):
        return self.machine.arithmetic("fmul", self, other)

    def __rmul__(self, other):
        return self.machine.arithmetic("fmul", other, self)

    def __truediv__(self, other):
        return self.machine.arithmetic("fdiv", self, other)

    def __rtruediv__(self, other):
        return self.machine.arithmetic("fdiv", other, self)

    def __neg__(self):
        return self.machine.value(f"fneg contract {self.machine.type} {self.name}")


@dataclass(frozen=True, eq=False)
class LoopCounter:
    """A loop's counter, or what + and × make of it."""

    machine: LlvmBackend
    name: str

    def __add__(self, other):
        return LoopCounter(self.machine, self.machine.instruction(f"add i64 {self.name}, {_index_text(other)}"))

    def __mul__(self, other):
        return LoopCounter(self.machine, self.machine.instruction(f"mul i64 {self.name}, {_index_text(other)}"))

    __radd__, __rmul__ = __add__, __mul__


@dataclass(frozen=True)
class Scratch:
    """A stretch of the scratch block: where it begins, in vectors."""

    start: int


class LlvmBackend:
    """`lanes` patients at a time, from the patient %at on; %patients is how many there are, %scratch the scratch block,
    and a buffer's address is the name of its own. One lane is a plain double. Slots of scratch are `stride` operands
    apart: other threads' may lie between. Of the buffers named in `grouped`, a number is that of a whole group of
    patients, %groups of them, of which these are in the %group-th."""

    def __init__(self, lanes: int, stride: int = 1, grouped: Collection[str] = ()):
        self.lanes, self.type, self.grouped = lanes, _vector_type("double", lanes), set(grouped)
        self.slot = _vector_type(self.type, stride, "[]")
        self.lines: list[str] = []
        self.vectors = 0  # of scratch room so far
        self._count = 0
        self.block = "body"  # that instructions go to now

    def instruction(self, text: str) -> str:
        """Append an instruction and give the name of its result."""
        self._count += 1
        self.lines.append(f"  %v{self._count} = {text}")
        return f"%v{self._count}"

    def value(self, text: str) -> LlvmVector:
        """Append an instruction whose result is an operand."""
        return LlvmVector(self, self.instruction(text))

    def arithmetic(self, operation: str, a: Operand, b: Operand) -> LlvmVector:
        """Append an arithmetic operation on two operands, which LLVM may fuse with another."""
        return self.value(f"{operation} contract {self.type} {self._name(a)}, {self._name(b)}")

    def read(self, buffer: Buffer, row: Index) -> LlvmVector:
        if not buffer.share and buffer.name not in self.grouped:
            return self.value(f"load {self.type}, ptr {self._lane(buffer, row)}, align {BYTES}")
        at = _index_text(row)
        if not buffer.share:
            at = self.instruction(f"add i64 {self.instruction(f'mul i64 {at}, %groups')}, %group")
        place = self.instruction(f"getelementptr double, ptr %{buffer.name}, i64 {at}")
        one = self.instruction(f"load double, ptr {place}")
        if self.lanes == 1:
            return LlvmVector(self, one)
        single = self.instruction(f"insertelement {self.type} poison, double {one}, i32 0")
        return self.value(
            f"shufflevector {self.type} {single}, {self.type} poison, <{self.lanes} x i32> zeroinitializer"
        )

    def write(self, buffer: Buffer, row: Index, value: Operand) -> None:
        place = self._lane(buffer, row)
        self.lines.append(f"  store {self.type} {self._name(value)}, ptr {place}, align {BYTES}")

    def stream(self, buffer: Buffer, row: Index, values: Sequence[Operand]) -> None:
        """Past the caches where there are many patients: else every line is fetched only to be overwritten, and what is
        needed gives way to what is not. Rows are all aligned where the first is and a row is whole registers long."""
        if self.lanes == 1:
            for k, value in enumerate(values):
                self.write(buffer, row + k, value)
            return
        register_bytes = BYTES * self.lanes
        places = [self._lane(buffer, row + k) for k in range(len(values))]
        address = self.instruction(f"ptrtoint ptr {places[0]} to i64")
        row_length = self.instruction(f"shl i64 %patients, {BYTES.bit_length() - 1}")
        either = self.instruction(f"or i64 {address}, {row_length}")
        aligned = self.instruction(f"icmp eq i64 {self.instruction(f'and i64 {either}, {register_bytes - 1}')}, 0")
        many = self.instruction(f"icmp sge i64 %patients, {MANY}")
        both = self.instruction(f"and i1 {aligned}, {many}")
        past, through, after = (f"{name}{self._count}" for name in ("past", "through", "stored"))
        stores = [f"  store {self.type} {self._name(v)}, ptr {p}, align" for v, p in zip(values, places, strict=True)]
        self.lines += [f"  br i1 {both}, label %{past}, label %{through}", f"{past}:"]
        self.lines += [f"{store} {register_bytes}, !nontemporal !{{i32 1}}" for store in stores]
        self.lines += [f"  br label %{after}", f"{through}:", *(f"{store} {BYTES}" for store in stores)]
        self.lines += [f"  br label %{after}", f"{after}:"]
        self.block = after

    def part(self, buffer: Buffer, row: Index, shape: tuple[int, ...]) -> Buffer:
        of_group = buffer.name in self.grouped
        wide = "%groups" if of_group else "%patients"
        first = _index_text(row) if buffer.share else self.instruction(f"mul i64 {_index_text(row)}, {wide}")
        place = self.instruction(f"getelementptr double, ptr %{buffer.name}, i64 {first}")[1:]
        if of_group:
            self.grouped.add(place)
        return Buffer(place, shape, buffer.share)

    def whole(self, buffer: Buffer, row: Index, below: int) -> LoopCounter:
        assert buffer.share, f"{buffer.name} is each patient's own"
        place = self.instruction(f"getelementptr double, ptr %{buffer.name}, i64 {_index_text(row)}")
        return self._number(self.instruction(f"load double, ptr {place}"), below)

    def scratch(self, count: int) -> Scratch:
        self.vectors += count
        return Scratch(self.vectors - count)

    def get(self, room: Scratch, at: Index) -> LlvmVector:
        return self.value(f"load {self.type}, ptr {self._place(room, at)}, align {BYTES * self.lanes}")

    def peek(self, room: Scratch, at: Index) -> LlvmVector:
        return self.get(room, at)

    def pick(self, room: Scratch, first: Index, at: Operand, below: int) -> LlvmVector:
        gathered = "poison"
        for lane in range(self.lanes):
            one = self.instruction(f"load double, ptr {self._lane_place(room, first, at, below, lane)}")
            if self.lanes == 1:
                return LlvmVector(self, one)
            gathered = self.instruction(f"insertelement {self.type} {gathered}, double {one}, i32 {lane}")
        return LlvmVector(self, gathered)

    def place(self, room: Scratch, first: Index, at: Operand, below: int, value: Operand) -> None:
        for lane in range(self.lanes):
            place = self._lane_place(room, first, at, below, lane)
            self.lines.append(f"  store double {self._of_lane(value, lane)}, ptr {place}")

    def _lane_place(self, room: Scratch, first: Index, at: Operand, below: int, lane: int) -> str:
        """A lane's own slot: its address in that."""
        slot = self._place(room, self._number(self._of_lane(at, lane), below) + first)
        return slot if self.lanes == 1 else self.instruction(f"getelementptr double, ptr {slot}, i64 {lane}")

    def _of_lane(self, a: Operand, lane: int) -> str:
        if self.lanes == 1:
            return self._name(a)
        return self.instruction(f"extractelement {self.type} {self._name(a)}, i32 {lane}")

    def _number(self, one: str, below: int) -> LoopCounter:
        """A double as an index, whatever it is."""
        number = self.instruction(f"call i64 @llvm.fptosi.sat.i64.f64(double {one})")
        number = self.instruction(f"call i64 @llvm.smax.i64(i64 {number}, i64 0)")
        return LoopCounter(self, self.instruction(f"call i64 @llvm.smin.i64(i64 {number}, i64 {below - 1})"))

    def fixed(self, a: Operand) -> Operand:
        return a

    def put(self, room: Scratch, at: Index, value: Operand) -> None:
        place = self._place(room, at)
        self.lines.append(f"  store {self.type} {self._name(value)}, ptr {place}, align {BYTES * self.lanes}")

    def loop(self, count: int, body: Callable[..., Sequence[Operand]], carry: Sequence[Operand] = ()) -> list[Operand]:
        self._count += 1
        number, before = self._count, self.block
        head, after = f"loop{number}", f"after{number}"
        self.lines += [f"  br label %{head}", f"{head}:"]
        self.block, start = head, [self._name(x) for x in carry]
        counter, phis = (
            LoopCounter(self, f"%i{number}"),
            [LlvmVector(self, f"%c{number}.{k}") for k in range(len(start))],
        )
        entry = len(self.lines)
        onward = list(body(counter, *phis))
        following = (counter + 1).name
        again = self.instruction(f"icmp slt i64 {following}, {count}")
        # The phis' second halves are known only now.
        latch = self.block
        merged = [f"  {counter.name} = phi i64 [ 0, %{before} ], [ {following}, %{latch} ]"]
        for phi, first, last in zip(phis, start, onward, strict=True):
            merged.append(f"  {phi.name} = phi {self.type} [ {first}, %{before} ], [ {self._name(last)}, %{latch} ]")
        self.lines[entry:entry] = merged
        self.lines += [f"  br i1 {again}, label %{head}, label %{after}", f"{after}:"]
        self.block = after
        return onward

    def repeat(
        self, most: Index, body: Callable[..., Sequence[Operand]], carry: Sequence[Operand], *, going: bool = False
    ) -> tuple[LoopCounter, list[Operand]]:
        self._count += 1
        number, before = self._count, self.block
        head, inside, after = f"head{number}", f"inside{number}", f"after{number}"
        self.lines += [f"  br label %{head}", f"{head}:"]
        self.block, start, entry = head, [self._name(x) for x in carry], len(self.lines)
        counter, phis = (
            LoopCounter(self, f"%i{number}"),
            [LlvmVector(self, f"%c{number}.{k}") for k in range(len(start))],
        )
        more = self.instruction(f"icmp slt i64 {counter.name}, {_index_text(most)}")
        if going:
            more = self.instruction(f"and i1 {more}, {self._any(phis[0])}")
        self.lines += [f"  br i1 {more}, label %{inside}, label %{after}", f"{inside}:"]
        self.block = inside
        onward = [self._name(x) for x in body(counter, *phis)]
        following, latch = (counter + 1).name, self.block
        merged = [f"  {counter.name} = phi i64 [ 0, %{before} ], [ {following}, %{latch} ]"]
        for phi, first, last in zip(phis, start, onward, strict=True):
            merged.append(f"  {phi.name} = phi {self.type} [ {first}, %{before} ], [ {last}, %{latch} ]")
        self.lines[entry:entry] = merged
        self.lines += [f"  br label %{head}", f"{after}:"]
        self.block = after
        return counter, list(phis)

    def size(self, a: Operand) -> LlvmVector:
        return self._function("fabs", a)

    def root(self, a: Operand) -> LlvmVector:
        return self._function("sqrt", a)

    def larger(self, a: Operand, b: Operand) -> LlvmVector:
        return self._select(a, b, a, b)

    def choose(self, sign: Operand, positive: Operand, otherwise: Operand) -> LlvmVector:
        return self._select(sign, 0.0, positive, otherwise)

    def scale(self, a: Operand, power: Operand) -> LlvmVector:
        exponent = _vector_type("i64", self.lanes)
        bits, power_bits = (self.instruction(f"bitcast {self.type} {self._name(x)} to {exponent}") for x in (a, power))
        moved = self.instruction(f"shl {exponent} {power_bits}, {self._all('i64', '52')}")
        added = self.instruction(f"add {exponent} {bits}, {moved}")
        return self.value(f"bitcast {exponent} {added} to {self.type}")

    def compare(self, a: Operand, b: Operand, more: Operand, otherwise: Operand) -> LlvmVector:
        return self._select(a, b, more, otherwise)

    def parts(self, a: Operand) -> tuple[LlvmVector, LlvmVector]:
        bits = self._bits(a)
        fraction = self._integer("or", self._integer("and", bits, (1 << 52) - 1), 1023 << 52)
        # An integer in the last bits of 2⁵² is that many units above it.
        power = self._integer("or", self._integer("and", self._integer("lshr", bits, 52), 2047), 1075 << 52)
        return self._float(fraction), self._float(power) - (2.0**52 + 1023.0)

    def coarse(self, a: Operand) -> LlvmVector:
        return self._float(self._integer("and", self._bits(a), -(1 << 27)))

    @property
    def declarations(self) -> str:
        """The declarations of the intrinsics that programs call."""
        lines = [f"declare {self.type} @llvm.{f}.{self._suffix}({self.type})" for f in ("fabs", "sqrt")]
        lines.append("declare i64 @llvm.fptosi.sat.i64.f64(double)")
        lines += [f"declare i64 @llvm.{f}.i64(i64, i64)" for f in ("smax", "smin")]
        if self.lanes > 1:
            lines.append(f"declare i1 @llvm.vector.reduce.or.v{self.lanes}i1(<{self.lanes} x i1>)")
        return "\n".join(lines)

    def _any(self, a: Operand) -> str:
        """Whether a > 0 in any lane."""
        test = self.instruction(f"fcmp ogt {self.type} {self._name(a)}, {self._name(0.0)}")
        if self.lanes == 1:
            return test
        return self.instruction(f"call i1 @llvm.vector.reduce.or.v{self.lanes}i1(<{self.lanes} x i1> {test})")

    def _bits(self, a: Operand) -> str:
        return self.instruction(f"bitcast {self.type} {self._name(a)} to {_vector_type('i64', self.lanes)}")

    def _float(self, bits: str) -> LlvmVector:
        return self.value(f"bitcast {_vector_type('i64', self.lanes)} {bits} to {self.type}")

    def _integer(self, operation: str, bits: str, by: int) -> str:
        return self.instruction(f"{operation} {_vector_type('i64', self.lanes)} {bits}, {self._all('i64', str(by))}")

    @property
    def _suffix(self) -> str:
        """Of intrinsics on operands."""
        return "f64" if self.lanes == 1 else f"v{self.lanes}f64"

    def _function(self, name: str, a: Operand) -> LlvmVector:
        return self.value(f"call contract {self.type} @llvm.{name}.{self._suffix}({self.type} {self._name(a)})")

    def _select(self, a: Operand, b: Operand, yes: Operand, no: Operand) -> LlvmVector:
        test = self.instruction(f"fcmp ogt {self.type} {self._name(a)}, {self._name(b)}")
        names = f"{self.type} {self._name(yes)}, {self.type} {self._name(no)}"
        return self.value(f"select {_vector_type('i1', self.lanes)} {test}, {names}")

    def _name(self, x: Operand) -> str:
        if isinstance(x, LlvmVector):
            return x.name
        bits = struct.pack(">d", float(x)).hex().upper()
        return self._all("double", f"0x{bits}")

    def _all(self, kind: str, constant: str) -> str:
        """A constant in every lane."""
        return constant if self.lanes == 1 else "<" + ", ".join([f"{kind} {constant}"] * self.lanes) + ">"

    def _lane(self, buffer: Buffer, row: Index) -> str:
        """Where the row's patients from %at on stand."""
        rows = self.instruction(f"mul i64 {_index_text(row)}, %patients")
        place = self.instruction(f"add i64 {rows}, %at")
        return self.instruction(f"getelementptr double, ptr %{buffer.name}, i64 {place}")

    def _place(self, room: Scratch, at: Index) -> str:
        at = at + room.start if room.start or isinstance(at, int) else at
        return self.instruction(f"getelementptr {self.slot}, ptr %scratch, i64 {_index_text(at)}")


def _vector_type(kind: str, count: int, brackets: str = "<>") -> str:
    return kind if count == 1 else f"{brackets[0]}{count} x {kind}{brackets[1]}"


def _index_text(i: Any) -> str:
    return i.name if isinstance(i, LoopCounter) else str(int(i))
