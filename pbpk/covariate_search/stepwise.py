"""Stepwise covariate modelling: forward inclusion, then backward elimination (Jonsson & Karlsson 1998, Pharm Res 15:1463).

Forward, each step fits every remaining relation on top of the model so far and takes in the one of smallest p, if that
is below
`forward`; one pair of parameter and covariate gets one form. Backward, each step fits the model without each relation
that the
search took in, and drops the one of largest p, if that is not below `backward`. p is of the likelihood ratio, against
χ² with a
degree of freedom for each coefficient. What was chosen by looking is no longer tested by looking: the p of the final
model are
too small, and effects that just made it are too large (Ribbing & Jonsson 2004, J Pharmacokinet Pharmacodyn 31:109).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pbpk.covariate_search.result import BACKWARD, FORWARD, RelationTrial
from pbpk.covariate_search.score_test import compute_score_test
from pbpk.estimation.criteria import chi2_tail

if TYPE_CHECKING:
    from pbpk.covariate_search.candidates import CandidateRelation
    from pbpk.covariate_search.fitted_models import SubmodelFits
    from pbpk.covariate_search.options import CovariateSearchOptions
    from pbpk.covariate_search.refit import SubmodelFit

_ROUNDING_RISE = 1e-3  # by which a larger model may seem worse than a smaller one for rounding


def search_stepwise(
    submodels: SubmodelFits, options: CovariateSearchOptions, base: SubmodelFit
) -> tuple[tuple[CandidateRelation, ...], SubmodelFit, list[RelationTrial]]:
    """Add relations step by step, then remove them: the chosen relations, their fit, and every trial."""
    chosen, model, trials = (), base, []
    number = 0
    while rest := _list_untested(submodels.enlarged.candidates, chosen):
        number += 1
        rows, fits = _try_additions(submodels, options, number, chosen, rest, model)
        best = _choose_addition(rows, options.forward)
        trials += [replace(r, chosen=r is best) for r in rows]
        if best is None:
            break
        chosen, model = (*chosen, next(c for c in rest if c.name == best.relation)), fits[best.relation]
    while chosen:
        number += 1
        rows, fits = _try_removals(submodels, number, chosen, model)
        worst = _choose_removal(rows, options.backward)
        trials += [replace(r, chosen=r is worst) for r in rows]
        if worst is None:
            break
        chosen, model = tuple(c for c in chosen if c.name != worst.relation), fits[worst.relation]
    return chosen, model, trials


def _list_untested(
    candidates: tuple[CandidateRelation, ...], chosen: tuple[CandidateRelation, ...]
) -> tuple[CandidateRelation, ...]:
    """Candidates of pairs that the model does not have yet."""
    taken = {c.relation.pair for c in chosen}
    return tuple(c for c in candidates if c.relation.pair not in taken)


def _try_additions(
    submodels: SubmodelFits,
    options: CovariateSearchOptions,
    number: int,
    chosen: tuple[CandidateRelation, ...],
    rest: tuple[CandidateRelation, ...],
    parent: SubmodelFit,
) -> tuple[list[RelationTrial], dict[str, SubmodelFit]]:
    """Fit the model with each of the remaining relations added; those of the smallest score-test p first."""
    evaluation = submodels.evaluate_at(parent)
    free = submodels.enlarged.mask_estimated(chosen)
    scores = {
        c.name: compute_score_test(evaluation.gradient, free, submodels.enlarged.locate_coefficients((c,)))
        for c in rest
    }
    order = sorted(rest, key=lambda c: (scores[c.name].p if scores[c.name].p == scores[c.name].p else 2.0, c.name))
    to_fit = [c for c in order if options.screen is None or not scores[c.name].p >= options.screen]
    submodels.callbacks.on_step(f"{FORWARD} step {number}", len(to_fit))
    rows, fits = [], {}
    for c in order:
        head = RelationTrial(number, FORWARD, c.name, c.df, score=scores[c.name].statistic, score_p=scores[c.name].p)
        if c not in to_fit:
            cause = f"score test p = {scores[c.name].p:.3g}, above the screen's {options.screen:g}"
            rows.append(replace(head, status="screened", cause=cause))
            continue
        with_it = (*chosen, c)
        fitted = fits[c.name] = submodels.fit_submodel(with_it, chosen, parent, evaluation)
        errors = submodels.compute_coefficient_errors(c, with_it, fitted) if fitted.converged else {}
        rows.append(
            make_trial(head, fitted, fitted.ofv - parent.ofv, -1.0, submodels.list_coefficients(c, fitted), errors)
        )
    return rows, fits


def _try_removals(
    submodels: SubmodelFits, number: int, chosen: tuple[CandidateRelation, ...], parent: SubmodelFit
) -> tuple[list[RelationTrial], dict[str, SubmodelFit]]:
    """Fit the model without each of the chosen relations."""
    submodels.callbacks.on_step(f"{BACKWARD} step {number}", len(chosen))
    rows, fits = [], {}
    for c in chosen:
        without = tuple(o for o in chosen if o is not c)
        fitted = fits[c.name] = submodels.fit_submodel(without, chosen, parent)
        head = RelationTrial(number, BACKWARD, c.name, c.df)
        errors = submodels.compute_coefficient_errors(c, chosen, parent)
        rows.append(
            make_trial(head, fitted, fitted.ofv - parent.ofv, 1.0, submodels.list_coefficients(c, parent), errors)
        )
    return rows, fits


def make_trial(
    head: RelationTrial, fit: SubmodelFit, change: float, sign: float, values: dict, errors: dict
) -> RelationTrial:
    """Complete the trial `head` from a fit; `sign` is that of the change in OFV which favours the larger model."""
    cause, improvement = fit.cause, sign * change
    if fit.converged and improvement < -_ROUNDING_RISE:
        cause = "the larger of the two models fits worse, so its minimum was not found"
    has_converged = cause == "converged"
    return replace(
        head,
        ofv=fit.ofv,
        delta_ofv=change,
        p=chi2_tail(improvement, head.df) if has_converged else float("nan"),
        estimates=values,
        standard_errors=errors,
        status="fitted" if has_converged else "failed",
        cause=cause,
        iterations=fit.iterations,
        evaluations=fit.evaluations,
    )


def _choose_addition(rows: list[RelationTrial], level: float) -> RelationTrial | None:
    """The trial of smallest p below the level; where two are as small (both may be 0 to the last digit), the larger fall."""
    passed = [r for r in rows if r.converged and r.p < level]
    return min(passed, key=lambda r: (r.p, r.delta_ofv), default=None)


def _choose_removal(rows: list[RelationTrial], level: float) -> RelationTrial | None:
    """The trial of largest p that is not below the level; where two are as large, the smaller rise."""
    passed = [r for r in rows if r.converged and r.p >= level]
    return max(passed, key=lambda r: (r.p, -r.delta_ofv), default=None)
