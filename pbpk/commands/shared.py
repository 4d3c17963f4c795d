"""What several verbs share: reading name=value, printing JSON, talking on stderr."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from pbpk.errors import WrongUsage

SCHEMA_VERSION = 1


def say(text: str = "") -> None:
    """Talk: stderr, so that stdout holds data alone."""
    print(text, file=sys.stderr, flush=True)


def print_json(data: dict[str, Any]) -> None:
    from pbpk.run_folders.write import replace_nonfinite

    print(json.dumps(replace_nonfinite({"schema_version": SCHEMA_VERSION, **data}), indent=1))


def read_pairs(pairs: list[str] | None, option: str) -> dict[str, str]:
    """`["CL=3", "V=30 L"]` as a mapping."""
    out: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise WrongUsage(f'{option} "{pair}" cannot be read', hint=f"write {option} NAME=VALUE")
        out[name.strip()] = value.strip()
    return out


def choose_engine(name: str | None) -> None:
    """What computes in this process and in those that it starts; refused before anything else is read."""
    if name is not None:
        os.environ["PBPK_ENGINE"] = name
        from pbpk.compile.engine import asked

        asked()


def read_list(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text else None
