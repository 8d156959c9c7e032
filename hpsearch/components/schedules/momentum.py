"""Schedules of the momentum; one cycle's is with its learning rate."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Interval

from hpsearch.components.schedules.progress import Schedule
from hpsearch.registry import Recommended, register


@register("momentum_schedule", "constant")
def constant_momentum(
    momentum: Annotated[float, Interval(ge=0, lt=1), Recommended(0.8, 0.99)] = 0.9,
) -> Schedule:
    """The same momentum throughout, in place of the optimizer's."""
    return lambda progress: momentum
