"""Reusable blocks of anatomy. An organ is a function from names to a Block; parameters take the organ's name as prefix.

To add one: a function here, its name in `model/__init__.py`, and a test in tests/model/test_organs.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from pbpk.model.chains import Displaced, plan_chain
from pbpk.model.declare import OUT, Block, Compartment, Flux, amount, conc, demand, derive, flux
from pbpk.model.laws import first_order, flow, perfusion
from pbpk.nuclides.chains import chain


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


def alimentary_tract(blood: Compartment, unit: str, *, routes: bool = True) -> Block:
    """The ICRP 100/130 human alimentary tract: mouth to faeces, absorption from the small intestine into `blood`.

    Rows `tract.*` hold the transfer coefficients (1/time). Oral intake enters `oral_cavity`, unless the model has other
    `routes`.
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
    return Block(tuple(part.values()), (*onward, absorbed), routes={"oral": part["oral_cavity"]} if routes else {})


def transfer(source: Compartment, target: Compartment, prefix: str) -> Flux:
    """A first-order transfer as ICRP tables list them; its coefficient is the row `PREFIX.SOURCE_to_TARGET`."""
    return flux(source >> target, first_order, a=amount(source), k=f"{prefix}.{source.name}_to_{target.name}")


def decay_chain(
    nuclide: str,
    *compartments: Compartment,
    into: Compartment = OUT,
    displaced: Displaced | None = None,
    also: Mapping[str, tuple[Compartment, ...]] | None = None,
    without: str | tuple[str, ...] = (),
) -> Block:
    """Decay of `nuclide` in `compartments` and of all that comes of it, in place of `physical_decay`.

    Daughters are born where their parent is, in compartments of their own (`blood_bi207`; `daughter(blood, "Bi-207")` names
    them), and stay there unless further fluxes move them. `displaced` says of a daughter where the share `bi207.displaced`
    of its atoms is carried at birth: one compartment of the parent, or one for each place of birth. `also` has places that a
    daughter can reach and the parent cannot. Stable atoms go `into`, and so do nuclides named in `without`.

    Amounts are activities of the parent that as many atoms would have, so that they always sum to what was given; times
    the row `bi207.activity` they are the daughter's own. Rows: `decay.k` of the parent, set by the nuclide; `bi207.half_life`
    of each daughter; and where a decay is branched, `bi207.branch` of all but its greatest share (`chain_rows` writes them).
    """
    plan = plan_chain(chain(nuclide, without), compartments, into, displaced or {}, also or {})
    return Block(
        tuple(plan.compartments),
        tuple(flux(a >> b, first_order, a=amount(a), k=k) for a, b, k in plan.arrows),
        derived=tuple(derive(name, rule, about, **of) for name, rule, about, of in plan.derived),
        demands=tuple(demand(words, rule, **of) for words, rule, of in plan.demands),
    )
