"""Machine code on disk, by the hash of all that it follows from; whatever is wrong with the disk costs a compilation.

A file is the digest of its content and the content: code that was cut short or altered is never run.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from hashlib import sha256
from pathlib import Path

from pbpk.runtime import cache_folder

_DIGEST = sha256().digest_size


def find_folder() -> Path:
    """Where machine code is kept; None where nothing can be written."""
    return cache_folder() / "kernels"


def load_code(name: str) -> bytes | None:
    """What was kept under a name, None where nothing whole was."""
    try:
        code_bytes = (find_folder() / name).read_bytes()
    except OSError:
        return None
    digest, content = code_bytes[:_DIGEST], code_bytes[_DIGEST:]
    return content if content and sha256(content).digest() == digest else None


def keep_code(name: str, content: bytes) -> None:
    """Written beside and renamed, so that another process never reads half of it."""
    with contextlib.suppress(OSError):
        find_folder().mkdir(
            parents=True, exist_ok=True, mode=0o700
        )  # private: whoever can write here can run code as us
        handle, beside = tempfile.mkstemp(dir=find_folder())
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(sha256(content).digest() + content)
            os.replace(beside, find_folder() / name)
        except OSError:
            Path(beside).unlink(missing_ok=True)
            raise
