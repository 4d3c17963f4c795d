"""Machine code on disk, by the hash of all that it follows from; whatever is wrong with the disk costs a compilation.

A file is the digest of its name and content, and the content: code that was cut short or altered is never run, nor is code
that others can have written.
"""

from __future__ import annotations

from pathlib import Path

from pbpk.runtime import open_cache_folder
from pbpk.runtime.owned_files import frame, read_framed, read_owned_bytes, replace_file


def find_folder() -> Path | None:
    """Where machine code is kept; None where nothing can be written, or others could write."""
    return open_cache_folder("kernels")


def load_code(name: str) -> bytes | None:
    """What was kept under a name, None where nothing whole and ours was."""
    folder = find_folder()
    framed = None if folder is None else read_owned_bytes(folder / name)
    return None if framed is None else read_framed(name, framed)


def keep_code(name: str, content: bytes) -> None:
    """Written beside and renamed, so that another process never reads half of it."""
    folder = find_folder()
    if folder is not None:
        replace_file(folder / name, frame(name, content))
