"""A finished run as one of several to compare: its numbers, the data it was fitted to, and its free parameters."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbpk import units
from pbpk.errors import BadInput
from pbpk.estimation.methods import explain_no_likelihood
from pbpk.run_folders.read import RunFiles, read_run
from pbpk.study.data_units import find_data_unit
from pbpk.study.settings import load_spec

if TYPE_CHECKING:
    from pbpk.study.schema import StudySpec


@dataclass(frozen=True, eq=False)
class RunCandidate:
    """A finished run among those compared.

    `label` tells it apart from the others; `run` has its files; `spec` is None where the folder does not say how it was
    fitted.
    """

    label: str
    run: RunFiles
    spec: StudySpec | None

    @property
    def results(self) -> dict[str, Any]:
        """results.json."""
        return self.run.results

    @property
    def method(self) -> str:
        """The estimation method's name."""
        return str(self.results["method"])

    @property
    def minimised(self) -> bool:
        """Whether the estimation converged."""
        return bool(self.results.get("minimization_successful"))

    @property
    def has_likelihood(self) -> bool:
        """Whether the OFV is the minimum for the population model, as AIC, BIC and likelihood ratios take it to be."""
        return not explain_no_likelihood(self.method)

    @cached_property
    def options(self) -> dict[str, str]:
        """The model's options, defaults too."""
        known = (
            self.run.record.get("options") or self.results.get("options") or (self.spec.options if self.spec else {})
        )
        return {str(k): str(v) for k, v in known.items()}

    @property
    def asked_options(self) -> dict[str, str]:
        """The model's options that the study states."""
        return {k: str(v) for k, v in self.spec.options.items()} if self.spec else {}

    @cached_property
    def estimates(self) -> dict[str, float]:
        """The estimate of every parameter, fixed ones too, in the units shown."""
        return dict(zip(self.run.parameters["name"], self.run.parameters["estimate"].astype(float), strict=True))

    @cached_property
    def free_parameters(self) -> tuple[str, ...]:
        """Names of the parameters that were estimated."""
        rows = self.run.parameters
        fixed = rows["fixed"].astype(str).str.lower() == "true" if "fixed" in rows else rows["name"].isna()
        return tuple(rows.loc[~fixed, "name"])

    @cached_property
    def etas(self) -> tuple[str, ...]:
        """Names of the parameters that have a random effect."""
        return tuple(n for n in self.estimates if f"OMEGA_{n}" in self.estimates)

    @cached_property
    def individual_parameters(self) -> tuple[str, ...]:
        """The free parameters of the individual model, that is of what varies between subjects (see `bicc`)."""
        parts = self.spec.parameters if self.spec else {}
        effects = {e.estimate for n in self.etas if n in parts for e in parts[n].covariates if e.estimate}
        return tuple(n for n in self.free_parameters if n in self.etas or n in effects or n.startswith("OMEGA_"))

    @property
    def subjects(self) -> int:
        """How many subjects; with published aggregates alone, how many rows."""
        return int(self.run.table["ID"].nunique()) or self.observations

    @property
    def observations(self) -> int:
        """How many observations were fitted, published aggregates among them."""
        return len(self.run.table) + len(self._aggregates)

    @property
    def _aggregates(self) -> list[dict[str, Any]]:
        return [row for row in self.run.results.get("summary") or [] if row["used"]]

    @cached_property
    def data_hash(self) -> str:
        """The sha256 of the data file; empty when not recorded."""
        name = self.spec.data.file if self.spec else "data.csv"
        return str(self.run.record.get("sha256", {}).get(name, ""))

    @cached_property
    def model_hash(self) -> tuple[str, ...]:
        """The sha256 of the structure's files and of the table of parameters; empty when not recorded."""
        hashes = {Path(k).name: str(v) for k, v in self.run.record.get("sha256", {}).items() if k.startswith("model/")}
        if not {"structure.py", "parameters.toml"} <= set(hashes):
            return ()
        return tuple(hashes[n] for n in sorted(hashes) if n.endswith(".py") or n == "parameters.toml")

    @cached_property
    def observation_counts(self) -> Counter[tuple[str, float, float]]:
        """The observations that were fitted, and how often each occurs: (ID, time, DV) in coherent units.

        A published aggregate is (what it is of whom, 0, its value as printed). Numbers have nine significant digits, so that
        two files which write the same data in different units agree.
        """
        table = self.run.table
        clock = self.spec.data.units.get("TIME", "h") if self.spec else self.run.units.time
        time = table["TIME"] * _unit_factor(clock)
        scale = table["DVID"].map(lambda d: _unit_factor(self._unit(str(d))))
        rounded = [[float(f"{x:.9g}") for x in column] for column in (time, table["DV"] * scale)]
        printed_fields = ("group", "quantity", "statistic", "n", "unit")
        printed = [
            (", ".join(str(r[k]) for k in printed_fields), 0.0, float(f"{r['published']:.9g}"))
            for r in self._aggregates
        ]
        return Counter([*zip(table["ID"].astype(str), *rounded, strict=True), *printed])

    def _unit(self, observable: str) -> str:
        stated = find_data_unit(self.spec, observable) if self.spec else None
        return stated or self.run.units.observable.get(observable, "")

    @cached_property
    def data_units(self) -> dict[str, str]:
        """The unit that the density of each endpoint's DV is in, "" for coherent ones, by results.json; older runs, whose OFVs
        are in coherent units, have none."""
        return {str(k): str(v) for k, v in (self.results.get("ofv_units") or {}).items()}

    @cached_property
    def unit_shift(self) -> float:
        """What the OFV would rise by if DV were in coherent units: 2 ln of the unit's factor for each value with a density."""
        table, shift = self.run.table, 0.0
        for name, unit in self.data_units.items():
            rows = table[table["DVID"].astype(str) == name]
            count = int((rows["CENS"] == 0).sum()) if "CENS" in table else len(rows)
            shift += 2 * count * math.log(_unit_factor(unit))
        return shift

    @cached_property
    def censoring(self) -> dict[str, str]:
        """How many values of each endpoint counted by the chance of lying beyond a limit, and what was done about limits."""
        table, treatment = self.run.table, {}
        for name in sorted(table["DVID"].astype(str).unique()):
            rows = table[table["DVID"].astype(str) == name]
            count = int((rows["CENS"] != 0).sum()) if "CENS" in table else 0
            part = self.spec.error.get(name) if self.spec else None
            method = (part.blq or "M3") if part is not None and part.lloq is not None else ""
            treatment[name] = f"{count} of {len(rows)} censored" + (f" ({method})" if method else "")
        return treatment


def read_candidates(folders: Sequence[Path]) -> tuple[RunCandidate, ...]:
    """The runs in `folders` as candidates. Raises `BadInput` for a folder that is not a finished run."""
    read = [(read_run(f), load_spec(f) if (f / "fit.toml").is_file() else None) for f in folders]
    for run, _ in read:
        if run.parameters.empty:
            raise BadInput("holds no parameters", where=str(run.path / "parameters.csv"))
    return tuple(RunCandidate(n, run, spec) for n, (run, spec) in zip(_distinct_labels(folders), read, strict=True))


def _distinct_labels(folders: Sequence[Path]) -> list[str]:
    """Labels that differ: the run's number within one study, else STUDY/NUMBER, else the path."""
    paths = [Path(os.path.normpath(f)) for f in folders]
    if len({p.parent for p in paths}) == 1:
        return [p.name for p in paths]
    homes = [p.parent.parent if p.parent.name == "runs" else p.parent for p in paths]
    named = [f"{home.name}/{p.name}" for home, p in zip(homes, paths, strict=True)]
    return named if len(set(named)) == len(named) else [str(p) for p in paths]


def _unit_factor(unit: str) -> float:
    return units.unit_factor(unit) if unit and unit != "1" else 1.0
