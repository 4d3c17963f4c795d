"""`fitted_individuals` under its old path, kept for scripts written before 0.2. It is `pbpk.fitted_individuals` now."""

from __future__ import annotations

from pbpk.run_folders.fitted_individuals import fitted_individuals as fitted_individuals
