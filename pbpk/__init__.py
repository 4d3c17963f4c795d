"""pbpk: from the biokinetics of a radiopharmaceutical to a decision.

A model is declared as compartments and fluxes with sourced parameters (`load_model`), dosed (`dose`), solved for one
patient or many (`simulate`, `virtual_patients`) and fitted to trial data (`fit`). Numbers carry units at the door and are
coherent inside. Importing this sets float64 and the compile cache before JAX loads; the names below load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pbpk import runtime as runtime

__version__ = "0.1.0"

# What type checkers and editors read. At run time the same names load on first use, from `_HOME`: tests compare the two.
if TYPE_CHECKING:
    from pbpk.data.events import read_events as read_events
    from pbpk.data.voi import read_voi as read_voi
    from pbpk.dosimetry.absorbed import absorbed_dose as absorbed_dose
    from pbpk.errors import PbpkError as PbpkError
    from pbpk.estimation.fit_study import fit_study as fit
    from pbpk.model.load import list_models as list_models
    from pbpk.model.load import load_model as load_model
    from pbpk.nuclides import load_nuclide as load_nuclide
    from pbpk.nuclides.chains import activities as activities
    from pbpk.nuclides.chains import chain as chain
    from pbpk.observe.declared import read_measurements as read_measurements
    from pbpk.observe.measure import measure as measure
    from pbpk.optimal_design.design_study import design_study as design
    from pbpk.population.patients import virtual_patients as virtual_patients
    from pbpk.regimen.dose import dose as dose
    from pbpk.regimen.dose import parse_dose as parse_dose
    from pbpk.regimen.times import parse_times as parse_times
    from pbpk.regimen.void import parse_void as parse_void
    from pbpk.regimen.void import void as void
    from pbpk.run_comparison.compare import compare as compare
    from pbpk.run_folders.covariate_search import covsearch as covsearch
    from pbpk.run_folders.fitted_individuals import fitted_individuals as fitted_individuals
    from pbpk.run_folders.fitted_kinetics import fitted_kinetics as fitted_kinetics
    from pbpk.run_folders.run_list import runs as runs
    from pbpk.run_folders.simulate import simulate as simulate
    from pbpk.run_folders.simulation_checks import npde as npde
    from pbpk.run_folders.simulation_checks import vpc as vpc
    from pbpk.run_folders.uncertainty import bootstrap as bootstrap
    from pbpk.run_folders.uncertainty import derived as derived
    from pbpk.run_folders.uncertainty import profile as profile
    from pbpk.run_folders.uncertainty import sir as sir
    from pbpk.study.load import list_studies as list_studies
    from pbpk.study.load import load_study as load_study

__all__ = [
    "PbpkError",
    "absorbed_dose",
    "activities",
    "bootstrap",
    "chain",
    "compare",
    "covsearch",
    "derived",
    "design",
    "dose",
    "fit",
    "fitted_individuals",
    "fitted_kinetics",
    "list_models",
    "list_studies",
    "load_model",
    "load_nuclide",
    "load_study",
    "measure",
    "npde",
    "parse_dose",
    "parse_times",
    "parse_void",
    "profile",
    "read_events",
    "read_measurements",
    "read_voi",
    "runs",
    "simulate",
    "sir",
    "virtual_patients",
    "void",
    "vpc",
]

# Public name -> module, or module:name where the function is called otherwise at home.
_HOME = {
    "load_model": "pbpk.model.load",
    "list_models": "pbpk.model.load",
    "dose": "pbpk.regimen.dose",
    "parse_dose": "pbpk.regimen.dose",
    "void": "pbpk.regimen.void",
    "parse_void": "pbpk.regimen.void",
    "parse_times": "pbpk.regimen.times",
    "virtual_patients": "pbpk.population.patients",
    "simulate": "pbpk.run_folders.simulate",
    "fit": "pbpk.estimation.fit_study:fit_study",
    "design": "pbpk.optimal_design.design_study:design_study",
    "load_study": "pbpk.study.load",
    "list_studies": "pbpk.study.load",
    "runs": "pbpk.run_folders.run_list",
    "compare": "pbpk.run_comparison.compare",
    "bootstrap": "pbpk.run_folders.uncertainty",
    "profile": "pbpk.run_folders.uncertainty",
    "sir": "pbpk.run_folders.uncertainty",
    "derived": "pbpk.run_folders.uncertainty",
    "vpc": "pbpk.run_folders.simulation_checks",
    "npde": "pbpk.run_folders.simulation_checks",
    "covsearch": "pbpk.run_folders.covariate_search",
    "fitted_kinetics": "pbpk.run_folders.fitted_kinetics",
    "fitted_individuals": "pbpk.run_folders.fitted_individuals",
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

if not TYPE_CHECKING:  # else type checkers would accept every name

    def __getattr__(name: str):
        if name not in _HOME:
            raise AttributeError(f"module 'pbpk' has no attribute {name!r}")
        runtime.warn_of_refused_caches()
        module, _, called = _HOME[name].partition(":")
        return getattr(importlib.import_module(module), called or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
