"""Floor 3: from activity to absorbed dose. `absorbed_dose` is the way in; each file says what it does.

emissions (pbpk.nuclides) + charged/ + photons/ + phantom/  →  svalues.py, spheres.py
a model → treatment.py simulates  →  tiac.py (by region_map.py)  →  source_activity.py, target_doses.py: Σ Ã·S
→  curves.py (dose rates), effect/, cells/; patient/ has all of it on one page, uncertain/ what is not known of it
"""

from __future__ import annotations

import importlib

_HOME = {
    "absorbed_dose": "absorbed",
    "Dose": "absorbed",
    "Tiac": "tiac",
    "compartments": "tiac",
    "read_tiac": "tiac",
    "write_tiac": "tiac",
    "Lesion": "region_map",
    "sphere_s": "spheres",
    "s_values": "svalues",
    "effective_dose": "effective",
    "dose_over_time": "curves",
    "patient_report": "patient.report",
    "dose_uncertainty": "uncertain.doses",
    "one_cycle": "cycle",
}


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"pbpk.dosimetry.{_HOME[name]}"), name)
    raise AttributeError(f"module 'pbpk.dosimetry' has no attribute {name!r}")
