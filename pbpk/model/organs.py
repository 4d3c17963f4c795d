"""Reusable blocks of anatomy. An organ is a function from names to a Block; parameters take the organ's name as prefix.

To add one: a function here and a test in tests/model/test_organs.py.
"""

from __future__ import annotations

from pbpk.model.declare import OUT, Block, Compartment, Flux, amount, conc, flux
from pbpk.model.laws import first_order, flow, perfusion


def physical_decay(*compartments: Compartment, into: Compartment = OUT) -> tuple[Flux, ...]:
    """Radioactive decay of everything in `compartments`; its rate constant is the row `decay.k`, set by the nuclide.

    `into` may be a compartment that counts what has decayed, which lets mass balance be checked.
    """
    return tuple(flux(c >> into, first_order, a=amount(c), k="decay.k") for c in compartments)


def perfused_organ(name: str, blood: Compartment) -> Block:
    """A well-stirred tissue fed at flow `NAME.Q` from `blood`; rows `NAME.V` (volume) and `NAME.Kp` (tissue:blood)."""
    organ = Compartment(name, blood.unit, volume=f"{name}.V")
    return Block(
        (blood, organ),
        (
            flux(blood >> organ, flow, c=conc(blood), q=f"{name}.Q"),
            flux(organ >> blood, perfusion, c=conc(organ), q=f"{name}.Q", kp=f"{name}.Kp"),
        ),
    )


def alimentary_tract(blood: Compartment, unit: str) -> Block:
    """The ICRP 100/130 human alimentary tract: mouth to faeces, absorption from the small intestine into `blood`.

    Rows `tract.*` hold the transfer coefficients (1/time). Oral intake enters `oral_cavity`.
    """
    names = (
        *("oral_cavity", "oesophagus_fast", "oesophagus_slow", "stomach_contents", "small_intestine"),
        *("right_colon", "left_colon", "rectosigmoid", "faeces"),
    )
    part = {n: Compartment(n, unit) for n in names}
    arrows = (
        ("oral_cavity", "oesophagus_fast"),
        ("oral_cavity", "oesophagus_slow"),
        ("oesophagus_fast", "stomach_contents"),
        ("oesophagus_slow", "stomach_contents"),
        ("stomach_contents", "small_intestine"),
        ("small_intestine", "right_colon"),
        ("right_colon", "left_colon"),
        ("left_colon", "rectosigmoid"),
        ("rectosigmoid", "faeces"),
    )
    onward = tuple(transfer(part[a], part[b], "tract") for a, b in arrows)
    absorbed = transfer(part["small_intestine"], blood, "tract")
    return Block(tuple(part.values()), (*onward, absorbed), routes={"oral": part["oral_cavity"]})


def transfer(source: Compartment, target: Compartment, prefix: str) -> Flux:
    """A first-order transfer as ICRP tables list them; its coefficient is the row `PREFIX.SOURCE_to_TARGET`."""
    return flux(source >> target, first_order, a=amount(source), k=f"{prefix}.{source.name}_to_{target.name}")
