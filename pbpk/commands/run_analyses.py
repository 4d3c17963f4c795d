"""What the verbs on runs share: resuming, progress lines, results and tables as text."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from pbpk.errors import MissingExtra
    from pbpk.run_folders.claim import OutputFolder
    from pbpk.run_folders.resumable import ResumableVerb

_EVERY = 5.0  # seconds between progress lines


class AnalysisResult(Protocol):
    """What an analysis returns: anything that can be a JSON object."""

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON."""
        ...


@contextmanager
def exit_when_interrupted(folder: OutputFolder, verb: ResumableVerb) -> Iterator[None]:
    """Run a block that fills `folder`. When it is interrupted, say how to resume it and end the process with code 130."""
    from pbpk.commands.shared import say
    from pbpk.run_folders.resume import keep_progress

    try:
        with keep_progress(folder, verb):
            yield
    except KeyboardInterrupt:
        say(f"\ninterrupted; go on with:  {verb.resume_command(folder.partial)}")
        sys.exit(130)


def print_result(
    result: AnalysisResult, run: Path, folder: Path, as_json: bool, block: Callable[[Any, Path], str]
) -> None:
    """Print an analysis of `run` that was written to `folder`: as one JSON object, or as `block(result, run)`."""
    from pbpk.commands.shared import print_json

    if as_json:
        print_json(result.to_dict() | {"run": str(run), "folder": str(folder)})
    else:
        print(block(result, run))


def write_images(folder: OutputFolder, draw: Callable[[], dict[str, bytes]]) -> MissingExtra | None:
    """Write the images that `draw` gives by name. Without the libraries for figures, write none and return what is missing."""
    from pbpk.errors import MissingExtra

    try:
        images = draw()
    except MissingExtra as e:
        return e
    for name, image in images.items():
        (folder.partial / name).write_bytes(image)
    return None


def print_notes(notes: Sequence[str], run: Path, folder: Path) -> None:
    """Print on stderr what the reader of a check must know, and where it is."""
    from pbpk.commands.shared import say

    for note in notes:
        say(f"  note: {note}")
    say(f"wrote {folder}; in the run's page after  pbpk report {run}")


class ProgressLines:
    """A line on stderr every few seconds: `120 of 500 replicates, 12 s, about 38 s left`.

    Times are from the first unit done, `first` (when, how many), because the one before includes compiling. `printed` is
    when the last line was.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.first: tuple[float, int] | None = None
        self.printed = 0.0

    def __call__(self, done: int, of: int) -> None:
        from pbpk.commands.shared import say

        now = time.monotonic()
        if self.first is None:
            self.first, self.printed = (now, done), now
        begun, start = self.first
        if now - self.printed < _EVERY and done < of:
            return
        self.printed, elapsed = now, now - begun
        left = f", about {elapsed / (done - start) * (of - done):.0f} s left" if start < done < of else ""
        say(f"  {done} of {of} {self.what}, {elapsed:.0f} s{left}")


def format_table(table: pd.DataFrame, columns: Sequence[tuple[str, str, Callable[[Any], str] | None]]) -> str:
    """`table` as aligned text, with a (heading, column of the table, how its values are written) for each column of text.

    A column without a way of writing is text, to the left.
    """
    from pbpk.report.grid import align_columns

    rows = [[write(r[c]) if write else str(r[c]) for _, c, write in columns] for r in table.to_dict("records")]
    return "\n".join(align_columns([h for h, _, _ in columns], rows, [write is not None for _, _, write in columns]))


def format_unit(unit: str) -> str:
    """A unit as a table shows it: nothing where there is none."""
    return "" if unit == "1" else unit


def format_heading(study: str, run: Path, what: str) -> str:
    """The first line of an analysis in words, and an empty one."""
    return f"Study {study} · run {run} · {what}\n"
