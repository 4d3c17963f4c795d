"""One compartment with first-order absorption: the model most oral studies begin with."""

from pbpk.model import OUT, Block, Compartment, amount, clearance, conc, first_order, flux, observe

depot = Compartment("depot", "mg", lag="ALAG1", bioavailability="F1", rate="R1", duration="D1")
central = Compartment("central", "mg", volume="V", lag="ALAG2", bioavailability="F2", rate="R2", duration="D2")

model = Block(
    (depot, central),
    (
        flux(depot >> central, first_order, a=amount(depot), k="KA"),
        flux(central >> OUT, clearance, c=conc(central), cl="CL"),
    ),
    observables=(observe("cp", conc(central), "plasma concentration"),),
    routes={"oral": depot, "iv": central},
)
