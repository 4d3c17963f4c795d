"""A System drawn for the terminal: boxes for compartments, arrows with the names of their parameters.

A model whose arrows join neighbours (most of classical pharmacokinetics) is drawn as one row. Any other is a list of
boxes with their outgoing arrows beneath: arrows that cross help nobody. Physical decay leaves nearly every compartment
by the same parameter and would hide the rest, so it becomes one line at the end.
"""

from __future__ import annotations

import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING

from pbpk.model.declare import OUT, Flux

if TYPE_CHECKING:
    from pbpk.model.system import System

WIDTH = 100
DECAY = ("decay.k",)  # the parameters of an arrow made by organs.physical_decay

Arrows = dict[tuple[str, str], str]  # (source, target) to label, in the modeller's order


def draw_system(system: System) -> str:
    """Lines of at most 100 columns; the same model always gives the same drawing."""
    arrows: Arrows = {}
    for f in system.block.fluxes:
        if _parameter_names(f) != DECAY:
            ends = (f.path.source.name, f.path.target.name)
            arrows[ends] = (
                f"{arrows[ends]} + {', '.join(_parameter_names(f))}"
                if ends in arrows
                else ", ".join(_parameter_names(f))
            )
    lines = _draw_row(system, arrows) or _draw_list(system, arrows)
    for sentence in (_describe_decay(system), _describe_routes(system)):
        lines += textwrap.wrap(sentence, WIDTH, break_on_hyphens=False)
    return "\n".join(line.rstrip() for line in lines)


def _parameter_names(f: Flux) -> tuple[str, ...]:
    return tuple(b for _, b in f.bindings if isinstance(b, str))


def _draw_row(system: System, arrows: Arrows) -> list[str]:
    """Boxes side by side; [] where an arrow would have to jump over one, or where they do not fit."""
    names = system.names
    beside = {(a, b) for pair in pairwise(names) for a, b in (pair, pair[::-1])}
    if any(OUT.name not in ends and ends not in beside for ends in arrows):
        return []
    two_way = any((b, a) in arrows and OUT.name not in (a, b) for a, b in arrows)
    lid = right = left = floor = ""  # one line for arrows rightward and, where there are any, one for arrows leftward
    below, above, clear = [], [], 0  # (column, label) of arrows out of and into the model; where their labels end
    for i, name in enumerate(names):
        onward = arrows.get((names[i - 1], name), "") if i else ""
        back = arrows.get((name, names[i - 1]), "") if i else ""
        gap = max(len(onward), len(back)) + 7 if onward or back else 4 * (i > 0)
        gap = max(gap, clear - len(lid) - 2)
        right += f"── {onward} ".ljust(gap - 1, "─") + "▶" if onward else " " * gap
        left += "◀── " + f"{back} ".ljust(gap - 4, "─") if back else " " * gap
        lid, floor = lid + " " * gap, floor + " " * gap
        middle, inner = len(lid) + 1 + (len(name) + 1) // 2, len(name) + 2
        lid += "┌" + "─" * inner + "┐"
        floor += "└" + "─" * inner + "┘"
        right += f"│ {name} " + ("├" if (name, *names[i + 1 : i + 2]) in arrows else "│")
        left += ("┤" if back else "│") + " " * inner + "│"
        for label, where in ((arrows.get((name, OUT.name)), below), (arrows.get((OUT.name, name)), above)):
            if label:
                where.append((middle, label))
                clear = max(clear, middle + len(label) + 3)
        if (name, OUT.name) in arrows:
            floor = _put_mark(floor, middle, "┬")
    lines = [
        *_draw_hanging_arrows(above),
        lid,
        right,
        *([left] if two_way else []),
        floor,
        *_draw_hanging_arrows(below),
    ]
    return lines if max(map(len, lines)) <= WIDTH else []


def _put_mark(line: str, column: int, mark: str) -> str:
    return line.ljust(column)[:column] + mark + line[column + 1 :]


def _draw_hanging_arrows(arrows: list[tuple[int, str]]) -> list[str]:
    """Arrows downward, each with its label to the right: two lines, or none."""
    stem, head = "", ""
    for column, label in arrows:
        stem, head = _put_mark(stem, column, f"│ {label}"), _put_mark(head, column, "▼")
    return [stem, head] if arrows else []


def _draw_list(system: System, arrows: Arrows) -> list[str]:
    lines = []
    for (source, target), label in arrows.items():
        if source == OUT.name:
            lines.append(_clip_label("─", label, target))
    for name in system.names:
        away = [(target, label) for (source, target), label in arrows.items() if source == name]
        lines.append("┌" + "─" * (len(name) + 2) + "┐")
        lines.append(f"│ {name} │")
        lines.append("└" + ("─┬" if away else "──") + "─" * len(name) + "┘")
        for i, (target, label) in enumerate(away):
            lines.append(_clip_label("  ├" if i + 1 < len(away) else "  └", label, target))
    return lines


def _clip_label(stem: str, label: str, target: str) -> str:
    """`├─ label ─▶ target`, the label shortened where the line would be too long."""
    room = max(WIDTH - len(stem) - len(target) - 6, 1)
    label = label if len(label) <= room else label[: room - 1] + "…"
    return f"{stem}─ {label} ─▶ {target}"[:WIDTH]


def _describe_decay(system: System) -> str:
    decays = [f for f in system.block.fluxes if _parameter_names(f) == DECAY]
    if not decays:
        return ""
    from_names = [f.path.source.name for f in decays]
    into = {f.path.target.name for f in decays} - {OUT.name}
    stable = [n for n in system.names if n not in from_names and n not in into]
    if len(stable) < len(from_names):
        subject = "every compartment" + (f" but {_join_names(stable)}" if stable else "") + " decays"
    else:
        subject = _join_names(from_names) + (" decays" if len(from_names) == 1 else " decay")
    return f"{subject} (decay.k)" + (f" into {_join_names(sorted(into))}" if into else "")


def _describe_routes(system: System) -> str:
    routes = [f"{word} into {c.name}" for word, c in system.block.routes.items()]
    return f"doses: {', '.join(routes)}" if routes else ""


def _join_names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
