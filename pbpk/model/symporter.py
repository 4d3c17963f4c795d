"""Uptake by the sodium-iodide symporter (NIS), the one law for every tissue that carries it.

At tracer mass, with competitors that do not change and an expression at rest, it is linear, and a model of it is solved
exactly; with competitors or expression as states, it is competitive Michaelis–Menten in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pbpk.model.declare import Amount, Arrow, Binding, Compartment, DerivedParameter, Flux, amount, conc, derive, flux
from pbpk.model.laws import symport, trace_symport
from pbpk.model.rules import crowding, substance_of_activity

COMPETITORS = {
    "iodide": "rivals.iodide",
    "km_iodide": "nis.km_iodide",
    "perchlorate": "rivals.perchlorate",
    "ki_perchlorate": "nis.ki_perchlorate",
    "thiocyanate": "rivals.thiocyanate",
    "ki_thiocyanate": "nis.ki_thiocyanate",
}


@dataclass(frozen=True)
class Symporter:
    """`iodide` and `perchlorate` are the compartments of competitors that move; without them they are the rows `rivals.*`."""

    tracer: str
    iodide: Compartment | None = None
    perchlorate: Compartment | None = None

    @property
    def derived(self) -> tuple[DerivedParameter, ...]:
        """The derived parameters that uptake by the symporter needs, for the Block's `derived`."""
        return (
            derive("rivals.crowd", crowding, "by how much competitors raise Km", **COMPETITORS),
            derive(
                "tracer.substance",
                substance_of_activity,
                "substance in one unit of activity",
                k="decay.k",
                avogadro="nis.avogadro",
            ),
        )

    def uptake(
        self, path: Arrow, vmax: str, level: Compartment | None = None, *, own: str = "tracer.substance"
    ) -> Flux:
        """Into cells from the fluid around them. `level` is a compartment that holds the expression, 1 at rest; `own` the
        row of the substance in one unit of what is carried, 0 for a competitor that the law counts already."""
        km, c = f"{self.tracer}.km", conc(path.source)
        if self.iodide is None and level is None:
            return flux(path, trace_symport, c=c, vmax=vmax, km=km, crowd="rivals.crowd")
        bindings: dict[str, Binding] = dict(COMPETITORS)
        bindings |= {n: conc(s) for n, s in (("iodide", self.iodide), ("perchlorate", self.perchlorate)) if s}
        expressed: Amount | str = amount(level) if level else "nis.at_rest"
        return flux(path, symport, c=c, level=expressed, own=own, vmax=vmax, km=km, **bindings)
