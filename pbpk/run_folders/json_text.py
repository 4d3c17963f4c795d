"""JSON as pbpk writes it, to files and to stdout: strict, so that any reader takes it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np


def format_json(data: Any) -> str:
    """Strict JSON for `data`, which may hold NumPy arrays and scalars. Numbers that are not finite become null."""
    return json.dumps(replace_nonfinite(data), indent=1)


def replace_nonfinite(data: Any) -> Any:
    """`data` in Python's own types, with None for what is not finite: JSON has no NaN and no infinity."""
    if isinstance(data, dict):
        return {str(k): replace_nonfinite(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [replace_nonfinite(v) for v in data]
    if isinstance(data, np.ndarray):
        return replace_nonfinite(data.tolist())
    if isinstance(data, np.generic):
        return replace_nonfinite(data.item())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
