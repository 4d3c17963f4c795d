"""Which row of the radiobiology on file applies to a target of dose."""

from __future__ import annotations

from collections.abc import Collection

from pbpk.dosimetry.effect.defaults import Radiobiology, load_radiobiology, radiobiology

TUMOUR, OTHER = "tumour", "other"


def find_biology(target: str, lesions: Collection[str] = ()) -> Radiobiology:
    """Find the radiobiology of a target: its own, or a tumour's for a lesion.

    What has none gets that of other tissue, which is assumed throughout.
    """
    if target in lesions:
        return radiobiology(TUMOUR)
    return radiobiology(target if target in load_radiobiology() and target != TUMOUR else OTHER)
