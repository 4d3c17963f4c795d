"""The form of `fit.toml`, checked field by field; a misspelt key is named with its nearest right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from pbpk.errors import BadInput, did_you_mean
from pbpk.observe.variances import VARIANCE_PARAMETERS
from pbpk.study.summary_schema import SummaryPart


class StudySection(BaseModel):
    """A section of fit.toml: an unknown key, an infinity or a NaN is refused, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataPart(StudySection):
    """Where the records are and how to read them; see `pbpk.data.events.read_events`.

    `ignore_rows`: conditions on rows to leave out, such as "SD == 0". `split_dose_rows`: a DV on a row that gives a dose is an
    observation just before it. `occasion` names the column that numbers the occasions of parameters with `iov`.
    `covariates_over_time`: between two records the next one's covariates hold (nocb, NONMEM's rule) or the last one's.
    """

    file: str = "data.csv"
    units: dict[str, str] = {}
    columns: dict[str, str] = {}
    ignore: list[str] = []
    ignore_rows: str | list[str] = []
    split_dose_rows: bool = False
    observable: str | None = None
    dose_into: str | None = None
    covariates_over_time: Literal["nocb", "locf"] = "nocb"
    occasion: str = "OCC"


class VoidPart(StudySection):
    """A compartment emptied into another (or out of the model): see `pbpk.void`, whose words these are."""

    compartment: str
    into: str | None = None
    every: float | str | None = None
    at: list[float | str] | None = None
    left: float = 0.0
    start: float | str | None = None


class EffectPart(StudySection):
    """A covariate's factor: either a constant `coefficient`, or `estimate = "NAME"` with an `initial` value. A `reference` in
    words is a category of a column of text."""

    covariate: str
    form: str
    reference: float | str
    coefficient: float | None = None
    estimate: str | None = None
    initial: float | None = None


class ParameterPart(StudySection):
    """A parameter that the study estimates, or holds (`fixed`). `initial` is in the model's unit for it, or text with a unit;
    `iiv` the initial variance of η, without which there is no η; `iov` that of a further η for each occasion. `shape`: the
    start of the distribution's own parameter (λ of boxcox, ν of t). `lower` and `upper`: the ends that the typical value stays
    between, and a logit or probit parameter's own ends."""

    initial: float | str | None = None
    iiv: float | None = Field(default=None, gt=0)
    iov: float | None = Field(default=None, gt=0)
    distribution: str = "lognormal"
    shape: float | None = None
    shape_fixed: bool = False
    lower: float | str | None = None
    upper: float | str | None = None
    fixed: bool = False
    iiv_fixed: bool = False
    iov_fixed: bool = False
    label: str = ""
    covariates: list[EffectPart] = []


class OmegaPart(StudySection):
    """Ω. `blocks` lists random effects that correlate, `iov_blocks` those of an occasion; `covariances` and `iov_covariances`
    may give initial values as `"CL,V" = 0.01`."""

    blocks: list[list[str]] = []
    covariances: dict[str, float] = {}
    iov_blocks: list[list[str]] = []
    iov_covariances: dict[str, float] = {}


class _EndpointPart(StudySection):
    """What every `[error.NAME]` starts with."""

    model: str
    observable: str | None = None
    unit: str | None = None


# The parameters of the error models are fields by their table, so a new one is declared in one place.
_VARIANCE_FIELDS: dict[str, Any] = {name: (float | None, None) for name in VARIANCE_PARAMETERS}
_VariancePart = create_model("_VariancePart", __base__=_EndpointPart, **_VARIANCE_FIELDS)


class ErrorPart(_VariancePart):
    """An endpoint: its likelihood (`model`), that likelihood's parameters, and its settings; see docs/endpoints.md. It
    reads the `observable` of its own name unless another is given.

    The error models' own parameters are those of `VARIANCE_PARAMETERS`: `add` in the observable's unit and `prop` as a
    fraction, both standard deviations, and `power`. `fixed`: not estimated, all or those named. `unit` is that of its
    DV where the column (`[data.units] DV`) has another; `lloq`, `uloq` (the limits of quantification) and `between` are in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    lambda_: float | None = Field(default=None, alias="lambda")
    ar1: float | None = None
    correlation: float | None = None
    correlated_with: str | None = None
    intercept: float | None = None
    slope: float | None = None
    dispersion: float | None = None
    scale: float | None = None
    shape: float | None = None
    cuts: list[float] | None = None
    transform: str | None = None
    between: tuple[float, float] | None = None
    transformed: bool = False
    lloq: float | None = None
    uloq: float | None = None
    blq: Literal["M1", "M2", "M3", "M4"] | None = None
    link: str | None = None
    baseline: str | None = None
    hazard: str | None = None
    interval: bool = False
    at_risk_from: float | str | None = None
    fixed: bool | list[str] = False

    def numbers(self) -> dict[str, float | None]:
        """The parameters of the likelihood by their names."""
        plain = (*VARIANCE_PARAMETERS, "ar1", "correlation", "intercept", "slope", "dispersion", "scale", "shape")
        cuts = {f"cut_{k}": c for k, c in enumerate(self.cuts or (), start=1)}
        return {n: getattr(self, n) for n in plain} | {"lambda": self.lambda_} | cuts

    def settings(self) -> list[str]:
        """The settings that were given."""
        valued = (
            "cuts",
            "correlated_with",
            "transform",
            "between",
            "lloq",
            "uloq",
            "blq",
            "link",
            "baseline",
            "hazard",
            "at_risk_from",
        )
        switches = ("transformed", "interval")
        return [n for n in valued if getattr(self, n) is not None] + [n for n in switches if getattr(self, n)]


class PriorPart(StudySection):
    """What is known of a parameter beforehand; see `pbpk.likelihood.priors`."""

    distribution: str
    value: float | None = None
    sd: float | None = Field(default=None, gt=0)
    df: float | None = Field(default=None, gt=0)
    low: float | None = None
    high: float | None = None
    source: str = ""


class MixturePart(StudySection):
    """Sub-populations told apart by the covariate `covariate`, which is 1, 2, … and which nobody observed."""

    probabilities: list[float]
    covariate: str = "CLASS"
    fixed: bool = False


class EstimationPart(StudySection):
    """How the study is estimated. `samples` (of each subject's η) is for imp, and for the likelihood that saem ends with;
    `chains`, and the `warmup` and `draws` of each, are for nuts; `family` and the most `steps` for vi; `centred`, for both of
    these: η itself is sampled, not η in units of Ω."""

    method: str = "focei"
    standard_errors: Literal["R", "S", "sandwich"] = "R"
    seed: int = 1
    samples: int = Field(default=1024, ge=16)
    chains: int = Field(default=4, ge=1)
    warmup: int = Field(default=1000, ge=1)
    draws: int = Field(default=1000, ge=4)
    centred: bool = False
    family: Literal["full_rank", "mean_field"] = "full_rank"
    steps: int = Field(default=20_000, ge=1)


class StudySpec(StudySection):
    """A whole fit.toml, as docs/fitting.md describes it. It is what a run's record is compared by, and what `--set` changes."""

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
    error: dict[str, ErrorPart] = {}
    summary: SummaryPart | None = None
    priors: dict[str, PriorPart] = {}
    mixture: MixturePart | None = None
    estimation: EstimationPart = EstimationPart()


def read_study_spec(data: dict[str, Any], path: Path) -> StudySpec:
    """Validate the contents of a fit.toml. Raises `BadInput` with the place of the first fault."""
    try:
        return StudySpec.model_validate(data)
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
    """The keys that may stand at a place of fit.toml, for the hint at a misspelt one."""
    parts = {"data": DataPart, "parameters": ParameterPart, "omega": OmegaPart, "error": ErrorPart}
    parts |= {"estimation": EstimationPart, "void": VoidPart, "priors": PriorPart, "mixture": MixturePart}
    parts["summary"] = SummaryPart
    if "covariates" in place:
        return list(EffectPart.model_fields)
    return list(parts[place[0]].model_fields if place and place[0] in parts else StudySpec.model_fields)
