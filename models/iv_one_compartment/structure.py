"""One compartment, dosed directly: the smallest pharmacokinetic model."""

from pbpk.model import OUT, Block, Compartment, clearance, conc, flux, observe

central = Compartment("central", "mg", volume="V")

model = Block(
    (central,),
    (flux(central >> OUT, clearance, c=conc(central), cl="CL"),),
    observables=(observe("cp", conc(central), "plasma concentration"),),
    routes={"iv": central},
)
