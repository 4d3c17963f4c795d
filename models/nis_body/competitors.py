"""Stable iodide and perchlorate, the anions that compete for the symporter."""

from pbpk.model import (
    OUT,
    Block,
    Compartment,
    amount,
    clearance,
    conc,
    derive,
    first_order,
    flux,
    observe,
    rules,
    zero_order,
)


def competitors(chosen):
    if chosen.competitors == "constant":
        return None, None
    return Compartment("stable_iodide", "nmol", volume="stable_iodide.V", initial="stable_iodide.initial"), Compartment(
        "perchlorate", "nmol", volume="perchlorate.V"
    )


def stable_anions(nis):
    """Stable iodide, eaten every day or given to block, and perchlorate; counted out as well as in."""
    arrows, places, routes = [], [], {}
    for kind, word in ((nis.iodide, "potassium_iodide"), (nis.perchlorate, "perchlorate_oral")):
        gut, out = Compartment(f"{kind.name}_gut", "nmol"), Compartment(f"{kind.name}_excreted", "nmol")
        arrows += [
            flux(gut >> kind, first_order, a=amount(gut), k=f"{kind.name}.ka"),
            flux(kind >> out, clearance, c=conc(kind), cl=f"{kind.name}.CL"),
        ]
        places += [gut, kind, out]
        routes[word] = gut
    arrows.append(flux(OUT >> nis.iodide, zero_order, rate="diet.iodine"))
    level = derive(
        "stable_iodide.level", rules.ratio, "stable iodide in plasma on the diet", a="diet.iodine", b="stable_iodide.CL"
    )
    start = derive(
        "stable_iodide.initial",
        rules.product,
        "stable iodide in the body on the diet",
        a="stable_iodide.level",
        b="stable_iodide.V",
    )
    observables = (
        observe("plasma_iodide", conc(nis.iodide), "stable iodide in plasma"),
        observe("plasma_perchlorate", conc(nis.perchlorate), "perchlorate in plasma"),
    )
    return Block(tuple(places), tuple(arrows), observables, routes, derived=(level, start))
