"""A whole body for anions that the sodium-iodide symporter carries: organs on one plasma, NIS tissues, lesions, tract, bladder.

One declaration for astatide, iodide and pertechnetate; the tracer chooses its rows of the table. Amounts are activities;
everything decays into `decayed`, counted as activity at the time of dosing, so that all compartments always sum to what
was given.
"""

from pbpk.model import Block, Symporter, option, retention_pool

from .compartments import HOLDING, plasma, tract
from .competitors import competitors, stable_anions
from .decay import decay
from .drivers import Drivers
from .lesions import lesion
from .observables import plausible_body, whole_body_observables
from .organs import blood, kidneys, organs, salivary_glands, stomach
from .purity import oxidised_impurity, split_by_purity
from .thyroid import thyroid

SITES = "neck lung bone liver brain"
options = (
    option("tracer", "astatide iodide pertechnetate", "the anion; --nuclide chooses its nuclide"),
    option(
        "thyroid",
        "remnant intact none",
        "thyroid tissue: a remnant (remnant.mass), a whole gland (thyroid.mass), or none",
    ),
    option(
        "lesions",
        f"{SITES} none",
        "sites of the lesions, one word each, such as neck,lung,lung",
        default="neck",
        several=True,
    ),
    option(
        "retention",
        "nis nis_and_other rapid_efflux bound",
        "how lesions keep the tracer: NIS and slow efflux; a share taken up otherwise; efflux in minutes; and a bound pool",
    ),
    option(
        "competitors",
        "constant kinetic",
        "stable iodide and perchlorate: at constant levels (rivals.*), or dosed and cleared",
    ),
    option(
        "drivers",
        "rhtsh redifferentiation damage growth none",
        "what changes the symporter's expression in time, such as rhtsh,damage",
        default="none",
        several=True,
    ),
    option(
        "daughters", "none bismuth chain", "207Bi of 211At as a species of its own; or 211Po too, in place or displaced"
    ),
)


def model(chosen):
    """The Block of the chosen variant."""
    tracer = chosen.tracer
    nis = Symporter(tracer, *competitors(chosen))
    drivers = Drivers(chosen.drivers)
    parts = [
        blood(tracer),
        *organs(tracer),
        kidneys(tracer),
        salivary_glands(tracer, nis),
        stomach(tracer, nis),
        tract,
        drivers.signals(),
    ]
    parts += [retention_pool(name, tracer, plasma) for name in HOLDING]
    parts += [split_by_purity(), oxidised_impurity()]
    if chosen.thyroid != "none":
        parts.append(thyroid(tracer, nis, drivers, "remnant" if chosen.thyroid == "remnant" else "thyroid"))
    lesions = [lesion(k, site, chosen, nis, drivers) for k, site in enumerate(chosen.lesions, start=1)]
    if chosen.competitors == "kinetic":
        parts.append(stable_anions(nis))
    body = sum([*parts, *lesions], Block(derived=nis.derived))
    fate = decay(body, chosen)
    return body + fate + whole_body_observables(body, fate) + plausible_body(len(lesions))
