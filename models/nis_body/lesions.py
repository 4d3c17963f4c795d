"""Metastases: fluid behind their capillaries, tumour cells, and what keeps the tracer in them."""

from pbpk.model import Block, amount, clearance, conc, derive, first_order, flux, observe, perfused, rules, total

from .compartments import plasma, pool
from .thyroid import expression_on_diet


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
        *expression_on_diet(),
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
    observables = observe(name, total(*inside), f"in lesion {k}, {site}")
    return Block((plasma, *inside), tuple(arrows), (observables,), derived=rows) + moved
