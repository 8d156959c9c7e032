"""What the curve of a learning-rate range test says: the range to search, and where the loss falls
fastest, is least and diverges.

Smith, Cyclical Learning Rates (arXiv 1506.01186), section 3.3. Thresholds are defaults of this
project, compared with full trainings by `benchmarks.lr_range`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpsearch.formatting import show

#: smoothing of the loss, forwards and backwards: the weight of what came before
SMOOTHING = 0.85
#: a loss that fell by less of its first level, or of its noise, hasn't fallen
LEAST_FALL, NOISE_FACTOR = 0.03, 3.0
#: the range begins where the loss has fallen by this part of its fall, but at least this factor
#: below the rate of the least loss
ONSET, LEAST_SPAN = 0.1, 10.0
#: a loss this part of its fall above its minimum has turned up
TURNED_UP = 0.25
#: steps to both sides over which the slope is measured
SLOPE_STEPS = 5
#: the rate that is proposed for a constant rate, below that of the least loss (fastai)
BELOW_MINIMUM = 10.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LrVerdict:
    """The rates that stand out of a range test.

    `low` and `high` are the ends of the range to search: from where the loss has begun to fall to
    where it has turned up. `diverges` is None where it never did; then `high` is the last rate.
    """

    low: float
    high: float
    steepest: float
    minimum: float
    diverges: float | None

    @property
    def suggested(self) -> float:
        """A single rate to begin with: a tenth of that of the least loss."""
        return self.minimum / BELOW_MINIMUM

    def __str__(self) -> str:
        """`the loss falls fastest at 0.03, is least at 0.1 and turns up at 0.4`."""
        end = "doesn't turn up" if self.diverges is None else f"turns up at {show(self.diverges)}"
        return (
            f"the loss falls fastest at {show(self.steepest)}, is least at {show(self.minimum)} "
            f"and {end}"
        )


def read_lr_range(rates: ArrayLike, losses: ArrayLike) -> LrVerdict | None:
    """Read the curve of a range test: rates that grow exponentially, and the loss at each.

    None where the loss doesn't fall: then something else is wrong than the rate, such as the
    initializer or the data.
    """
    x, loss = np.log(np.asarray(rates, float)), np.asarray(losses, float)
    if len(loss) < 2:
        return None
    level = smoothed(loss)
    least = int(level.argmin())
    first = float(np.median(loss[: max(1, least // 3)]))
    fall = first - float(level[least])
    noise = float(np.median(np.abs(loss[: least + 1] - level[: least + 1])))
    if fall <= max(LEAST_FALL * abs(first), NOISE_FACTOR * noise):
        return None
    return _verdict(x, level, least, first, fall)


def _verdict(x: Array, level: Array, least: int, first: float, fall: float) -> LrVerdict:
    minimum = float(np.exp(x[least]))
    # from the minimum backwards: noise before that has crossed the line, too
    onset = int(np.flatnonzero(level[: least + 1] > first - ONSET * fall)[-1])
    up = np.flatnonzero(level[least:] > level[least] + TURNED_UP * fall)
    diverges = float(np.exp(x[least + up[0]])) if len(up) else None
    return LrVerdict(
        low=min(float(np.exp(x[onset])), minimum / LEAST_SPAN),
        high=float(np.exp(x[-1])) if diverges is None else diverges,
        steepest=float(np.exp(x[_steepest(level, onset, least)])),
        minimum=minimum,
        diverges=diverges,
    )


def _steepest(level: Array, begin: int, end: int) -> int:
    """Return the place of the steepest descent from one place to another."""
    places = np.arange(begin, end + 1)
    after = np.minimum(places + SLOPE_STEPS, len(level) - 1)
    before = np.maximum(places - SLOPE_STEPS, 0)
    return int(places[((level[after] - level[before]) / (after - before)).argmin()])


def smoothed(losses: ArrayLike) -> Array:
    """Return a mean with exponential weights, forwards and backwards, so that nothing lags."""
    loss = np.asarray(losses, float)
    return 0.5 * (_average(loss) + _average(loss[::-1])[::-1])


def _average(loss: Array) -> Array:
    averages, total, weight = np.empty_like(loss), 0.0, 0.0
    for place, value in enumerate(loss):
        total = SMOOTHING * total + value
        weight = SMOOTHING * weight + 1
        averages[place] = total / weight
    return averages
