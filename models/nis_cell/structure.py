"""Cells in a dish that carry the symporter, beside cells that do not: the transport law of `nis_body`, without a body."""

from pbpk.model import (
    Block,
    Compartment,
    Symporter,
    amount,
    clearance,
    conc,
    derive,
    first_order,
    flux,
    observe,
    option,
    physical_decay,
    rules,
    total,
)

options = (option("tracer", "astatide iodide pertechnetate", "the anion; --nuclide chooses its nuclide"),)
UNIT = "MBq"


def model(chosen):
    nis, tracer = Symporter(chosen.tracer), chosen.tracer
    medium, decayed = Compartment("medium", UNIT, volume="medium.V"), Compartment("decayed", UNIT)
    cells, control = Compartment("nis_cells", UNIT), Compartment("control_cells", UNIT)
    rows = (
        derive("cells.Vmax", rules.product, "maximal uptake of the dish", a=f"{tracer}.Vmax", b="cells.mass"),
        derive("cells.leak", rules.product, "passive uptake of the dish", a=f"{tracer}.leak", b="cells.mass"),
    )
    arrows = (
        nis.uptake(medium >> cells, "cells.Vmax"),
        flux(medium >> cells, clearance, c=conc(medium), cl="cells.leak"),
        flux(cells >> medium, first_order, a=amount(cells), k=f"{tracer}.efflux"),
        flux(medium >> control, clearance, c=conc(medium), cl="cells.leak"),
        flux(control >> medium, first_order, a=amount(control), k=f"{tracer}.efflux"),
        *physical_decay(medium, cells, control, into=decayed),
    )
    seen = (
        observe("nis_cells", amount(cells), "in the cells that carry the symporter"),
        observe("control_cells", amount(control), "in as many cells without it"),
        observe("medium", amount(medium), "in the medium"),
        observe("balance", total(medium, cells, control, decayed), "all of it: what was added"),
    )
    places = (medium, cells, control, decayed)
    return Block(places, arrows, seen, {"medium": medium}, derived=(*rows, *nis.derived))
