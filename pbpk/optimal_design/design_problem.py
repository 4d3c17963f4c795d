"""A study and a design specification, checked and turned into the one object that every step of a design works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pbpk.errors import BadInput, WrongUsage, did_you_mean
from pbpk.optimal_design.coordinates import DesignCoordinates, build_coordinates
from pbpk.optimal_design.criteria import CRITERIA
from pbpk.optimal_design.linearisation import APPROXIMATIONS, LinearisationPoints, choose_linearisation_points
from pbpk.optimal_design.moments import FORMS
from pbpk.optimal_design.options import draw_from_prior

if TYPE_CHECKING:
    from pbpk.optimal_design.spec import DesignSpec
    from pbpk.study.load import Study


@dataclass(frozen=True, eq=False)
class DesignProblem:
    """`criterion` as `CRITERIA` spells it, `interest` as positions among the parameters (() for all). `at_values`: the
    points to linearise at for the study's own values; `over_prior`: those that the criterion is a mean over, the same object
    unless there is a prior."""

    study: Study
    spec: DesignSpec
    coordinates: DesignCoordinates
    criterion: str
    interest: tuple[int, ...]
    at_values: LinearisationPoints
    over_prior: LinearisationPoints

    @property
    def has_prior(self) -> bool:
        """Whether the criterion is a mean over draws, and not that at the study's own values."""
        return self.over_prior is not self.at_values


def build_design_problem(study: Study, spec: DesignSpec) -> DesignProblem:
    """Check a study and a specification, and give what every step works on.

    Raises `BadInput` for a study that has no first-order information, `WrongUsage` for what cannot be asked of it."""
    _refuse_without_information(study)
    psi = np.asarray(study.problem.initial_unconstrained)
    coordinates = build_coordinates(study, psi)
    criterion, interest = _read_criterion(spec, coordinates)
    for name, known in ((spec.form, FORMS), (spec.approximation, APPROXIMATIONS)):
        if name not in known:
            raise WrongUsage(f"`{name}` is not one of {', '.join(known)}", hint=did_you_mean(name, known))
    at_values = over_prior = choose_linearisation_points(study, psi[None], spec, interest)
    if criterion == "ED":
        draws = draw_from_prior(study, coordinates.names, spec.prior or {}, spec.draws, spec.seed)
        over_prior = choose_linearisation_points(study, draws, spec, interest)
    return DesignProblem(study, spec, coordinates, criterion, interest, at_values, over_prior)


def _refuse_without_information(study: Study) -> None:
    """Raises `BadInput` where residuals are not independent and normal, or nothing differs between subjects."""
    where, structure = str(study.folder / "fit.toml"), study.problem.structure
    if not structure.layout.etas:
        raise BadInput(
            "has no random effects, so there is no population to design for",
            where=where,
            hint="give a parameter `iiv`, the variance of its η",
        )
    for e in structure.endpoints:
        if not e.is_continuous or e.is_correlated:
            reason = "its residuals are correlated" if e.is_continuous else "it is not a continuous observation"
            raise BadInput(f"`{e.name}`: {reason}, and a design takes independent normal residuals", where=where)
    if structure.classes > 1:
        raise BadInput("a mixture of populations has no first-order information", where=where)


def list_left_out(study: Study) -> list[str]:
    """A sentence for each thing that the study holds and its expected information does not."""
    structure, sentences = study.problem.structure, []
    if structure.priors:
        sentences.append("the study's priors are left out: the information is that of the data alone")
    if any(getattr(e, "has_limits", False) for e in structure.endpoints):
        sentences.append("limits of quantification are left out: every sample counts as quantified")
    return sentences


def _read_criterion(spec: DesignSpec, coordinates: DesignCoordinates) -> tuple[str, tuple[int, ...]]:
    """The criterion's name and the positions of the parameters of interest. Raises `WrongUsage` where they do not agree."""
    known = {c.lower(): c for c in CRITERIA}
    if spec.criterion.lower() not in known:
        raise WrongUsage(f"no criterion `{spec.criterion}`", hint=" or ".join(CRITERIA))
    criterion = known[spec.criterion.lower()]
    if criterion == "Ds" and not spec.interest:
        raise WrongUsage("Ds needs the parameters of interest", hint=f"--interest {coordinates.names[0]}")
    if criterion == "D" and spec.interest:
        raise WrongUsage("D is for all parameters", hint="--criterion Ds for those of interest")
    if (criterion == "ED") != bool(spec.prior):
        raise WrongUsage(
            "ED needs a prior" if criterion == "ED" else f"{criterion} has no prior",
            hint=f"--criterion ED --prior {coordinates.names[0]}=30%",
        )
    return criterion, tuple(dict.fromkeys(coordinates.find_index(n) for n in spec.interest))


def read_goals(
    rse: Mapping[str, float] | None, power: Mapping[str, float] | None, coordinates: DesignCoordinates
) -> Sequence[tuple[str, str, float]]:
    """("rse" or "power", parameter, goal as a fraction) for all that is wanted. Raises `WrongUsage` for an impossible goal,
    `BadInput` for a parameter that is unknown or 0."""
    goals = [("rse", n, g) for n, g in (rse or {}).items()] + [("power", n, g) for n, g in (power or {}).items()]
    for kind, name, goal in goals:
        coordinates.find_index(name)
        if not (goal > 0 and (kind == "rse" or goal < 1)):
            raise WrongUsage(
                f"{name}: a {'relative error' if kind == 'rse' else 'power'} of {100 * goal:g} % cannot be wanted"
            )
        if coordinates.value[coordinates.find_index(name)] == 0:
            raise BadInput(
                f"`{name}` is 0 here: no relative error, no power", hint="give the effect as its initial value"
            )
    return goals
