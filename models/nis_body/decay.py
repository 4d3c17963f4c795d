"""Physical decay, and daughters."""

from pbpk.model import (
    Block,
    amount,
    daughter,
    decay_chain,
    derive,
    first_order,
    flux,
    observe,
    physical_decay,
    rules,
    total,
)

from .compartments import UNIT, decayed, faeces, plasma, pool, urine


def decay(body, chosen):
    """Physical decay of everything. With `daughters=bismuth`, the alpha branch of 211At leaves 207Bi, with kinetics of its own;
    with `chain`, 211Po and 207Bi decay where they were born, but for the shares `*.displaced`, which plasma carries."""
    tracer_compartments = tuple(c for c in body.compartments if c.unit == UNIT)
    if chosen.daughters == "none":
        return Block((decayed,), physical_decay(*tracer_compartments, into=decayed))
    if chosen.daughters == "chain":
        chain = decay_chain(
            "At-211", *tracer_compartments, into=decayed, displaced={"Po-211": plasma, "Bi-207": plasma}
        )
        observables = (
            observe(
                "polonium_211",
                total(*(daughter(c, "Po-211") for c in tracer_compartments)),
                "211Po, all of it",
                scale="po211.activity",
            ),
            observe(
                "bismuth_207",
                total(*(daughter(c, "Bi-207") for c in tracer_compartments)),
                "207Bi, all of it",
                scale="bi207.activity",
            ),
        )
        return chain + Block((decayed,), observables=observables)
    rows = (
        derive("decay.to_bismuth", rules.product, "decay of 211At to 207Bi", a="decay.k", b="bismuth.branch"),
        derive("bismuth.other_branch", rules.complement, "decay of 211At by way of 211Po", share="bismuth.branch"),
        derive("decay.to_lead", rules.product, "decay of 211At to lead", a="decay.k", b="bismuth.other_branch"),
        derive(
            "bismuth.activity",
            rules.ratio,
            "activity of 207Bi over that of the 211At it came from",
            a="bismuth.k",
            b="decay.k",
        ),
    )
    inside, bound, kept, out = (pool(n) for n in ("bismuth", "bismuth_in_place", "bismuth_kidneys", "bismuth_excreted"))
    arrows = []
    for c in tracer_compartments:
        place = inside if c is plasma else out if c in (urine, faeces) else bound
        arrows.append(flux(c >> place, first_order, a=amount(c), k="decay.to_bismuth"))
        arrows.append(flux(c >> decayed, first_order, a=amount(c), k="decay.to_lead"))
    for a, b, k in (
        (bound, inside, "bismuth.release"),
        (inside, kept, "bismuth.to_kidneys"),
        (kept, inside, "bismuth.from_kidneys"),
        (kept, out, "bismuth.excretion"),
        *((c, decayed, "bismuth.k") for c in (inside, bound, kept, out)),
    ):
        arrows.append(flux(a >> b, first_order, a=amount(a), k=k))
    observables = observe(
        "bismuth_207",
        total(inside, bound, kept),
        "207Bi in the body, counted as the 211At it came from",
        scale="bismuth.activity",
    )
    return Block((decayed, inside, bound, kept, out), tuple(arrows), (observables,), derived=rows)
