"""Measurements as a file declares them: one table each, by name.

[thyroid]
kind = "voi"
region = "thyroid"
spill_in = { salivary_glands = 0.02 }
recovery = { half = "2 mL", slope = 1.1 }
volume = "20 mL"
decay_corrected = false
noise = { model = "poisson", sensitivity = "68 cps/MBq", duration = "20 min", background = "3 cps" }
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbpk.errors import BadInput, did_you_mean
from pbpk.observe.blood import BloodMeasurement
from pbpk.observe.counts import CountMeasurement
from pbpk.observe.exposure import DoseRateMeasurement
from pbpk.observe.quantity import build_from_table
from pbpk.observe.urine import UrineMeasurement
from pbpk.observe.voi import Voi
from pbpk.tables import read_toml

if TYPE_CHECKING:
    from pbpk.observe.base import Measurement

KINDS: dict[str, type[Measurement]] = {
    "blood": BloodMeasurement,
    "voi": Voi,
    "counts": CountMeasurement,
    "urine": UrineMeasurement,
    "dose_rate": DoseRateMeasurement,
}


def read_measurements(path: str | Path) -> tuple[Measurement, ...]:
    """The measurements of a TOML file, in its order. Raises `BadInput` naming the file and the table."""
    measurements = []
    for name, table in read_toml(Path(path)).items():
        where = f"{path} [{name}]"
        if not isinstance(table, dict):
            raise BadInput(f"`{name}` is not a table", where=str(path), hint=f"a measurement begins with [{name}]")
        try:
            measurements.append(_read_measurement(name, table))
        except BadInput as e:
            raise BadInput(e.what, where=where, why=e.why, hint=e.hint) from None
    if not measurements:
        raise BadInput("declares no measurement", where=str(path), hint='begin with a name: [thyroid], kind = "voi", …')
    return tuple(measurements)


def _read_measurement(name: str, table: dict[str, Any]) -> Measurement:
    kind = table.get("kind")
    if kind is None:
        raise BadInput("a measurement needs its `kind`", hint=" or ".join(KINDS))
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadInput(f"no kind of measurement `{kind}`", hint=did_you_mean(str(kind), KINDS))
    if "decay_corrected" not in table:
        raise BadInput(
            "`decay_corrected` must be said",
            why="With a short half-life a value and its decay-corrected form differ many times over.",
            hint="false for what is there at its time; true, with reference, for values corrected to that time",
        )
    return build_from_table(
        KINDS[kind], {"name": name, **{k: v for k, v in table.items() if k != "kind"}}, f"a {kind} measurement"
    )
