"""The result of a search: every step's table, the final model, what its effects amount to, and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from pbpk.covariate_search.candidates import CandidateRelation
    from pbpk.covariate_search.options import CovariateSearchOptions

FORWARD, BACKWARD, FULL = "forward", "backward", "full"


@dataclass(frozen=True)
class RelationTrial:
    """One relation at one step. `delta_ofv`: OFV of the model tried less that of its parent. `p` is of the likelihood ratio;
    the score test's is apart. Estimates and their standard errors (of the scores, S) are of the relation's coefficients, in
    the larger of the two models. `status`: fitted, failed, or screened (not fitted, for its score test)."""

    step: int
    direction: str
    relation: str
    df: int
    ofv: float = float("nan")
    delta_ofv: float = float("nan")
    p: float = float("nan")
    score: float = float("nan")
    score_p: float = float("nan")
    estimates: dict[str, float] = field(default_factory=dict)
    standard_errors: dict[str, float] = field(default_factory=dict)
    status: str = "fitted"
    cause: str = "converged"
    chosen: bool = False
    iterations: int = 0
    evaluations: int = 0

    @property
    def converged(self) -> bool:
        """Whether the trial has a fit at a minimum."""
        return self.status == "fitted"


@dataclass(frozen=True, eq=False)
class CovariateSearchResult:
    """The result of a search: `trials` in the order they were made, `chosen` the relations of the final model.

    `parameters` (shown units), `forest` and `tests` are tables of the final model; `seconds` is wall-clock time.
    """

    study: str
    model: str
    estimation: str
    options: CovariateSearchOptions
    subjects: int
    base_ofv: float
    final_ofv: float
    trials: tuple[RelationTrial, ...]
    chosen: tuple[CandidateRelation, ...]
    parameters: pd.DataFrame
    forest: pd.DataFrame
    tests: pd.DataFrame
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    references: dict[str, float]
    seconds: float

    @property
    def relations(self) -> list[str]:
        """The names of the relations in the final model."""
        return [c.name for c in self.chosen]

    @property
    def table(self) -> pd.DataFrame:
        """A row for each trial."""
        return build_trial_table(self.trials)

    @property
    def failed(self) -> list[str]:
        """A line for each trial whose fit failed, with its cause."""
        return [f"{t.relation} ({t.direction} step {t.step}: {t.cause})" for t in self.trials if t.status == "failed"]

    @property
    def verdict(self) -> str:
        """What was chosen and what to beware of, in sentences."""
        if self.options.method == "full":
            words = [f"All {len(self.chosen)} relations fitted at once."]
        elif self.chosen:
            words = [f"In the final model: {', '.join(self.relations)}."]
        else:
            words = ["No relation is in the final model."]
        screened = sum(t.status == "screened" for t in self.trials)
        if screened:
            words.append(f"{screened} trials were left out by the score test, which is approximate.")
        if self.failed:
            words.append(f"Failed, and so not chosen: {'; '.join(self.failed)}.")
        return " ".join([*words, *self.warnings])

    def to_dict(self) -> dict[str, Any]:
        """The content of covsearch.json."""
        steps = [
            {k: getattr(t, k) for k in RelationTrial.__dataclass_fields__} | {"converged": t.converged}
            for t in self.trials
        ]
        rows = self.parameters.set_index("name")
        return {
            "study": self.study,
            "model": self.model,
            "method": self.options.method,
            "estimation": self.estimation,
            "forward": self.options.forward,
            "backward": self.options.backward,
            "screen": self.options.screen,
            "seed": self.options.seed,
            "level": self.options.level,
            "subjects": self.subjects,
            "base_ofv": self.base_ofv,
            "ofv": self.final_ofv,
            "relations": self.relations,
            "references": self.references,
            "steps": steps,
            "parameter_estimates": rows["estimate"].to_dict(),
            "standard_errors": rows["se"].to_dict(),
            "parameter_units": rows["unit"].to_dict(),
            "tests": self.tests.to_dict("records"),
            "forest": self.forest.to_dict("records"),
            "bounds": list(self.options.bounds),
            "notes": list(self.notes),
            "failed": self.failed,
            "warnings": list(self.warnings),
            "verdict": self.verdict,
            "seconds": self.seconds,
        }


def build_trial_table(trials: Sequence[RelationTrial]) -> pd.DataFrame:
    """One row for each trial; several coefficients of one relation in one cell, `NAME=value` apart by `;`."""
    head = [f for f in RelationTrial.__dataclass_fields__ if f not in ("estimates", "standard_errors")]
    rows = []
    for t in trials:
        row: dict[str, Any] = {k: getattr(t, k) for k in head}
        row["estimate"], row["se"] = (_format_cell(x) for x in (t.estimates, t.standard_errors))
        rows.append(row | {"converged": t.converged})
    columns = [*head[:9], "estimate", "se", "converged", *head[9:]]
    return pd.DataFrame(rows, columns=pd.Index(columns))


def _format_cell(values: dict[str, float]) -> str:
    """Several values by name as the text of one cell."""
    if len(values) == 1:
        return repr(next(iter(values.values())))
    return ";".join(f"{k}={v!r}" for k, v in values.items())
