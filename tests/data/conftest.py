"""A table written to a file and read back, and the folder of real data."""

from pathlib import Path

import pytest

from pbpk.data.events import EventTable, read_events
from pbpk.errors import BadInput

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture
def read(tmp_path):
    """Reads a table given as text; depot and central, doses into the depot unless told otherwise."""

    def read(text: str, **how) -> EventTable:
        path = tmp_path / "trial.csv"
        path.write_bytes(text.encode())
        how = {"compartments": ("depot", "central"), "default_compartment": "depot"} | how
        return read_events(path, **how)

    return read


@pytest.fixture
def refused(read):
    """The error that a table gives, after checking the file, row and subject it names."""

    def refused(text: str, row: int | None = None, subject: str = "", **how) -> BadInput:
        with pytest.raises(BadInput) as caught:
            read(text, **how)
        error = caught.value
        place = error.where[error.where.index("trial.csv") :]
        wanted = "trial.csv" if row is None else f"trial.csv row {row}"
        assert place == (f"{wanted} (ID {subject})" if subject else wanted)
        return error

    return refused


@pytest.fixture
def shared():
    """The path of a real data file; skips where the folder is absent, as in a user's clone."""

    def shared(name: str) -> Path:
        path = SHARED / name
        if not path.is_file():
            pytest.skip(f"{name} is not in ../shared/data")
        return path

    return shared
