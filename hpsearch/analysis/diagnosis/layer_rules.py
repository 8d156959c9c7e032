"""Whether layers get gradients and answer to inputs, by what `layer_statistics` measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpsearch.analysis.diagnosis.curves import Curves
from hpsearch.analysis.diagnosis.finding import Diagnosis
from hpsearch.analysis.diagnosis.learning_rules import too_low_lr
from hpsearch.analysis.diagnosis.measures import late_values
from hpsearch.formatting import show

#: the gradient of the first layer over that of the last, where it vanishes and where it explodes
VANISHES, EXPLODES = 1e-3, 1e3
#: shares of units that are too many
MANY_DEAD, MANY_SATURATED = 0.4, 0.5


@dataclass(frozen=True)
class LayerRule:
    """A diagnosis by the median of a measure over the late epochs.

    With `lower_lr` it advises a lower learning rate too, unless that is too low.
    """

    measure: str
    holds: Callable[[float], bool]
    name: str
    fact: Callable[[float], str]
    advice: str
    lower_lr: bool = False

    def __call__(self, curves: Curves) -> Diagnosis | None:
        """Return what the measure says; None where it is as it should be, or wasn't measured."""
        late = late_values(getattr(curves, self.measure))
        if not len(late) or not self.holds(usual := float(np.median(late))):
            return None
        lower = self.lower_lr and too_low_lr(curves) is None
        advice = f"{self.advice}, or lower the learning rate" if lower else self.advice
        return Diagnosis(self.name, self.fact(usual), advice)


RULES = (
    LayerRule(
        "gradient_flow",
        lambda flow: flow < VANISHES,
        "vanishing gradients",
        lambda flow: f"the gradient of the first layer is {show(flow)} of the last layer's",
        "add a normalization or skip connections, or try relu, with fewer layers",
    ),
    LayerRule(
        "gradient_flow",
        lambda flow: flow > EXPLODES,
        "exploding gradients",
        lambda flow: f"the gradient of the first layer is {show(flow)} times the last layer's",
        "add a normalization, or an initializer of smaller weights, and clip gradients",
    ),
    LayerRule(
        "dead_units",
        lambda share: share >= MANY_DEAD,
        "dead units",
        lambda share: f"{share:.0%} of the units after ReLU are 0 for all inputs",
        "try leaky_relu with the initializer he_normal",
        lower_lr=True,
    ),
    LayerRule(
        "saturated_units",
        lambda share: share >= MANY_SATURATED,
        "saturated units",
        lambda share: (
            f"{share:.0%} of the units after tanh or sigmoid are at an end of their range"
        ),
        "try relu, or start with smaller weights (initializer)",
        lower_lr=True,
    ),
)
