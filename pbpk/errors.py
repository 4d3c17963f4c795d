"""Errors a user can act on: what, where, why it matters, what to do, and the exit code.

An error is a value with four parts, printed without a traceback. Nothing below the command line prints;
`PbpkError.render` gives the text that the command line writes to stderr.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from os import PathLike


class Note(UserWarning):
    """What a user should know and need not mend. The command line says it in words, once."""


class PbpkError(Exception):
    """An error that the user can mend. `exit_code` is the process's status when it reaches the command line.

    >>> try:
    ...     pbpk.load_model("iodid")
    ... except pbpk.PbpkError as error:
    ...     print(error)
    no model `iodid`
      hint: did you mean `iodide`?
    """

    exit_code = 3

    def __init__(self, what: str, *, where: str = "", why: str = "", hint: str = ""):
        super().__init__(what)
        self.what, self.where, self.why, self.hint = what, where, why, hint

    def render(self) -> str:
        """The text for stderr: what and where, then why, then what to do."""
        lines = [f"error: {self.where}: {self.what}" if self.where else f"error: {self.what}"]
        lines += [f"  {line}" for line in self.why.splitlines()]
        lines += [f"  hint: {self.hint}"] if self.hint else []
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render().removeprefix("error: ")


class BadInput(PbpkError):
    """A file, a number or a name that cannot be used as given."""

    exit_code = 3


class WrongUsage(PbpkError):
    """A command or call that cannot mean anything."""

    exit_code = 2


class ScienceFailed(PbpkError):
    """The input was fine; the computation did not reach an answer one may rely on."""

    exit_code = 1


class MissingExtra(PbpkError):
    """An optional dependency or device is not there."""

    exit_code = 4


def require_type(value: object, kinds: type | tuple[type, ...], what: str, hint: str = "") -> None:
    """Raise `WrongUsage` where an argument of a call is of another kind than its function can take; `what` names it."""
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise WrongUsage(f"{what} cannot be {value!r:.60} (a {type(value).__name__})", hint=hint)


def require_name(value: object, what: str) -> None:
    """Raise `WrongUsage` where a name or a path is neither text nor a path."""
    require_type(value, (str, PathLike), what, "give a name or a path")


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The names most like `name`; compared in lower case, since plain difflib finds nothing for `KM` beside `Km`."""
    name, by_lower = str(name), {}
    for k in known:
        by_lower.setdefault(k.lower(), k)
    close = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)
    tails = [low for low in by_lower if low.rsplit(".", 1)[-1] == name.lower()]
    return [by_lower[low] for low in dict.fromkeys(close + tails)][:count]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint: the near matches, or the whole list when it is short and nothing is near."""
    known = list(known)
    close = nearest_names(name, known)
    if close:
        return "did you mean " + " or ".join(f"`{c}`" for c in close) + "?"
    if known and len(known) <= 12:
        return "known: " + ", ".join(f"`{k}`" for k in known)
    return ""
