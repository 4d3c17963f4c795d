"""Two compartments exchanging by a flow, cleared from the central one."""

from pbpk.model import OUT, Block, Compartment, clearance, conc, flow, flux, observe

central = Compartment("central", "mg", volume="V1")
peripheral = Compartment("peripheral", "mg", volume="V2")

model = Block(
    (central, peripheral),
    (
        flux(central >> OUT, clearance, c=conc(central), cl="CL"),
        flux(central >> peripheral, flow, c=conc(central), q="Q"),
        flux(peripheral >> central, flow, c=conc(peripheral), q="Q"),
    ),
    observables=(
        observe("cp", conc(central), "plasma concentration"),
        observe("ct", conc(peripheral), "peripheral concentration"),
    ),
    routes={"iv": central},
)
