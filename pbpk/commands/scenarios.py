"""`--vary NAME=A|B|C`: several simulations out of one call, a scenario for each value; several `--vary` cross.

NAME is a parameter or covariate (as in --set), `option.NAME` (as in --option), `nuclide` (as in --nuclide) or `dose`, which
is given beside what --dose gives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from pbpk.errors import BadInput, PbpkError, WrongUsage

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.regimen.regimen import Regimen

MOST = 24  # lines in one panel that a reader can still tell apart
FORM = 'write --vary "NAME=A|B|C", as in "CL=2|4" or "dose=100 mg oral|100 mg iv"'

Factors = dict[str, tuple[str, ...]]  # what is varied, and its values, as they were typed


@dataclass(frozen=True)
class Scenario:
    """One simulation of a call. `name` joins the `settings`, the value of each thing that is varied, as
    `purity=0.6, drivers=rhtsh`; both are empty for the only simulation of a call."""

    name: str
    settings: dict[str, str]
    model: Model
    regimen: Regimen


@dataclass(frozen=True)
class CommonSettings:
    """The settings that all scenarios share."""

    model: str
    nuclide: str | None
    values: Mapping[str, str]
    options: Mapping[str, str]
    regimen: Regimen


def read_factors(words: Sequence[str]) -> Factors:
    """Read `--vary NAME=A|B|C`. Raises `WrongUsage` for what cannot be read, is empty or comes twice, and for too many
    scenarios."""
    factors: Factors = {}
    for text in words:
        name, equals, rest = text.partition("=")
        name, values = name.strip(), tuple(" ".join(v.split()) for v in rest.split("|"))
        if not equals or not name:
            raise WrongUsage(f'--vary "{text}" cannot be read', hint=FORM)
        if "" in values:
            raise WrongUsage(f'--vary "{text}" has an empty value', hint=FORM)
        if name in factors:
            raise WrongUsage(f"`{name}` is varied twice", hint="give all its values in one --vary, separated by |")
        for v in values:
            if values.count(v) > 1:
                raise WrongUsage(f'--vary "{text}" gives {v} twice', hint="each scenario once")
        factors[name] = values
    sizes = [len(v) for v in factors.values()]
    if prod(sizes) > MOST:
        product_text = " x ".join(map(str, sizes)) + " = " if len(sizes) > 1 else ""
        raise WrongUsage(
            f"--vary asks for {product_text}{prod(sizes)} scenarios; {MOST} is the most that one figure can show",
            hint="fewer values, or several calls",
        )
    return factors


def build_scenarios(factors: Factors, common: CommonSettings) -> list[Scenario]:
    """A Scenario for each combination. Raises `BadInput` that names the scenario, `WrongUsage` for two that are the same."""
    _refuse_twice(factors, common)
    scenarios: list[Scenario] = []
    name_by_content: dict[tuple, str] = {}
    for values in product(*factors.values()):
        settings = dict(zip(factors, values, strict=True))
        name = ", ".join(f"{k.removeprefix('option.')}={v}" for k, v in settings.items())
        try:
            scenario = _build(name, settings, common)
        except PbpkError as e:
            _refuse_bare_option(factors, common)
            why = "\n".join(filter(None, [f"in the scenario {name}", e.why]))
            raise type(e)(e.what, where=e.where, why=why, hint=e.hint) from None
        same = name_by_content.setdefault(_content(scenario), name)
        if same != name:
            raise WrongUsage(f"the scenarios {same} and {name} are the same", hint="each scenario once")
        scenarios.append(scenario)
    return scenarios


def _build(name: str, settings: dict[str, str], common: CommonSettings) -> Scenario:
    import numpy as np

    from pbpk.model.load import load_model

    special = {k for k in settings if k in ("dose", "nuclide") or k.startswith("option.")}
    options = {k.removeprefix("option."): v for k, v in settings.items() if k.startswith("option.")}
    values = {k: v for k, v in settings.items() if k not in special}
    model = load_model(
        common.model,
        nuclide=settings.get("nuclide", common.nuclide),
        values={**common.values, **values},
        options={**common.options, **options},
    )
    regimen = common.regimen + read_doses(settings.get("dose", "none"))
    if not regimen.doses:
        raise WrongUsage("no dose is given", hint='--dose "100 mg oral" is given in every scenario')
    regimen.to_frame(model, np.zeros(1))  # where it goes and in what unit, before any time is spent on solving
    return Scenario(name, settings, model, regimen)


def read_doses(text: str) -> Regimen:
    """Read doses in words, joined by "+" or ";"; "none" means no dose."""
    from pbpk.regimen.dose import parse_dose
    from pbpk.regimen.regimen import Regimen

    if text.lower() == "none":
        return Regimen(())
    return parse_dose(re.sub(r"(?<!\d[eE])\+", ";", text))


def _refuse_twice(factors: Factors, common: CommonSettings) -> None:
    settled = [("--set", k, k) for k in common.values] + [("--option", k, f"option.{k}") for k in common.options]
    settled += [("--nuclide", "nuclide", "nuclide")] if common.nuclide else []
    for flag, name, varied in settled:
        if varied in factors:
            raise WrongUsage(f"`{name}` is given by {flag} and varied as well", hint=f"leave {flag} or --vary out")


def _refuse_bare_option(factors: Factors, common: CommonSettings) -> None:
    """`drivers=none|rhtsh` for `option.drivers=none|rhtsh`."""
    from pbpk.model.load import load_model

    try:
        model = load_model(common.model)
    except PbpkError:
        return
    for choice in model.choices:
        if choice.name in factors and choice.name not in model.parameters:
            values = "|".join(factors[choice.name])
            raise BadInput(
                f"`{choice.name}` is an option of the model, not a parameter",
                hint=f'write --vary "option.{choice.name}={values}"',
            ) from None


def _content(scenario: Scenario) -> tuple:
    """A key that is equal for two scenarios that simulate the same, whatever words they were asked for in."""
    model = scenario.model
    numbers = [(n, row.value) for n, row in (*model.parameters.rows.items(), *model.parameters.covariates.items())]
    return tuple(sorted(model.options.items())), model.nuclide, tuple(numbers), scenario.regimen
