"""A whole body for anions that the sodium-iodide symporter carries: organs on one plasma, NIS tissues, lesions, tract, bladder.

One declaration for astatide, iodide and pertechnetate; the tracer chooses its rows of the table. Amounts are activities;
everything decays into `decayed`, counted as activity at the time of dosing, so that all compartments always sum to what
was given.
"""

from pbpk.model import (
    OUT,
    Block,
    Compartment,
    Symporter,
    alimentary_tract,
    amount,
    arrested,
    clearance,
    conc,
    damaged,
    daughter,
    decay_chain,
    demand,
    derive,
    first_order,
    flow,
    flux,
    held,
    observe,
    option,
    organ,
    perfused,
    perfusion,
    physical_decay,
    rules,
    saturating,
    sized,
    supply,
    tissue,
    total,
    zero_order,
)

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


def model(chosen):
    tracer = chosen.tracer
    nis = Symporter(tracer, *competitors(chosen))
    drivers = Drivers(chosen.drivers)
    parts = [
        blood(tracer),
        *organs(tracer),
        kidneys(tracer),
        glands(tracer, nis),
        stomach(tracer, nis),
        tract,
        drivers.signals(),
    ]
    parts += [held(name, tracer, plasma) for name in HOLDING]
    parts += [given_pure(), oxidised()]
    if chosen.thyroid != "none":
        parts.append(thyroid(tracer, nis, drivers, "remnant" if chosen.thyroid == "remnant" else "thyroid"))
    lesions = [lesion(k, site, chosen, nis, drivers) for k, site in enumerate(chosen.lesions, start=1)]
    if chosen.competitors == "kinetic":
        parts.append(stable_anions(nis))
    whole = sum([*parts, *lesions], Block(derived=nis.derived))
    fate = decay(whole, chosen)
    return whole + fate + readings(whole, fate) + sanity(len(lesions))


def blood(tracer):
    """Plasma, and red cells that keep pace with it."""
    rows = (
        derive("plasma.share", rules.complement, "plasma in blood", share="body.hematocrit"),
        derive(
            "blood.V", rules.organ_volume, "blood volume", mass="blood.mass", size="body.size", density="blood.density"
        ),
        derive("plasma.V", rules.product, "plasma volume", a="blood.V", b="plasma.share"),
        derive("red_cells.V", rules.product, "volume of red cells", a="blood.V", b="body.hematocrit"),
    )
    arrows = (
        flux(plasma >> red_cells, flow, c=conc(plasma), q="red_cells.PS"),
        flux(red_cells >> plasma, perfusion, c=conc(red_cells), q="red_cells.PS", kp=f"{tracer}.red_cells"),
    )
    return Block((plasma, red_cells), arrows, derived=rows)


def organs(tracer):
    """Organs without the symporter; those of the portal vein drain into the liver."""
    yield from (organ(name, tracer, plasma) for name in (*PLAIN, "lungs"))
    yield organ("brain", tracer, plasma, permeable=False)
    yield from (organ(name, tracer, plasma, drains_into=liver) for name in ("intestine", "pancreas", "spleen"))
    _, rows = tissue("liver", tracer, UNIT)
    rows += supply("liver", tracer)
    through = ("liver.Q", *(f"{name}.Q" for name in PORTAL))
    rows += (derive("liver.through", rules.sum_of, "hepatic artery and portal vein", parts=through),)
    arrows = (
        flux(plasma >> liver, flow, c=conc(plasma), q="liver.Q"),
        flux(liver >> plasma, flow, c=conc(liver), q="liver.through"),
    )
    yield Block((plasma, liver), arrows, derived=rows)
    named = (
        "red_marrow",
        "skeleton",
        "adipose",
        "muscle",
        "skin",
        "brain",
        "heart",
        "lungs",
        "liver",
        "kidneys",
        "spleen",
    )
    named += ("pancreas", "intestine", "stomach_wall", "salivary_glands", "gonads")
    masses = tuple(f"{name}.mass" for name in ("blood", *named))
    flows = tuple(f"{name}.flow" for name in (*named, "thyroid"))
    yield Block(
        derived=(
            derive("rest.mass", rules.remainder, "all but blood and the organs named", whole="body.mass", parts=masses),
            derive("rest.flow", rules.remaining_share, "all but the organs named", parts=flows),
        )
    )


def kidneys(tracer):
    """Filtration into the tubules, from which a share is reabsorbed and the rest goes to the bladder."""
    tubules = pool("tubules")
    rows = (
        sized("body.gfr", "glomerular filtration", "body.gfr", FLOW),
        sized("tubules.transit", "transit through the tubules", "tubules.transit", RATE),
        derive("tubules.back", rules.product, "reabsorption", a="tubules.transit.sized", b=f"{tracer}.reabsorbed"),
        derive("tubules.excreted", rules.complement, "share of the filtrate excreted", share=f"{tracer}.reabsorbed"),
        derive("tubules.on", rules.product, "excretion", a="tubules.transit.sized", b="tubules.excreted"),
    )
    arrows = (
        flux(plasma >> tubules, clearance, c=conc(plasma), cl="body.gfr.sized"),
        flux(tubules >> plasma, first_order, a=amount(tubules), k="tubules.back"),
        flux(tubules >> bladder_contents, first_order, a=amount(tubules), k="tubules.on"),
        flux(bladder_contents >> urine, first_order, a=amount(bladder_contents), k="bladder.voiding"),
    )
    return organ("kidneys", tracer, plasma) + Block((tubules, bladder_contents, urine), arrows, derived=rows)


def capacity(name, vmax, mass, *, rest="nis.at_rest"):
    """`NAME.Vmax`: what a gram carries, times its mass, size and the expression at rest."""
    return (
        derive(f"{name}.carriers", rules.product, f"symporter mass of {name}", a=mass, b=rest),
        derive(
            f"{name}.Vmax",
            rules.capacity,
            f"maximal NIS uptake of {name}",
            per=vmax,
            mass=f"{name}.carriers",
            size="body.size",
            power=FLOW,
        ),
    )


def glands(tracer, nis):
    """Salivary glands: parenchyma, duct, saliva, swallowed."""
    fluid, rows = tissue("salivary_glands", tracer, UNIT)
    cells, ducts, mouth = pool("salivary_cells"), pool("salivary_ducts"), lumen["oral_cavity"]
    rows += supply("salivary_glands", tracer) + capacity(
        "salivary_glands", f"{tracer}.salivary.Vmax", "salivary_glands.mass"
    )
    arrows = (
        *perfused(plasma, fluid, "salivary_glands.Q"),
        nis.uptake(fluid >> cells, "salivary_glands.Vmax"),
        flux(cells >> fluid, first_order, a=amount(cells), k=f"{tracer}.salivary.efflux"),
        flux(cells >> ducts, first_order, a=amount(cells), k=f"{tracer}.salivary.secretion"),
        flux(ducts >> mouth, first_order, a=amount(ducts), k="salivary_glands.ducts"),
    )
    return Block((plasma, fluid, cells, ducts, mouth), arrows, derived=rows)


def stomach(tracer, nis):
    """Stomach: wall, mucosa that secretes into the contents."""
    fluid, rows = tissue("stomach_wall", tracer, UNIT)
    mucosa, inside = pool("stomach_mucosa"), lumen["stomach_contents"]
    rows += supply("stomach_wall", tracer) + capacity("stomach_wall", f"{tracer}.stomach.Vmax", "stomach_wall.mass")
    arrows = (
        *perfused(plasma, fluid, "stomach_wall.Q", liver),
        nis.uptake(fluid >> mucosa, "stomach_wall.Vmax"),
        flux(mucosa >> fluid, first_order, a=amount(mucosa), k=f"{tracer}.stomach.efflux"),
        flux(mucosa >> inside, first_order, a=amount(mucosa), k=f"{tracer}.stomach.secretion"),
    )
    return Block((plasma, fluid, mucosa, inside, liver), arrows, derived=rows)


def thyroid(tracer, nis, drivers, rows_of):
    """Thyroid tissue: follicular cells, colloid (organified), hormone in the body."""
    fluid = pool("thyroid", "thyroid_tissue.apparent")
    cells, bound, hormone = pool("thyroid_cells"), pool("thyroid_bound"), pool("hormone")
    level, moved = drivers.level("thyroid")
    rows = (
        derive(
            "thyroid_tissue.V",
            rules.organ_volume,
            "volume of thyroid tissue",
            mass=f"{rows_of}.mass",
            size="body.size",
            density="body.density",
        ),
        derive(
            "thyroid_tissue.Kp",
            rules.partition,
            "thyroid tissue over plasma",
            ecf="thyroid.ecf",
            cells=f"{tracer}.cells",
        ),
        derive(
            "thyroid_tissue.apparent",
            rules.product,
            "volume of plasma that holds as much",
            a="thyroid_tissue.V",
            b="thyroid_tissue.Kp",
        ),
        derive(
            "thyroid_tissue.flow",
            rules.allotted,
            "its share of cardiac output",
            rate="thyroid.flow",
            part=f"{rows_of}.mass",
            of="thyroid.mass",
        ),
        derive(
            "thyroid_tissue.expressed",
            rules.product,
            "expression with its diet",
            a=f"{rows_of}.expression",
            b="nis.fed",
        ),
        *supply("thyroid_tissue", tracer),
        *capacity("thyroid_tissue", f"{tracer}.thyroid.Vmax", f"{rows_of}.mass", rest="thyroid_tissue.expressed"),
        *fed(),
    )
    arrows = (
        *perfused(plasma, fluid, "thyroid_tissue.Q"),
        nis.uptake(fluid >> cells, "thyroid_tissue.Vmax", level),
        flux(cells >> fluid, first_order, a=amount(cells), k=f"{tracer}.thyroid.efflux"),
        flux(bound >> hormone, first_order, a=amount(bound), k=f"{tracer}.thyroid.secretion"),
        flux(hormone >> plasma, first_order, a=amount(hormone), k=f"{tracer}.thyroid.deiodination"),
    )
    block = Block((plasma, fluid, cells, bound, hormone), arrows, derived=rows) + moved
    k = f"{tracer}.thyroid.organification"
    if tracer != "iodide" or nis.iodide is None:
        return block + Block((cells, bound), (flux(cells >> bound, first_order, a=amount(cells), k=k),))
    stable = Compartment("thyroid_iodide", "nmol")
    slowed = flux(cells >> bound, arrested, a=amount(cells), rival=amount(stable), k=k, half="thyroid.iodide_half")
    return block + Block((cells, bound), (slowed,)) + gland_iodide(stable, nis, level, k)


def gland_iodide(stable, nis, level, k):
    """Stable iodide within the gland: carried as the tracer is, and, where there is much of it, an end to organification
    (Wolff and Chaikoff 1948). That, and not the crowd at the carrier, is what blocks a thyroid with potassium iodide."""
    bound = Compartment("thyroid_iodide_bound", "nmol")
    arrows = (
        nis.uptake(nis.iodide >> stable, "thyroid_tissue.Vmax", level, own="nis.counted"),
        flux(stable >> nis.iodide, first_order, a=amount(stable), k="iodide.thyroid.efflux"),
        flux(stable >> bound, arrested, a=amount(stable), rival=amount(stable), k=k, half="thyroid.iodide_half"),
        flux(bound >> nis.iodide, first_order, a=amount(bound), k="iodide.thyroid.secretion"),
    )
    seen = observe(
        "thyroid_stable_iodide", total(stable, bound), "stable iodine in thyroid tissue, since the first record"
    )
    return Block((nis.iodide, stable, bound), arrows, (seen,))


def fed():
    """Thyroid tissue answers a low intake of iodine with more symporter."""
    return (
        derive("diet.relative", rules.ratio, "iodine intake over the reference", a="diet.iodine", b="diet.reference"),
        derive(
            "nis.fed",
            rules.scaled,
            "expression after weeks on the diet",
            value="nis.at_rest",
            size="diet.relative",
            power="diet.autoregulation",
        ),
    )


def lesion(k, site, chosen, nis, drivers):
    """A metastasis at a site: fluid behind its capillaries, tumour cells, and what keeps the tracer in them."""
    tracer, name = chosen.tracer, f"lesion_{k}"
    fluid, cells, bound = pool(name, f"{name}.fluid"), pool(f"{name}_cells"), pool(f"{name}_bound")
    level, moved = drivers.level(name, conc(fluid))
    efflux = "lesion.efflux_rapid" if chosen.retention in ("rapid_efflux", "bound") else "lesion.efflux"
    rows = (
        derive(f"{name}.V", rules.ratio, "lesion volume", a=f"{name}.mass", b="body.density"),
        derive(f"{name}.fluid", rules.product, "its extracellular fluid", a=f"{name}.V", b=f"{name}.ecf"),
        derive(f"{name}.perfused", rules.product, "flow through it", a=f"{name}.V", b=f"site.{site}.perfusion"),
        derive(
            f"{name}.PS", rules.product, "permeability of its capillaries", a=f"{name}.V", b=f"site.{site}.permeability"
        ),
        derive(f"{name}.exchange", rules.extraction, "exchange with plasma", q=f"{name}.perfused", ps=f"{name}.PS"),
        derive(f"{name}.carriers", rules.product, "mass times expression", a=f"{name}.mass", b=f"{name}.expression"),
        derive(f"{name}.carriers_fed", rules.product, "the same with its diet", a=f"{name}.carriers", b="nis.fed"),
        derive(
            f"{name}.Vmax", rules.product, "maximal NIS uptake", a=f"{name}.carriers_fed", b=f"{tracer}.thyroid.Vmax"
        ),
        *fed(),
    )
    arrows = [
        *perfused(plasma, fluid, f"{name}.exchange"),
        nis.uptake(fluid >> cells, f"{name}.Vmax", level),
        flux(cells >> fluid, first_order, a=amount(cells), k=f"{name}.{efflux.split('.')[1]}"),
    ]
    inside = [fluid, cells]
    if chosen.retention == "nis_and_other":
        rows += (
            derive(f"{name}.otherwise", rules.product, "uptake not by NIS", a=f"{name}.V", b=f"{name}.other_uptake"),
        )
        arrows.append(flux(fluid >> cells, clearance, c=conc(fluid), cl=f"{name}.otherwise"))
    if chosen.retention == "bound":
        inside.append(bound)
        arrows.append(flux(cells >> bound, first_order, a=amount(cells), k=f"{name}.binding"))
        arrows.append(flux(bound >> cells, first_order, a=amount(bound), k=f"{name}.unbinding"))
    seen = observe(name, total(*inside), f"in lesion {k}, {site}")
    return Block((plasma, *inside), tuple(arrows), (seen,), derived=rows) + moved


class Drivers:
    """What moves the symporter's expression: each NIS tissue that answers has a level, 1 at rest."""

    def __init__(self, words):
        self.words = words
        self.signal = Compartment("tsh_signal", "mg")
        self.drug = Compartment("redifferentiation", "mg")

    def signals(self):
        """rhTSH after injection into muscle, and its delayed signal; a redifferentiating drug, taken by mouth."""
        block = Block()
        if "rhtsh" in self.words:
            depot, rhtsh = Compartment("rhtsh_depot", "mg"), Compartment("rhtsh", "mg", volume="rhtsh.V")
            block += Block(
                (depot, rhtsh, self.signal),
                (
                    flux(depot >> rhtsh, first_order, a=amount(depot), k="rhtsh.ka"),
                    flux(rhtsh >> OUT, first_order, a=amount(rhtsh), k="rhtsh.ke"),
                    flux(OUT >> self.signal, first_order, a=amount(rhtsh), k="rhtsh.delay"),
                    flux(self.signal >> OUT, first_order, a=amount(self.signal), k="rhtsh.delay"),
                ),
                observables=(observe("rhtsh", conc(rhtsh), "rhTSH in serum"),),
                routes={"rhtsh_im": depot},
            )
        if "redifferentiation" in self.words:
            gut = Compartment("redifferentiation_gut", "mg")
            block += Block(
                (gut, self.drug),
                (
                    flux(gut >> self.drug, first_order, a=amount(gut), k="redifferentiation.ka"),
                    flux(self.drug >> OUT, first_order, a=amount(self.drug), k="redifferentiation.ke"),
                ),
                routes={"redifferentiation_oral": gut},
            )
        return block

    def level(self, name, exposure=None):
        """The level of a tissue and the block that moves it; none without drivers."""
        if not self.words:
            return None, Block()
        level = Compartment(f"{name}_nis", "1", initial="nis.at_rest")
        arrows = [
            flux(OUT >> level, zero_order, rate="nis.turnover"),
            flux(level >> OUT, first_order, a=amount(level), k="nis.turnover"),
        ]
        if "rhtsh" in self.words:
            arrows.append(flux(OUT >> level, saturating, a=amount(self.signal), vmax="rhtsh.gain", half="rhtsh.half"))
        if "redifferentiation" in self.words:
            arrows.append(
                flux(
                    OUT >> level,
                    saturating,
                    a=amount(self.drug),
                    vmax="redifferentiation.gain",
                    half="redifferentiation.half",
                )
            )
        if exposure is not None and "damage" in self.words:
            arrows.append(flux(level >> OUT, damaged, level=amount(level), c=exposure, k="lesion.damage"))
        if exposure is not None and "growth" in self.words:
            arrows.append(flux(OUT >> level, first_order, a=amount(level), k=f"{name}.growth"))
        return level, Block(
            (level,), tuple(arrows), (observe(f"{name}_nis", amount(level), f"NIS expression of {name}, 1 at rest"),)
        )


def competitors(chosen):
    if chosen.competitors == "constant":
        return None, None
    return Compartment("stable_iodide", "nmol", volume="stable_iodide.V", initial="stable_iodide.initial"), Compartment(
        "perchlorate", "nmol", volume="perchlorate.V"
    )


def stable_anions(nis):
    """Stable iodide, eaten every day or given to block, and perchlorate; counted out as well as in."""
    arrows, places, routes = [], [], {}
    for kind, word in ((nis.iodide, "potassium_iodide"), (nis.perchlorate, "perchlorate_oral")):
        gut, out = Compartment(f"{kind.name}_gut", "nmol"), Compartment(f"{kind.name}_excreted", "nmol")
        arrows += [
            flux(gut >> kind, first_order, a=amount(gut), k=f"{kind.name}.ka"),
            flux(kind >> out, clearance, c=conc(kind), cl=f"{kind.name}.CL"),
        ]
        places += [gut, kind, out]
        routes[word] = gut
    arrows.append(flux(OUT >> nis.iodide, zero_order, rate="diet.iodine"))
    level = derive(
        "stable_iodide.level", rules.ratio, "stable iodide in plasma on the diet", a="diet.iodine", b="stable_iodide.CL"
    )
    start = derive(
        "stable_iodide.initial",
        rules.product,
        "stable iodide in the body on the diet",
        a="stable_iodide.level",
        b="stable_iodide.V",
    )
    seen = (
        observe("plasma_iodide", conc(nis.iodide), "stable iodide in plasma"),
        observe("plasma_perchlorate", conc(nis.perchlorate), "perchlorate in plasma"),
    )
    return Block(tuple(places), tuple(arrows), seen, routes, derived=(level, start))


def given_pure():
    """What is injected or swallowed is, for a share `purity`, the anion; the rest is oxidised, and NIS does not carry it."""
    injected, swallowed = pool("injected"), pool("swallowed")
    ox, gut = pool("oxidised", "oxidised.V"), pool("oxidised_gut")
    rows = (
        derive("impurity", rules.complement, "share oxidised", share="purity"),
        derive("mixing.pure", rules.product, "entry of the anion", a="mixing", b="purity"),
        derive("mixing.impure", rules.product, "entry of what is oxidised", a="mixing", b="impurity"),
    )
    arrows = tuple(
        flux(a >> b, first_order, a=amount(a), k=k)
        for a, b, k in (
            (injected, plasma, "mixing.pure"),
            (injected, ox, "mixing.impure"),
            (swallowed, lumen["oral_cavity"], "mixing.pure"),
            (swallowed, gut, "mixing.impure"),
        )
    )
    return Block(
        (injected, swallowed, plasma, ox, gut), arrows, routes={"iv": injected, "oral": swallowed}, derived=rows
    )


def oxidised():
    """The impurity's own kinetics: absorbed, held in tissue, excreted by the kidneys."""
    gut, ox, tissues = pool("oxidised_gut"), pool("oxidised", "oxidised.V"), pool("oxidised_tissue")
    arrows = (
        flux(gut >> ox, first_order, a=amount(gut), k="oxidised.ka"),
        flux(ox >> bladder_contents, clearance, c=conc(ox), cl="oxidised.CL"),
        flux(ox >> tissues, clearance, c=conc(ox), cl="oxidised.uptake"),
        flux(tissues >> ox, first_order, a=amount(tissues), k="oxidised.release"),
    )
    return Block((gut, ox, tissues, bladder_contents), arrows)


def decay(whole, chosen):
    """Physical decay of everything. With `daughters=bismuth`, the alpha branch of 211At leaves 207Bi, with kinetics of its own;
    with `chain`, 211Po and 207Bi decay where they were born, but for the shares `*.displaced`, which plasma carries."""
    ours = tuple(c for c in whole.compartments if c.unit == UNIT)
    if chosen.daughters == "none":
        return Block((decayed,), physical_decay(*ours, into=decayed))
    if chosen.daughters == "chain":
        chain = decay_chain("At-211", *ours, into=decayed, displaced={"Po-211": plasma, "Bi-207": plasma})
        seen = (
            observe(
                "polonium_211",
                total(*(daughter(c, "Po-211") for c in ours)),
                "211Po, all of it",
                scale="po211.activity",
            ),
            observe(
                "bismuth_207", total(*(daughter(c, "Bi-207") for c in ours)), "207Bi, all of it", scale="bi207.activity"
            ),
        )
        return chain + Block((decayed,), observables=seen)
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
    for c in ours:
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
    seen = observe(
        "bismuth_207",
        total(inside, bound, kept),
        "207Bi in the body, counted as the 211At it came from",
        scale="bismuth.activity",
    )
    return Block((decayed, inside, bound, kept, out), tuple(arrows), (seen,), derived=rows)


def readings(whole, fate):
    ours = tuple(c for c in whole.compartments if c.unit == UNIT)
    named = {c.name: c for c in ours} | {"decayed": decayed}
    of_decay = tuple(c for c in fate.compartments if c not in ours)
    excreta = (urine, faeces)

    def seen(name, about, *names):
        return observe(name, total(*(named[n] for n in names if n in named)), about)

    out = [
        observe("whole_body", total(*(c for c in ours if c not in excreta)), "everything not yet excreted"),
        seen("blood", "in plasma and red cells", "plasma", "red_cells", "oxidised"),
        observe("plasma_concentration", conc(plasma), "the anion in plasma"),
        seen(
            "salivary_glands",
            "in the salivary glands and their ducts",
            "salivary_glands",
            "salivary_cells",
            "salivary_ducts",
        ),
        seen("stomach_wall", "in the stomach's wall and mucosa", "stomach_wall", "stomach_mucosa"),
        seen("stomach_contents", "in the stomach's contents", "stomach_contents"),
        observe(
            "intestine_contents",
            total(*(lumen[n] for n in ("small_intestine", "right_colon", "left_colon", "rectosigmoid"))),
            "in the gut's contents",
        ),
        *(seen(n, f"in the {n}", n, f"{n}_held") for n in ("lungs", "liver", "spleen")),
        seen("kidneys", "in the kidneys", "kidneys", "kidneys_held", "tubules"),
        seen("red_marrow", "in red marrow", "red_marrow"),
        seen("muscle", "in muscle", "muscle"),
        seen("brain", "in the brain", "brain"),
        seen("bladder_contents", "in the urinary bladder", "bladder_contents"),
        seen("urine", "excreted in urine and not yet decayed", "urine"),
        seen("faeces", "excreted in faeces and not yet decayed", "faeces"),
        seen("decayed", "decayed so far, as activity at the time of dosing", "decayed"),
        observe("balance", total(*ours, *of_decay), "all of the tracer: what was given"),
    ]
    if "thyroid" in named:
        out.insert(1, seen("thyroid", "in thyroid tissue", "thyroid", "thyroid_cells", "thyroid_bound"))
    return Block(observables=tuple(out))


def sanity(lesions):
    """What no body can be."""
    found = [
        demand("the organs' flows add up to more than the cardiac output", rules.same, a="rest.flow"),
        demand("the organs' masses add up to more than the body", rules.same, a="rest.mass"),
    ]
    for k in range(1, lesions + 1):
        found.append(
            demand(
                f"lesion {k} is heavier than the rest of the body",
                rules.difference,
                a="rest.mass",
                b=f"lesion_{k}.mass",
            )
        )
    return Block(demands=tuple(found))
