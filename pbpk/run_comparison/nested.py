"""Whether one run's model is a special case of another's, decided by what the runs recorded.

A model is written out as statements by name: a number where it is fixed, `FREE` where it is estimated, absent where it plays
no part (a random effect or covariate effect that is absent is one of size 0). The smaller model is nested when every
statement of the two is the same, except that the larger estimates what the smaller fixes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbpk.errors import PbpkError
from pbpk.model.parameters import ParameterTable, read_parameters

if TYPE_CHECKING:
    from pbpk.run_comparison.candidate import RunCandidate
    from pbpk.study.schema import StudySpec

FREE = "estimated"
_OPTIONAL_FORMS = ("distribution of ", "how SDs add up ")  # forms of a term that one of the models may lack


@dataclass(frozen=True)
class Nesting:
    """How two models are nested.

    `freed`: the parameters that the larger estimates and the smaller fixes; `edges`: those of them that the smaller fixes at
    the edge of their range (a variance at 0). With `reason`, they are not nested, or the records do not tell.
    """

    smaller: RunCandidate
    larger: RunCandidate
    freed: tuple[str, ...] = ()
    edges: tuple[str, ...] = ()
    reason: str = ""


def find_nesting(a: RunCandidate, b: RunCandidate) -> Nesting:
    """How two runs that may be compared are nested, whichever of them is the smaller."""
    smaller, larger = (a, b) if len(a.free_parameters) <= len(b.free_parameters) else (b, a)
    reason = _differing_frame(smaller, larger)
    if reason:
        return Nesting(smaller, larger, reason=reason)
    mentioned = _mentioned_parameters(smaller) | _mentioned_parameters(larger)
    small, large = _state_model(smaller, mentioned), _state_model(larger, mentioned)
    freed, edges = [], []
    for key in dict.fromkeys((*large, *small)):
        if key.startswith(_OPTIONAL_FORMS) and not (key in small and key in large):
            continue
        in_smaller, in_larger = small.get(key, 0.0), large.get(key, 0.0)
        if in_larger == FREE and in_smaller != FREE:
            freed.append(key)
            edges += [key] if _on_edge(key, in_smaller, larger) else []
        elif not _same_statement(in_smaller, in_larger):
            return Nesting(smaller, larger, reason=_describe_mismatch(key, in_smaller, in_larger, smaller, larger))
    if not freed:
        return Nesting(smaller, larger, reason="they estimate the same parameters")
    if len(freed) != len(larger.free_parameters) - len(smaller.free_parameters):
        return Nesting(smaller, larger, reason="their records do not account for every parameter")
    return Nesting(smaller, larger, tuple(freed), tuple(edges))


def _differing_frame(a: RunCandidate, b: RunCandidate) -> str:
    """What differs of that which must be the same before parameters are compared, as a sentence; empty: nothing."""
    if a.spec is None or b.spec is None:
        return f"{(a if a.spec is None else b).label} has no fit.toml, so its model cannot be told"
    if a.results["model"] != b.results["model"]:
        return f"they are different models ({a.results['model']}, {b.results['model']})"
    for option in sorted(a.options.keys() | b.options.keys()):
        if a.options.get(option) != b.options.get(option):
            first, other = (c.options.get(option, "not said") for c in (a, b))
            return f"their option {option} differs ({first} in {a.label}, {other} in {b.label})"
    if not a.model_hash or a.model_hash != b.model_hash:
        return f"the files of their model {a.results['model']} are not the same"
    if not a.data_hash or a.data_hash != b.data_hash:
        return "their data files are not the same"
    for what, first, other in (
        ("nuclide", a.spec.nuclide, b.spec.nuclide),
        ("[data]", a.spec.data.model_dump(exclude={"file"}), b.spec.data.model_dump(exclude={"file"})),
        ("[[void]]", a.spec.void, b.spec.void),
    ):
        if first != other:
            return f"their {what} differs"
    return ""


def _state_model(c: RunCandidate, mentioned: set[str]) -> dict[str, float | str]:
    """The statements of a run's model, by the names in parameters.csv where they are there.

    `mentioned`: constants and parameters that either of the two runs sets or estimates. The run must have a spec.
    """
    spec: StudySpec = c.spec  # type: ignore[assignment]
    free, statements = set(c.free_parameters), {}

    def state(key: str, name: str) -> None:
        if name in c.estimates:
            statements[key] = FREE if name in free else c.estimates[name]

    table = _read_parameter_table(c)
    for name in sorted(mentioned):
        statements[name] = _constant_value(table, name, spec.values.get(name))
    for name, part in spec.parameters.items():
        state(name, name)
        if name in c.etas:
            statements[f"distribution of {name}"] = part.distribution
            state(f"OMEGA_{name}", f"OMEGA_{name}")
        if part.iov is not None:
            state(f"OMEGA_IOV_{name}", f"OMEGA_IOV_{name}")
        for e in part.covariates:
            reference = e.reference if isinstance(e.reference, str) else f"{e.reference:g}"
            key = f"effect of {e.covariate} on {name} ({e.form}, reference {reference})"
            if e.estimate:
                state(key, e.estimate)
            else:
                statements[key] = float(e.coefficient or 0.0)
    for block in spec.omega.blocks:
        for i, a in enumerate(block):
            for b in block[:i]:
                for name in (f"OMEGA_{a}_{b}", f"OMEGA_{b}_{a}"):
                    state(f"covariance of {' and '.join(sorted((a, b)))}", name)
    for observable, part in spec.error.items():
        numbers = part.numbers()
        if numbers["add"] is not None and numbers["prop"] is not None:
            statements[f"how SDs add up in {observable}"] = part.model
        elif part.model not in ("additive", "proportional"):
            statements[f"error model of {observable}"] = part.model
        for kind in part.settings():
            statements[f"{kind} of {observable}"] = str(getattr(part, kind))
        for kind in (k for k, v in numbers.items() if v is not None):
            state(f"{kind} of {observable}", f"{kind}_{observable}" if len(spec.error) > 1 else kind)
    return statements


def _mentioned_parameters(c: RunCandidate) -> set[str]:
    """The model's parameters that a run's spec sets or estimates."""
    return {*c.spec.values, *c.spec.parameters} if c.spec else set()


def _read_parameter_table(c: RunCandidate) -> ParameterTable | None:
    """The model's table of parameters as the run keeps it; None where it cannot be read."""
    places = sorted(c.run.path.glob("model/*/parameters.toml"))
    try:
        return read_parameters(places[0]) if places else None
    except PbpkError:
        return None


def _constant_value(table: ParameterTable | None, name: str, setting: float | str | None) -> float | str:
    """The value of a constant in its row's unit; as `setting` writes it where there is no such row."""
    try:
        rows = table.with_numbered_parts([name]) if table else None
        return rows.with_values({} if setting is None else {name: setting})[name].value if rows else str(setting)
    except (PbpkError, KeyError):
        return str(setting)


def _on_edge(key: str, value: float | str, larger: RunCandidate) -> bool:
    """Whether a parameter that is fixed at 0 cannot go lower: a variance, a standard deviation, or one whose logarithm is
    estimated."""
    spread = key.startswith(("OMEGA_", "add of ", "prop of "))
    return value == 0.0 and (spread or key in (larger.results.get("log_estimates") or {}))


def _same_statement(a: float | str, b: float | str) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return math.isclose(a, b, rel_tol=1e-9)


def _describe_mismatch(
    key: str, in_smaller: float | str, in_larger: float | str, smaller: RunCandidate, larger: RunCandidate
) -> str:
    def words(x: float | str) -> str:
        return x if isinstance(x, str) else f"{x:g}"

    return f"{key} is {words(in_smaller)} in {smaller.label} and {words(in_larger)} in {larger.label}"
