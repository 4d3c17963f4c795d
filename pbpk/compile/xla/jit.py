"""From LLVM's assembly to an address: the one place that knows llvmlite.

LLVM's optimisation passes are not run: the programs have nothing left for them, and code generation alone is as fast.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from types import ModuleType
from typing import Any

from pbpk.compile.xla import cache as disk
from pbpk.compile.xla import layout

_LEAST = (0, 45)  # older ones cannot read opaque pointers
_kept: list[Any] = []  # engines own their code: it must outlive every program that calls it


@cache
def explain_no_jit() -> str:
    """Why no kernel can be compiled here, in one line; "" when they can."""
    try:
        llvm = _load_llvmlite()
    except ImportError:
        return "llvmlite is not installed (pip install 'pbpk[kernel]')"
    import llvmlite

    if tuple(int(x) for x in llvmlite.__version__.split(".")[:2]) < _LEAST:
        return f"llvmlite {llvmlite.__version__} is older than {'.'.join(map(str, _LEAST))}"
    if struct.calcsize("P") != 8:
        return "kernels need a 64-bit machine"
    try:
        reason = layout.find_disagreement(layout.read_installed_header())
    except OSError as e:
        reason = str(e)
    if reason:
        return f"this jaxlib's FFI is not the one that kernels are written for: {reason}"
    try:
        llvm.Target.from_default_triple()
    except RuntimeError as e:
        return f"LLVM has no target for this machine: {e}"
    return ""


@dataclass(frozen=True)
class Processor:
    """What code is generated for: `lanes` float64 in a vector register, and how many such registers there are."""

    name: str
    features: str
    lanes: int
    registers: int


@cache
def host_processor() -> Processor:
    """The processor that this process runs on, with its features and vector width."""
    llvm = _load_llvmlite()
    flags, name = llvm.get_host_cpu_features(), llvm.get_host_cpu_name()
    lanes = 8 if flags.get("avx512f") else 4 if flags.get("avx2") else 2
    few = llvm.get_default_triple().startswith(("x86_64", "i686")) and lanes < 8
    return Processor(name, flags.flatten(), lanes, 16 if few else 32)


def name_source(source: str) -> str:
    """Of a program for this processor by this LLVM, unlike that of any other."""
    import llvmlite

    p = host_processor()
    text = "\0".join([source, p.name, p.features, llvmlite.__version__, _load_llvmlite().get_default_triple()])
    return "pbpk_" + sha256(text.encode()).hexdigest()[:32]


@cache
def register_handler(source: str) -> str:
    """The name under which JAX knows a program's handler, compiled on the first occasion: systems may share programs."""
    import jax

    name = name_source(source)
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(compile_handler(source, name)), platform="cpu")
    return name


def compile_handler(source: str, name: str, addresses: Mapping[str, int] | None = None) -> Any:
    """The function @handler of a program, for `jax.ffi`; from the disk where it has been compiled before. `addresses` are
    the values of its global pointers."""
    llvm = _load_llvmlite()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    code = disk.load_code(name)
    if code is None:
        code = generate_code(source)
        disk.keep_code(name, code)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    for place, address in (addresses or {}).items():
        ctypes.c_void_p.from_address(engine.get_global_value_address(place)).value = address
    function = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(engine.get_function_address("handler"))
    _kept.append((engine, function))
    return function


def generate_code(source: str) -> bytes:
    """An object file."""
    module = _load_llvmlite().parse_assembly(source)
    module.verify()
    return _target_machine().emit_object(module)


def generate_code_for(source: str, triple: str, processor: str) -> str:
    """The assembly language of another machine."""
    llvm = _load_llvmlite()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=processor, opt=2)
    module = llvm.parse_assembly(source)
    module.data_layout = str(machine.target_data)
    module.verify()
    return machine.emit_assembly(module)


def _target_machine() -> Any:
    p = host_processor()
    target = _load_llvmlite().Target.from_default_triple()
    return target.create_target_machine(cpu=p.name, features=p.features, opt=2, jit=True, reloc="default")


@cache
def _load_llvmlite() -> ModuleType:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm
