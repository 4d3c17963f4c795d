"""What is injected or swallowed: the anion, and the oxidised share that NIS does not carry."""

from pbpk.model import Block, amount, clearance, conc, derive, first_order, flux, rules

from .compartments import bladder_contents, lumen, plasma, pool


def split_by_purity():
    """What is injected or swallowed is, for a share `purity`, the anion; the rest is oxidised, and NIS does not carry it."""
    injected, swallowed = pool("injected"), pool("swallowed")
    ox, gut = pool("oxidised", "oxidised.V"), pool("oxidised_gut")
    rows = (
        derive("impurity", rules.complement, "share oxidised", share="purity"),
        derive("mixing.pure", rules.product, "entry of the anion", a="mixing", b="purity"),
        derive("mixing.impure", rules.product, "entry of what is oxidised", a="mixing", b="impurity"),
    )
    arrows = tuple(
        flux(a >> b, first_order, a=amount(a), k=k)
        for a, b, k in (
            (injected, plasma, "mixing.pure"),
            (injected, ox, "mixing.impure"),
            (swallowed, lumen["oral_cavity"], "mixing.pure"),
            (swallowed, gut, "mixing.impure"),
        )
    )
    return Block(
        (injected, swallowed, plasma, ox, gut), arrows, routes={"iv": injected, "oral": swallowed}, derived=rows
    )


def oxidised_impurity():
    """The impurity's own kinetics: absorbed, held in tissue, excreted by the kidneys."""
    gut, ox, tissues = pool("oxidised_gut"), pool("oxidised", "oxidised.V"), pool("oxidised_tissue")
    arrows = (
        flux(gut >> ox, first_order, a=amount(gut), k="oxidised.ka"),
        flux(ox >> bladder_contents, clearance, c=conc(ox), cl="oxidised.CL"),
        flux(ox >> tissues, clearance, c=conc(ox), cl="oxidised.uptake"),
        flux(tissues >> ox, first_order, a=amount(tissues), k="oxidised.release"),
    )
    return Block((gut, ox, tissues, bladder_contents), arrows)
