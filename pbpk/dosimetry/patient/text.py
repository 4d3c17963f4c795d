"""A patient's report as text of fixed width, or as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pbpk.dosimetry.uncertain.doses import BED, DOSE, WEIGHTED, DoseUncertainty

if TYPE_CHECKING:
    from pbpk.dosimetry.cells.report import AlphaReportRow
    from pbpk.dosimetry.patient.report import OrganReport, PatientReport
    from pbpk.dosimetry.uncertain.spread import DoseSpread

WIDTH = 150
_ORGANS = (
    "organ",
    "g",
    "alpha",
    "electron",
    "photon",
    "Gy",
    "RBE (90 %)",
    "endpoint",
    "RBE·Gy",
    "G",
    "BED",
    "RBE-BED",
    "EQD2",
)
_CELLS = (
    *("target, cell", "mean Gy", "Gy to nucleus", "hits", "un-hit", "zF, Gy"),
    *("S 1-hit", "S LQ f(z)", "S MKM", "S beta", "S beta·RBE", "RBE-BED", "beta BED"),
)

_ABOUT = (
    "Gy is the mean dose, all radiations alike (RBE 1): what the formalism of beta emitters uses; BED is its BED. G: "
    "Lea–Catcheside, of each organ's dose rate. RBE·Gy, RBE-BED and EQD2, which is of RBE-BED, take the mean RBE. "
)
_SURVIVAL = (
    "S: share of cells that survive, by single hits, by LQ over the spectrum of specific energy (which overstates how much the "
    "spread spares: an RBE has that in it), and by MKM. S beta: by the beta formalism, where every cell gets the mean, with "
    "RBE 1 and with the mean RBE. RBE-BED is of the nucleus's dose."
)

_RESTS = "What this rests on"


def render_report(report: PatientReport, markdown: bool = False) -> str:
    weight = f" in {report.weight:g} kg ({report.activity / report.weight:.3g} MBq/kg)" if report.weight else ""
    head = f"{report.activity:.4g} MBq of {report.nuclide}{weight}: {report.model}, {report.phantom}, typical kinetics"
    letters = _letters(report.organs)
    layers = {
        o.name for o in report.organs if any(n.startswith(f"{o.name} is its target layer") for n in report.assumed)
    }
    organs = [_organ(o, letters, "*" if o.name in layers else "") for o in report.organs]
    parts = [f"# {head}" if markdown else head, _table(_ORGANS, organs, markdown, {0, 7})]
    parts.append(
        _ABOUT + "Endpoints: " + "; ".join(f"{k} {v}" for v, k in letters.items()) + "." if letters else _ABOUT
    )
    if layers:
        parts.append(f"* Of a target layer alone, on an assumption: see {_RESTS.lower()}.")
    if report.cells:
        cells = [_cell(r) for r in report.cells]
        parts += [_heading("Cells, hit by hit", markdown), _table(_CELLS, cells, markdown, {0})]
        parts.append(_SURVIVAL)
    if report.uncertainty:
        parts += [_heading("Uncertainty", markdown), render_uncertainty_briefly(report.uncertainty, markdown)]
    parts.append(_heading(_RESTS, markdown))
    notes = [
        *report.assumed,
        f"check: dose rates, sampled, integrate to within {abs(report.integrates_to - 1):.1g} of the doses",
    ]
    parts.append("\n".join(_bullet(n, markdown) for n in notes))
    return "\n\n".join(p if markdown else _wrapped(p) for p in parts)


def render_uncertainty(found: DoseUncertainty, markdown: bool = False) -> str:
    """A table of each quantity: mean, SD, interval, and shares of the variance."""
    blocks = []
    titles = {DOSE: "absorbed dose, Gy", WEIGHTED: "RBE-weighted dose, Gy", BED: "BED with RBE, Gy"}
    for quantity, of in found.spreads.items():
        origins = _origins(of)
        header = (titles[quantity], "value", "mean", "SD", f"{found.level:.0%} interval", *(f"by {o}" for o in origins))
        rows = [
            (t, _shown(s.value), _shown(s.mean), _shown(s.sd), _interval(s), *_shares(s, origins))
            for t, s in of.items()
        ]
        blocks.append(_table(header, rows, markdown, {0}))
    return "\n\n".join([*blocks, _rests_on(found, markdown)])


def render_uncertainty_briefly(found: DoseUncertainty, markdown: bool = False) -> str:
    """One table: dose and BED, mean and interval, and the shares of BED's variance."""
    effect = found.spreads.get(BED, {})
    origins = _origins(effect)
    header = ("organ", "Gy, mean", "SD", f"{found.level:.0%}", "RBE-BED, mean", "SD", f"{found.level:.0%}")
    rows = []
    for t, s in found.spreads[DOSE].items():
        b = effect.get(t)
        judged = (
            (_shown(b.mean), _shown(b.sd), _interval(b), *_shares(b, origins)) if b else ("–",) * (3 + len(origins))
        )
        rows.append((t, _shown(s.mean), _shown(s.sd), _interval(s), *judged))
    table = _table((*header, *(f"by {o}" for o in origins)), rows, markdown, {0})
    return "\n\n".join([table, _rests_on(found, markdown)])


def _origins(of: Mapping[str, DoseSpread]) -> list[str]:
    named = dict.fromkeys(o for s in of.values() for o in s.share)
    return [o for o in named if any(s.share.get(o, 0.0) > 0 for s in of.values())]


def _shares(s: DoseSpread, origins: Sequence[str]) -> list[str]:
    return [f"{s.share.get(o, 0.0):.0%}" for o in origins]


def _interval(s: DoseSpread) -> str:
    return f"{_shown(s.low)} to {_shown(s.high)}"


def _rests_on(found: DoseUncertainty, markdown: bool) -> str:
    lost = (
        [f"{found.failed_draws} of {found.draws} draws gave no number and are left out"] if found.failed_draws else []
    )
    words = "; ".join([*found.notes, *lost]) + "."
    return words if markdown else textwrap.fill(words, WIDTH)


def _letters(organs: Sequence[OrganReport]) -> dict[str, str]:
    """By endpoint, in the order of appearance."""
    named = dict.fromkeys(o.biology.rbe.endpoint for o in organs if o.biology and o.alpha > 0)
    return {endpoint: chr(ord("a") + i) for i, endpoint in enumerate(named)}


def _organ(o: OrganReport, letters: dict[str, str], mark: str = "") -> tuple[str, ...]:
    plain = (
        o.name + mark,
        "–" if o.mass is None else f"{o.mass:.4g}",
        *map(_shown, (o.alpha, o.electron, o.photon, o.dose)),
    )
    j = o.effect
    if j is None or o.biology is None:
        return (*plain, *["–"] * 7)
    rbe = (
        (f"{j.rbe:.2g} ({j.rbe_90[0]:.2g}–{j.rbe_90[1]:.2g})", letters[o.biology.rbe.endpoint])
        if o.alpha
        else ("–", "–")
    )
    return (*plain, *rbe, *map(_shown, (j.weighted, j.protraction, j.bed, j.rbe_bed, j.eqd2)))


def _cell(row: AlphaReportRow) -> tuple[str, ...]:
    a, b, t = row.alpha, row.beta, row.target
    numbers = (t.alpha + t.low, a.dose, a.hits, a.unhit, a.zf, a.single_hit, a.lq, a.mkm, b.survival, b.survival_rbe)
    return (f"{t.name}, {t.tissue.cell}", *(_shown(float(x)) for x in (*numbers, a.bed, b.bed)))


def _shown(x: float) -> str:
    """Three digits."""
    return f"{x:.3g}" if x == 0 or 1e-3 <= abs(x) < 1e4 else f"{x:.1e}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool, left: set[int]) -> str:
    if markdown:
        lines = [header, ["---" if i in left else "---:" for i in range(len(header))], *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    wide = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, wide, strict=True))
        )

    return "\n".join(line(x).rstrip() for x in (header, *rows))


def _heading(words: str, markdown: bool) -> str:
    return f"## {words}" if markdown else words


def _bullet(note: str, markdown: bool) -> str:
    return f"- {note}" if markdown else textwrap.fill(note, WIDTH, initial_indent="- ", subsequent_indent="  ")


def _wrapped(part: str) -> str:
    """Prose within the width; tables and lists as they are."""
    return textwrap.fill(part, WIDTH) if "\n" not in part else part
