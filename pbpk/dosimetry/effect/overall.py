"""What overall time does between cycles: normal tissue recovers slowly, clonogens grow.

Both are of weeks, apart from the repair of sublethal damage within hours (protraction.py). For alphas, and for salivary glands,
nobody has measured either: half-times, shares and doubling times are assumptions of whoever gives them.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp


def repopulation(time: Any, doubling: Any, alpha: Any, kick_off: Any = 0.0) -> Any:
    """BED lost to growth, Gy: ln 2·(T − T_k)/(α·T_d), none before T_k (Travis and Tucker 1987; Fowler 1989).

    `time` T, `doubling` T_d of clonogens and `kick_off` T_k in one unit; `alpha` 1/Gy of low LET, as BED is.
    For a nuclide gone within days T ends with the last cycle's. A BED that comes out below 0 is a lesion that grew.
    """
    return math.log(2) * jnp.maximum(time - kick_off, 0.0) / (alpha * doubling)


def recovery(interval: Any, half_time: Any, most: Any = 1.0) -> Any:
    """Share of the BED of a cycle that is forgotten an `interval` later, rising to `most` with `half_time`: 0 ≤ `most` ≤ 1."""
    return most * -jnp.expm1(-math.log(2) * interval / half_time)


def together(cycles: Any, recovered: Any) -> Any:
    """BED, Gy, of cycles (C, …) one after another, where each finds the share `recovered` of all before it forgotten.

    Damage of one cycle that is not repaired when the next begins is left out: for 211At under 1e-6 from a week on. Cycles
    closer than that are for `cycles_bed`.
    """
    total = jnp.zeros_like(cycles[0])
    for cycle in cycles:
        total = total * (1 - recovered) + cycle
    return total
