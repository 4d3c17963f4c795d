"""The simple iodine model of ICRP 78 (and ICRP 30 before it): blood, thyroid, the rest of the body.

Three pools in a ring, so that its solution can be written down; the tests do. States are activities; everything decays
into `decayed`, which counts in MBq at the time of dosing, so that the states always sum to what was given.
"""

from pbpk.model import Block, Compartment, observe, physical_decay, total, transfer


def pool(name):
    return Compartment(name, "MBq")


blood, thyroid, rest = pool("blood"), pool("thyroid"), pool("rest")
bladder_contents, urine, faeces, decayed = pool("bladder_contents"), pool("urine"), pool("faeces"), pool("decayed")

arrows = (
    (blood, thyroid),
    (blood, bladder_contents),
    (thyroid, rest),
    (rest, blood),
    (rest, faeces),
    (bladder_contents, urine),
)
body, excreta = (blood, thyroid, rest, bladder_contents), (urine, faeces)

model = Block(
    (*body, *excreta, decayed),
    (*(transfer(a, b, "iodine") for a, b in arrows), *physical_decay(*body, *excreta, into=decayed)),
    observables=(
        observe("whole_body", total(*body), "everything not yet excreted"),
        observe("thyroid", total(thyroid), "in the thyroid"),
        observe("blood", total(blood), "in blood"),
        observe("rest", total(rest), "in the rest of the body, as hormone"),
        observe("bladder_contents", total(bladder_contents), "in the urinary bladder"),
        observe("urine", total(urine), "excreted in urine and not yet decayed"),
        observe("faeces", total(faeces), "excreted in faeces and not yet decayed"),
        observe("decayed", total(decayed), "decayed so far, as activity at the time of dosing"),
        observe("balance", total(*body, *excreta, decayed), "all of the above: what was given"),
    ),
    routes={"iv": blood},
)
