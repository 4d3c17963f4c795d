"""A run folder is claimed before anything is computed: it is NAME.partial until it is whole, then NAME.

Nothing is ever overwritten, and two processes never get the same number.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pbpk.errors import BadInput
from pbpk.run_folders.json_text import format_json
from pbpk.run_folders.resumable import FIT, ResumableVerb


def replace_text(path: Path, text: str) -> None:
    """Write a file beside and rename it. Raises `BadInput` where the disk does not take it, and then leaves nothing."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as e:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        hint = (
            "make room and do it again"
            if e.errno in (errno.ENOSPC, errno.EDQUOT)
            else "choose a place you can write to"
        )
        raise BadInput(f"cannot be written ({e.strerror})", where=str(path), hint=hint) from e


def write_new_text(path: Path, text: str) -> None:
    """Write a file that is not there yet, whole or not at all. Raises `BadInput` where there is one, or none can be."""
    if path.exists():
        raise BadInput("exists already", where=str(path), hint="name a new file")
    replace_text(path, text)


class OutputFolder:
    """A folder that is being written. It is at `partial` until `finish` renames it to `final`.

    `created_parents`: the folders that were made to hold it, innermost first.
    """

    def __init__(self, final: Path, partial: Path, created_parents: Sequence[Path] = ()):
        self.final, self.partial, self.created_parents = final, partial, created_parents

    def write(self, name: str, text: str) -> None:
        """Write a file whole or not at all: a reader never sees half of it."""
        replace_text(self.partial / name, text)

    def write_json(self, name: str, data: Any) -> None:
        """Write `data` as strict JSON."""
        self.write(name, format_json(data) + "\n")

    def finish(self) -> Path:
        """Give the folder its final name, and return that. Raises `BadInput` where another process has taken the name."""
        if self.final.exists():
            raise _exists_error(self.final)
        self.partial.rename(self.final)
        return self.final

    def abandon(self) -> None:
        """Leave nothing behind: neither the folder nor those made to hold it, unless another run is in them."""
        shutil.rmtree(self.partial, ignore_errors=True)
        _remove_empty(self.created_parents)


def claim_folder(base: Path, out: Path | None, resumable: ResumableVerb | None = FIT) -> OutputFolder:
    """A new folder: `out` itself, which must not exist, or the next number under `base`.

    `resumable`: the verb that resumes an unfinished folder of that name, for the message where there is one; None where
    it can only be removed. Raises `BadInput` where `out` exists or the folder cannot be written.
    """
    if out is not None:
        final = Path(out)
        if final.exists():
            raise _exists_error(final)
        partial = final.with_name(final.name + ".partial")
        if partial.exists():
            raise _unfinished_error(partial, resumable)
        try:
            return OutputFolder(final, partial, _make_folder(partial, is_new=True)[1:])
        except FileExistsError:  # another process took the name between the look and the mkdir
            raise _unfinished_error(partial, resumable) from None
    created = _make_folder(base)
    while True:
        taken = [int(n) for p in base.iterdir() if (n := p.name.removesuffix(".partial")).isdigit()]
        name = f"{max(taken, default=0) + 1:03d}"
        partial = base / f"{name}.partial"
        try:
            partial.mkdir()
            if (base / name).exists():  # another process took the number, and was done, since the listing
                partial.rmdir()
                continue
            return OutputFolder(base / name, partial, created)
        except FileExistsError:
            continue  # another process took the number between the listing and the mkdir
        except OSError as e:
            raise _unwritable_error(partial, e) from e


def _make_folder(folder: Path, *, is_new: bool = False) -> list[Path]:
    """Make a folder and what is missing above it; returns what was made, innermost first. Raises `FileExistsError` for one
    that must be new and is not."""
    try:
        created = [p for p in (folder, *folder.parents) if not p.exists()]
        folder.mkdir(parents=True, exist_ok=not is_new)
    except OSError as e:
        if is_new and isinstance(e, FileExistsError) and folder.is_dir():
            raise
        raise _unwritable_error(folder, e) from e
    if not os.access(folder, os.W_OK):
        _remove_empty(created)
        raise BadInput("cannot be written to", where=str(folder), hint="choose another place:  --out DIR")
    return created


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, innermost first, up to the first that another run has filled meanwhile."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def _unwritable_error(folder: Path, error: OSError) -> BadInput:
    hint = "choose a place you can write to:  --out DIR"
    return BadInput(f"cannot be made ({error.strerror})", where=str(folder), hint=hint)


def _exists_error(folder: Path) -> BadInput:
    hint = "choose another --out, or leave it out for a numbered folder"
    return BadInput("exists already, and runs are never overwritten", where=str(folder), hint=hint)


def _unfinished_error(partial: Path, resumable: ResumableVerb | None) -> BadInput:
    if resumable is None:
        return BadInput("an unfinished folder is there", where=str(partial), hint="choose another --out, or remove it")
    hint = f"go on with it:  {resumable.resume_command(partial)}   (or remove it)"
    return BadInput(f"an unfinished {resumable.noun} is there", where=str(partial), hint=hint)
