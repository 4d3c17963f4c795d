"""Times in words: one time or interval in h, and the times of observations as a list or start:stop:step."""

from __future__ import annotations

import re

import numpy as np

from pbpk import units
from pbpk.errors import BadInput, require_type
from pbpk.model.parameters import read_number


def read_hours(value: float | str, what: str) -> float:
    """A time in h from a number of hours or text with a unit. Raises `BadInput`, which names `what`, below 0 too."""
    require_type(value, (str, int, float, np.integer, np.floating), what, 'hours, or text with a unit: "24 h"')
    if not isinstance(value, str):
        number, unit = float(value), "h"
    else:
        try:
            number, unit = read_number(value)
        except ValueError:
            raise BadInput(f'{what} = "{value}" cannot be read as a time', hint='write "24 h" or "3 d"') from None
    result = number * units.require_dimension(unit or "h", "h", f"{what} = {value}")
    if not np.isfinite(result) or result < 0:
        raise BadInput(f"{what} = {value} is not a time from 0 on")
    return result


def parse_times(text: str) -> np.ndarray:
    """Times in h from "1,6,24 h", "0:72:1" (start:stop:step) or "0:10:1 d"; h where there is no unit.

    They come out sorted and without repeats. Raises `BadInput` for what cannot be read.

    >>> pbpk.parse_times("0:1:0.25 d").tolist()
    [0.0, 6.0, 12.0, 18.0, 24.0]
    """
    match = re.fullmatch(r"\s*([-+\d.eE:,\s]+?)\s*([A-Za-z]*)\s*", text)
    problem = BadInput(f'the times "{text}" cannot be read', hint='write "1,6,24 h" or "0:72:1 h" (start:stop:step)')
    if match is None:
        raise problem
    factor = units.require_dimension(match[2] or "h", "h", f'the times "{text}"')
    try:
        times: list[float] = []
        for part in match[1].split(","):
            ends = [float(x) for x in part.split(":")]
            if len(ends) == 3 and ends[2] > 0 and ends[1] >= ends[0] and (ends[1] - ends[0]) / ends[2] < 1e6:
                # The slack of 1e-9 steps keeps the last time where a step such as 0.1 misses it by a rounding.
                times += list(ends[0] + ends[2] * np.arange(int(np.floor((ends[1] - ends[0]) / ends[2] + 1e-9)) + 1))
            elif len(ends) == 1:
                times += ends
            else:
                raise problem
    except ValueError:
        raise problem from None
    result = np.array(times) * factor
    if not np.isfinite(result).all() or (result < 0).any() or not len(result):
        raise problem
    return np.unique(result)
