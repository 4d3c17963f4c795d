"""One target's dose as alphas give it, beside what the beta formalism makes of the same dose.

The beta formalism (MIRD as used for beta emitters) knows the tissue's mean dose alone: every cell gets it, and effect follows
from it. `compare` is pure: jit, grad and vmap over patients work; `alpha_report` reads and names, `render` prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.cells import survival
from pbpk.dosimetry.cells.mkm import Mkm, z_star
from pbpk.dosimetry.cells.spectrum import mean_hits, unhit
from pbpk.dosimetry.effect.bed import bed, rbe_bed
from pbpk.dosimetry.effect.defaults import radiobiology
from pbpk.errors import BadInput

if TYPE_CHECKING:
    from pbpk.dosimetry.cells.hits import Hits
    from pbpk.dosimetry.cells.tissues import Tissue
    from pbpk.dosimetry.effect.rbe import Rbe


class CellBiology(NamedTuple):
    """How a cell answers: α₀, β of low LET (1/Gy, 1/Gy²); z0 of a hit (Gy); radius of a domain (µm).

    All assumed: a radiosensitive epithelial cell (α₀ 0.3, β 0.03: α/β 10), the z0 at which about 1.5 traversals of a nucleus
    leave 37 % (Kassis 1986, Radiat Res 105:27, V79 with 211At), and a domain as fitted to salivary-gland tumour cells
    (Kase 2006, 0.42 µm)."""

    alpha0: Any = 0.3
    beta: Any = 0.03
    z0: Any = 0.2
    domain: Any = 0.42


@dataclass(frozen=True, eq=False)
class Target:
    """One tissue whose nuclei are to be reported.

    `alpha` and `low` (LET): the tissue's mean doses, Gy: `AbsorbedDose.by_radiation` times the activity. `shares`, `beyond`:
    where in the tissue the decays are (`Tissue.hits`). `biology`: the name of its row in effect/defaults.toml. `protraction`: G
    of its course. `rbe` goes before that on file; `cell` says how cells answer.
    """

    name: str
    alpha: Any
    tissue: Tissue
    biology: str
    low: Any = 0.0
    shares: Mapping[str, float] | None = None
    beyond: Mapping[str, float] | None = None
    protraction: Any = 1.0
    rbe: Rbe | None = None
    cell: CellBiology = field(default_factory=CellBiology)


class AlphaScaleResult(NamedTuple):
    """What alphas do to nuclei.

    Mean dose of alphas (Gy), hits, share not hit, SD of z (Gy), zF, zD (Gy); survival by three models (single hit, LQ over
    f(z), MKM); MKM's z* (Gy); RBE-weighted dose, its SD over the RBE (Gy), BED (Gy).
    """

    dose: Any
    hits: Any
    unhit: Any
    sd: Any
    zf: Any
    zd: Any
    single_hit: Any
    lq: Any
    mkm: Any
    z_star: Any
    weighted: Any
    weighted_sd: Any
    bed: Any


class BetaFormalismResult(NamedTuple):
    """What the beta formalism makes of the tissue's mean dose (Gy), all radiations alike.

    Its survival and BED (Gy) without and with the mean RBE.
    """

    dose: Any
    survival: Any
    bed: Any
    weighted: Any
    survival_rbe: Any
    bed_rbe: Any


def compare(
    per_gray: Hits,
    nucleus: Any,
    alpha: Any,
    low: Any,
    rbe: tuple[Any, Any],
    alpha_beta: Any,
    protraction: Any,
    cell: CellBiology,
) -> tuple[AlphaScaleResult, BetaFormalismResult]:
    """Compute one tissue's alphas, and beside them the beta formalism.

    `per_gray` from `Tissue.hits`; `nucleus` µm; `alpha`, `low` mean doses, Gy (numbers: vmap over patients); `rbe` its mean and
    SD. Low LET reaches all cells alike and multiplies every survival by e^(−α₀D − GβD²); that its damage meets that of alphas
    is in BED alone. α of a nucleus's specific energy is RBE·α₀, so S by LQ differs from the last column of the beta formalism
    by the spread of z, where the nuclei are, and nothing else.
    """
    mean, sd = rbe
    dose = alpha * per_gray.dose
    model = Mkm(cell.alpha0, cell.beta, cell.domain, nucleus)
    star = z_star(per_gray, model)
    spared = jnp.exp(-cell.alpha0 * low - protraction * cell.beta * low**2)
    linear = mean * cell.alpha0
    by_alphas = AlphaScaleResult(
        dose,
        mean_hits(per_gray, dose),
        unhit(per_gray, dose),
        jnp.sqrt(dose * per_gray.zd),
        per_gray.zf,
        per_gray.zd,
        survival.single_hit(per_gray, dose, cell.z0) * spared,
        survival.lq(per_gray, dose, linear, cell.beta) * spared,
        jnp.exp(model.log_survival(dose, star)) * spared,
        star,
        mean * dose + low,
        sd * dose,
        rbe_bed(dose, low, mean, alpha_beta, protraction),
    )
    total = alpha + low
    by_mean = BetaFormalismResult(
        total,
        survival.mean_dose(total, cell.alpha0, protraction * cell.beta),
        bed(total, alpha_beta, protraction),
        mean * alpha + low,
        jnp.exp(-linear * alpha - cell.alpha0 * low - protraction * cell.beta * total**2),
        rbe_bed(alpha, low, mean, alpha_beta, protraction),
    )
    return by_alphas, by_mean


_COMPARE = jax.jit(compare)


@dataclass(frozen=True, eq=False)
class AlphaReportRow:
    """One target of `alpha_report`, by alphas and by the beta formalism.

    `interval`: 90 % of the RBE-weighted dose, Gy, over the RBE alone.
    """

    target: Target
    rbe: Rbe
    alpha: AlphaScaleResult
    beta: BetaFormalismResult
    interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """The row as one JSON object."""
        numbers = {f"alpha_{k}": float(v) for k, v in self.alpha._asdict().items()}
        numbers |= {f"beta_{k}": float(v) for k, v in self.beta._asdict().items()}
        t = self.target
        return {
            "target": t.name,
            "tissue": t.tissue.name,
            "cell": t.tissue.cell,
            "dimensions": t.tissue.dimensions,
            "endpoint": self.rbe.endpoint,
            "rbe_source": self.rbe.source,
            **numbers,
            "weighted_interval_90": list(self.interval),
        }


def alpha_report(
    targets: Sequence[Target], nuclide: str = "At-211", draws: int = 20_000, seed: int = 1
) -> list[AlphaReportRow]:
    """Report each target. The interval is that of `draws` of its RBE. Raises `BadInput` for a dose below 0 or not a number."""
    rows = []
    for t in targets:
        for value in (t.alpha, t.low):
            if not np.all(np.isfinite(value)) or np.any(np.asarray(value) < 0):
                raise BadInput(f"the dose of {t.name} is {value}", hint="Gy, 0 or more")
        biology = radiobiology(t.biology)
        rbe = t.rbe or biology.rbe
        per_gray = t.tissue.hits(t.shares, t.beyond, nuclide)
        moments = (rbe.mean(), rbe.sd())
        by_alphas, by_mean = _COMPARE(
            per_gray, t.tissue.nucleus, t.alpha, t.low, moments, biology["alpha_beta"], t.protraction, t.cell
        )
        drawn = np.asarray(rbe.draws(jax.random.key(seed), (draws,))) * float(by_alphas.dose) + float(t.low)
        low, high = np.quantile(drawn, [0.05, 0.95])
        rows.append(AlphaReportRow(t, rbe, by_alphas, by_mean, (float(low), float(high))))
    return rows


def render(rows: Sequence[AlphaReportRow]) -> str:
    """A table for people: each target's alphas, and below it the beta formalism."""
    lines = [
        f"{'target, cell':34}{'dose':>9}{'hits':>8}{'unhit':>9}{'sd z':>8}"
        f"{'S 1-hit':>10}{'S LQ f(z)':>10}{'S MKM':>10}{'RBE-Gy (90 %)':>22}{'BED':>9}"
    ]
    for row in rows:
        a, b, (low, high) = row.alpha, row.beta, row.interval
        name = f"{row.target.name}, {row.target.tissue.cell}"
        weighted = f"{float(a.weighted):.3g} ({low:.3g}–{high:.3g})"
        lines.append(
            f"{name:34.34}{float(a.dose):9.3g}{float(a.hits):8.3g}{float(a.unhit):9.2g}{float(a.sd):8.2g}"
            f"{float(a.single_hit):10.2g}{float(a.lq):10.2g}{float(a.mkm):10.2g}{weighted:>22}{float(a.bed):9.3g}"
        )
        lines.append(
            f"{'  beta formalism, RBE 1':34}{float(b.dose):9.3g}{'–':>8}{'–':>9}{'–':>8}"
            f"{'–':>10}{float(b.survival):10.2g}{'–':>10}{float(b.dose):>22.3g}{float(b.bed):9.3g}"
        )
        lines.append(
            f"{f'  the same, RBE {row.rbe.mean():.2g}':34}{float(b.dose):9.3g}{'–':>8}{'–':>9}{'–':>8}"
            f"{'–':>10}{float(b.survival_rbe):10.2g}{'–':>10}{float(b.weighted):>22.3g}{float(b.bed_rbe):9.3g}"
        )
    return "\n".join(lines)
