"""What tells fitted models apart: AIC, BIC, its form for mixed effects, Akaike weights, the likelihood-ratio test.

Akaike 1974 (IEEE Trans Autom Control 19:716); Schwarz 1978 (Ann Stat 6:461); Delattre, Lavielle & Poursat 2014 (Electron J Stat
8:456); Burnham & Anderson 2002 (Model Selection and Multimodel Inference); Wilks 1938 (Ann Math Stat 9:60); on an edge, Self &
Liang 1987 (J Am Stat Assoc 82:605) and Stram & Lee 1994 (Biometrics 50:1171).
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def aic(minus2ll: float, parameters: int) -> float:
    """Akaike's criterion of a model with so many estimated `parameters`."""
    return minus2ll + 2 * parameters


def bic(minus2ll: float, parameters: int, observations: int) -> float:
    """Schwarz's criterion with n the number of observations: right where nothing varies between subjects, a convention
    elsewhere."""
    return minus2ll + parameters * math.log(observations)


def bicc(minus2ll: float, varying: int, common: int, subjects: int, observations: int) -> float:
    """BIC of a mixed-effects model. `varying`: parameters of what varies between subjects (its typical values, effects of
    covariates on them, Ω), of which each subject is one datum. `common`: the rest, of which each observation is one (Delattre
    et al. 2014, as Monolix's)."""
    return minus2ll + varying * math.log(subjects) + common * math.log(observations)


def akaike_weights(aics: Sequence[float]) -> list[float]:
    """exp(−Δ/2) over their sum: the weight of each model among these, from their AIC."""
    lowest = min(aics, default=0.0)
    relative = [math.exp((lowest - a) / 2) for a in aics]
    return [r / sum(relative) for r in relative]


def chi2_tail(statistic: float, degrees: int) -> float:
    """P(χ² ≥ statistic); with no degree of freedom χ² is 0."""
    from scipy.special import chdtrc

    if statistic <= 0:
        return 1.0
    return float(chdtrc(degrees, statistic)) if degrees else 0.0


def chi2_mixture_tail(statistic: float, degrees: int) -> float:
    """P(χ² ≥ statistic) where one of the parameters tested is a variance, which the smaller model puts on its edge, zero: half
    of the time the data would have it below, so χ² is a mixture of two, with that degree of freedom and without."""
    return 0.5 * chi2_tail(statistic, degrees - 1) + 0.5 * chi2_tail(statistic, degrees)
