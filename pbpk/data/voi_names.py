"""The VOIs of a table, and which observable of a model each is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from pbpk.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    from pbpk.data.sheet import DataSheet
    from pbpk.data.voi_headers import VoiColumn


def read_voi_names(
    sheet: DataSheet, column: VoiColumn, observables: Sequence[str] | None, vois: Mapping[str, str]
) -> tuple[pd.Series, pd.Series]:
    """VOIs as they are called, and the observable of each."""
    called = sheet.cells[column.header]
    sheet.forbid(called == "", "the VOI is missing")
    renamed = {_normalise_name(k): v for k, v in vois.items()}
    if observables is None:
        return called, called.map(lambda name: renamed.get(_normalise_name(name), ""))
    for voi, observable in vois.items():
        if observable not in observables:
            hint = did_you_mean(observable, observables)
            raise BadInput(f"`{voi}` stands for `{observable}`, which the model does not show", hint=hint)
    meant = {_normalise_name(name): name for name in observables} | renamed
    unknown = ~called.map(_normalise_name).isin(list(meant))
    if unknown.any():
        name = str(called[unknown].iloc[0])
        near = did_you_mean(name, observables)
        hint = f"{near} Or say which it is: {name}=OBSERVABLE".strip()
        what = f"VOI `{name}` is none of the model's observables"
        why = "An activity is compared with the observable of its region."
        sheet.forbid(called == name, lambda _: what, why=why, hint=hint)
    return called, called.map(lambda name: meant[_normalise_name(name)])


def _normalise_name(name: object) -> str:
    """`Salivary glands`, `salivary-glands` and `salivary_glands` are one name."""
    return re.sub(r"[\W_]+", "_", str(name)).strip("_").lower()
