"""Which row of the radiobiology on file applies to a target of dose."""

from __future__ import annotations

from collections.abc import Collection

from pbpk.dosimetry.effect.defaults import Radiobiology, load_radiobiology, radiobiology

TUMOUR, OTHER = "tumour", "other"


def find_biology(target: str, lesions: Collection[str] = ()) -> Radiobiology:
    """The radiobiology of a target: its own; a tumour's for a lesion; that of other tissue, which is assumed throughout, for what
    has none.
    """
    if target in lesions:
        return radiobiology(TUMOUR)
    return radiobiology(target if target in load_radiobiology() and target != TUMOUR else OTHER)
