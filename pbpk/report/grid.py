"""Aligned columns of plain text."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "  "


def align_columns(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[str]:
    """The header, a rule and a line for each row; numeric columns stand to the right."""
    wide = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        set_ = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, wide, numeric, strict=True)]
        return GAP.join(set_).rstrip()

    return [line(header), "─" * (sum(wide) + len(GAP) * (len(wide) - 1)), *(line(r) for r in rows)]
