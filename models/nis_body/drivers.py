"""What changes the expression of the symporter in time."""

from pbpk.model import (
    OUT,
    Block,
    Compartment,
    amount,
    conc,
    emax,
    first_order,
    flux,
    observe,
    radiation_loss,
    zero_order,
)


class Drivers:
    """What moves the symporter's expression: each NIS tissue that answers has a level, 1 at rest."""

    def __init__(self, words):
        self.words = words
        self.signal = Compartment("tsh_signal", "mg")
        self.drug = Compartment("redifferentiation", "mg")

    def signals(self):
        """rhTSH after injection into muscle, and its delayed signal; a redifferentiating drug, taken by mouth."""
        block = Block()
        if "rhtsh" in self.words:
            depot, rhtsh = Compartment("rhtsh_depot", "mg"), Compartment("rhtsh", "mg", volume="rhtsh.V")
            block += Block(
                (depot, rhtsh, self.signal),
                (
                    flux(depot >> rhtsh, first_order, a=amount(depot), k="rhtsh.ka"),
                    flux(rhtsh >> OUT, first_order, a=amount(rhtsh), k="rhtsh.ke"),
                    flux(OUT >> self.signal, first_order, a=amount(rhtsh), k="rhtsh.delay"),
                    flux(self.signal >> OUT, first_order, a=amount(self.signal), k="rhtsh.delay"),
                ),
                observables=(observe("rhtsh", conc(rhtsh), "rhTSH in serum"),),
                routes={"rhtsh_im": depot},
            )
        if "redifferentiation" in self.words:
            gut = Compartment("redifferentiation_gut", "mg")
            block += Block(
                (gut, self.drug),
                (
                    flux(gut >> self.drug, first_order, a=amount(gut), k="redifferentiation.ka"),
                    flux(self.drug >> OUT, first_order, a=amount(self.drug), k="redifferentiation.ke"),
                ),
                routes={"redifferentiation_oral": gut},
            )
        return block

    def level(self, name, exposure=None):
        """The level of a tissue and the block that moves it; none without drivers."""
        if not self.words:
            return None, Block()
        level = Compartment(f"{name}_nis", "1", initial="nis.at_rest")
        arrows = [
            flux(OUT >> level, zero_order, rate="nis.turnover"),
            flux(level >> OUT, first_order, a=amount(level), k="nis.turnover"),
        ]
        if "rhtsh" in self.words:
            arrows.append(flux(OUT >> level, emax, a=amount(self.signal), vmax="rhtsh.gain", half="rhtsh.half"))
        if "redifferentiation" in self.words:
            arrows.append(
                flux(
                    OUT >> level,
                    emax,
                    a=amount(self.drug),
                    vmax="redifferentiation.gain",
                    half="redifferentiation.half",
                )
            )
        if exposure is not None and "damage" in self.words:
            arrows.append(flux(level >> OUT, radiation_loss, level=amount(level), c=exposure, k="lesion.damage"))
        if exposure is not None and "growth" in self.words:
            arrows.append(flux(OUT >> level, first_order, a=amount(level), k=f"{name}.growth"))
        return level, Block(
            (level,), tuple(arrows), (observe(f"{name}_nis", amount(level), f"NIS expression of {name}, 1 at rest"),)
        )
