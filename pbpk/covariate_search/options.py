"""What is asked of a search: relations, levels, method. From options, or from a file's [search] table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pbpk.covariate_search.relations import Relation, read_relations
from pbpk.errors import BadInput, WrongUsage, did_you_mean
from pbpk.tables import read_toml


class CovariateSearchOptions(BaseModel):
    """The options of a search: with the study they decide its result.

    `relations` are texts as `read_relations` takes them; `forward` and `backward` are levels of p; relations whose
    score test has a p above `screen` are not fitted in a forward step; `estimation` is the method of the fits; `references`
    are by covariate; factors between `bounds` are clinically irrelevant; `level` is that of intervals.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    relations: tuple[str, ...] = ()
    method: Literal["scm", "full"] = "scm"
    forward: float = 0.05
    backward: float = 0.01
    screen: float | None = None
    estimation: str | None = None
    references: dict[str, float] = {}
    bounds: tuple[float, float] = (0.8, 1.25)
    level: float = 0.95
    seed: int = 1

    def check_and_read_relations(self) -> tuple[Relation, ...]:
        """Read the relations and check them together with the other options. Raises `WrongUsage` and `BadInput`."""
        for name in ("forward", "backward", "screen", "level"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise WrongUsage(f"`{name}` of {value:g} is no probability between 0 and 1")
        if not 0 < self.bounds[0] < 1 < self.bounds[1]:
            raise WrongUsage("`bounds` are a factor below 1 and one above", hint="bounds = [0.8, 1.25]")
        if self.method == "full" and self.screen is not None:
            raise WrongUsage("a full model takes in every relation, so there is nothing to screen")
        relations = read_relations(self.relations)
        unknown = [c for c in self.references if c not in {r.covariate for r in relations}]
        if unknown:
            hint = did_you_mean(unknown[0], {r.covariate for r in relations})
            raise BadInput(f"`references.{unknown[0]}`: no relation asks for that covariate", hint=hint)
        return relations


def make_search_options(**settings: object) -> CovariateSearchOptions:
    """Options from keywords; those that are None take the default. Raises `WrongUsage`."""
    try:
        return CovariateSearchOptions.model_validate({k: v for k, v in settings.items() if v is not None})
    except ValidationError as e:
        place, message = _describe_fault(e)
        raise WrongUsage(
            f"`{place}`: {message}", hint=did_you_mean(place, CovariateSearchOptions.model_fields)
        ) from None


def read_search_options(path: Path) -> dict[str, object]:
    """Read the [search] table of a TOML file as keywords, checked. Raises `BadInput`."""
    if not path.exists():
        raise BadInput("does not exist", where=str(path))
    table = read_toml(path).get("search")
    if not isinstance(table, dict):
        raise BadInput("has no [search] table", where=str(path), hint='[search]\nrelations = ["CL: WT power"]')
    try:
        return CovariateSearchOptions.model_validate(table).model_dump(exclude_unset=True)
    except ValidationError as e:
        place, message = _describe_fault(e)
        hint = did_you_mean(place, CovariateSearchOptions.model_fields)
        raise BadInput(f"`search.{place}`: {message}", where=str(path), hint=hint) from None


def _describe_fault(e: ValidationError) -> tuple[str, str]:
    """The place of the first fault that pydantic reports, and what is wrong there."""
    first = e.errors()[0]
    message = "is not a setting of a search" if first["type"] == "extra_forbidden" else first["msg"]
    return ".".join(str(x) for x in first["loc"]), message
