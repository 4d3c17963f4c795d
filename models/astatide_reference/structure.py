"""A surrogate of the astatine model of ICRP 151: its structure is ours, and its numbers were fitted to ICRP's outputs.

The transfer coefficients of ICRP 151 are not public; printed retention and dose coefficients are. The body here is
iodide's without binding in the thyroid or organic pools, and with lungs and spleen, which take up astatide though they
carry no NIS. Organs hold the blood in them, as in ICRP's tables; `blood` is the rest of it.

States are activities; everything decays into counters of MBq at the time of dosing, one for each organ whose
time-integrated activity was fitted, so that the states always sum to what was given.
"""

from pbpk.model import Block, Compartment, alimentary_tract, observe, physical_decay, total, transfer

UNIT = "MBq"


def pool(name):
    return Compartment(name, UNIT)


blood, thyroid, salivary_glands, stomach_wall = (
    pool(n) for n in ("blood", "thyroid", "salivary_glands", "stomach_wall")
)
lungs, liver, kidneys, spleen = (pool(n) for n in ("lungs", "liver", "kidneys", "spleen"))
other_1, other_2, bladder_contents, urine = (pool(n) for n in ("other_1", "other_2", "bladder_contents", "urine"))

tract = alimentary_tract(blood, UNIT)
lumen = {c.name: c for c in tract.compartments}
oral_cavity, stomach_contents = lumen["oral_cavity"], lumen["stomach_contents"]
right_colon, faeces = lumen["right_colon"], lumen["faeces"]

arrows = (
    (blood, thyroid),
    (thyroid, blood),
    (blood, salivary_glands),
    (salivary_glands, oral_cavity),
    (blood, stomach_wall),
    (stomach_wall, stomach_contents),
    (blood, lungs),
    (lungs, blood),
    (blood, liver),
    (liver, blood),
    (liver, right_colon),
    (blood, kidneys),
    (kidneys, blood),
    (blood, spleen),
    (spleen, blood),
    (blood, other_1),
    (other_1, blood),
    (other_1, other_2),
    (other_2, other_1),
    (blood, bladder_contents),
    (bladder_contents, urine),
)
counted = (thyroid, salivary_glands, stomach_wall, kidneys, spleen)
uncounted = (blood, lungs, liver, other_1, other_2, bladder_contents)
systemic = (*counted, *uncounted)
contents = tuple(c for c in tract.compartments if c is not faeces)
excreta = (urine, faeces)
counters = {c: pool(f"decayed_in_{c.name}") for c in counted}
elsewhere = pool("decayed_elsewhere")
decayed = (*counters.values(), elsewhere)
decay = tuple(f for c, counter in counters.items() for f in physical_decay(c, into=counter))

model = (
    Block((*systemic, urine), tuple(transfer(a, b, "astatide") for a, b in arrows), routes={"iv": blood})
    + tract
    + Block(
        decayed,
        (*decay, *physical_decay(*uncounted, *contents, *excreta, into=elsewhere)),
        observables=(
            observe("whole_body", total(*systemic, *contents), "surrogate: everything not yet excreted"),
            observe("thyroid", total(thyroid), "surrogate: in the thyroid"),
            observe("blood", total(blood), "surrogate: in blood outside the organs named here"),
            observe("salivary_glands", total(salivary_glands), "surrogate: in the salivary glands"),
            observe("stomach_wall", total(stomach_wall), "surrogate: in the stomach wall"),
            observe("stomach_contents", total(stomach_contents), "surrogate: in the stomach's contents"),
            observe(
                "alimentary_tract",
                total(*contents, stomach_wall, salivary_glands),
                "surrogate: tract with its glands and wall",
            ),
            observe("lungs", total(lungs), "surrogate: in the lungs, with their blood"),
            observe("liver", total(liver), "surrogate: in the liver, with its blood"),
            observe("kidneys", total(kidneys), "surrogate: in the kidneys"),
            observe("spleen", total(spleen), "surrogate: in the spleen"),
            observe("other", total(other_1, other_2), "surrogate: in all other tissues"),
            observe("bladder_contents", total(bladder_contents), "surrogate: in the urinary bladder"),
            observe("urine", total(urine), "surrogate: excreted in urine and not yet decayed"),
            observe("faeces", total(faeces), "surrogate: excreted in faeces and not yet decayed"),
            observe("decayed", total(*decayed), "surrogate: decayed so far, as activity at the time of dosing"),
            *(
                observe(c.name, total(c), f"surrogate: {c.name.replace('_', ' ')}, counted alike")
                for c in counters.values()
            ),
            observe(
                "balance",
                total(*systemic, *contents, *excreta, *decayed),
                "surrogate: all of the above, what was given",
            ),
        ),
    )
)
