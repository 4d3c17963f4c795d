"""Floor 5: the command line. One file per verb: read, call, print. No science here.

Nothing slow is imported at the top of any of these files: `--help` answers before JAX would have loaded.
Data go to stdout, talk to stderr. Exit codes: 0 ok, 1 the science failed, 2 wrong usage, 3 bad input, 4 a missing extra or
device, 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings

import typer
import typer.core

from pbpk.commands import (
    bootstrap,
    check,
    compare,
    covsearch,
    demo,
    derived,
    design,
    doctor,
    dosimetry,
    fit,
    models,
    npde,
    profile,
    report,
    runs,
    simulate,
    sir,
    vpc,
)
from pbpk.errors import Note, PbpkError
from pbpk.runtime import require_address_space, show_xla_log, warn_of_refused_caches
from pbpk.runtime.trust import ask_before_running, stop_asking


class ReaderGone(Exception):
    """Whoever reads stdout has gone away, as `head` does: no fault, and nothing more to say."""


class _Verbs(typer.core.TyperGroup):
    """The verbs. Typer takes a broken pipe for a failure, exit 1; here it is the reader's choice."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except BrokenPipeError as e:
            raise ReaderGone from e


app = typer.Typer(
    name="pbpk",
    cls=_Verbs,
    help="From the biokinetics of a radiopharmaceutical to a decision.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    demo,
    models,
    check,
    simulate,
    dosimetry,
    fit,
    design,
    report,
    runs,
    compare,
    bootstrap,
    profile,
    sir,
    derived,
    vpc,
    npde,
    covsearch,
    doctor,
):
    verb.register(app)


_NEED_NO_JAX = ("runs", "report", "compare", "doctor")


def _version(show: bool) -> None:
    if show:
        from pbpk import __version__

        print(f"pbpk {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    debug: bool = typer.Option(False, "--debug", help="Show a traceback when something fails."),
    trust: bool = typer.Option(
        False, "--trust", help="Run a model's Python that comes from elsewhere; remembered for exactly that code."
    ),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    if debug:
        os.environ["PBPK_DEBUG"] = "1"
        show_xla_log()
    ask_before_running(trust=trust)
    if context.invoked_subcommand not in _NEED_NO_JAX:
        require_address_space()


def _say(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: object) -> None:
    """Our own notes as words; others' warnings as Python shows them."""
    ours = issubclass(category, Note)
    print(f"note: {message}" if ours else warnings.formatwarning(message, category, filename, lineno), file=sys.stderr)


def _move_trust_to_front() -> None:
    """`--trust` is an option of all verbs, and is taken wherever it stands."""
    if "--trust" in sys.argv[1:]:
        sys.argv[1:] = ["--trust", *(word for word in sys.argv[1:] if word != "--trust")]


def _accept_any_text() -> None:
    """Let a terminal that has not all letters (cp1252, ASCII) show what it can: `Ω` is no reason to end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and "utf" not in (stream.encoding or "").lower():
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the command line and turn every error into one message and its exit code."""
    warnings.showwarning = _say
    _accept_any_text()
    _move_trust_to_front()
    try:
        try:
            app(standalone_mode=True)
        finally:
            stop_asking()
            warn_of_refused_caches()
            if sys.stdout is not None and not isinstance(
                sys.exc_info()[1], ReaderGone
            ):  # None: closed by who started us
                sys.stdout.flush()  # here, where a reader that has gone away can still be told from a fault
    except PbpkError as e:
        if os.environ.get("PBPK_DEBUG"):
            raise
        print(e.render(), file=sys.stderr)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (BrokenPipeError, ReaderGone):  # `pbpk … | head`
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as e:
        if os.environ.get("PBPK_DEBUG"):
            raise
        text, code = _explain_foreign_error(e)
        print(text, file=sys.stderr)
        sys.exit(code)


def _explain_foreign_error(error: Exception) -> tuple[str, int]:
    """The message and exit code of an error that is not ours: the machine's limits, else a fault of this program."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"error: {error.filename or 'stdout'}: no space left on the disk\n  hint: make room and do it again", 3
    if isinstance(error, OSError) and error.filename:
        return f"error: {error.filename}: {error.strerror or error}", 3
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return "error: out of memory\n  hint: fewer patients at once, or a smaller --chunk", 1
    fault = "  This is a fault of pbpk, not of your input.\n  hint: run it again as  pbpk --debug …  and report the traceback"
    return f"error: {type(error).__name__}: {error}\n{fault}", 1
