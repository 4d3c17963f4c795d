"""JAX's compiled programs on disk, checked before they run.

JAX writes an entry in place and believes whatever it reads: a process killed while writing leaves half of one, which JAX
warns of in every later process and never replaces; and an entry that others have put there is run. Here a file is a digest
and the content, written beside and renamed, and read only where this user alone can have written it; whatever is wrong with
one costs a compilation.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import ModuleType

from jax._src.lru_cache import LRUCache

from pbpk.runtime.owned_files import frame, read_framed, read_owned_bytes, replace_file

_SUFFIX = "-cache"


class CheckedPrograms(LRUCache):
    """JAX's cache of programs, with a digest of name and content before each content."""

    def get(self, key: str) -> bytes | None:
        """The program kept under a key; None where nothing whole and ours was, and what was is removed."""
        file = Path(str(self.path)) / f"{key}{_SUFFIX}"
        framed = read_owned_bytes(file)
        content = None if framed is None else read_framed(key, framed)
        if content is None:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
        return content

    def put(self, key: str, value: bytes) -> None:
        """Keep a program; nothing is kept where the disk does not let it."""
        folder = Path(str(self.path))
        if self.eviction_enabled:
            super().put(key, frame(key, value))
        elif not (folder / f"{key}{_SUFFIX}").exists():
            replace_file(folder / f"{key}{_SUFFIX}", frame(key, value))


def use_checked_programs(module: ModuleType) -> None:
    """Have `jax._src.compilation_cache` make its cache of `CheckedPrograms`; a JAX that has no such cache stays as it is."""
    if getattr(module, "LRUCache", None) is LRUCache:
        setattr(module, "LRUCache", CheckedPrograms)  # noqa: B010 - a ModuleType has no such attribute for type checkers
