"""Mavoglurant in the whole body: sixteen well-stirred, perfusion-limited compartments on arterial and venous blood.

Wendling et al. 2015, as Elmokadem et al. 2023 write it out. Concentrations in the compartments are those of whole blood or
tissue, partition coefficients tissue over blood; what is measured is plasma of venous blood. Linear.
"""

from pbpk.model import Block, Compartment, conc, derive, flow, flux, observe, perfusion, rules

SYSTEMIC = ("heart", "brain", "muscle", "adipose", "skin", "bone", "kidneys", "rest")
PORTAL = ("spleen", "pancreas", "stomach", "gut")

place = {n: Compartment(n, "mg", volume=f"{n}.V") for n in ("lungs", *SYSTEMIC, *PORTAL, "liver", "arterial", "venous")}
metabolised = Compartment("metabolised", "mg")
arterial, venous, liver = place["arterial"], place["venous"], place["liver"]


def through(organ, source, target, q):
    """A flow in at the source's concentration, and the same flow out at that of the organ's blood."""
    yield flux(source >> organ, flow, c=conc(source), q=q)
    yield flux(organ >> target, perfusion, c=conc(organ), q=q, kp=f"{organ.name}.Kb")


def arrows():
    yield from through(place["lungs"], venous, arterial, "cardiac_output.Q")
    for name in SYSTEMIC:
        yield from through(place[name], arterial, venous, f"{name}.Q")
    for name in PORTAL:
        yield from through(place[name], arterial, liver, f"{name}.Q")
    yield flux(arterial >> liver, flow, c=conc(arterial), q="liver.artery")
    yield flux(liver >> venous, perfusion, c=conc(liver), q="liver.Q", kp="liver.Kb")
    yield flux(liver >> metabolised, perfusion, c=conc(liver), q="liver.CL", kp="liver.Kb")


def numbers():
    """Volumes from body weight, flows from cardiac output, what is left of it for the rest of the body."""
    yield derive(
        "cardiac_output.Q",
        rules.scaled,
        "cardiac output",
        value="cardiac_output.at_1kg",
        size="body.size",
        power="cardiac_output.power",
    )
    for name in place:
        of = {"mass": f"{name}.mass", "size": "body.size", "density": f"{name}.density"}
        yield derive(f"{name}.V", rules.organ_volume, f"volume of {name}", **of)
    for name in (*SYSTEMIC[:-1], *PORTAL, "liver"):
        yield derive(f"{name}.Q", rules.product, f"blood flow of {name}", a=f"{name}.flow", b="cardiac_output.Q")
    portal = tuple(f"{n}.Q" for n in PORTAL)
    yield derive("liver.artery", rules.remainder, "hepatic artery", whole="liver.Q", parts=portal)
    fed = (*(f"{n}.Q" for n in SYSTEMIC[:-1]), "liver.Q")
    yield derive("rest.Q", rules.remainder, "blood flow of the rest", whole="cardiac_output.Q", parts=fed)
    yield derive("blood.fu", rules.product, "fraction unbound in blood", a="plasma.fu", b="plasma.over_blood")
    yield derive("liver.CL", rules.product, "intrinsic clearance of what is unbound in blood", a="CLint", b="blood.fu")


model = Block(
    (*place.values(), metabolised),
    tuple(arrows()),
    observables=(observe("cp", conc(venous), "concentration in plasma of venous blood", scale="plasma.over_blood"),),
    routes={"iv": venous},
    derived=tuple(numbers()),
)
