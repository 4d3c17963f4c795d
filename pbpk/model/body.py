"""Blocks of a whole body: organs on one plasma, what they hold back, and tissues that carry the symporter.

Rows of an organ are physiological (`NAME.mass`, kg; `NAME.flow`, share of cardiac output; `NAME.ecf`, extracellular share)
and of the tracer (`TRACER.cells` and so on); `body.*` has what all organs share. Amounts are of one tracer.

Every organ is well stirred. Red cells keep pace with plasma during a passage, so a flow carries what plasma and red cells
carry together, counted as plasma. Lungs lie beside the other organs instead of between two bloods: a circulation takes a
minute, the kinetics here take hours.
"""

from __future__ import annotations

from pbpk.model.declare import Block, Compartment, DerivedParameter, Flux, amount, conc, derive, flux
from pbpk.model.laws import clearance, first_order, flow
from pbpk.model.rules import carried_flow, extraction, organ_volume, partition, product, scaled


def allometric(name: str, about: str, value: str, power: str) -> DerivedParameter:
    """`NAME.sized`: the row `value` of a reference adult scaled to the patient's size."""
    return derive(f"{name}.sized", scaled, about, value=value, size="body.size", power=power)


def tissue(name: str, tracer: str, unit: str) -> tuple[Compartment, tuple[DerivedParameter, ...]]:
    """An organ's extracellular fluid with what its cells take up passively, and the rows that describe it.

    Its volume is `NAME.apparent`, that of the plasma which would hold as much, so that its concentration is the fluid's.
    """
    rows = (
        derive(
            f"{name}.V",
            organ_volume,
            f"volume of {name}",
            mass=f"{name}.mass",
            size="body.size",
            density="body.density",
        ),
        derive(f"{name}.Kp", partition, f"{name} over plasma", ecf=f"{name}.ecf", cells=f"{tracer}.cells"),
        derive(
            f"{name}.apparent", product, f"volume of plasma that holds as much as {name}", a=f"{name}.V", b=f"{name}.Kp"
        ),
    )
    return Compartment(name, unit, volume=f"{name}.apparent"), rows


def plasma_flow(name: str, tracer: str) -> tuple[DerivedParameter, ...]:
    """`NAME.Q`: what flows through the organ, as plasma."""
    return (
        derive(
            f"{name}.Q",
            carried_flow,
            f"flow through {name}, as plasma",
            share=f"{name}.flow",
            output="body.cardiac_output",
            hematocrit="body.hematocrit",
            red=f"{tracer}.red_cells",
            size="body.size",
            power="body.flow_power",
        ),
    )


def organ(
    name: str, tracer: str, plasma: Compartment, *, drains_into: Compartment | None = None, permeable: bool = True
) -> Block:
    """An organ limited by its flow, or, unless `permeable`, by the permeability `NAME.PS` of its capillaries."""
    fluid, rows = tissue(name, tracer, plasma.unit)
    rows += plasma_flow(name, tracer)
    exchange = f"{name}.Q"
    if not permeable:
        exchange = f"{name}.exchange"
        rows += (
            allometric(f"{name}.PS", f"permeability of {name}'s capillaries", f"{name}.PS", "body.flow_power"),
            derive(exchange, extraction, f"exchange of {name} with plasma", q=f"{name}.Q", ps=f"{name}.PS.sized"),
        )
    return Block((plasma, fluid), perfused(plasma, fluid, exchange, drains_into), derived=rows)


def perfused(
    plasma: Compartment, fluid: Compartment, q: str, drains_into: Compartment | None = None
) -> tuple[Flux, Flux]:
    """To a fluid from plasma and back again, or on to where it drains, at the flow or exchange of row `q`."""
    back = plasma if drains_into is None else drains_into
    return flux(plasma >> fluid, flow, c=conc(plasma), q=q), flux(fluid >> back, flow, c=conc(fluid), q=q)


def retention_pool(name: str, tracer: str, plasma: Compartment) -> Block:
    """What an organ holds back for a while, not by the symporter: rows `TRACER.NAME.uptake`, `.release`."""
    pool, rows = Compartment(f"{name}_held", plasma.unit), f"{tracer}.{name}"
    return Block(
        (plasma, pool),
        (
            flux(plasma >> pool, clearance, c=conc(plasma), cl=f"{rows}.uptake.sized"),
            flux(pool >> plasma, first_order, a=amount(pool), k=f"{rows}.release.sized"),
        ),
        derived=(
            allometric(f"{rows}.uptake", f"uptake held by {name}", f"{rows}.uptake", "body.flow_power"),
            allometric(f"{rows}.release", f"release from {name}", f"{rows}.release", "body.rate_power"),
        ),
    )
