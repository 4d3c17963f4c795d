"""What all verbs share: reading name=value and lists, printing JSON, messages on stderr, the choice of an engine."""

from __future__ import annotations

import os
import sys
from typing import Any

from pbpk.errors import WrongUsage

SCHEMA_VERSION = 1


def say(text: str = "") -> None:
    """Print a message on stderr, so that stdout holds data alone."""
    print(text, file=sys.stderr, flush=True)


def print_json(data: dict[str, Any]) -> None:
    """Print one strict JSON object on stdout, with the version of its form first."""
    from pbpk.run_folders.json_text import format_json

    print(format_json({"schema_version": SCHEMA_VERSION, **data}))


def read_pairs(pairs: list[str] | None, option: str) -> dict[str, str]:
    """`["CL=3", "V=30 L"]` as a mapping. Raises `WrongUsage`, naming `option`, for what has no name or no value."""
    values: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise WrongUsage(f'{option} "{pair}" cannot be read', hint=f"write {option} NAME=VALUE")
        values[name.strip()] = value.strip()
    return values


def choose_engine(name: str | None) -> None:
    """Set the engine of this process and of those that it starts; None leaves it as it is.

    Raises `WrongUsage` or `MissingExtra` for one that cannot compute, before anything else is read.
    """
    if name is not None:
        os.environ["PBPK_ENGINE"] = name
        from pbpk.compile.engine import requested_engine

        requested_engine()


def read_list(text: str | None) -> list[str] | None:
    """`"a, b"` as its parts; None for nothing."""
    return [part.strip() for part in text.split(",") if part.strip()] if text else None
