"""What must be true of the process before JAX loads. Imported first, by `pbpk/__init__.py`.

float64 everywhere; no host callback in compiled programs (`EQX_ON_ERROR=nan`: with one, JAX refuses to persist the
program, and each new process compiles again); a compile cache on disk, so that a second process starts fast, in a folder
that no other user can write to; XLA's own log kept from the user's terminal.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType

from pbpk.errors import Note, ScienceFailed
from pbpk.runtime.owned_files import find_foreign_access

_CACHE = "JAX_COMPILATION_CACHE_DIR"
_XLA_LOG = "TF_CPP_MIN_LOG_LEVEL"
_JAX_CACHE_MODULE = "jax._src.compilation_cache"
_refused: dict[Path, str] = {}
_noted: set[str] = set()


def cache_folder() -> Path:
    """Where compiled programs are kept: `PBPK_CACHE`, else `$XDG_CACHE_HOME/pbpk`, else `~/.cache/pbpk`."""
    if "PBPK_CACHE" in os.environ:
        return Path(os.environ["PBPK_CACHE"])
    try:
        home = Path.home()
    except RuntimeError:  # an account without a home folder: no cache, which `prepare` then finds unwritable
        home = Path("/dev/null")  # nothing can be made below it, not even by root
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "pbpk"


def open_cache_folder(kind: str) -> Path | None:
    """`cache_folder()/kind`, made where it is not there; None where it can be neither made nor trusted.

    A folder that belongs to another user, or to which others can write, is refused: what lies in it would run as this
    user. `list_refused_caches` says why.
    """
    folder = cache_folder() / kind
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # private: whoever can write here can run code as us
        fault = find_foreign_access(folder)
    except OSError:
        return None
    if fault:
        _refused[folder] = fault
        return None
    return folder


def list_refused_caches() -> list[str]:
    """A sentence for each cache folder that is not used since others could have written to it."""
    return [
        f"compiled programs in {folder} are not used: {fault}, and would run as you. Give the folder to yourself alone "
        f"(chown, chmod go-w), or name another by PBPK_CACHE."
        for folder, fault in _refused.items()
    ]


def warn_of_refused_caches() -> None:
    """Give each sentence of `list_refused_caches` as a `Note`, once a process."""
    for sentence in list_refused_caches():
        if sentence not in _noted:
            _noted.add(sentence)
            warnings.warn(sentence, Note, stacklevel=3)


LEAST_ADDRESS_SPACE = 3.5e9
"""Bytes. JAX maps its libraries and XLA its threads' stacks: on Linux with 2.9 GB both end the process with a C++ exception or
an import that fails, with 3.8 GB they work."""


def require_address_space() -> None:
    """Raise `ScienceFailed` where a limit on the process's address space (`ulimit -v`) leaves JAX too little to start: it ends
    the process then without a word that one could act on."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESS_SPACE:
        raise ScienceFailed(
            f"this process may use {limit / 1e9:.2g} GB of address space, and JAX needs {LEAST_ADDRESS_SPACE / 1e9:g} GB",
            why="Most of it is mapped and never used.",
            hint="raise the limit (ulimit -v unlimited), or limit resident memory instead",
        )


def show_xla_log() -> None:
    """Let XLA's own warnings reach the terminal; to be called before JAX loads."""
    os.environ[_XLA_LOG] = "1"


def prepare_process() -> None:
    """Set the switches; where JAX was imported before us, set them on it directly."""
    os.environ.setdefault("EQX_ON_ERROR", "nan")
    os.environ.setdefault(_XLA_LOG, "1" if os.environ.get("PBPK_DEBUG") else "3")
    os.environ["JAX_ENABLE_X64"] = "1"  # whatever it was: a dose in float32 looks right and is not
    ours = _choose_program_cache()
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_compilation_cache_dir", os.environ.get(_CACHE))
    if ours:
        _check_programs_on_reading()


def _choose_program_cache() -> bool:
    """Set JAX's cache folder; whether it is pbpk's own, and not one that the user gave to JAX."""
    chosen = os.environ.get(_CACHE)
    if chosen is not None and chosen != str(cache_folder() / "programs"):
        if chosen and "://" not in chosen and (fault := _explain_foreign_cache(Path(chosen))):
            _refused[Path(chosen)] = fault
            del os.environ[_CACHE]
        return False
    programs = open_cache_folder("programs")
    if programs is None or not os.access(programs, os.W_OK):
        os.environ.pop(_CACHE, None)
        return False
    os.environ[_CACHE] = str(programs)
    return True


def _explain_foreign_cache(folder: Path) -> str:
    try:
        return find_foreign_access(folder)
    except OSError:
        return ""  # JAX makes it


def _check_programs_on_reading() -> None:
    """Have JAX's cache read and written by `pbpk.runtime.program_cache`, now or as soon as JAX is imported."""
    if _JAX_CACHE_MODULE in sys.modules:
        _exchange_program_cache(sys.modules[_JAX_CACHE_MODULE])
    elif not any(isinstance(finder, _ProgramCacheFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ProgramCacheFinder())


def _exchange_program_cache(module: ModuleType) -> None:
    with contextlib.suppress(ImportError):  # a JAX whose cache is made otherwise keeps its own
        from pbpk.runtime.program_cache import use_checked_programs

        use_checked_programs(module)


class _ProgramCacheFinder:
    """Exchanges the class of JAX's cache when JAX's module of it is imported: JAX has no setting for that."""

    def find_spec(self, name, path=None, target=None):
        """The module's usual specification, with one step after it is loaded."""
        if name != _JAX_CACHE_MODULE:
            return None
        import importlib.util

        sys.meta_path.remove(self)  # type: ignore[arg-type]
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_exchange(module) -> None:
            load(module)
            _exchange_program_cache(module)

        spec.loader.exec_module = load_and_exchange  # type: ignore[method-assign]
        return spec
