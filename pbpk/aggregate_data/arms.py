"""Groups as virtual patients: lanes of one program, `patients` of them for each group, with its doses and covariates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk import units
from pbpk.errors import BadInput
from pbpk.population.infinite_integrals import explain_no_infinity
from pbpk.regimen.dose import parse_dose
from pbpk.regimen.regimen import Regimen
from pbpk.solve.timeline import Timeline, build_timeline, moves_events
from pbpk.study.summary_schema import SpreadPart, SummaryPart

if TYPE_CHECKING:
    from pbpk.model.load import Model


@dataclass(frozen=True, eq=False)
class VirtualArms:
    """The groups of a study as arms of virtual patients. Groups with the same dose and covariates share one arm, solved once.

    `groups` names the first group of each arm, `arm` is the arm of each group, `regimens` are by arm. `covariates` has one
    row per lane (N = arms · patients, arm by arm); `dose_unit` is the unit of all doses.
    """

    groups: tuple[str, ...]
    arm: tuple[int, ...]
    regimens: tuple[Regimen, ...]
    covariates: pd.DataFrame
    dose_unit: str


def read_arms(part: SummaryPart, model: Model, z: np.ndarray, where: str) -> VirtualArms:
    """Read the groups as arms, with the covariates of their virtual patients. Raises `BadInput` naming the group.

    z (D, patients) are standard normals, one row for each covariate that differs within a group (`list_spread_covariates`).
    """
    regimens, dose_units = [], set()
    names = list(dict.fromkeys(c for g in part.groups.values() for c in g.covariates))
    spread = list_spread_covariates(part)
    blocks, first_of, arm = [], {}, []
    for name, g in part.groups.items():
        group_location = f"{where} [summary.groups.{name}]"
        try:
            regimen = parse_dose(g.dose)
        except BadInput as e:
            raise BadInput(e.what, where=group_location, why=e.why, hint=e.hint) from None
        dose_units |= {d.unit for d in regimen.doses}
        known = model.parameters.covariates
        missing = [c for c in names if c not in g.covariates and c not in known]
        if missing:
            raise BadInput(f"says nothing of `{missing[0]}`, which another group does", where=group_location)
        block = {}
        for c in names:
            setting = g.covariates.get(c, known[c].value if c in known else 0.0)
            if isinstance(setting, SpreadPart):
                block[c] = setting.median * np.exp(np.sqrt(np.log1p(setting.cv**2)) * z[spread.index(c)])
            else:
                block[c] = np.full(part.patients, float(setting))
        if regimen.per_kg and "WT" not in block:
            raise BadInput(
                "a dose per kg needs the covariate WT", where=group_location, hint="WT = { median = 70, cv = 0.2 }"
            )
        key = (g.dose, tuple(sorted((k, str(v)) for k, v in g.covariates.items())))
        if key not in first_of:
            first_of[key] = (len(blocks), name)
            blocks.append(pd.DataFrame(block, index=range(part.patients)))
            regimens.append(regimen)
        arm.append(first_of[key][0])
    first = sorted(dose_units)[0]
    for unit in dose_units:
        units.require_dimension(unit, first, "a dose", where=f"{where} [summary.groups]")
    names_of = tuple(name for _, name in first_of.values())
    return VirtualArms(names_of, tuple(arm), tuple(regimens), pd.concat(blocks, ignore_index=True), first)


def list_spread_covariates(part: SummaryPart) -> list[str]:
    """The covariates that differ between patients of some group."""
    names = (c for g in part.groups.values() for c, x in g.covariates.items() if isinstance(x, SpreadPart))
    return list(dict.fromkeys(names))


def build_arm_timeline(
    arms: VirtualArms, model: Model, times: tuple[float, ...], varying: set[str], needs_infinity: bool, where: str
) -> tuple[Timeline, np.ndarray]:
    """The lanes' timeline and the activity given to each (N,).

    Observations are at `times`, sorted (they may repeat), and then one at the last dose or time, to integrate on from.
    """
    patients = len(arms.covariates) // len(arms.groups)
    ends = [max(d.at + d.addl * d.ii + d.over for d in r.doses) for r in arms.regimens]
    end = max([*times, *ends])
    if needs_infinity:
        for name, r in zip(arms.groups, arms.regimens, strict=True):
            if reason := explain_no_infinity(model, r):
                raise BadInput("no integral to infinity", where=f"{where} [summary.groups.{name}]", why=reason,
                               hint='give integrals a `time`')  # fmt: skip
    order = np.argsort(times, kind="stable")
    frames, activities = [], []
    for k, r in enumerate(arms.regimens):
        frame = r.to_frame(model, np.array([*np.asarray(times)[order], end]))
        block = arms.covariates.iloc[k * patients : (k + 1) * patients]
        for i in range(patients):
            weight = float(block["WT"].iloc[i]) if r.per_kg else 1.0
            amount = frame["AMT"].to_numpy() * np.where(frame["PER_KG"].to_numpy(bool), weight, 1.0)
            frames.append(frame.assign(AMT=amount))
            activities.append(float((amount * (1 + frame["ADDL"].to_numpy())).sum()))
    infusions = any(d.over for r in arms.regimens for d in r.doses)
    moving = moves_events(model.system, model.values[None, :, None], varying, infusions)
    if moving and needs_infinity:
        raise BadInput(
            "no integral to infinity where a lag moves the doses", where=where, hint="give integrals a `time`"
        )
    typical = np.repeat(model.values[None, :, None], len(frames), axis=2)
    return build_timeline(frames, model.system, moving=moving, typical=typical), np.array(activities)
