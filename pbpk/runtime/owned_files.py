"""Files whose content this process may run or believe: only this user, or the system's administrator, can have written them.

A cache of machine code gives whoever can write to it the rights of whoever reads it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from hashlib import sha256
from pathlib import Path

_DIGEST = sha256().digest_size
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def find_foreign_access(path: Path) -> str:
    """Why others than this user and root can have written to a file or folder, in a few words; "" where they cannot.

    Raises `OSError` where it cannot be looked at.
    """
    return _explain_access(path.stat())


def read_owned_bytes(path: Path) -> bytes | None:
    """The content of a file that only this user or root can have written; None where others can, or nothing is there.

    Owner and mode are those of the opened file, so that it cannot be exchanged between the check and the reading.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except OSError:
        return None
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode) or _explain_access(state):
            return None
        with open(handle, "rb", closefd=False) as file:
            return file.read()
    except OSError:
        return None
    finally:
        os.close(handle)


def frame(name: str, content: bytes) -> bytes:
    """The bytes of a file: the digest of its name and content, then the content."""
    return sha256(name.encode() + b"\0" + content).digest() + content


def read_framed(name: str, framed: bytes) -> bytes | None:
    """The content of a file that `frame` made, None where it was cut short, altered, or made for another name."""
    content = framed[_DIGEST:]
    return content if content and frame(name, content) == framed else None


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside and rename it, so that no process reads half of it; nothing stays where the disk is full."""
    with contextlib.suppress(OSError):
        handle, beside = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(beside, path)
        except OSError:
            Path(beside).unlink(missing_ok=True)
            raise


def _explain_access(state: os.stat_result) -> str:
    if not hasattr(os, "geteuid"):  # Windows keeps profiles apart by access lists, which these modes do not show
        return ""
    if state.st_uid not in (os.geteuid(), 0):
        return f"it belongs to user {state.st_uid}"
    return "other users can write to it" if state.st_mode & _OTHERS_WRITE else ""
