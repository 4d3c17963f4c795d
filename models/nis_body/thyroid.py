"""Thyroid tissue, a whole gland or a remnant, and its stable iodide."""

from pbpk.model import (
    Block,
    Compartment,
    amount,
    derive,
    first_order,
    flux,
    inhibited_first_order,
    observe,
    perfused,
    plasma_flow,
    rules,
    total,
)

from .compartments import plasma, pool
from .organs import capacity


def thyroid(tracer, nis, drivers, rows_of):
    """Thyroid tissue: follicular cells, colloid (organified), hormone in the body."""
    fluid = pool("thyroid", "thyroid_tissue.apparent")
    cells, bound, hormone = pool("thyroid_cells"), pool("thyroid_bound"), pool("hormone")
    level, moved = drivers.level("thyroid")
    rows = (
        derive(
            "thyroid_tissue.V",
            rules.organ_volume,
            "volume of thyroid tissue",
            mass=f"{rows_of}.mass",
            size="body.size",
            density="body.density",
        ),
        derive(
            "thyroid_tissue.Kp",
            rules.partition,
            "thyroid tissue over plasma",
            ecf="thyroid.ecf",
            cells=f"{tracer}.cells",
        ),
        derive(
            "thyroid_tissue.apparent",
            rules.product,
            "volume of plasma that holds as much",
            a="thyroid_tissue.V",
            b="thyroid_tissue.Kp",
        ),
        derive(
            "thyroid_tissue.flow",
            rules.allotted,
            "its share of cardiac output",
            rate="thyroid.flow",
            part=f"{rows_of}.mass",
            of="thyroid.mass",
        ),
        derive(
            "thyroid_tissue.expressed",
            rules.product,
            "expression with its diet",
            a=f"{rows_of}.expression",
            b="nis.fed",
        ),
        *plasma_flow("thyroid_tissue", tracer),
        *capacity("thyroid_tissue", f"{tracer}.thyroid.Vmax", f"{rows_of}.mass", rest="thyroid_tissue.expressed"),
        *expression_on_diet(),
    )
    arrows = (
        *perfused(plasma, fluid, "thyroid_tissue.Q"),
        nis.uptake(fluid >> cells, "thyroid_tissue.Vmax", level),
        flux(cells >> fluid, first_order, a=amount(cells), k=f"{tracer}.thyroid.efflux"),
        flux(bound >> hormone, first_order, a=amount(bound), k=f"{tracer}.thyroid.secretion"),
        flux(hormone >> plasma, first_order, a=amount(hormone), k=f"{tracer}.thyroid.deiodination"),
    )
    block = Block((plasma, fluid, cells, bound, hormone), arrows, derived=rows) + moved
    k = f"{tracer}.thyroid.organification"
    if tracer != "iodide" or nis.iodide is None:
        return block + Block((cells, bound), (flux(cells >> bound, first_order, a=amount(cells), k=k),))
    stable = Compartment("thyroid_iodide", "nmol")
    slowed = flux(
        cells >> bound, inhibited_first_order, a=amount(cells), rival=amount(stable), k=k, half="thyroid.iodide_half"
    )
    return block + Block((cells, bound), (slowed,)) + gland_iodide(stable, nis, level, k)


def gland_iodide(stable, nis, level, k):
    """Stable iodide within the gland: carried as the tracer is, and, where there is much of it, an end to organification
    (Wolff and Chaikoff 1948). That, and not the crowd at the carrier, is what blocks a thyroid with potassium iodide."""
    bound = Compartment("thyroid_iodide_bound", "nmol")
    arrows = (
        nis.uptake(nis.iodide >> stable, "thyroid_tissue.Vmax", level, own="nis.counted"),
        flux(stable >> nis.iodide, first_order, a=amount(stable), k="iodide.thyroid.efflux"),
        flux(
            stable >> bound,
            inhibited_first_order,
            a=amount(stable),
            rival=amount(stable),
            k=k,
            half="thyroid.iodide_half",
        ),
        flux(bound >> nis.iodide, first_order, a=amount(bound), k="iodide.thyroid.secretion"),
    )
    observables = observe(
        "thyroid_stable_iodide", total(stable, bound), "stable iodine in thyroid tissue, since the first record"
    )
    return Block((nis.iodide, stable, bound), arrows, (observables,))


def expression_on_diet():
    """Thyroid tissue answers a low intake of iodine with more symporter."""
    return (
        derive("diet.relative", rules.ratio, "iodine intake over the reference", a="diet.iodine", b="diet.reference"),
        derive(
            "nis.fed",
            rules.scaled,
            "expression after weeks on the diet",
            value="nis.at_rest",
            size="diet.relative",
            power="diet.autoregulation",
        ),
    )
