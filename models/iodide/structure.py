"""Systemic iodine of ICRP 137 (Leggett 2010) with the alimentary tract of ICRP 130 and physical decay.

Inorganic iodide and organic (hormonal) iodine are separate pools. States are activities; everything decays into
`decayed`, which counts in MBq at the time of dosing, so that the states always sum to what was given.
"""

from pbpk.model import Block, Compartment, alimentary_tract, observe, physical_decay, total, transfer

UNIT = "MBq"


def pool(name):
    return Compartment(name, UNIT)


blood, blood_organic = pool("blood"), pool("blood_organic")
thyroid_iodide, thyroid_organic = pool("thyroid_iodide"), pool("thyroid_organic")
salivary_glands, stomach_wall = pool("salivary_glands"), pool("stomach_wall")
kidneys_iodide, kidneys_organic = pool("kidneys_iodide"), pool("kidneys_organic")
liver_iodide, liver_organic = pool("liver_iodide"), pool("liver_organic")
other_1, other_2, other_3, other_4 = (pool(f"other_{i}") for i in (1, 2, 3, 4))
bladder_contents, urine, decayed = pool("bladder_contents"), pool("urine"), pool("decayed")

tract = alimentary_tract(blood, UNIT)
lumen = {c.name: c for c in tract.compartments}
oral_cavity, stomach_contents = lumen["oral_cavity"], lumen["stomach_contents"]
right_colon, faeces = lumen["right_colon"], lumen["faeces"]

arrows = (
    (blood, thyroid_iodide),
    (blood, bladder_contents),
    (blood, salivary_glands),
    (blood, stomach_wall),
    (blood, other_1),
    (blood, kidneys_iodide),
    (blood, liver_iodide),
    (salivary_glands, oral_cavity),
    (stomach_wall, stomach_contents),
    (thyroid_iodide, thyroid_organic),
    (thyroid_iodide, blood),
    (thyroid_organic, blood_organic),
    (thyroid_organic, blood),
    (other_1, blood),
    (other_1, other_2),
    (other_2, other_1),
    (kidneys_iodide, blood),
    (liver_iodide, blood),
    (blood_organic, other_3),
    (other_3, blood_organic),
    (other_3, other_4),
    (other_4, other_3),
    (other_4, blood),
    (blood_organic, kidneys_organic),
    (kidneys_organic, blood_organic),
    (kidneys_organic, blood),
    (blood_organic, liver_organic),
    (liver_organic, blood_organic),
    (liver_organic, blood),
    (liver_organic, right_colon),
    (bladder_contents, urine),
)
systemic = (
    *(blood, thyroid_iodide, thyroid_organic, salivary_glands, stomach_wall),
    *(kidneys_iodide, kidneys_organic, liver_iodide, liver_organic),
    *(other_1, other_2, other_3, other_4, blood_organic, bladder_contents),
)
contents = tuple(c for c in tract.compartments if c is not faeces)
excreta = (urine, faeces)

model = (
    Block((*systemic, urine), tuple(transfer(a, b, "iodine") for a, b in arrows), routes={"iv": blood})
    + tract
    + Block(
        (decayed,),
        physical_decay(*systemic, *contents, *excreta, into=decayed),
        observables=(
            observe("whole_body", total(*systemic, *contents), "everything not yet excreted"),
            observe("thyroid", total(thyroid_iodide, thyroid_organic), "iodide and organic iodine in the thyroid"),
            observe("blood_total", total(blood, blood_organic), "iodide and organic iodine in blood"),
            observe("salivary_glands", total(salivary_glands), "in the salivary glands"),
            observe("stomach_wall", total(stomach_wall), "in the stomach wall"),
            observe("stomach_contents", total(stomach_contents), "in the stomach's contents"),
            observe(
                "alimentary_tract", total(*contents, stomach_wall, salivary_glands), "tract with its glands and wall"
            ),
            observe("kidneys", total(kidneys_iodide, kidneys_organic), "in the kidneys"),
            observe("liver", total(liver_iodide, liver_organic), "in the liver, without its blood"),
            observe("bladder_contents", total(bladder_contents), "in the urinary bladder"),
            observe("urine", total(urine), "excreted in urine and not yet decayed"),
            observe("faeces", total(faeces), "excreted in faeces and not yet decayed"),
            observe("decayed", total(decayed), "decayed so far, as activity at the time of dosing"),
            observe("balance", total(*systemic, *contents, *excreta, decayed), "all of the above: what was given"),
        ),
    )
)
