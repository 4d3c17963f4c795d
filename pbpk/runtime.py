"""What must be true of the process before JAX loads. Imported first, by `pbpk/__init__.py`.

float64 everywhere; no host callback in compiled programs (`EQX_ON_ERROR=nan`: with one, JAX refuses to persist the
program, and each new process compiles again); a compile cache on disk, so that a second process starts fast.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where compiled programs are kept: `PBPK_CACHE`, else `$XDG_CACHE_HOME/pbpk`, else `~/.cache/pbpk`."""
    if "PBPK_CACHE" in os.environ:
        return Path(os.environ["PBPK_CACHE"])
    try:
        home = Path.home()
    except RuntimeError:  # an account without a home folder: no cache, which `prepare` then finds unwritable
        home = Path("/dev/null")  # nothing can be made below it, not even by root
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "pbpk"


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # private: whoever can write here can run code as us
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def prepare_process() -> None:
    """Set the switches; where JAX was imported before us, set them on it directly."""
    os.environ.setdefault("EQX_ON_ERROR", "nan")
    os.environ["JAX_ENABLE_X64"] = "1"  # whatever it was: a dose in float32 looks right and is not
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        programs = cache_folder() / "programs"
        if _is_writable(programs):
            os.environ["JAX_COMPILATION_CACHE_DIR"] = str(programs)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_enable_x64", True)
        if folder := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
            jax.config.update("jax_compilation_cache_dir", folder)


prepare_process()
