"""Ensembles of what a training passes through: which weights are their members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from hpsearch.registry import Recommended, register

NUM_CYCLES = 5


@dataclass(frozen=True)
class Snapshots:
    """See `snapshot`. The model's weights by now are the newest member."""

    cycles: int
    members: int

    def takes(self, epoch: int, max_epochs: int) -> bool:
        """Whether the weights after an epoch, counted from 1, become a member that stays."""
        length = max_epochs / self.cycles
        return epoch < max_epochs and int(epoch / length) > int((epoch - 1) / length)


def _copies(cycles: int = NUM_CYCLES, members: int | None = None, **_: object) -> int:
    return min(cycles, members or cycles) - 1


@register("ensemble", "snapshot", weight_copies=_copies)
def snapshot(
    cycles: Annotated[int, Ge(2), Recommended(3, 8)] = NUM_CYCLES,
    members: Annotated[int, Ge(2)] | None = None,
) -> Snapshots:
    """The weights at the ends of `cycles` equal parts of the training, as one model (Huang et al.,
    2017, Snapshot ensembles).

    Its predictions, of classes their probabilities, are the means of those of its newest
    `members`, by default of all. Let the learning rate fall in each part: `lr_schedule: {name:
    cosine_restarts, growth: 1, first_cycle: N}`, of N epochs each.
    """
    return Snapshots(cycles, min(cycles, members or cycles))
