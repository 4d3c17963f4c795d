"""Units: read once at the border of the program and converted to one coherent set; compiled code has none.

Coherent set: hour, litre, milligram, nanomole, megabecquerel, gray. A number in its own unit becomes one in this set at
load (`to_internal`) and is shown back in the modeller's unit (`from_internal`).

The registry is our own, and small, for two reasons. Activity has a dimension of its own ([decay]/time), where pint's
default calls a becquerel one per second and would let MBq pass for 1/h. And it loads in milliseconds.
"""

from __future__ import annotations

import re
import warnings
from functools import cache

from pbpk.errors import BadInput, Note

_DEFINITIONS = """
femto- = 1e-15 = f-
pico- = 1e-12 = p-
nano- = 1e-9 = n-
micro- = 1e-6 = u- = µ- = μ-
milli- = 1e-3 = m-
centi- = 1e-2 = c-
kilo- = 1e3 = k-
mega- = 1e6 = M-
giga- = 1e9 = G-
tera- = 1e12 = T-
hour = [time] = h = hr
minute = hour / 60 = min
second = hour / 3600 = s = sec
day = 24 * hour = d
week = 7 * day
year = 365.25 * day = yr
decimeter = [length] = dm = decimetre
meter = 10 * decimeter = m = metre
liter = decimeter ** 3 = L = l = litre
cc = 1e-3 * liter
deciliter = 0.1 * liter = dL = decilitre
internal_mass = [mass]
gram = 1000 * internal_mass = g
microgram_in_prescriptions = 1e-6 * gram = mcg
internal_substance = [substance]
mole = 1e9 * internal_substance = mol
molar = mole / liter = M
internal_decay = [decay]
becquerel = 1e-6 * internal_decay / hour = Bq
curie = 3.7e10 * becquerel = Ci
decay = becquerel * second
internal_count = [count] = count = cell = cells
internal_pressure = [pressure] = mmHg
internal_biological_activity = [biological_activity] = IU
counts_per_second = count / second = cps
gray = [absorbed_dose] = Gy
percent = 0.01 = %
"""


@cache
def get_registry():
    """The pint registry (imported here, not at the top: half a second that `--help` need not pay)."""
    import pint

    return pint.UnitRegistry(_DEFINITIONS.strip().splitlines(), cache_folder=None)  # type: ignore[arg-type]


@cache
def read_quantity(unit: str, where: str = ""):
    """One of `unit` as a pint quantity in the coherent set. Raises `BadInput` for a unit that cannot be read."""
    import pint

    _note_likely_slip(unit)
    try:
        return get_registry().Quantity(1.0, unit).to_base_units()
    except (pint.PintError, AttributeError, ValueError, TypeError, SyntaxError, ArithmeticError, AssertionError) as e:
        raise BadInput(
            f'unit "{unit}" cannot be read',
            where=where,
            hint='write units as in "mg/L", "1/h", "mL/min", "MBq"; dimensionless is "1"',
        ) from e
    except Exception as e:  # pint lets tokenizer errors through under several names
        if type(e).__module__.startswith(("pint", "tokenize", "flexparser")) or isinstance(e, RecursionError):
            raise BadInput(f'unit "{unit}" cannot be read', where=where) from e
        raise


_SLIPS = {"mBq": "MBq", "Mg": "mg", "MCi": "mCi", "Mmol": "mmol", "ML": "mL", "MGy": "mGy"}


_NOTED: dict = {}


def _note_likely_slip(unit: str) -> None:
    """Ask about a prefix that is seldom meant: m is a thousandth, M a million."""
    for token in re.findall(r"[A-Za-zµμ]+", unit):
        if meant := _SLIPS.get(token):
            prefix = "a thousandth" if token[0] == "m" else "a million"
            text = f'the unit "{token}" is {prefix} of its base: is "{meant}" meant?'
            warnings.warn_explicit(text, Note, __file__, 0, registry=_NOTED)  # one place, whoever asks: said once


def unit_factor(unit: str, where: str = "") -> float:
    """How many coherent units one `unit` is."""
    return float(read_quantity(unit, where).magnitude)


def to_internal(value, unit: str, where: str = ""):
    """A number in `unit` as one in the coherent set."""
    return value * unit_factor(unit, where)


def from_internal(value, unit: str, where: str = ""):
    """A number in the coherent set as one in `unit`."""
    return value / unit_factor(unit, where)


def unit_dimensions(unit: str, where: str = "") -> dict[str, float]:
    """The dimension of `unit`, such as `{"[mass]": 1, "[length]": -3}`."""
    return {name: float(power) for name, power in read_quantity(unit, where).dimensionality.items()}  # type: ignore[arg-type]


def have_same_dimension(a: str, b: str) -> bool:
    """Whether two units measure the same thing."""
    return unit_dimensions(a) == unit_dimensions(b)


def require_dimension(unit: str, wanted: str, subject: str, where: str = "", hint: str = "") -> float:
    """The factor of `unit`, which must have the dimension of `wanted`; `hint` goes with the refusal."""
    if unit_dimensions(unit, where) != unit_dimensions(wanted):
        what = f'{subject} has the unit "{unit}", which cannot be used where "{wanted}" is needed'
        raise BadInput(what, where=where, hint=hint)
    return unit_factor(unit, where)
