"""Which of a model's compartments lie in which region of the phantom: the file `dosimetry.toml` in the model's folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pbpk.dosimetry.phantom.body import Phantom, load_regions
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.chains import nuclide_tag
from pbpk.nuclides.chains import chain
from pbpk.observe.readings import name_amount
from pbpk.tables import read_toml

if TYPE_CHECKING:
    from pbpk.model.load import Model

OUTSIDE, BLOOD, OTHER = "outside", "blood", "other"
_GONADS = {"adult-male": "testes", "adult-female": "ovaries"}


@dataclass(frozen=True)
class Lesion:
    """A sphere of its own: `mass` is the row of the model that holds it, or grams; `within` the region it lies in."""

    name: str
    mass: str | float
    within: str


@dataclass(frozen=True)
class RegionMap:
    """Where a model's compartments of activity lie.

    `compartments` by nuclide and region; `activity_rows` by daughter, the row that turns its count into its activity;
    `blood_is` "all" of the blood, or the "rest" that is in no organ named; `mass_rows` by region, the row of the model that
    holds its mass; `lesions` with the rows of theirs.
    """

    compartments: Mapping[str, Mapping[str, tuple[str, ...]]]
    activity_rows: Mapping[str, str]
    blood_is: str
    mass_rows: Mapping[str, str] = field(default_factory=dict)
    lesions: tuple[Lesion, ...] = ()

    @property
    def observed_amounts(self) -> tuple[str, ...]:
        """What a simulation must observe: the amounts in all compartments that give dose, each once. An observable may have
        a compartment's name and be more than it (an organ's blood, its cells), so these are asked for as amounts."""
        amounts = (
            name_amount(n)
            for by_region in self.compartments.values()
            for region, names in by_region.items()
            if region != OUTSIDE
            for n in names
        )
        return tuple(dict.fromkeys(amounts))


def read_region_map(model: Model, phantom: Phantom) -> RegionMap:
    """Read `dosimetry.toml` for a model's variant.

    Raises `BadInput` where there is no file, or where it leaves a compartment of activity out: what is forgotten would be
    dose forgotten.
    """
    path = model.folder / "dosimetry.toml"
    if not path.exists():
        raise BadInput(
            f"the model `{model.name}` does not say which compartment lies in which organ",
            hint=f"write {path.name} in its folder (docs/dosimetry.md), or give time-integrated activities by region",
        )
    if model.nuclide is None:
        raise BadInput(f"the model `{model.name}` has no physical decay", hint="doses need activities, in MBq")
    rules = read_toml(path)
    lesions = _read_lesions(rules.get("lesions"), model, phantom)
    compartments, activity_rows, unplaced = _place_compartments(rules, lesions, model, phantom)
    if unplaced:
        raise BadInput(
            f"these compartments lie in no region: {', '.join(unplaced)}",
            where=str(path),
            why="Activity in them would give no dose.",
            hint="add them to a region, or to `outside`",
        )
    mass_rows = {}
    for region, rows in rules.get("masses", {}).items():
        present = [row for row in rows if row in model.parameters]
        mass_rows |= {region: present[0]} if present else {}
    blood_is = rules.get("blood_is", "all")
    if blood_is not in ("all", "rest"):
        raise BadInput(f'blood_is = "{blood_is}"', where=str(path), hint='"all" or "rest"')
    return RegionMap(compartments, activity_rows, blood_is, mass_rows, lesions)


def _place_compartments(
    rules: dict, lesions: tuple[Lesion, ...], model: Model, phantom: Phantom
) -> tuple[dict[str, dict[str, tuple[str, ...]]], dict[str, str], list[str]]:
    """Compartments by nuclide and region, the rows of daughters' activities, and the compartments that no rule places.

    A compartment belongs to the first rule that matches it: those of `[daughters]`, then lesions and regions for each
    daughter, whose compartments carry its tag, and for the parent last.
    """
    assert model.nuclide is not None
    unplaced = [c.name for c in model.system.compartments if c.unit.endswith("Bq")]
    placed: dict[str, dict[str, tuple[str, ...]]] = {model.nuclide: {}}
    activity_rows: dict[str, str] = {}

    def claim(nuclide: str, region: str, names: list[str]) -> None:
        for n in names:
            unplaced.remove(n)
        if names:
            by_region = placed.setdefault(nuclide, {})
            by_region[region] = by_region.get(region, ()) + tuple(names)

    def match(patterns: list[str], suffix: str = "") -> list[str]:
        return [n for n in unplaced for p in patterns if fnmatchcase(n, p + suffix)]

    where = "dosimetry.toml"
    for nuclide, rule in rules.get("daughters", {}).items():
        for region, patterns in rule.get("regions", {}).items():
            if names := match(patterns):
                claim(nuclide, _resolve_region(region, phantom, where), names)
        if nuclide in placed:
            activity_rows[nuclide] = _find_activity_row(
                model, nuclide, ("bismuth.activity", f"{nuclide_tag(nuclide)}.activity")
            )
    chain_members = chain(model.nuclide, evaluation="icrp107").members
    daughters = {m.name for m in chain_members[1:] if not m.stable}
    regions = {BLOOD: [], **rules.get("regions", {})}
    for nuclide in (*sorted(daughters), model.nuclide):
        suffix = "" if nuclide == model.nuclide else f"_{nuclide_tag(nuclide)}"
        for region, patterns in regions.items():
            if names := match(patterns, suffix):
                claim(nuclide, _resolve_region(region, phantom, where), names)
        for lesion in lesions:
            parts = (f"{lesion.name}{part}{suffix}" for part in ("", "_cells", "_bound"))
            claim(nuclide, lesion.name, [n for n in parts if n in unplaced])
        if suffix and nuclide in placed and nuclide not in activity_rows:
            activity_rows[nuclide] = _find_activity_row(model, nuclide, (f"{nuclide_tag(nuclide)}.activity",))
    return placed, activity_rows, unplaced


def _find_activity_row(model: Model, nuclide: str, rows: tuple[str, ...]) -> str:
    for row in rows:
        if row in model.parameters:
            return row
    raise BadInput(f"no row of `{model.name}` turns counts of {nuclide} into its activity", hint=f"derive {rows[-1]}")


def _resolve_region(region: str, phantom: Phantom, where: str) -> str:
    """The phantom's own name of a region."""
    if region == "gonads":
        return _GONADS[phantom]
    check_region(region, phantom, where)
    return region


def check_region(region: str, phantom: Phantom, where: str = "") -> None:
    """Raise `BadInput` for a source region that the phantom lacks."""
    known = [*load_regions(phantom), BLOOD, OTHER, OUTSIDE]
    if region not in known:
        hint = did_you_mean(region, known) or "pbpk dosimetry --regions lists them"
        raise BadInput(f"the phantom {phantom} has no region `{region}`", where=where, hint=hint)


def spell_region(written: str, phantom: Phantom) -> str:
    """The phantom's own spelling of a region that a table writes in other letters or with spaces: "Kidneys", "red marrow". What
    is no region stands as it is."""
    by_words = {name.lower(): name for name in (*load_regions(phantom), BLOOD, OTHER, OUTSIDE)}
    return by_words.get(re.sub(r"[\W_]+", "_", written).strip("_").lower(), written)


def _read_lesions(rule: dict | None, model: Model, phantom: Phantom) -> tuple[Lesion, ...]:
    """The lesions of the model's option, numbered from 1, as far as the variant has their compartments."""
    if not rule:
        return ()
    names = [c.name for c in model.system.compartments if c.unit.endswith("Bq")]
    sites = [s for s in model.options.get(rule["option"], "").split(",") if s and s != "none"]
    lesions = []
    for k, site in enumerate(sites, 1):
        name = rule["compartments"].replace("*", str(k))
        if name in names:
            within = rule["within"][site.strip()]
            check_region(within, phantom, "lesions")
            lesions.append(Lesion(name, f"{name}.{rule['mass']}", within))
    return tuple(lesions)
