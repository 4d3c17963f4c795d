"""Which of a model's compartments lie in which region of the phantom: the file `dosimetry.toml` in the model's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pbpk.dosimetry.phantom.body import Phantom, load_regions
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.chains import nuclide_tag
from pbpk.nuclides.chains import chain
from pbpk.observe import name_amount
from pbpk.tables import read_toml

if TYPE_CHECKING:
    from pbpk.model.load import Model

OUTSIDE, BLOOD, OTHER = "outside", "blood", "other"
_GONADS = {"adult-male": "testes", "adult-female": "ovaries"}


@dataclass(frozen=True)
class Lesion:
    """A body of its own: `mass` is the row of the model that holds it, or grams; `within` the region it lies in."""

    name: str
    mass: str | float
    within: str


@dataclass(frozen=True)
class RegionMap:
    """By nuclide and region the compartments; `scale` the row that turns a daughter's count into its activity; `masses`
    the rows of the model that hold the masses of regions. `blood_is` "all" of the blood, or the "rest" that is in no
    organ named."""

    compartments: Mapping[str, Mapping[str, tuple[str, ...]]]
    activity_rows: Mapping[str, str]
    blood_is: str
    mass_rows: Mapping[str, str] = field(default_factory=dict)
    lesions: tuple[Lesion, ...] = ()

    @property
    def observed_amounts(self) -> tuple[str, ...]:
        """What a simulation must observe: the amounts in all compartments that give dose, each once. An observable may have
        a compartment's name and be more than it (an organ's blood, its cells), so these are asked for as amounts."""
        every = (
            name_amount(n)
            for by_region in self.compartments.values()
            for region, names in by_region.items()
            if region != OUTSIDE
            for n in names
        )
        return tuple(dict.fromkeys(every))


def read_region_map(model: Model, phantom: Phantom) -> RegionMap:
    """Of a model's variant. Raises `BadInput` where there is no file, or where it leaves a compartment of activity out: what
    is forgotten would be dose forgotten."""
    path = model.folder / "dosimetry.toml"
    if not path.exists():
        raise BadInput(
            f"the model `{model.name}` does not say which compartment lies in which organ",
            hint=f"write {path.name} in its folder (docs/dosimetry.md), or give time-integrated activities by region",
        )
    if model.nuclide is None:
        raise BadInput(f"the model `{model.name}` has no physical decay", hint="doses need activities, in MBq")
    given = read_toml(path)
    free = [c.name for c in model.system.compartments if c.unit.endswith("Bq")]
    every = tuple(free)
    lesions = _read_lesions(given.get("lesions"), model, every, phantom)
    rules = {BLOOD: [], **given.get("regions", {})}
    daughters = {m.name for m in chain(model.nuclide, evaluation="icrp107").members[1:] if not m.stable}
    found: dict[str, dict[str, tuple[str, ...]]] = {model.nuclide: {}}
    scale: dict[str, str] = {}

    def claim(nuclide: str, region: str, patterns: list[str], suffix: str = "") -> None:
        names = [n for n in free for p in patterns if fnmatchcase(n, p + suffix)]
        if names:
            for n in names:
                free.remove(n)
            place = found.setdefault(nuclide, {})
            place[_resolve_region(region, phantom, path.name)] = place.get(region, ()) + tuple(names)

    for nuclide, rule in given.get("daughters", {}).items():
        for region, patterns in rule.get("regions", {}).items():
            claim(nuclide, region, patterns)
        if nuclide in found:
            scale[nuclide] = _find_activity_row(
                model, nuclide, ("bismuth.activity", f"{nuclide_tag(nuclide)}.activity")
            )
    for lesion in lesions:
        rules[lesion.name] = [lesion.name, f"{lesion.name}_cells", f"{lesion.name}_bound"]
    for nuclide in (*sorted(daughters), model.nuclide):
        suffix = "" if nuclide == model.nuclide else f"_{nuclide_tag(nuclide)}"
        for region, patterns in rules.items():
            if region in {x.name for x in lesions}:
                names = tuple(n for p in patterns if (n := p + suffix) in free)
                for n in names:
                    free.remove(n)
                if names:
                    found.setdefault(nuclide, {})[region] = names
            else:
                claim(nuclide, region, patterns, suffix)
        if suffix and nuclide in found and nuclide not in scale:
            scale[nuclide] = _find_activity_row(model, nuclide, (f"{nuclide_tag(nuclide)}.activity",))
    if free:
        raise BadInput(
            f"these compartments lie in no region: {', '.join(free)}",
            where=str(path),
            why="Activity in them would give no dose.",
            hint="add them to a region, or to `outside`",
        )
    masses = {}
    for region, rows in given.get("masses", {}).items():
        held = [row for row in rows if row in model.parameters]
        masses |= {region: held[0]} if held else {}
    blood_is = given.get("blood_is", "all")
    if blood_is not in ("all", "rest"):
        raise BadInput(f'blood_is = "{blood_is}"', where=str(path), hint='"all" or "rest"')
    return RegionMap(found, scale, blood_is, masses, lesions)


def _find_activity_row(model: Model, nuclide: str, rows: tuple[str, ...]) -> str:
    for row in rows:
        if row in model.parameters:
            return row
    raise BadInput(f"no row of `{model.name}` turns counts of {nuclide} into its activity", hint=f"derive {rows[-1]}")


def _resolve_region(region: str, phantom: Phantom, where: str) -> str:
    if region == "gonads":
        return _GONADS[phantom]
    check_region(region, phantom, where)
    return region


def check_region(region: str, phantom: Phantom, where: str = "") -> None:
    """Raises `BadInput` for a source region that the phantom lacks."""
    known = [*load_regions(phantom), BLOOD, OTHER, OUTSIDE]
    if region not in known:
        hint = did_you_mean(region, known) or "pbpk dosimetry --regions lists them"
        raise BadInput(f"the phantom {phantom} has no region `{region}`", where=where, hint=hint)


def _read_lesions(rule: dict | None, model: Model, names: tuple[str, ...], phantom: Phantom) -> tuple[Lesion, ...]:
    if not rule:
        return ()
    sites = [s for s in model.options.get(rule["option"], "").split(",") if s and s != "none"]
    found = []
    for k, site in enumerate(sites, 1):
        name = rule["compartments"].replace("*", str(k))
        if name in names:
            within = rule["within"][site.strip()]
            check_region(within, phantom, "lesions")
            found.append(Lesion(name, f"{name}.{rule['mass']}", within))
    return tuple(found)
