"""`fitted_kinetics` under its old path, kept for scripts written before 0.2. It is `pbpk.fitted_kinetics` now."""

from __future__ import annotations

from pbpk.run_folders.fitted_kinetics import fitted_kinetics as fitted_kinetics
