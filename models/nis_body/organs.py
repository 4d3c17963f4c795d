"""Blood, organs, kidneys, salivary glands and stomach."""

from pbpk.model import (
    Block,
    allometric,
    amount,
    clearance,
    conc,
    derive,
    first_order,
    flow,
    flux,
    organ,
    perfused,
    perfusion,
    plasma_flow,
    rules,
    tissue,
)

from .compartments import (
    FLOW,
    PLAIN,
    PORTAL,
    RATE,
    UNIT,
    bladder_contents,
    liver,
    lumen,
    plasma,
    pool,
    red_cells,
    urine,
)


def blood(tracer):
    """Plasma, and red cells that keep pace with it."""
    rows = (
        derive("plasma.share", rules.complement, "plasma in blood", share="body.hematocrit"),
        derive(
            "blood.V", rules.organ_volume, "blood volume", mass="blood.mass", size="body.size", density="blood.density"
        ),
        derive("plasma.V", rules.product, "plasma volume", a="blood.V", b="plasma.share"),
        derive("red_cells.V", rules.product, "volume of red cells", a="blood.V", b="body.hematocrit"),
    )
    arrows = (
        flux(plasma >> red_cells, flow, c=conc(plasma), q="red_cells.PS"),
        flux(red_cells >> plasma, perfusion, c=conc(red_cells), q="red_cells.PS", kp=f"{tracer}.red_cells"),
    )
    return Block((plasma, red_cells), arrows, derived=rows)


def organs(tracer):
    """Organs without the symporter; those of the portal vein drain into the liver."""
    yield from (organ(name, tracer, plasma) for name in (*PLAIN, "lungs"))
    yield organ("brain", tracer, plasma, permeable=False)
    yield from (organ(name, tracer, plasma, drains_into=liver) for name in ("intestine", "pancreas", "spleen"))
    _, rows = tissue("liver", tracer, UNIT)
    rows += plasma_flow("liver", tracer)
    through = ("liver.Q", *(f"{name}.Q" for name in PORTAL))
    rows += (derive("liver.through", rules.sum_of, "hepatic artery and portal vein", parts=through),)
    arrows = (
        flux(plasma >> liver, flow, c=conc(plasma), q="liver.Q"),
        flux(liver >> plasma, flow, c=conc(liver), q="liver.through"),
    )
    yield Block((plasma, liver), arrows, derived=rows)
    named = (
        "red_marrow",
        "skeleton",
        "adipose",
        "muscle",
        "skin",
        "brain",
        "heart",
        "lungs",
        "liver",
        "kidneys",
        "spleen",
    )
    named += ("pancreas", "intestine", "stomach_wall", "salivary_glands", "gonads")
    masses = tuple(f"{name}.mass" for name in ("blood", *named))
    flows = tuple(f"{name}.flow" for name in (*named, "thyroid"))
    yield Block(
        derived=(
            derive("rest.mass", rules.remainder, "all but blood and the organs named", whole="body.mass", parts=masses),
            derive("rest.flow", rules.remaining_share, "all but the organs named", parts=flows),
        )
    )


def kidneys(tracer):
    """Filtration into the tubules, from which a share is reabsorbed and the rest goes to the bladder."""
    tubules = pool("tubules")
    rows = (
        allometric("body.gfr", "glomerular filtration", "body.gfr", FLOW),
        allometric("tubules.transit", "transit through the tubules", "tubules.transit", RATE),
        derive("tubules.back", rules.product, "reabsorption", a="tubules.transit.sized", b=f"{tracer}.reabsorbed"),
        derive("tubules.excreted", rules.complement, "share of the filtrate excreted", share=f"{tracer}.reabsorbed"),
        derive("tubules.on", rules.product, "excretion", a="tubules.transit.sized", b="tubules.excreted"),
    )
    arrows = (
        flux(plasma >> tubules, clearance, c=conc(plasma), cl="body.gfr.sized"),
        flux(tubules >> plasma, first_order, a=amount(tubules), k="tubules.back"),
        flux(tubules >> bladder_contents, first_order, a=amount(tubules), k="tubules.on"),
        flux(bladder_contents >> urine, first_order, a=amount(bladder_contents), k="bladder.voiding"),
    )
    return organ("kidneys", tracer, plasma) + Block((tubules, bladder_contents, urine), arrows, derived=rows)


def capacity(name, vmax, mass, *, rest="nis.at_rest"):
    """`NAME.Vmax`: what a gram carries, times its mass, size and the expression at rest."""
    return (
        derive(f"{name}.carriers", rules.product, f"symporter mass of {name}", a=mass, b=rest),
        derive(
            f"{name}.Vmax",
            rules.capacity,
            f"maximal NIS uptake of {name}",
            per=vmax,
            mass=f"{name}.carriers",
            size="body.size",
            power=FLOW,
        ),
    )


def salivary_glands(tracer, nis):
    """Salivary glands: parenchyma, duct, saliva, swallowed."""
    fluid, rows = tissue("salivary_glands", tracer, UNIT)
    cells, ducts, mouth = pool("salivary_cells"), pool("salivary_ducts"), lumen["oral_cavity"]
    rows += plasma_flow("salivary_glands", tracer) + capacity(
        "salivary_glands", f"{tracer}.salivary.Vmax", "salivary_glands.mass"
    )
    arrows = (
        *perfused(plasma, fluid, "salivary_glands.Q"),
        nis.uptake(fluid >> cells, "salivary_glands.Vmax"),
        flux(cells >> fluid, first_order, a=amount(cells), k=f"{tracer}.salivary.efflux"),
        flux(cells >> ducts, first_order, a=amount(cells), k=f"{tracer}.salivary.secretion"),
        flux(ducts >> mouth, first_order, a=amount(ducts), k="salivary_glands.ducts"),
    )
    return Block((plasma, fluid, cells, ducts, mouth), arrows, derived=rows)


def stomach(tracer, nis):
    """Stomach: wall, mucosa that secretes into the contents."""
    fluid, rows = tissue("stomach_wall", tracer, UNIT)
    mucosa, inside = pool("stomach_mucosa"), lumen["stomach_contents"]
    rows += plasma_flow("stomach_wall", tracer) + capacity(
        "stomach_wall", f"{tracer}.stomach.Vmax", "stomach_wall.mass"
    )
    arrows = (
        *perfused(plasma, fluid, "stomach_wall.Q", liver),
        nis.uptake(fluid >> mucosa, "stomach_wall.Vmax"),
        flux(mucosa >> fluid, first_order, a=amount(mucosa), k=f"{tracer}.stomach.efflux"),
        flux(mucosa >> inside, first_order, a=amount(mucosa), k=f"{tracer}.stomach.secretion"),
    )
    return Block((plasma, fluid, mucosa, inside, liver), arrows, derived=rows)
