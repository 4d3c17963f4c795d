"""A CUDA device without a device: a driver whose launches run the very same LLVM assembly on this processor, thread by
thread, and the call frame that XLA would hand to a handler."""

import ctypes
import re
from types import SimpleNamespace

import numpy as np

from pbpk.compile.backend import ptx
from pbpk.compile.xla import jit
from pbpk.compile.xla.layout import CONSTANTS, OFFSETS

POINTER = ctypes.c_void_p
STREAM, KERNEL = 0x5EED, 0xC0DE


def on_this_processor(device: str):
    """The device's program as a function of (thread, block, blocks) and the values of its parameters."""
    source = (
        re.sub(r"^target triple.*$", "", device, flags=re.M).replace("ptx_kernel ", "").replace(" addrspace(1)", "")
    )
    source = re.sub(r"addrspacecast ptr (%\S+) to ptr", r"getelementptr i8, ptr \1, i64 0", source)
    for register in ("tid", "ctaid", "nctaid"):
        intrinsic = f"@llvm.nvvm.read.ptx.sreg.{register}.x()"
        read = f"define i32 @read.{register}() {{\n  %v = load i32, ptr @{register}\n  ret i32 %v\n}}"
        held = f"@{register} = global i32 0\n{read}"
        assert f"declare i32 {intrinsic}" in source
        source = source.replace(f"declare i32 {intrinsic}", held).replace(intrinsic, f"@read.{register}()")
    llvm = jit._load_llvmlite()
    module = llvm.parse_assembly(source)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, jit._target_machine())
    engine.finalize_object()
    registers = [ctypes.c_int32.from_address(engine.get_global_value_address(r)) for r in ("tid", "ctaid", "nctaid")]
    address = engine.get_function_address(ptx.ENTRY)

    def run(thread: int, block: int, blocks: int, values: list[int]) -> None:
        for register, value in zip(registers, (thread, block, blocks), strict=True):
            register.value = value
        ctypes.CFUNCTYPE(None, *[ctypes.c_uint64] * len(values))(address)(*values)

    run.engine = engine  # owns the code
    return run


class Driver:
    """What cuda.py asks of libcuda. `launched` has the launches; `result` is what the next ones return; where `program` is
    set, a launch runs it."""

    def __init__(self, version=12040, capability=(9, 0), multiprocessors=1):
        self.version, self.attributes = version, {75: capability[0], 76: capability[1], 16: multiprocessors}
        self.launched, self.loaded, self.contexts = [], [], []
        self.result, self.fails, self.program, self.parameters = 0, {}, None, 0
        signature = [POINTER, *[ctypes.c_uint] * 7, POINTER, ctypes.POINTER(POINTER), POINTER]
        self.cuLaunchKernel = ctypes.CFUNCTYPE(ctypes.c_int, *signature)(self._launch)

    def __getattr__(self, name):
        if not name.startswith("cu"):
            raise AttributeError(name)
        return lambda *a: self.fails.get(name) or getattr(self, f"_{name}")(*a) or 0

    def _cuInit(self, flags):
        assert flags == 0

    def _cuDriverGetVersion(self, found):
        found._obj.value = self.version

    def _cuDeviceGet(self, found, ordinal):
        found._obj.value = 10 + ordinal

    def _cuDeviceGetAttribute(self, found, which, device):
        assert device.value >= 10
        found._obj.value = self.attributes[which]

    def _cuLibraryLoadData(self, found, code, *options):
        assert options == (None, None, 0, None, None, 0)
        self.loaded.append(code)
        found._obj.value = 0x11B

    def _cuLibraryGetKernel(self, found, library, name):
        assert (library.value, name) == (0x11B, ptx.ENTRY.encode())
        found._obj.value = KERNEL

    def _cuDevicePrimaryCtxRetain(self, found, device):
        found._obj.value = 100 + device.value

    def _cuCtxPushCurrent_v2(self, context):
        self.contexts.append(context.value)

    def _cuKernelGetFunction(self, found, kernel):
        assert self.contexts[-1] >= 110 and kernel.value == KERNEL
        found._obj.value = 1

    def _cuCtxPopCurrent_v2(self, found):
        self.contexts.append(-found._obj.value)

    def _cuDevicePrimaryCtxRelease_v2(self, device):
        assert self.contexts[-1] == -(100 + device.value)

    def _cuGetErrorString(self, result, words):
        words._obj.value = b"words of the driver"

    def _launch(self, kernel, gx, gy, gz, bx, by, bz, shared, stream, places, extra):
        values = [ctypes.c_uint64.from_address(places[k]).value for k in range(self.parameters)]
        self.launched.append(((kernel, gx, gy, gz, bx, by, bz, shared, stream, extra), values))
        if self.program and not self.result:
            for block in range(gx):
                for thread in range(bx):
                    self.program(thread, block, gx, values)
        return self.result


class Frame:
    """XLA's call frame with these arrays; `call` gives None, or (code, message) of the error that the handler made."""

    def __init__(self, handler, stream=STREAM):
        self.handler, self.kept, self.errors, self.stream = handler, [], [], stream
        self.api = self._struct("Api", 256)
        self._function("Error_Create", self._error)
        self._function("Stream_Get", self._get_stream)

    def call(self, arguments, results):
        frame = self._struct("CallFrame", 176)
        self._put(frame, "XLA_FFI_CallFrame.api", ctypes.addressof(self.api))
        self._put(frame, "XLA_FFI_CallFrame.ctx", 0xC7)
        for where, kind, arrays in (("args", "Args", arguments), ("rets", "Rets", results)):
            base, field = OFFSETS[f"XLA_FFI_CallFrame.{where}"], where
            buffers = (ctypes.c_uint64 * max(len(arrays), 1))(*map(self._buffer, arrays))
            self.kept.append(buffers)
            self._set(frame, base + OFFSETS[f"XLA_FFI_{kind}.size"], len(arrays))
            self._set(frame, base + OFFSETS[f"XLA_FFI_{kind}.{field}"], ctypes.addressof(buffers))
        return self._run(frame)

    def metadata(self):
        """(major, minor, traits)."""
        frame, extension, answer = (self._struct(n, 176) for n in ("CallFrame", "Extension", "Metadata"))
        self._put(frame, "XLA_FFI_CallFrame.extension_start", ctypes.addressof(extension))
        self._put(extension, "XLA_FFI_Extension_Base.type", CONSTANTS["XLA_FFI_Extension_Metadata"])
        self._put(extension, "XLA_FFI_Metadata_Extension.metadata", ctypes.addressof(answer))
        assert self._run(frame) is None
        version, whole = OFFSETS["XLA_FFI_Metadata.api_version"], bytes(answer)
        places = (
            version + OFFSETS["XLA_FFI_Api_Version.major_version"],
            version + OFFSETS["XLA_FFI_Api_Version.minor_version"],
            OFFSETS["XLA_FFI_Metadata.traits"],
        )
        return tuple(int.from_bytes(whole[p : p + 4], "little") for p in places)

    def _run(self, frame):
        found = self.handler(ctypes.addressof(frame))
        return None if found is None else self.errors[found - 1]

    def _error(self, at):
        words = ctypes.c_char_p.from_address(at + OFFSETS["XLA_FFI_Error_Create_Args.message"]).value
        self.errors.append(
            (ctypes.c_int.from_address(at + OFFSETS["XLA_FFI_Error_Create_Args.errc"]).value, words.decode())
        )
        return len(self.errors)

    def _get_stream(self, at):
        assert ctypes.c_uint64.from_address(at + OFFSETS["XLA_FFI_Stream_Get_Args.ctx"]).value == 0xC7
        if self.stream is None:
            self.errors.append((12, "no stream"))
            return len(self.errors)
        ctypes.c_uint64.from_address(at + OFFSETS["XLA_FFI_Stream_Get_Args.stream"]).value = self.stream
        return None

    def _function(self, name, do):
        function = ctypes.CFUNCTYPE(POINTER, POINTER)(do)
        self.kept.append(function)
        self._put(self.api, f"XLA_FFI_Api.XLA_FFI_{name}", ctypes.cast(function, POINTER).value)

    def _buffer(self, array):
        dims = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
        struct = self._struct("Buffer", 48)
        kinds = {np.dtype(np.float64): CONSTANTS["XLA_FFI_DataType_F64"], np.dtype(np.float32): 11}
        self._put(struct, "XLA_FFI_Buffer.dtype", kinds[array.dtype])
        self._put(struct, "XLA_FFI_Buffer.data", array.ctypes.data)
        self._put(struct, "XLA_FFI_Buffer.rank", array.ndim)
        self._put(struct, "XLA_FFI_Buffer.dims", ctypes.addressof(dims))
        self.kept.append(dims)
        return ctypes.addressof(struct)

    def _struct(self, name, size):
        struct = (ctypes.c_uint8 * size)()
        self.kept.append(struct)
        return struct

    def _put(self, struct, field, value):
        self._set(struct, OFFSETS[field], value)

    def _set(self, struct, at, value):
        ctypes.c_uint64.from_address(ctypes.addressof(struct) + at).value = value


def device(ordinal=0):
    return SimpleNamespace(local_hardware_id=ordinal)
