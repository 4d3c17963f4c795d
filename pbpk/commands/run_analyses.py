"""What the verbs on a finished run share: their subfolder of the run, progress lines, tables as text."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from pbpk.run_folders.write import OutputFolder

_EVERY = 5.0  # seconds between progress lines


def open_subfolder(run: Path, verb: str, out: Path | None, settings: dict[str, Any]) -> OutputFolder:
    """Claim RUN/VERB/NNN (or `out`) and say in it what is asked of which run."""
    from datetime import UTC, datetime

    from pbpk.errors import BadInput
    from pbpk.run_folders.reopen import identify_run
    from pbpk.run_folders.write import claim_folder, command_line, read_environment

    if out is not None and (partial := out.with_name(out.name + ".partial")).exists():
        raise BadInput("an unfinished folder is there", where=str(partial), hint="choose another --out, or remove it")
    folder = claim_folder(run / verb, out)
    try:
        folder.write("command.txt", command_line() + "\n")
        record = {"verb": verb, "run": str(run), "of": identify_run(run), "settings": settings}
        folder.write_json("run.json", record | {"started": _now(datetime.now(UTC)), **read_environment()})
    except BaseException:
        folder.abandon()
        raise
    return folder


def _now(when: Any) -> str:
    return when.isoformat(timespec="seconds")


class Progress:
    """`120 of 500 replicates, 12 s, about 38 s left`: a line on stderr now and then, timed from the first one done."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.first: tuple[float, int] | None = None
        self.said = 0.0

    def __call__(self, done: int, of: int) -> None:
        from pbpk.commands.shared import say

        now = time.monotonic()
        if self.first is None:
            self.first, self.said = (now, done), now
        begun, start = self.first
        if now - self.said < _EVERY and done < of:
            return
        self.said, elapsed = now, now - begun
        left = f", about {elapsed / (done - start) * (of - done):.0f} s left" if start < done < of else ""
        say(f"  {done} of {of} {self.what}, {elapsed:.0f} s{left}")


def table_text(table: pd.DataFrame, columns: Sequence[tuple[str, str, Callable[[Any], str] | None]]) -> str:
    """Aligned text: a (heading, column, how it is written) for each; None: as it stands, to the left."""
    from pbpk.report.grid import grid

    rows = [[how(r[c]) if how else str(r[c]) for _, c, how in columns] for r in table.to_dict("records")]
    return "\n".join(grid([h for h, _, _ in columns], rows, [how is not None for _, _, how in columns]))


def unit_shown(unit: str) -> str:
    return "" if unit == "1" else unit


def header(study: str, run: Path, what: str) -> str:
    return f"Study {study} · run {run} · {what}\n"
