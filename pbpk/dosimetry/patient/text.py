"""Print a patient's report and the uncertainty of doses: text of fixed width, or Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pbpk.dosimetry.uncertain.result import BED, DOSE, WEIGHTED

if TYPE_CHECKING:
    from pbpk.dosimetry.cells.report import AlphaReportRow
    from pbpk.dosimetry.patient.organs import OrganReport
    from pbpk.dosimetry.uncertain.result import DoseUncertainty
    from pbpk.dosimetry.uncertain.spread import DoseSpread

WIDTH = 150
_ORGAN_HEADER = (
    *("organ", "g", "alpha", "electron", "photon", "Gy", "RBE (90 %)", "endpoint"),
    *("RBE·Gy", "G", "BED", "RBE-BED", "EQD2"),
)
_CELL_HEADER = (
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


def render_page(
    title: str,
    organs: Sequence[OrganReport],
    cells: Sequence[AlphaReportRow],
    uncertainty: DoseUncertainty | None,
    notes: Sequence[str],
    markdown: bool = False,
) -> str:
    """One patient's page: a table of organs, one of cells and one of uncertainty where there are such, and the notes.

    An organ that a note calls its target layer gets a star, since its dose is not the mean over the organ.
    """
    letters = _letter_endpoints(organs)
    layers = {o.name for o in organs if any(n.startswith(f"{o.name} is its target layer") for n in notes)}
    rows = [_organ_row(o, letters, "*" if o.name in layers else "") for o in organs]
    parts = [f"# {title}" if markdown else title, _table(_ORGAN_HEADER, rows, markdown, {0, 7})]
    endpoints = "Endpoints: " + "; ".join(f"{k} {v}" for v, k in letters.items()) + "."
    parts.append(_ABOUT + endpoints if letters else _ABOUT)
    if layers:
        parts.append(f"* Of a target layer alone, on an assumption: see {_RESTS.lower()}.")
    if cells:
        rows = [_cell_row(r) for r in cells]
        parts += [_heading("Cells, hit by hit", markdown), _table(_CELL_HEADER, rows, markdown, {0})]
        parts.append(_SURVIVAL)
    if uncertainty:
        parts += [_heading("Uncertainty", markdown), render_uncertainty_briefly(uncertainty, markdown)]
    parts.append(_heading(_RESTS, markdown))
    parts.append("\n".join(_bullet(n, markdown) for n in notes))
    return "\n\n".join(p if markdown else _wrap(p) for p in parts)


def render_uncertainty(uncertainty: DoseUncertainty, markdown: bool = False) -> str:
    """A table of each quantity: mean, SD, interval, and shares of the variance."""
    blocks = []
    titles = {DOSE: "absorbed dose, Gy", WEIGHTED: "RBE-weighted dose, Gy", BED: "BED with RBE, Gy"}
    interval = f"{uncertainty.level:.0%} interval"
    for quantity, spreads in uncertainty.spreads.items():
        origins = _list_origins(spreads)
        header = (titles[quantity], "value", "mean", "SD", interval, *(f"by {o}" for o in origins))
        rows = [
            (t, _digits(s.value), _digits(s.mean), _digits(s.sd), _interval(s), *_shares(s, origins))
            for t, s in spreads.items()
        ]
        blocks.append(_table(header, rows, markdown, {0}))
    return "\n\n".join([*blocks, _join_notes(uncertainty, markdown)])


def render_uncertainty_briefly(uncertainty: DoseUncertainty, markdown: bool = False) -> str:
    """One table: dose and BED, mean and interval, and the shares of BED's variance."""
    effects = uncertainty.spreads.get(BED, {})
    origins, level = _list_origins(effects), f"{uncertainty.level:.0%}"
    header = ("organ", "Gy, mean", "SD", level, "RBE-BED, mean", "SD", level, *(f"by {o}" for o in origins))
    rows = []
    for t, s in uncertainty.spreads[DOSE].items():
        effect = ("–",) * (3 + len(origins))
        if b := effects.get(t):
            effect = (_digits(b.mean), _digits(b.sd), _interval(b), *_shares(b, origins))
        rows.append((t, _digits(s.mean), _digits(s.sd), _interval(s), *effect))
    return "\n\n".join([_table(header, rows, markdown, {0}), _join_notes(uncertainty, markdown)])


def _list_origins(spreads: Mapping[str, DoseSpread]) -> list[str]:
    """Those with a share in any variance, in the order of appearance."""
    origins = dict.fromkeys(o for s in spreads.values() for o in s.share)
    return [o for o in origins if any(s.share.get(o, 0.0) > 0 for s in spreads.values())]


def _shares(s: DoseSpread, origins: Sequence[str]) -> list[str]:
    return [f"{s.share.get(o, 0.0):.0%}" for o in origins]


def _interval(s: DoseSpread) -> str:
    return f"{_digits(s.low)} to {_digits(s.high)}"


def _join_notes(uncertainty: DoseUncertainty, markdown: bool) -> str:
    notes = [*uncertainty.notes]
    if uncertainty.failed_draws:
        notes.append(f"{uncertainty.failed_draws} of {uncertainty.draws} draws gave no number and are left out")
    sentence = "; ".join(notes) + "."
    return sentence if markdown else textwrap.fill(sentence, WIDTH)


def _letter_endpoints(organs: Sequence[OrganReport]) -> dict[str, str]:
    """A letter by endpoint of RBE, in the order of appearance."""
    endpoints = dict.fromkeys(o.biology.rbe.endpoint for o in organs if o.biology and o.alpha > 0)
    return {endpoint: chr(ord("a") + i) for i, endpoint in enumerate(endpoints)}


def _organ_row(o: OrganReport, letters: dict[str, str], mark: str = "") -> tuple[str, ...]:
    mass = "–" if o.mass is None else f"{o.mass:.4g}"
    doses = (o.name + mark, mass, *map(_digits, (o.alpha, o.electron, o.photon, o.dose)))
    e = o.effect
    if e is None or o.biology is None:
        return (*doses, *["–"] * 7)
    rbe = ("–", "–")
    if o.alpha:
        rbe = (f"{e.rbe:.2g} ({e.rbe_90[0]:.2g}–{e.rbe_90[1]:.2g})", letters[o.biology.rbe.endpoint])
    return (*doses, *rbe, *map(_digits, (e.weighted, e.protraction, e.bed, e.rbe_bed, e.eqd2)))


def _cell_row(row: AlphaReportRow) -> tuple[str, ...]:
    a, b, t = row.alpha, row.beta, row.target
    numbers = (t.alpha + t.low, a.dose, a.hits, a.unhit, a.zf, a.single_hit, a.lq, a.mkm, b.survival, b.survival_rbe)
    return (f"{t.name}, {t.tissue.cell}", *(_digits(float(x)) for x in (*numbers, a.bed, b.bed)))


def _digits(x: float) -> str:
    """To three digits."""
    return f"{x:.3g}" if x == 0 or 1e-3 <= abs(x) < 1e4 else f"{x:.1e}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool, left: set[int]) -> str:
    """Aligned, columns in `left` to the left and all others to the right."""
    if markdown:
        lines = [header, ["---" if i in left else "---:" for i in range(len(header))], *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        )

    return "\n".join(line(x).rstrip() for x in (header, *rows))


def _heading(words: str, markdown: bool) -> str:
    return f"## {words}" if markdown else words


def _bullet(note: str, markdown: bool) -> str:
    return f"- {note}" if markdown else textwrap.fill(note, WIDTH, initial_indent="- ", subsequent_indent="  ")


def _wrap(part: str) -> str:
    """Prose within the width; tables and lists as they are."""
    return textwrap.fill(part, WIDTH) if "\n" not in part else part
