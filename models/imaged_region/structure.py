"""One region seen by a camera: uptake out of what was given, washout, physical decay; for populations of imaged patients."""

from pbpk.model import Block, Compartment, amount, first_order, flux, observe, option, physical_decay, total

UNIT = "MBq"
options = (option("organ", "kidneys liver spleen salivary_glands thyroid", "the region, where doses are wanted"),)


def model(chosen):
    given, elsewhere, decayed = (Compartment(n, UNIT) for n in ("given", "elsewhere", "decayed"))
    region = Compartment(chosen.organ, UNIT)
    arrows = (
        flux(given >> region, first_order, a=amount(given), k="region.uptake"),
        flux(given >> elsewhere, first_order, a=amount(given), k="region.passing"),
        flux(region >> elsewhere, first_order, a=amount(region), k="region.washout"),
        *physical_decay(given, region, elsewhere, into=decayed),
    )
    seen = (
        observe("region", amount(region), "in the region, as a camera sees it: decay included"),
        observe("balance", total(given, region, elsewhere, decayed), "all of it: what was given"),
    )
    return Block((given, region, elsewhere, decayed), arrows, seen, {"iv": given})
