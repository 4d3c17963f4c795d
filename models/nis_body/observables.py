"""What a user can ask for, and what no body can be."""

from pbpk.model import Block, conc, demand, observe, rules, total

from .compartments import UNIT, decayed, faeces, lumen, plasma, urine


def whole_body_observables(body, fate):
    """Organs with all that they contain, excreta, and the balance of the tracer. `fate`: the block of decay."""
    tracer_compartments = tuple(c for c in body.compartments if c.unit == UNIT)
    named = {c.name: c for c in tracer_compartments} | {"decayed": decayed}
    of_decay = tuple(c for c in fate.compartments if c not in tracer_compartments)
    excreta = (urine, faeces)

    def total_of(name, about, *names):
        return observe(name, total(*(named[n] for n in names if n in named)), about)

    out = [
        observe(
            "whole_body", total(*(c for c in tracer_compartments if c not in excreta)), "everything not yet excreted"
        ),
        total_of("blood", "in plasma and red cells", "plasma", "red_cells", "oxidised"),
        observe("plasma_concentration", conc(plasma), "the anion in plasma"),
        total_of(
            "salivary_glands",
            "in the salivary glands and their ducts",
            "salivary_glands",
            "salivary_cells",
            "salivary_ducts",
        ),
        total_of("stomach_wall", "in the stomach's wall and mucosa", "stomach_wall", "stomach_mucosa"),
        total_of("stomach_contents", "in the stomach's contents", "stomach_contents"),
        observe(
            "intestine_contents",
            total(*(lumen[n] for n in ("small_intestine", "right_colon", "left_colon", "rectosigmoid"))),
            "in the gut's contents",
        ),
        *(total_of(n, f"in the {n}", n, f"{n}_held") for n in ("lungs", "liver", "spleen")),
        total_of("kidneys", "in the kidneys", "kidneys", "kidneys_held", "tubules"),
        total_of("red_marrow", "in red marrow", "red_marrow"),
        total_of("muscle", "in muscle", "muscle"),
        total_of("brain", "in the brain", "brain"),
        total_of("bladder_contents", "in the urinary bladder", "bladder_contents"),
        total_of("urine", "excreted in urine and not yet decayed", "urine"),
        total_of("faeces", "excreted in faeces and not yet decayed", "faeces"),
        total_of("decayed", "decayed so far, as activity at the time of dosing", "decayed"),
        observe("balance", total(*tracer_compartments, *of_decay), "all of the tracer: what was given"),
    ]
    if "thyroid" in named:
        out.insert(1, total_of("thyroid", "in thyroid tissue", "thyroid", "thyroid_cells", "thyroid_bound"))
    return Block(observables=tuple(out))


def plausible_body(lesions):
    """What no body can be."""
    demands = [
        demand("the organs' flows add up to more than the cardiac output", rules.same, a="rest.flow"),
        demand("the organs' masses add up to more than the body", rules.same, a="rest.mass"),
    ]
    for k in range(1, lesions + 1):
        demands.append(
            demand(
                f"lesion {k} is heavier than the rest of the body",
                rules.difference,
                a="rest.mass",
                b=f"lesion_{k}.mass",
            )
        )
    return Block(demands=tuple(demands))
