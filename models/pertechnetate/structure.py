"""Systemic technetium of ICRP 134, given as pertechnetate, with the alimentary tract of ICRP 130 and physical decay.

Pertechnetate is carried by NIS as iodide is, but hardly bound in the thyroid. States are activities; everything decays
into `decayed`, which counts in MBq at the time of dosing, so that the states always sum to what was given.
"""

from pbpk.model import Block, Compartment, alimentary_tract, observe, physical_decay, total, transfer

UNIT = "MBq"


def pool(name):
    return Compartment(name, UNIT)


blood = pool("blood")
thyroid_1, thyroid_2 = pool("thyroid_1"), pool("thyroid_2")
salivary_glands, stomach_wall, right_colon_wall = (
    pool("salivary_glands"),
    pool("stomach_wall"),
    pool("right_colon_wall"),
)
kidneys_1, kidneys_2, liver_1, liver_2 = pool("kidneys_1"), pool("kidneys_2"), pool("liver_1"), pool("liver_2")
other_0, other_1, other_2 = pool("other_0"), pool("other_1"), pool("other_2")
trabecular_surface, trabecular_volume = pool("trabecular_surface"), pool("trabecular_volume")
cortical_surface, cortical_volume = pool("cortical_surface"), pool("cortical_volume")
bladder_contents, urine, decayed = pool("bladder_contents"), pool("urine"), pool("decayed")

tract = alimentary_tract(blood, UNIT)
lumen = {c.name: c for c in tract.compartments}
oral_cavity, stomach_contents = lumen["oral_cavity"], lumen["stomach_contents"]
right_colon, faeces = lumen["right_colon"], lumen["faeces"]

arrows = (
    (blood, thyroid_1),
    (blood, other_0),
    (blood, other_1),
    (blood, other_2),
    (blood, bladder_contents),
    (blood, salivary_glands),
    (blood, stomach_wall),
    (blood, kidneys_1),
    (blood, kidneys_2),
    (blood, liver_1),
    (blood, right_colon_wall),
    (blood, trabecular_surface),
    (blood, cortical_surface),
    (thyroid_1, blood),
    (thyroid_1, thyroid_2),
    (thyroid_2, blood),
    (other_0, blood),
    (other_1, blood),
    (other_2, blood),
    (salivary_glands, oral_cavity),
    (stomach_wall, stomach_contents),
    (kidneys_1, bladder_contents),
    (kidneys_2, blood),
    (liver_1, blood),
    (liver_1, liver_2),
    (liver_2, blood),
    (right_colon_wall, right_colon),
    (trabecular_surface, blood),
    (trabecular_surface, trabecular_volume),
    (cortical_surface, blood),
    (cortical_surface, cortical_volume),
    (trabecular_volume, blood),
    (cortical_volume, blood),
    (bladder_contents, urine),
)
bone = (trabecular_surface, trabecular_volume, cortical_surface, cortical_volume)
systemic = (
    *(blood, thyroid_1, thyroid_2, salivary_glands, stomach_wall, right_colon_wall),
    *(kidneys_1, kidneys_2, liver_1, liver_2, other_0, other_1, other_2, *bone, bladder_contents),
)
contents = tuple(c for c in tract.compartments if c is not faeces)
walls = (stomach_wall, right_colon_wall, salivary_glands)
excreta = (urine, faeces)

model = (
    Block((*systemic, urine), tuple(transfer(a, b, "technetium") for a, b in arrows), routes={"iv": blood})
    + tract
    + Block(
        (decayed,),
        physical_decay(*systemic, *contents, *excreta, into=decayed),
        observables=(
            observe("whole_body", total(*systemic, *contents), "everything not yet excreted"),
            observe("thyroid", total(thyroid_1, thyroid_2), "in the thyroid"),
            observe("blood", total(blood), "in blood"),
            observe("salivary_glands", total(salivary_glands), "in the salivary glands"),
            observe("stomach_wall", total(stomach_wall), "in the stomach wall"),
            observe("stomach_contents", total(stomach_contents), "in the stomach's contents"),
            observe("alimentary_tract", total(*contents, *walls), "tract with its glands and walls"),
            observe("kidneys", total(kidneys_1, kidneys_2), "in the kidneys, without their blood"),
            observe("liver", total(liver_1, liver_2), "in the liver, without its blood"),
            observe("bone", total(*bone), "on bone surfaces and in bone volume"),
            observe("bladder_contents", total(bladder_contents), "in the urinary bladder"),
            observe("urine", total(urine), "excreted in urine and not yet decayed"),
            observe("faeces", total(faeces), "excreted in faeces and not yet decayed"),
            observe("decayed", total(decayed), "decayed so far, as activity at the time of dosing"),
            observe("balance", total(*systemic, *contents, *excreta, decayed), "all of the above: what was given"),
        ),
    )
)
