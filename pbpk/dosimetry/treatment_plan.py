"""What is given unless a user says otherwise, and at which times a treatment is followed for its dose rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pbpk.errors import BadInput
from pbpk.nuclides import load_nuclide
from pbpk.regimen.dose import dose

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.regimen.regimen import Regimen

HALF_LIVES = 12  # after the last dose: 1/4096 is left
FIRST = 1 / 60  # h after a dose
TIMES_AFTER_DOSE = 40
_BEFORE = 1e-6  # h


def default_regimen(model: Model) -> Regimen:
    """1 MBq by the model's first route. Raises `BadInput` where the model has none."""
    route = next(iter(model.system.block.routes), None)
    if route is None:
        raise BadInput("no dose is given, and the model has no route", hint='--dose "1 MBq to blood"')
    return dose("1 MBq", into=route)


def dose_rate_times(model: Model, regimen: Regimen) -> np.ndarray:
    """Times (h): from a minute to 12 half-lives after each dose or its end, and just before the next.

    Raises `BadInput` where nothing is given, and for a model without physical decay.
    """
    if model.nuclide is None:
        raise BadInput(f"the model `{model.name}` has no physical decay", hint="doses need activities, in MBq")
    if not regimen.doses:
        raise BadInput("no dose is given", hint='--dose "245 MBq to iv"')
    starts = [d.at + k * d.ii for d in regimen.doses for k in range(d.addl + 1)]
    ends = [d.at + k * d.ii + d.over for d in regimen.doses for k in range(d.addl + 1) if d.over]
    events = np.unique([*starts, *ends])
    after = np.geomspace(FIRST, HALF_LIVES * load_nuclide(model.nuclide).half_life, TIMES_AFTER_DOSE)
    times = [0.0]
    for event, following in zip(events, [*events[1:], np.inf], strict=True):
        sampled = event + after
        times += [event, *sampled[sampled < following - 2 * _BEFORE]]
        times += [following - _BEFORE] if np.isfinite(following) else []
    return np.unique(times)
