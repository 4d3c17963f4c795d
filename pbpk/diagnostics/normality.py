"""Are these numbers a sample of a standard normal? Their mean, variance and shape, and the three together.

The tests of the R package npde 3 (Brendel et al. 2010, J Pharmacokinet Pharmacodyn 37:49): Student's of mean 0, Fisher's of
variance 1, Shapiro and Wilk's of normality, each p times three (Bonferroni); the global p is the least of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MOST_FOR_SHAPIRO = 5000  # numbers for which Shapiro and Wilk's test is known; beyond, D'Agostino and Pearson's
SIGNIFICANCE_LEVEL = 0.05


@dataclass(frozen=True)
class NormalityTest:
    """Moments of `count` numbers with their standard errors, and the p of the tests. `kurtosis` is 0 for a normal. The p are
    adjusted; NaN with fewer than three numbers."""

    count: int
    mean: float
    mean_se: float
    variance: float
    variance_se: float
    skewness: float
    kurtosis: float
    p_mean: float
    p_variance: float
    p_normality: float
    p_global: float
    normality_test: str

    def to_dict(self) -> dict[str, Any]:
        """The test as npde.json has it."""
        return asdict(self)

    @property
    def verdict(self) -> str:
        """A sentence: whether the numbers may be a standard normal sample, and if not, why."""
        if not np.isfinite(self.p_global):
            return "Too few values for a test."
        if self.p_global >= SIGNIFICANCE_LEVEL:
            return (
                f"The errors may be a standard normal sample (global p = {self.p_global:.2g}): no misfit is detected."
            )
        why = [
            words
            for p, words in (
                (self.p_mean, f"their mean is {self.mean:.2f}, not 0"),
                (self.p_variance, f"their variance is {self.variance:.2f}, not 1"),
                (self.p_normality, "their shape is not normal"),
            )
            if p < SIGNIFICANCE_LEVEL
        ]
        return f"The errors are no standard normal sample (global p = {self.p_global:.2g}): {'; '.join(why)}."


def check_normality(values: np.ndarray) -> NormalityTest:
    """The tests of `values` (n,), of which NaN are left out."""
    from scipy import stats

    x = values[np.isfinite(values)]
    n, nan = len(x), float("nan")
    if n < 3 or np.ptp(x) == 0:
        return NormalityTest(n, float(x.mean()) if n else nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, "none")
    mean, variance = float(x.mean()), float(x.var(ddof=1))
    chi = variance * (n - 1)
    raw = (
        float(stats.ttest_1samp(x, 0.0).pvalue),
        2 * float(min(stats.chi2.cdf(chi, n - 1), stats.chi2.sf(chi, n - 1))),
        float((stats.shapiro(x) if n <= MOST_FOR_SHAPIRO else stats.normaltest(x)).pvalue),
    )
    p_mean, p_variance, p_shape = (min(1.0, 3 * p) for p in raw)
    centred = (x - mean) / x.std()
    return NormalityTest(
        count=n,
        mean=mean,
        mean_se=float(np.sqrt(variance / n)),
        variance=variance,
        variance_se=variance * float(np.sqrt(2 / (n - 1))),
        skewness=float((centred**3).mean()),
        kurtosis=float((centred**4).mean() - 3),
        p_mean=p_mean,
        p_variance=p_variance,
        p_normality=p_shape,
        p_global=min(p_mean, p_variance, p_shape),
        normality_test="Shapiro–Wilk" if n <= MOST_FOR_SHAPIRO else "D'Agostino–Pearson",
    )


def compute_percentile_bands(
    count: int, levels: tuple[float, ...], interval: float = 95.0, draws: int = 2000
) -> np.ndarray:
    """(levels, 2): the interval (per cent) in which percentiles (`levels`, per cent) of `count` standard normals lie.

    It is simulated, from a seed that depends on `count` alone, so that a page shows the same band each time.
    """
    drawn = np.random.default_rng([20061, count]).normal(size=(draws, count))
    percentiles = np.quantile(drawn, np.asarray(levels) / 100, axis=1)
    return np.quantile(percentiles, [(1 - interval / 100) / 2, (1 + interval / 100) / 2], axis=1).T
