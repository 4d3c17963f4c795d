"""Decay chains in a body: the compartments, rates and rows that a nuclide's daughters add (`decay_chain` in organs.py).

Every species is counted as the activity of the parent that as many atoms would have, N·λ(parent): an atom counts the same
whatever it has become, so that all compartments together always hold what was given. The activity of a daughter is that
count times its row `TAG.activity`, λ/λ(parent): `observe("thyroid_po211", total(…), "…", scale="po211.activity")`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pbpk.errors import BadInput, did_you_mean
from pbpk.model.declare import Compartment
from pbpk.model.parameters import read_number
from pbpk.model.rules import complement, product, ratio, remaining_share, same
from pbpk.nuclides import DecayBranch, Nuclide, load_nuclide
from pbpk.nuclides.chains import DecayChain, chain

Displaced = Mapping[str, Compartment | Mapping[Compartment, Compartment]]


def decay_constant(half_life):
    """ln 2 / half-life."""
    return math.log(2) / half_life


@dataclass(frozen=True)
class NearNuclideConstant:
    """A demand that the decay constant k is that of one nuclide, within 5 %: evaluations differ by less."""

    decay_constant: float

    def __call__(self, k):
        return 0.05 - abs(k / self.decay_constant - 1)


def nuclide_tag(nuclide: str) -> str:
    """A nuclide's name as rows and compartments spell it: `Po-211` is `po211`."""
    return load_nuclide(nuclide).name.replace("-", "").lower()


def daughter(compartment: Compartment, nuclide: str) -> Compartment:
    """The compartment of a daughter nuclide at the place of `compartment`: `blood_bi207`, of the same volume."""
    return Compartment(f"{compartment.name}_{nuclide_tag(nuclide)}", compartment.unit, volume=compartment.volume)


@dataclass
class ChainPlan:
    """What a chain adds to a model: arrows (source, target, rate constant), derived rows (name, rule, about, of) and
    demands (words, rule, of)."""

    compartments: dict[Compartment, None] = field(default_factory=dict)
    arrows: list[tuple[Compartment, Compartment, str]] = field(default_factory=list)
    derived: list[tuple[str, Callable, str, dict[str, str | tuple[str, ...]]]] = field(default_factory=list)
    demands: list[tuple[str, Callable, dict[str, str]]] = field(default_factory=list)

    def derive(self, name: str, rule: Callable, about: str, **of: str | tuple[str, ...]) -> str:
        """Add a derived row and return its name."""
        self.derived.append((name, rule, about, of))
        return name

    def demand(self, words: str, rule: Callable, **of: str) -> None:
        """Add a condition on the rows."""
        self.demands.append((words, rule, of))


def plan_chain(
    links: DecayChain,
    compartments: tuple[Compartment, ...],
    into: Compartment,
    displaced: Displaced,
    also: Mapping[str, tuple[Compartment, ...]],
) -> ChainPlan:
    """What `decay_chain` (organs.py) makes into a Block; it is there so that errors name the line of the modeller."""
    if links.members[0].stable:
        raise BadInput(f"{links.names[0]} is stable: it has no chain")
    moved, extra = _check_daughters(displaced, links, "displaced"), _check_daughters(also, links, "also")
    followed = {m.name for m in links.members if not m.stable}
    home: dict[str, dict[Compartment, None]] = {m.name: dict.fromkeys(extra.get(m.name, ())) for m in links.members}
    home[links.names[0]] = dict.fromkeys(compartments)
    plan = ChainPlan(dict.fromkeys(compartments))
    words = f"the model follows the chain of {links.names[0]}, and `decay.k` is another nuclide's"
    plan.demand(words, NearNuclideConstant(links.members[0].decay_constant), k="decay.k")

    def place(nuclide: str, c: Compartment) -> Compartment:
        return c if nuclide == links.names[0] else daughter(c, nuclide)

    for mother in links.members:
        if mother.stable:
            continue
        plan.compartments |= dict.fromkeys(place(mother.name, c) for c in home[mother.name])
        k = _derive_constants(plan, mother, links)
        if followed.isdisjoint(d.to for d in mother.decays):
            plan.arrows += [(place(mother.name, c), into, k) for c in home[mother.name]]
            continue
        for decay, birth in _derive_births(plan, mother, k):
            if decay.to not in followed:
                plan.arrows += [(place(mother.name, c), into, birth) for c in home[mother.name]]
                continue
            goes = _make_destination(moved.get(decay.to))
            stays, leaves = _split_displaced(plan, mother, decay, birth) if decay.to in moved else (birth, "")
            for c in home[mother.name]:
                source, away = place(mother.name, c), goes(c)
                if away == c:
                    plan.arrows.append((source, place(decay.to, c), birth))
                else:
                    plan.arrows.append((source, place(decay.to, c), stays))
                    plan.arrows.append((source, place(decay.to, away), leaves))
                home[decay.to] |= {c: None, away: None}
    return plan


def _check_daughters(places: Mapping, links: DecayChain, argument: str) -> dict:
    able = [m.name for m in links.members[1:] if not m.stable]
    by_name = {load_nuclide(name).name: value for name, value in places.items()}
    for name in by_name:
        if name not in able:
            raise BadInput(
                f"`{argument}` has {name}, which is no daughter in this chain", hint=did_you_mean(name, able)
            )
    return by_name


def _make_destination(
    to: Compartment | Mapping[Compartment, Compartment] | None,
) -> Callable[[Compartment], Compartment]:
    if isinstance(to, Mapping):
        return lambda c: to.get(c, c)
    return lambda c: c if to is None else to


def _derive_constants(plan: ChainPlan, mother: Nuclide, links: DecayChain) -> str:
    """The row of a nuclide's decay constant."""
    if mother is links.members[0]:
        return "decay.k"
    prefix, per = nuclide_tag(mother.name), f"activity of {mother.name} over that of as many atoms of {links.names[0]}"
    k = plan.derive(f"{prefix}.k", decay_constant, f"decay constant of {mother.name}", half_life=f"{prefix}.half_life")
    plan.derive(f"{prefix}.activity", ratio, per, a=k, b="decay.k")
    return k


def _derive_births(plan: ChainPlan, mother: Nuclide, k: str) -> list[tuple[DecayBranch, str]]:
    """Each decay with the row of its rate constant: shares are rows, and the greatest of them is what the others leave."""
    if len(mother.decays) == 1:
        return [(mother.decays[0], k)]
    *others, main = sorted(mother.decays, key=lambda d: d.branch)
    shares = tuple(f"{nuclide_tag(d.to)}.branch" for d in others)
    largest_share = plan.derive(f"{nuclide_tag(main.to)}.branch", remaining_share, _share(mother, main), parts=shares)
    plan.demand(f"the shares of the decays of {mother.name} add up to more than 1", same, a=largest_share)
    return [
        (d, plan.derive(_edge(mother, d), product, _rate(mother, d), a=k, b=f"{nuclide_tag(d.to)}.branch"))
        for d in mother.decays
    ]


def _split_displaced(plan: ChainPlan, mother: Nuclide, decay: DecayBranch, birth: str) -> tuple[str, str]:
    """The rows of the rates of being born and staying, and of being born and displaced."""
    prefix = nuclide_tag(decay.to)
    share, stay, edge = f"{prefix}.displaced", f"{prefix}.stays", _edge(mother, decay)
    if all(name != stay for name, *_ in plan.derived):
        plan.derive(stay, complement, f"share of {decay.to} that stays where it is born", share=share)
        plan.demand(f"more than all of {decay.to} is displaced", same, a=stay)
    return (
        plan.derive(f"{edge}_stays", product, f"{_rate(mother, decay)} and stays", a=birth, b=stay),
        plan.derive(f"{edge}_leaves", product, f"{_rate(mother, decay)} and leaves", a=birth, b=share),
    )


def _edge(mother: Nuclide, decay: DecayBranch) -> str:
    return f"{nuclide_tag(decay.to)}.from_{nuclide_tag(mother.name)}"


def _rate(mother: Nuclide, decay: DecayBranch) -> str:
    return f"rate at which {mother.name} becomes {decay.to}"


def _share(mother: Nuclide, decay: DecayBranch) -> str:
    return f"share of the decays of {mother.name} that give {decay.to}"


def chain_rows(nuclide: str, without: str | Iterable[str] = ()) -> str:
    """The rows that `decay_chain` wants of parameters.toml, as text, with ENSDF's numbers.

    Their sources are keys of pbpk/nuclides/references.bib. What is displaced is for the modeller to say.
    """
    links = chain(nuclide, without)
    followed = [m for m in links.members if not m.stable]
    tables: dict[str, list[str]] = {nuclide_tag(m.name): [] for m in followed[1:]}
    for m in followed[1:]:
        tables[nuclide_tag(m.name)].append(
            f"half_life = {_row(*read_number(m.stated), f'half-life of {m.name}', m.source)}"
        )
    for mother in followed:
        if any(nuclide_tag(d.to) in tables for d in mother.decays):
            for decay in sorted(mother.decays, key=lambda d: d.branch)[:-1]:
                row = _row(decay.branch, "1", _share(mother, decay), decay.source, ", range = [0, 1]")
                tables.setdefault(nuclide_tag(decay.to), []).append(f"branch = {row}")
    return "\n\n".join("\n".join((f"[{name}]", *rows)) for name, rows in tables.items()) + "\n"


def _row(value: float, unit: str, about: str, source: str, more: str = "") -> str:
    return f'{{ value = {value!r}, unit = "{unit}", about = "{about}", source = "{source}"{more} }}'
