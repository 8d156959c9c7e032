"""Schedules that rise and fall: cyclical, one cycle, slanted triangular."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from annotated_types import Gt, Interval

from hpsearch.components.schedules.progress import Epochs, Factor, Progress, Schedule
from hpsearch.registry import Recommended, register

Anneal = Literal["cos", "linear"]
PeakAt = Annotated[float, Interval(gt=0, lt=1), Recommended(0.1, 0.5)]
Divisor = Annotated[float, Gt(1), Recommended(10.0, 100.0, log=True)]
Momentum = Annotated[float, Interval(ge=0, lt=1)]


@register("lr_schedule", "cyclical")
def cyclical(
    half_cycle: Annotated[Epochs, Recommended(2.0, 8.0)] = 2.0,
    low_factor: Factor = 0.1,
    mode: Literal["triangular", "triangular2"] = "triangular",
) -> Schedule:
    """Triangles between `low_factor` and 1, each side `half_cycle` epochs (Smith, 2017).

    With `triangular2` each cycle is half as high as the one before.
    """

    def factor(progress: Progress) -> float:
        cycle = math.floor(1 + progress.epochs / (2 * half_cycle))
        height = max(0.0, 1 - abs(progress.epochs / half_cycle - 2 * cycle + 1))
        scale = 0.5 ** (cycle - 1) if mode == "triangular2" else 1.0
        return low_factor + (1 - low_factor) * height * scale

    return factor


@register("lr_schedule", "slanted_triangular")
def slanted_triangular(
    cut_fraction: PeakAt = 0.1, ratio: Annotated[float, Gt(1), Recommended(8.0, 64.0)] = 32.0
) -> Schedule:
    """A short linear rise from 1/ratio to 1, a long fall back (Howard & Ruder, 2018, eq. 3)."""

    def factor(progress: Progress) -> float:
        cut = max(1, math.floor(progress.num_steps * cut_fraction))
        done = progress.step / cut
        if progress.step >= cut:
            done = 1 - (progress.step - cut) / (cut * (1 / cut_fraction - 1))
        return (1 + max(done, 0.0) * (ratio - 1)) / ratio

    return factor


class OneCycle:
    """The rate rises from 1/div to 1 and falls to 1/(div final_div); the momentum mirrors it."""

    def __init__(
        self,
        peak_at: float,
        div: float,
        final_div: float,
        anneal: Anneal,
        three_phase: bool,
        momentum: tuple[float, float] | None,
    ) -> None:
        self._peak_at, self._anneal, self._three_phase = peak_at, anneal, three_phase
        self._rates = (1 / div, 1.0, 1 / div / final_div)
        #: the greatest and the smallest momentum; None leaves it alone
        self.momentum_range = momentum

    def __call__(self, progress: Progress) -> float:
        """Return the factor of the learning rate."""
        start, peak, final = self._rates
        back = start if self._three_phase else final
        return self._value(progress, (start, peak, back, final))

    def momentum(self, progress: Progress) -> float:
        """Return the momentum: greatest where the rate is smallest."""
        assert self.momentum_range is not None  # asked for by those only that have one
        high, low = self.momentum_range
        return self._value(progress, (high, low, high, high))

    def _value(self, progress: Progress, values: tuple[float, float, float, float]) -> float:
        """Go from value to value over the phases, as torch's OneCycleLR counts steps."""
        ends = [self._peak_at * progress.num_steps - 1, progress.num_steps - 1]
        if self._three_phase:
            ends.insert(1, 2 * self._peak_at * progress.num_steps - 2)
        else:
            values = (*values[:2], values[3], values[3])
        begin = 0.0
        for i, end in enumerate(ends):
            if progress.step <= end or i == len(ends) - 1:
                way = (progress.step - begin) / max(end - begin, 1e-9)
                return _between(values[i], values[i + 1], min(max(way, 0.0), 1.0), self._anneal)
            begin = end
        raise AssertionError("the last phase ends with the last step")


@register("lr_schedule", "one_cycle")
def one_cycle(
    pct_start: PeakAt = 0.3,
    div_factor: Divisor = 25.0,
    final_div_factor: Annotated[float, Gt(1)] = 1e4,
    anneal_strategy: Anneal = "cos",
    three_phase: bool = False,
    cycle_momentum: bool = True,
    base_momentum: Momentum = 0.85,
    max_momentum: Momentum = 0.95,
) -> Schedule:
    """One rise to the optimizer's rate and a long fall; momentum mirrored (Smith, 2018).

    Defaults are torch's OneCycleLR's (fastai's). Smith's own is `three_phase: true`,
    `anneal_strategy: linear`, `pct_start: 0.45`, `div_factor: 10`, `final_div_factor: 100`. Needs
    an optimizer with momentum or betas, unless `cycle_momentum` is false.
    """
    momentum = (max_momentum, base_momentum) if cycle_momentum else None
    return OneCycle(
        pct_start, div_factor, final_div_factor, anneal_strategy, three_phase, momentum
    )


@register("momentum_schedule", "cyclical")
def cyclical_momentum(
    base_momentum: Momentum = 0.85,
    max_momentum: Momentum = 0.95,
    pct_start: PeakAt = 0.3,
    anneal_strategy: Anneal = "cos",
    three_phase: bool = False,
) -> Schedule:
    """From max_momentum to base_momentum where one_cycle's rate peaks, and back (Smith, 2018)."""
    momenta = (max_momentum, base_momentum)
    cycle = OneCycle(pct_start, 25.0, 1e4, anneal_strategy, three_phase, momenta)
    return cycle.momentum


def _between(start: float, end: float, way: float, anneal: Any) -> float:
    if anneal == "linear":
        return start + (end - start) * way
    return end + (start - end) / 2 * (1 + math.cos(math.pi * way))
