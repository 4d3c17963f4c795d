"""Extremes and durations of an observable's course: the lowest count so far, the time spent below a level.

The observable is solved for at times between those that are asked for, denser after each dose, and read piece by piece: from
one dose, void or asked time to the next it is smooth. An extreme between three values is that of the parabola through them, a
level is crossed where the cubic of two values and their slopes crosses it. The same is done with every second value, and a
difference of more than a thousandth is said.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from pbpk import units
from pbpk.errors import BadInput, Note
from pbpk.model.declare import CourseReading
from pbpk.model.load import Model
from pbpk.observe.readings import is_course, select_observables
from pbpk.population.chunks import is_traced
from pbpk.population.simulate import Simulation, check_times, simulate

if TYPE_CHECKING:
    from pbpk.regimen.regimen import Regimen

_VALUES = 512  # of a course, over all its smooth stretches
_FEWEST, _MOST = 16, 128  # pieces of one stretch; even, so that every second value can be left out
_JUST_BEFORE = 1e-6  # h before a dose, where its trough is read
_TOLERANCE = 1e-3  # of the largest value (of the time), beyond which a course is said to be read roughly


class _DenseTimes(NamedTuple):
    """`times` (D,) h, the stretch (D,) that each belongs to, and where the asked times are among them (T,)."""

    times: np.ndarray
    stretch: np.ndarray
    asked: np.ndarray


def simulate_with_courses(
    model: Model, regimen: Regimen, times: Any, *, observe: Sequence[str] | None = None, **more: Any
) -> Simulation:
    """`simulate`, and of all observables also those that are read of a course. `more` are its other arguments.

    Raises `BadInput` for courses under `dose_times`: where they are smooth is then not known.
    """
    if not isinstance(model, Model):
        return simulate(model, regimen, times, observe=observe, **more)
    names = select_observables(model.system, observe, courses=True)
    if not any(is_course(model.system, n) for n in names):
        return simulate(model, regimen, times, observe=observe, **more)
    return _simulate_courses(model, regimen, check_times(times), names, more)


def _simulate_courses(
    model: Model, regimen: Regimen, times: np.ndarray, names: Sequence[str], more: dict[str, Any]
) -> Simulation:
    if more.get("dose_times") is not None:
        raise BadInput(
            "extremes and durations cannot go together with dose_times", hint="write the times in the regimen"
        )
    readings = {n: model.system.observables.get(n) for n in names}
    courses = {n: o.reading for n, o in readings.items() if o is not None and isinstance(o.reading, CourseReading)}
    plain = [n for n in names if n not in courses]
    needed = list(dict.fromkeys([*plain, *(c.observable for c in courses.values())]))
    dense = _choose_times(model, regimen, times)
    path = simulate(model, regimen, dense.times, observe=needed, **more)
    curves: dict[str, Any] = {n: path.observables[n][dense.asked] for n in plain}
    unit = {n: path.unit[n] for n in plain}
    for name, c in courses.items():
        values, of = path.observables[c.observable], path.unit[c.observable]
        level = _find_level(model, path, c.level, of) if c.level else None
        fine = _read_course(c.kind, dense, values, level, every=1)
        _note_roughness(name, fine, _read_course(c.kind, dense, values, level, every=2), values, c, times)
        unit[name] = of if level is None else model.time_unit
        curves[name] = fine if level is None else fine / units.unit_factor(model.time_unit)
    integral = None if path.integral is None else {n: path.integral[n][dense.asked] for n in plain}
    endless = None if path.to_infinity is None else {n: path.to_infinity[n] for n in plain}
    return replace(
        path,
        time=times,
        observables={n: curves[n] for n in names},
        unit={n: unit[n] for n in names},
        integral=integral,
        to_infinity=endless,
    )


def _choose_times(model: Model, regimen: Regimen, times: np.ndarray) -> _DenseTimes:
    """Times from the first dose or asked time on: each smooth stretch in pieces that grow from its start."""
    last = float(times[-1])
    events = [t for d in regimen.doses for k in range(d.addl + 1) for t in (d.at + k * d.ii, d.at + k * d.ii + d.over)]
    events += [t for v in regimen.voids for t in v.times(0.0, last, 10_000)]
    first = min([float(times[0]), *events])
    breaks = np.unique(np.round([first, *times, *(t for t in events if t < last)], 9))
    pieces = 2 * int(np.clip(_VALUES // (2 * max(len(breaks) - 1, 1)), _FEWEST // 2, _MOST // 2))
    share = np.linspace(0.0, 1.0, pieces + 1) ** 2
    instants, parts = [], []
    for k, (a, b) in enumerate(pairwise(breaks)):
        end = b - _JUST_BEFORE if b - a > 100 * _JUST_BEFORE else b
        instants.append(a + (end - a) * share)
        parts.append(np.full(len(share), k))
    instants.append(breaks[-1:])
    parts.append(np.array([len(breaks)]))
    dense, stretch = np.concatenate(instants), np.concatenate(parts)
    asked = np.array([int(np.flatnonzero(np.abs(dense - t) <= 2e-9 * max(t, 1.0))[-1]) for t in times])
    return _DenseTimes(dense, stretch, asked)


def _find_level(model: Model, path: Simulation, name: str, unit: str) -> Any:
    """The level of each patient (N,), in the observable's unit."""
    return path.patients.values[model.system.parameter_index(name)] / units.unit_factor(unit)


def _read_course(kind: str, dense: _DenseTimes, values: Any, level: Any, *, every: int) -> Any:
    """The extreme so far, or the hours below or above the level so far, at the asked times (T, N). `every`: of so many values
    one is used."""
    place = np.arange(len(dense.times))
    first = np.searchsorted(dense.stretch, dense.stretch, side="left")
    used = np.flatnonzero(((place - first) % every == 0) | np.isin(place, dense.asked))
    t, part, x = dense.times[used], dense.stretch[used], values[used]
    at = np.searchsorted(used, dense.asked)
    if kind in ("lowest", "highest"):
        sign = 1.0 if kind == "lowest" else -1.0
        return sign * jnp.minimum.accumulate(_lowest_nearby(t, part, sign * x), axis=0)[at]
    below = _hours_below(t, part, x - level)
    so_far = jnp.concatenate([jnp.zeros_like(x[:1]), jnp.cumsum(below, axis=0)])[at]
    return so_far if kind == "below" else (t[at] - t[0])[:, None] - so_far


def _lowest_nearby(t: np.ndarray, part: np.ndarray, x: Any) -> Any:
    """Of each value (D, N), the lowest of itself and of the parabola that ends with it, where its vertex lies inside."""
    if len(t) < 3:
        return x
    smooth = (part[2:] == part[:-2])[:, None]
    h1, h2 = (np.diff(t)[:-1])[:, None], (np.diff(t)[1:])[:, None]
    s1, s2 = (x[1:-1] - x[:-2]) / h1, (x[2:] - x[1:-1]) / h2
    bend = (s2 - s1) / (h1 + h2)
    slope = (s1 * h2 + s2 * h1) / (h1 + h2)  # at the middle value
    convex = smooth & (bend > 0) & (s1 < 0) & (s2 > 0)
    dip = jnp.where(convex, slope**2 / jnp.where(convex, 4 * bend, 1.0), 0.0)
    return jnp.concatenate([x[:2], jnp.minimum(x[2:], jnp.where(convex, x[1:-1] - dip, x[2:]))])


def _hours_below(t: np.ndarray, part: np.ndarray, y: Any) -> Any:
    """The hours of each piece (D − 1, N) in which y is below 0."""
    h = np.diff(t)[:, None]
    slope = _slopes(t, part, y)
    a, b = y[:-1], y[1:]
    within = (part[1:] == part[:-1])[:, None]
    crossing = within & ((a < 0) != (b < 0))
    gap = jnp.where(crossing, a - b, 1.0)
    u = jnp.where(crossing, a / gap, 0.5)  # of a straight line, then Newton on Hermite's cubic
    for _ in range(4):
        value, rise = _hermite(a, b, slope[:-1] * h, slope[1:] * h, u)
        step = jnp.where(crossing & (jnp.abs(rise) > 0), value / jnp.where(rise == 0, 1.0, rise), 0.0)
        u = jnp.clip(u - step, 0.0, 1.0)
    share = jnp.where(crossing, jnp.where(a < 0, u, 1 - u), jnp.where((a < 0) & (b < 0), 1.0, 0.0))
    return jnp.where(within, h * share, jnp.where(a < 0, h, 0.0))


def _slopes(t: np.ndarray, part: np.ndarray, y: Any) -> Any:
    """dy/dt at each value: of the parabola through its neighbours, one-sided at the ends of a stretch."""
    h = np.diff(t)[:, None]
    h = np.where(h > 0, h, 1.0)
    s = (y[1:] - y[:-1]) / h
    inside = ((part[2:] == part[1:-1]) & (part[1:-1] == part[:-2]))[:, None]
    middle = (s[:-1] * h[1:] + s[1:] * h[:-1]) / (h[:-1] + h[1:])
    begins = (part[1:-1] != part[:-2])[:, None]
    middle = jnp.where(inside, middle, jnp.where(begins, s[1:], s[:-1]))
    return jnp.concatenate([s[:1], middle, s[-1:]])


def _hermite(a: Any, b: Any, da: Any, db: Any, u: Any) -> tuple[Any, Any]:
    """The cubic with values a, b and slopes da, db (per piece) at u in 0 … 1, and its slope."""
    c, d = 3 * (b - a) - 2 * da - db, 2 * (a - b) + da + db
    return a + u * (da + u * (c + u * d)), da + u * (2 * c + 3 * u * d)


def _note_roughness(name: str, fine: Any, rough: Any, values: Any, c: CourseReading, times: np.ndarray) -> None:
    """Say where half as many values lead elsewhere."""
    if is_traced((fine, rough)):
        return
    size = float(np.nanmax(np.abs(np.asarray(values)), initial=0.0)) if c.level is None else float(times[-1])
    error = float(np.nanmax(np.abs(np.asarray(fine) - np.asarray(rough)), initial=0.0))
    if error > _TOLERANCE * size > 0:
        text = f"`{name}` is read roughly, to {error / size:.1g} of its scale: ask for more times where it bends"
        warnings.warn(text, Note, stacklevel=4)
