"""A finished run as a candidate among others: its numbers, what it was fitted to, and what of it was free."""

from __future__ import annotations

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
from pbpk.study.settings import load_spec

if TYPE_CHECKING:
    from pbpk.study.schema import StudySpec


@dataclass(frozen=True, eq=False)
class RunCandidate:
    """`label` tells it apart from the others; `spec` is None where the folder does not say how it was fitted."""

    label: str
    run: RunFiles
    spec: StudySpec | None

    @property
    def results(self) -> dict[str, Any]:
        return self.run.results

    @property
    def method(self) -> str:
        return str(self.results["method"])

    @property
    def minimised(self) -> bool:
        return bool(self.results.get("minimization_successful"))

    @property
    def has_likelihood(self) -> bool:
        """Whether the OFV is the least that the population model can have, which AIC, BIC and ratios take it to be."""
        return not explain_no_likelihood(self.method)

    @cached_property
    def options(self) -> dict[str, str]:
        known = (
            self.run.record.get("options") or self.results.get("options") or (self.spec.options if self.spec else {})
        )
        return {str(k): str(v) for k, v in known.items()}

    @property
    def asked_options(self) -> dict[str, str]:
        return {k: str(v) for k, v in self.spec.options.items()} if self.spec else {}

    @cached_property
    def estimates(self) -> dict[str, float]:
        """Of every parameter, held ones too, in shown units."""
        return dict(zip(self.run.parameters["name"], self.run.parameters["estimate"].astype(float), strict=True))

    @cached_property
    def free_parameters(self) -> tuple[str, ...]:
        rows = self.run.parameters
        fixed = rows["fixed"].astype(str).str.lower() == "true" if "fixed" in rows else rows["name"].isna()
        return tuple(rows.loc[~fixed, "name"])

    @cached_property
    def etas(self) -> tuple[str, ...]:
        return tuple(n for n in self.estimates if f"OMEGA_{n}" in self.estimates)

    @cached_property
    def individual_parameters(self) -> tuple[str, ...]:
        """The free parameters of what varies between subjects: see `pbpk.estimation.criteria.bicc`."""
        parts = self.spec.parameters if self.spec else {}
        effects = {e.estimate for n in self.etas if n in parts for e in parts[n].covariates if e.estimate}
        return tuple(n for n in self.free_parameters if n in self.etas or n in effects or n.startswith("OMEGA_"))

    @property
    def subjects(self) -> int:
        """With published aggregates alone, their rows stand for subjects."""
        return int(self.run.table["ID"].nunique()) or self.observations

    @property
    def observations(self) -> int:
        return len(self.run.table) + len(self._aggregates)

    @property
    def _aggregates(self) -> list[dict[str, Any]]:
        return [row for row in self.run.results.get("summary") or [] if row["used"]]

    @cached_property
    def data_hash(self) -> str:
        name = self.spec.data.file if self.spec else "data.csv"
        return str(self.run.record.get("sha256", {}).get(name, ""))

    @cached_property
    def model_hash(self) -> tuple[str, ...]:
        """Of the structure's files and its table; empty when not recorded."""
        hashes = {Path(k).name: str(v) for k, v in self.run.record.get("sha256", {}).items() if k.startswith("model/")}
        if not {"structure.py", "parameters.toml"} <= set(hashes):
            return ()
        return tuple(hashes[n] for n in sorted(hashes) if n.endswith(".py") or n == "parameters.toml")

    @cached_property
    def observation_counts(self) -> Counter[tuple[str, float, float]]:
        """The observations that were fitted: (ID, time, DV) in coherent units, and how often each is there. Of a published
        aggregate (what it is of whom, 0, its value as printed)."""
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
        stated = self.spec.data.units.get("DV") if self.spec else None
        return stated or self.run.units.observable.get(observable, "")


def read_candidates(folders: Sequence[Path]) -> tuple[RunCandidate, ...]:
    """Raises `BadInput` for a folder that is not a finished run."""
    read = [(read_run(f), load_spec(f) if (f / "fit.toml").is_file() else None) for f in folders]
    for run, _ in read:
        if run.parameters.empty:
            raise BadInput("holds no parameters", where=str(run.path / "parameters.csv"))
    return tuple(RunCandidate(n, run, spec) for n, (run, spec) in zip(_distinct_labels(folders), read, strict=True))


def _distinct_labels(folders: Sequence[Path]) -> list[str]:
    """The number, where all are of one study; else STUDY/NUMBER, or the path where only that tells them apart."""
    paths = [Path(os.path.normpath(f)) for f in folders]
    if len({p.parent for p in paths}) == 1:
        return [p.name for p in paths]
    homes = [p.parent.parent if p.parent.name == "runs" else p.parent for p in paths]
    named = [f"{home.name}/{p.name}" for home, p in zip(homes, paths, strict=True)]
    return named if len(set(named)) == len(named) else [str(p) for p in paths]


def _unit_factor(unit: str) -> float:
    return units.unit_factor(unit) if unit and unit != "1" else 1.0
