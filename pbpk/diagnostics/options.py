"""What a VPC and what prediction distribution errors are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pbpk.errors import WrongUsage

LEAST_REPLICATES = 20  # fewer give no interval


@dataclass(frozen=True)
class VpcOptions:
    """`replicates`: how many are simulated. `bins`: how many, or their edges in the data's unit of time; None: as many as a
    subject has observations. `method`: how bins are made (bins.BIN_METHODS). `by`: a covariate to stratify by. `corrected`:
    for the prediction; `variability`: the variability correction on top of that. `quantiles` and `interval` in per cent.
    `endpoint`: the only one looked at. `seed` decides every draw."""

    replicates: int = 1000
    bins: int | tuple[float, ...] | None = None
    method: str = "jenks"
    by: str | None = None
    corrected: bool = False
    variability: bool = False
    quantiles: tuple[float, ...] = (5.0, 50.0, 95.0)
    interval: float = 90.0
    endpoint: str | None = None
    seed: int = 1

    def check(self) -> None:
        """Raises `WrongUsage` for options that no VPC can be made with."""
        check_replicates(self.replicates)
        if not self.quantiles or any(not 0 < q < 100 for q in self.quantiles):
            raise WrongUsage("quantiles lie between 0 and 100", hint="--quantiles 5,50,95")
        if not 0 < self.interval < 100:
            raise WrongUsage("the interval lies between 0 and 100 per cent", hint="--interval 90")
        if self.variability and not self.corrected:
            raise WrongUsage("the variability correction goes on top of the prediction correction", hint="give both")
        if isinstance(self.bins, int) and self.bins < 1:
            raise WrongUsage("there must be a bin at least", hint="--bins 8")
        if isinstance(self.bins, tuple) and (len(self.bins) < 2 or np.any(np.diff(self.bins) <= 0)):
            raise WrongUsage("edges of bins must rise", hint="--bins 0,2,6,12,24")


@dataclass(frozen=True)
class NpdeOptions:
    """`replicates`: how many are simulated. `endpoint`: the only one looked at. `seed` decides every draw."""

    replicates: int = 1000
    endpoint: str | None = None
    seed: int = 1

    def check(self) -> None:
        """Raises `WrongUsage` for too few replicates."""
        check_replicates(self.replicates)


def check_replicates(count: int) -> None:
    """Raises `WrongUsage` for too few replicates to give an interval."""
    if count < LEAST_REPLICATES:
        reason = "a 90 % interval has its ends at the 5th and 95th percentile of the replicates"
        raise WrongUsage(f"{count} replicates are too few: {LEAST_REPLICATES} at least, 1000 as a rule", why=reason)
