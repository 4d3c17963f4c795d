"""What several files of this model speak of: units, scaling exponents, and the compartments that they share."""

from pbpk.model import Compartment, alimentary_tract

UNIT = "MBq"
FLOW, RATE = "body.flow_power", "body.rate_power"
PLAIN = ("adipose", "heart", "muscle", "skeleton", "red_marrow", "skin", "gonads", "rest")
PORTAL = ("intestine", "pancreas", "spleen", "stomach_wall")
HOLDING = ("lungs", "liver", "spleen", "kidneys")


def pool(name, volume=None):
    return Compartment(name, UNIT, volume=volume)


plasma = pool("plasma", "plasma.V")
red_cells = pool("red_cells", "red_cells.V")
bladder_contents, urine, decayed = pool("bladder_contents"), pool("urine"), pool("decayed")
tract = alimentary_tract(plasma, UNIT, routes=False)  # what is swallowed comes by way of its purity
lumen = {c.name: c for c in tract.compartments}
faeces = lumen["faeces"]
contents = tuple(c for c in tract.compartments if c is not faeces)
liver = pool("liver", "liver.apparent")
