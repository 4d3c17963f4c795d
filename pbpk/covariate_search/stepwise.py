"""Stepwise covariate modelling: forward inclusion, then backward elimination (Jonsson & Karlsson 1998, Pharm Res 15:1463).

Forward, each step fits every remaining relation on top of the model so far and takes in the one of smallest p, if that is below
`forward`; one pair of parameter and covariate gets one form. Backward, each step fits the model without each relation that the
search took in, and drops the one of largest p, if that is not below `backward`. p is of the likelihood ratio, against χ² with a
degree of freedom for each coefficient. What was chosen by looking is no longer tested by looking: the p of the final model are
too small, and effects that just made it are too large (Ribbing & Jonsson 2004, J Pharmacokinet Pharmacodyn 31:109).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pbpk.covariate_search.result import BACKWARD, FORWARD, Trial
from pbpk.covariate_search.score_test import score_test
from pbpk.estimation.criteria import chi2_tail

if TYPE_CHECKING:
    from pbpk.covariate_search.candidates import Candidate
    from pbpk.covariate_search.fitted_models import Models
    from pbpk.covariate_search.options import Plan
    from pbpk.covariate_search.refit import Fitted

_RISE = 1e-3  # by which a larger model may seem worse than a smaller one for rounding


def stepwise(models: Models, plan: Plan, base: Fitted) -> tuple[tuple[Candidate, ...], Fitted, list[Trial]]:
    chosen, model, trials = (), base, []
    number = 0
    while rest := _open(models.enlarged.candidates, chosen):
        number += 1
        rows, fits = _forward(models, plan, number, chosen, rest, model)
        best = _best(rows, plan.forward)
        trials += [replace(r, chosen=r is best) for r in rows]
        if best is None:
            break
        chosen, model = (*chosen, next(c for c in rest if c.name == best.relation)), fits[best.relation]
    while chosen:
        number += 1
        rows, fits = _backward(models, number, chosen, model)
        worst = _worst(rows, plan.backward)
        trials += [replace(r, chosen=r is worst) for r in rows]
        if worst is None:
            break
        chosen, model = tuple(c for c in chosen if c.name != worst.relation), fits[worst.relation]
    return chosen, model, trials


def _open(candidates: tuple[Candidate, ...], chosen: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    taken = {c.relation.pair for c in chosen}
    return tuple(c for c in candidates if c.relation.pair not in taken)


def _forward(
    models: Models, plan: Plan, number: int, chosen: tuple[Candidate, ...], rest: tuple[Candidate, ...], parent: Fitted
) -> tuple[list[Trial], dict[str, Fitted]]:
    """Those that the score test thinks most of are fitted first."""
    first = models.measured(parent)
    free = models.enlarged.mask(chosen)
    scores = {c.name: score_test(first.gradient, free, models.enlarged.places((c,))) for c in rest}
    order = sorted(rest, key=lambda c: (scores[c.name].p if scores[c.name].p == scores[c.name].p else 2.0, c.name))
    wanted = [c for c in order if plan.screen is None or not scores[c.name].p >= plan.screen]
    models.watch.step(f"{FORWARD} step {number}", len(wanted))
    rows, fits = [], {}
    for c in order:
        head = Trial(number, FORWARD, c.name, c.df, score=scores[c.name].statistic, score_p=scores[c.name].p)
        if c not in wanted:
            said = f"score test p = {scores[c.name].p:.3g}, above the screen's {plan.screen:g}"
            rows.append(replace(head, status="screened", cause=said))
            continue
        with_it = (*chosen, c)
        found = fits[c.name] = models.fit(with_it, chosen, parent, first)
        errors = models.errors(c, with_it, found) if found.converged else {}
        rows.append(_row(head, found, found.ofv - parent.ofv, -1.0, models.values(c, found), errors))
    return rows, fits


def _backward(
    models: Models, number: int, chosen: tuple[Candidate, ...], parent: Fitted
) -> tuple[list[Trial], dict[str, Fitted]]:
    models.watch.step(f"{BACKWARD} step {number}", len(chosen))
    rows, fits = [], {}
    for c in chosen:
        without = tuple(o for o in chosen if o is not c)
        found = fits[c.name] = models.fit(without, chosen, parent)
        head = Trial(number, BACKWARD, c.name, c.df)
        errors = models.errors(c, chosen, parent)
        rows.append(_row(head, found, found.ofv - parent.ofv, 1.0, models.values(c, parent), errors))
    return rows, fits


def _row(head: Trial, found: Fitted, change: float, sign: float, values: dict, errors: dict) -> Trial:
    """`sign`: that of the change in OFV which speaks for the larger model."""
    cause, better = found.cause, sign * change
    if found.converged and better < -_RISE:
        cause = "the larger of the two models fits worse, so its minimum was not found"
    fitted = cause == "converged"
    return replace(
        head,
        ofv=found.ofv,
        delta_ofv=change,
        p=chi2_tail(better, head.df) if fitted else float("nan"),
        estimates=values,
        standard_errors=errors,
        status="fitted" if fitted else "failed",
        cause=cause,
        iterations=found.iterations,
        evaluations=found.evaluations,
    )


def _best(rows: list[Trial], level: float) -> Trial | None:
    """The smallest p below the level; where two are as small (both may be 0 to the last digit), the larger fall."""
    passed = [r for r in rows if r.converged and r.p < level]
    return min(passed, key=lambda r: (r.p, r.delta_ofv), default=None)


def _worst(rows: list[Trial], level: float) -> Trial | None:
    passed = [r for r in rows if r.converged and r.p >= level]
    return max(passed, key=lambda r: (r.p, -r.delta_ofv), default=None)
