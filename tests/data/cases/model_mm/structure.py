"""One compartment, saturable."""

from pbpk.model import OUT, Block, Compartment, conc, flux, observe, saturable

central = Compartment("central", "mg", volume="V", lag="ALAG1", bioavailability="F1", duration="D1")
model = Block(
    (central,),
    (flux(central >> OUT, saturable, c=conc(central), vmax="VMAX", km="KM"),),
    observables=(observe("cp", conc(central), "plasma"),),
    routes={"iv": central},
)
