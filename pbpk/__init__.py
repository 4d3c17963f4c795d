"""pbpk: from the biokinetics of a radiopharmaceutical to a decision.

A model is declared as compartments and fluxes with sourced parameters (`load_model`), dosed (`dose`), solved for one
patient or many (`simulate`, `virtual_patients`) and fitted to trial data (`fit`). Numbers carry units at the door and are
coherent inside. Importing this sets float64 and the compile cache before JAX loads; the names below load on first use.
"""

from __future__ import annotations

import importlib

from pbpk import runtime as runtime

__version__ = "0.1.0"

_HOME = {
    "load_model": "pbpk.model.load",
    "list_models": "pbpk.model.load",
    "dose": "pbpk.regimen",
    "parse_dose": "pbpk.regimen",
    "void": "pbpk.voids",
    "parse_void": "pbpk.voids",
    "parse_times": "pbpk.regimen",
    "virtual_patients": "pbpk.population.patients",
    "simulate": "pbpk.population.simulate",
    "load_study": "pbpk.fit.study",
    "list_studies": "pbpk.fit.study",
    "runs": "pbpk.report.record",
    "compare": "pbpk.report.comparison",
    "bootstrap": "pbpk.report.confidence",
    "profile": "pbpk.report.confidence",
    "sir": "pbpk.report.confidence",
    "derived": "pbpk.report.confidence",
    "vpc": "pbpk.report.predictive",
    "npde": "pbpk.report.predictive",
    "covsearch": "pbpk.report.searching",
    "read_events": "pbpk.data.events",
    "load_nuclide": "pbpk.nuclides",
    "chain": "pbpk.nuclides.chains",
    "activities": "pbpk.nuclides.chains",
    "read_voi": "pbpk.data.voi",
    "measure": "pbpk.observe.measure",
    "read_measurements": "pbpk.observe.declared",
    "absorbed_dose": "pbpk.dosimetry.absorbed",
    "PbpkError": "pbpk.errors",
}


def __getattr__(name: str):
    if name in ("fit", "design"):
        return importlib.import_module(f"pbpk.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'pbpk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, "fit", "design"])
