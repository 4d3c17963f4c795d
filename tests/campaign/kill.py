"""Runs that are killed at random moments, resumed, and compared with one that was left alone.

    python tests/campaign/kill.py --times 20 --seed 1             all verbs
    python tests/campaign/kill.py --only saem --times 3

For each time: the verb is started, killed (SIGKILL) after a random part of the time that it takes, most of them after the
first checkpoint, and resumed until it ends; killed again on the way with one chance in three. Its results must be those of
the run left alone in everything but times. `simulate` keeps nothing: a killed one must leave no file under a final name, and
the same command must then give the same bytes. Prints a line for each; exit 1 where one differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PBPK = [sys.executable, str(ROOT / "cli.py")]
TIMES = ("seconds", "started", "run", "folder")


class Verb(NamedTuple):
    """A command to kill: its words, those that resume it (none: it is started again), and the file of its results."""

    words: tuple[str, ...]
    resume: tuple[str, ...] | None
    results: str
    needs_run: bool = False


VERBS = {
    "focei": Verb(("fit", "theophylline", "--out", "r"), ("fit", "r", "--resume"), "r/results.json"),
    "saem": Verb(("fit", "theophylline", "--method", "saem", "--out", "r"), ("fit", "r", "--resume"), "r/results.json"),
    "bootstrap": Verb(
        ("bootstrap", "whole", "--replicates", "12", "--out", "r"),
        ("bootstrap", "r", "--resume"),
        "r/bootstrap.json",
        True,
    ),
    "covsearch": Verb(
        ("covsearch", "whole", "--relation", "CL: WT power", "--out", "r"),
        ("covsearch", "r", "--resume"),
        "r/covsearch.json",
        True,
    ),
    "simulate": Verb(
        ("simulate", "iodide", "--dose", "1 MBq to blood", "--times", "0:24:1", "--patients", "20000", "--out", "r"),
        None,
        "r/curves.parquet",
    ),
}


def start(words: tuple[str, ...], folder: Path) -> subprocess.Popen:
    """A command in a session of its own, so that its workers die with it."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*PBPK, *words], cwd=folder, start_new_session=True, **quiet)


def kill_after(words: tuple[str, ...], folder: Path, seconds: float) -> bool:
    """Start a command and kill it after so long; whether it had ended before."""
    running = start(words, folder)
    try:
        running.wait(timeout=seconds)
        return True
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        return False


def read_numbers(file: Path) -> object:
    """The results without what tells when and where they were made."""
    if file.suffix != ".json":
        return file.read_bytes()

    def strip(item):
        if isinstance(item, dict):
            return {k: strip(v) for k, v in item.items() if k not in TIMES}
        return [strip(v) for v in item] if isinstance(item, list) else item

    return strip(json.loads(file.read_text(encoding="utf-8")))


def prepare(verb: Verb, folder: Path, whole_run: Path) -> Path:
    """A folder to work in, with a finished fit where the verb needs one."""
    folder.mkdir()
    if verb.needs_run:
        shutil.copytree(whole_run, folder / "whole")
    return folder


def try_once(verb: Verb, folder: Path, took: float, rng: random.Random) -> str:
    """Kill and resume until it ends; "" or what is wrong."""
    kills, words = 0, verb.words
    while True:
        if kills == 0 or (rng.random() < 1 / 3 and kills < 4):
            ended = kill_after(words, folder, took * rng.uniform(0.3, 1.05))
            kills += not ended
        else:
            ended = True
            code = start(words, folder).wait()
            if code not in (0, 1):
                return f"exit {code} of {' '.join(words)}"
        if ended or (folder / "r").exists():  # its final name: it was whole when it was killed, or says it is
            return "" if (folder / verb.results).exists() else "no results under the final name"
        unfinished = (folder / "r.partial/run.json").exists()
        if verb.resume is None or not unfinished:  # what cannot be resumed is removed, as its message says
            shutil.rmtree(folder / "r.partial", ignore_errors=True)
        words = verb.resume if verb.resume is not None and unfinished else verb.words


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=VERBS)
    asked = parser.parse_args()
    place, wrong = Path(tempfile.mkdtemp()), 0
    start(("fit", "theophylline", "--out", "whole"), place).wait()
    for name in asked.only or VERBS:
        verb = VERBS[name]
        alone = prepare(verb, place / f"{name}-alone", place / "whole")
        start(verb.words, alone).wait()  # once for the compile cache, once for the time
        wanted = read_numbers(alone / verb.results)
        shutil.rmtree(alone / "r")
        begun = time.monotonic()
        start(verb.words, alone).wait()
        took, same = time.monotonic() - begun, 0
        for k in range(asked.times):
            folder = prepare(verb, place / f"{name}-{k}", place / "whole")
            fault = try_once(verb, folder, took, random.Random(f"{asked.seed}/{name}/{k}"))
            if not fault and read_numbers(folder / verb.results) != wanted:
                fault = "other results"
            same += not fault
            wrong += bool(fault)
            if fault:
                print(f"{name} {k}: {fault} ({folder})", flush=True)
            else:
                shutil.rmtree(folder)
        print(f"{name}: {same} of {asked.times} the same after being killed ({took:.1f} s alone)", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
