"""Processes that tests start: signals reach them as they would from a terminal, and none is left behind."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def listen_to_interrupts() -> None:
    """Let this process and those it starts receive SIGINT.

    A shell starts what runs in the background (`pytest &`, `nohup`) with SIGINT ignored, and every process started from
    there inherits that: a test that sends one would wait for ever.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def start_process(command, **options):
    """A running command, in a session of its own; it and all that it has started are killed and waited for at the end."""
    pipes = PIPES | {"start_new_session": True} | options
    running = subprocess.Popen([str(word) for word in command], **pipes)
    try:
        yield running
    finally:
        kill_group(running)


def kill_group(running: subprocess.Popen) -> None:
    """End a process of `start_process` and everything in its session, and read what is left in its pipes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    with contextlib.suppress(ValueError):  # its pipes were read to the end and closed
        running.communicate()


def list_children(pid: int) -> list[str]:
    """The process numbers of a process's children, by /proc."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]
