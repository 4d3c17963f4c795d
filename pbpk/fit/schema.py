"""The form of `fit.toml`, checked field by field; a misspelt key is named with its nearest right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pbpk.errors import BadInput, did_you_mean


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataPart(_Strict):
    """Where the records are and how to read them; see `pbpk.data.events.read_events`.

    `covariates_over_time`: between two records the next one's covariates hold (nocb, NONMEM's rule) or the last one's.
    """

    file: str = "data.csv"
    units: dict[str, str] = {}
    columns: dict[str, str] = {}
    ignore: list[str] = []
    observable: str | None = None
    dose_into: str | None = None
    covariates_over_time: Literal["nocb", "locf"] = "nocb"


class VoidPart(_Strict):
    """A compartment emptied into another (or out of the model): see `pbpk.void`, whose words these are."""

    compartment: str
    into: str | None = None
    every: float | str | None = None
    at: list[float | str] | None = None
    left: float = 0.0
    start: float | str | None = None


class EffectPart(_Strict):
    """A covariate's factor: either a constant `coefficient`, or `estimate = "NAME"` with an `initial` value."""

    covariate: str
    form: str
    reference: float
    coefficient: float | None = None
    estimate: str | None = None
    initial: float | None = None


class ParameterPart(_Strict):
    """`initial` in the model's unit for it (or text with a unit); `iiv` is the initial variance of η; none: no η."""

    initial: float | str | None = None
    iiv: float | None = Field(default=None, gt=0)
    distribution: Literal["lognormal", "normal"] = "lognormal"
    fixed: bool = False
    iiv_fixed: bool = False
    label: str = ""
    covariates: list[EffectPart] = []


class OmegaPart(_Strict):
    """`blocks` lists random effects that correlate; `covariances` may give initial values as `"CL,V" = 0.01`."""

    blocks: list[list[str]] = []
    covariances: dict[str, float] = {}


class ErrorPart(_Strict):
    """`add` in the observable's unit and `prop` as a fraction, both standard deviations; `fixed`: not estimated."""

    model: str
    add: float | None = Field(default=None, gt=0)
    prop: float | None = Field(default=None, gt=0)
    fixed: bool = False


class EstimationPart(_Strict):
    method: str = "focei"
    standard_errors: Literal["R", "S", "sandwich"] = "R"
    seed: int = 1


class FitSpec(_Strict):
    model: str
    title: str = ""
    source: str = ""
    nuclide: str | None = None
    options: dict[str, str | int] = {}
    data: DataPart = DataPart()
    void: list[VoidPart] = []
    values: dict[str, float | str] = {}
    parameters: dict[str, ParameterPart]
    omega: OmegaPart = OmegaPart()
    error: dict[str, ErrorPart]
    estimation: EstimationPart = EstimationPart()


def read_spec(data: dict[str, Any], path: Path) -> FitSpec:
    """Validate the contents of a fit.toml. Raises `BadInput` with the place of the first fault."""
    try:
        return FitSpec.model_validate(data)
    except ValidationError as e:
        fault = e.errors()[0]
        place = ".".join(str(x) for x in fault["loc"])
        hint = ""
        if fault["type"] == "extra_forbidden":
            hint = did_you_mean(str(fault["loc"][-1]), _fields_at(fault["loc"][:-1]))
            raise BadInput(f"`{place}` is not a setting of a fit", where=str(path), hint=hint) from None
        if fault["type"] == "missing":
            raise BadInput(f"`{place}` is missing", where=str(path)) from None
        raise BadInput(f"`{place}`: {fault['msg']} (given {fault['input']!r})", where=str(path)) from None


def _fields_at(place: tuple) -> list[str]:
    parts = {"data": DataPart, "parameters": ParameterPart, "omega": OmegaPart, "error": ErrorPart}
    parts |= {"estimation": EstimationPart, "void": VoidPart}
    if "covariates" in place:
        return list(EffectPart.model_fields)
    return list(parts[place[0]].model_fields if place and place[0] in parts else FitSpec.model_fields)
