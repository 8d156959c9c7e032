"""Whether layers get gradients and answer to inputs, by what `layer_statistics` measures."""

from __future__ import annotations

import numpy as np

from hpsearch.analysis.diagnosis.curves import Array, Curves
from hpsearch.analysis.diagnosis.finding import Diagnosis
from hpsearch.analysis.diagnosis.measures import late_values
from hpsearch.formatting import show

#: the gradient of the first layer over that of the last, where it vanishes and where it explodes
VANISHES, EXPLODES = 1e-3, 1e3
#: shares of units that are too many
MANY_DEAD, MANY_SATURATED = 0.4, 0.5


def vanishing(curves: Curves) -> Diagnosis | None:
    """The first layer's gradient is far smaller than the last's."""
    flow = _usual(curves.gradient_flow)
    if flow is None or flow >= VANISHES:
        return None
    fact = f"the gradient of the first layer is {show(flow)} of the last layer's"
    advice = "add a normalization or skip connections, or try relu, with fewer layers"
    return Diagnosis("vanishing gradients", fact, advice)


def growing(curves: Curves) -> Diagnosis | None:
    """The first layer's gradient is far larger than the last's."""
    flow = _usual(curves.gradient_flow)
    if flow is None or flow <= EXPLODES:
        return None
    fact = f"the gradient of the first layer is {show(flow)} times the last layer's"
    advice = "add a normalization, or an initializer of smaller weights, and clip gradients"
    return Diagnosis("exploding gradients", fact, advice)


def dead_units(curves: Curves) -> Diagnosis | None:
    """Many units after ReLU are 0 for all inputs."""
    share = _usual(curves.dead_units)
    if share is None or share < MANY_DEAD:
        return None
    fact = f"{share:.0%} of the units after ReLU are 0 for all inputs"
    advice = "lower the learning rate, or try leaky_relu and the initializer he_normal"
    return Diagnosis("dead units", fact, advice)


def saturated_units(curves: Curves) -> Diagnosis | None:
    """Many units after tanh or sigmoid are at an end of their range for nearly all inputs."""
    share = _usual(curves.saturated_units)
    if share is None or share < MANY_SATURATED:
        return None
    fact = f"{share:.0%} of the units after tanh or sigmoid are at an end of their range"
    advice = "start with smaller weights (initializer), lower the learning rate, or try relu"
    return Diagnosis("saturated units", fact, advice)


def _usual(values: Array) -> float | None:
    """Return the median of the late epochs."""
    late = late_values(values)
    return float(np.median(late)) if len(late) else None
