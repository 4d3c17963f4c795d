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
    "dose": "pbpk.regimen.dose",
    "parse_dose": "pbpk.regimen.dose",
    "void": "pbpk.regimen.void",
    "parse_void": "pbpk.regimen.void",
    "parse_times": "pbpk.regimen.dose",
    "virtual_patients": "pbpk.population.patients",
    "simulate": "pbpk.population.simulate",
    "fit": "pbpk.estimation.fit_study",
    "design": "pbpk.optimal_design.design_study",
    "load_study": "pbpk.study.load",
    "list_studies": "pbpk.study.load",
    "runs": "pbpk.run_folders.find",
    "compare": "pbpk.run_comparison.compare",
    "bootstrap": "pbpk.run_folders.uncertainty",
    "profile": "pbpk.run_folders.uncertainty",
    "sir": "pbpk.run_folders.uncertainty",
    "derived": "pbpk.run_folders.uncertainty",
    "vpc": "pbpk.run_folders.simulation_checks",
    "npde": "pbpk.run_folders.simulation_checks",
    "covsearch": "pbpk.run_folders.covariate_search",
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

_CALLED = {"fit": "fit_study", "design": "design_study"}  # where a function has a longer name at home


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), _CALLED.get(name, name))
    raise AttributeError(f"module 'pbpk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
