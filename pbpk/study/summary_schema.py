"""What `[summary]` of a fit.toml says: groups of patients, what was measured, responses. The numbers are in a table beside.

[summary.groups.withdrawal]
n = 28
dose = "3.7 GBq oral"
covariates = { THW = 1, WT = { median = 70, cv = 0.2 } }

[summary.quantities.residence]
kind = "residence"
observable = "whole_body"

[summary.responses.dlt]
exposure = "marrow_dose"
E50 = { initial = "0.1 Gy" }
slope = { initial = 4, fixed = true }
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

QUANTITY_KINDS = ("value", "fraction", "excreted", "integral", "residence", "half_life", "dose")


class SummarySection(BaseModel):
    """A table within `[summary]`: an unknown key, an infinity or a NaN is refused, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SpreadPart(SummarySection):
    """A covariate that differs between a group's patients: log-normal with this median and CV."""

    median: float = Field(gt=0)
    cv: float = Field(gt=0)


class GroupPart(SummarySection):
    """A group of patients. `n`: how many, where a row does not say otherwise. `dose` in words, as in `pbpk simulate --dose`;
    `covariates`: a value for all of them, or a distribution."""

    n: int | None = Field(default=None, ge=1)
    dose: str
    covariates: dict[str, float | SpreadPart] = {}
    source: str = ""
    status: Literal["published", "inferred", "assumed"] = "published"


class TermPart(SummarySection):
    """Absorbed dose from one source: `s` per time-integrated activity, scaled by a covariate where one is named."""

    observable: str
    s: str
    source: str
    covariate: str | None = None
    reference: float = Field(default=1.0, gt=0)
    power: float = 0.0


class QuantityPart(SummarySection):
    """One number of each patient; docs/summary_data.md lists the kinds. `noise`: the CV with which it is measured."""

    kind: str
    observable: str | None = None
    time: float | str | None = None
    until: float | str | None = None
    decay_corrected: bool | None = None
    per_activity: bool = False
    terms: list[TermPart] = []
    noise: float | None = Field(default=None, ge=0)


class NumberPart(SummarySection):
    """A number of a response: where it starts, whether it is held, and its label in the table of estimates."""

    initial: float | str
    fixed: bool = False
    label: str = ""


class ResponsePart(SummarySection):
    """Probability 1/2 at an exposure of `E50`; `slope` acts on ln(exposure/E50)."""

    exposure: str
    form: Literal["loglogistic", "probit"] = "loglogistic"
    E50: NumberPart
    slope: NumberPart


class SummaryPart(SummarySection):
    """All of `[summary]`. `file` is the table of published numbers; `patients`: virtual patients for each group."""

    file: str = "summary.csv"
    patients: int = Field(default=256, ge=32, le=65536)
    groups: dict[str, GroupPart]
    quantities: dict[str, QuantityPart]
    responses: dict[str, ResponsePart] = {}
