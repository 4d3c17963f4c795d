"""Machine code on disk: used when whole, made again when not, and never needed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.compile.backend.base import Buffer
from pbpk.compile.backend.llvm import LlvmBackend
from pbpk.compile.backend.llvm_kernel import write_kernel
from pbpk.compile.xla import cache, jit
from pbpk.compile.xla.handler import write_handler

pytestmark = pytest.mark.usefixtures("compiled")


def program(number):
    """A handler that adds a number."""
    a, b = Buffer("a", (1,)), Buffer("b", (1,))
    m = LlvmBackend(jit.host_processor().lanes)
    kernel = write_kernel(m, (a, b), lambda: m.write(b, 0, m.read(a, 0) + number))
    return kernel + "\n" + write_handler((a,), (b,), m.lanes, m.vectors)


def works(source, number, name, target):
    """Whether the handler compiled under `name` adds its number; `target` is what JAX is to know it by."""
    jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(jit.compile_handler(source, name)), platform="cpu")
    x = jnp.arange(20.0)[None]
    found = jax.jit(jax.ffi.ffi_call(target, jax.ShapeDtypeStruct(x.shape, x.dtype)))(x)
    return np.array_equal(found, x + number)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PBPK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernels"


@pytest.fixture
def emitted(monkeypatch):
    """How many programs have been compiled instead of read."""
    made = []
    real = jit._target_machine

    class Counting:
        def __init__(self):
            self.machine = real()

        def emit_object(self, module):
            made.append(module)
            return self.machine.emit_object(module)

    real_llvm = jit._load_llvmlite()
    create = real_llvm.create_mcjit_compiler
    monkeypatch.setattr(jit, "_target_machine", Counting)
    monkeypatch.setattr(real_llvm, "create_mcjit_compiler", lambda module, m: create(module, m.machine))
    return made


def test_compiled_once(folder, emitted):
    source = program(1.0)
    name = jit.name_source(source)
    assert works(source, 1.0, name, "cache_once_a")
    assert [f.name for f in folder.iterdir()] == [name]
    assert works(source, 1.0, name, "cache_once_b")
    assert len(emitted) == 1


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""])
def test_damaged_code_is_never_run(folder, emitted, damage):
    source = program(2.0)
    name = jit.name_source(source)
    target = f"cache_damaged_{len(damage(b'0123456789'))}_{damage(b'01')!r}"
    assert works(source, 2.0, name, target + "a")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(damage(whole))
    assert cache.load_code(name) is None
    assert works(source, 2.0, name, target + "b")
    assert len(emitted) == 2
    assert (folder / name).read_bytes() == whole


def test_no_cache_at_all(tmp_path, monkeypatch, emitted):
    """A path below a file can be neither made nor written, by anyone."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PBPK_CACHE", str(tmp_path / "file"))
    source = program(3.0)
    for k in range(2):
        assert works(source, 3.0, jit.name_source(source), f"cache_none_{k}")
    assert len(emitted) == 2


def test_nothing_is_left_behind_when_writing_fails(folder, monkeypatch):
    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    cache.keep_code("some", b"code")
    assert list(folder.iterdir()) == []
    assert cache.load_code("some") is None


def test_names_tell_programs_and_processors_apart(monkeypatch):
    source = program(1.0)
    name = jit.name_source(source)
    assert name == jit.name_source(program(1.0))
    assert name != jit.name_source(program(1.5))
    other = jit.Processor("another", "+sse2", 2, 16)
    monkeypatch.setattr(jit, "host_processor", lambda: other)
    assert name != jit.name_source(source)
