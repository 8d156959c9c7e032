"""Successive halving by non-dominated rank: for several objectives, and for constraints."""

from __future__ import annotations

from hpsearch.early_stopping.base import Stop
from hpsearch.pareto import Fronts, Standing


class NonDominatedHalving:
    """Asynchronous successive halving by non-dominated sorting and an epsilon-net (MO-ASHA;
    Schmucker et al., 2021, §3): at a rung a trial continues if it is among the best 1/factor of
    all trials seen there, itself included.

    With one objective and no constraint broken that is the rule of `SuccessiveHalving`. Those that
    break constraints come after all others, so they take no place from one that keeps them.
    """

    def __init__(self, rungs: tuple[int, ...], factor: int) -> None:
        self.rungs = rungs
        self._factor = factor
        self._fronts = {rung: Fronts() for rung in rungs[:-1]}

    def report(self, number: int, epoch: int, standing: Standing) -> Stop | None:
        """See StandingRule."""
        fronts = self._fronts.get(epoch)
        if fronts is None:
            return None
        place = fronts.add(standing)
        if place * self._factor <= len(fronts) - 1:  # at or above the 1 - 1/factor quantile
            return None
        return Stop({"rank": place + 1, "trials": len(fronts)})

    def finish(self, number: int, epoch: int, standing: Standing) -> None:
        """See EarlyStopper.finish."""
        for later in range(epoch + 1, self.rungs[-1]):
            if self.report(number, later, standing):
                return
