"""Teacher forcing: which steps of a sequence are given the target of the step before."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hpsearch.components.batch import IGNORED
from hpsearch.components.layers.counter_bits import threshold
from hpsearch.components.layers.modules import Dropout


class Teaching(Dropout):
    """Draws for each step whether its target is given to the next one, or what the model said
    (scheduled sampling: Bengio et al., 2015, arXiv 1506.03099).

    A target is given with the probability `share` in the first epoch, and `decay` less in each
    one that follows, at least 0 (the paper's linear decay). Draws are those of a dropout, by the
    key of a step; all is given, and nothing drawn, where the share stays 1.
    """

    drops: ClassVar[bool] = False
    first: Tensor
    decay: Tensor

    def __init__(self, share: float, decay: float = 0.0) -> None:
        super().__init__(0.0)
        self.active = share < 1 or decay > 0
        self.register_buffer("first", torch.tensor(share), persistent=False)
        self.register_buffer("decay", torch.tensor(decay), persistent=False)
        self.begin_epoch(1)

    def begin_epoch(self, epoch: int) -> None:
        """See Dropout: set the probability of an epoch."""
        share = max(0.0, self.first.item() - self.decay.item() * (epoch - 1))
        self.keep.fill_(share)
        self.limit.fill_(threshold(share))

    def forward(self, targets: Tensor) -> Tensor:
        """Return which of the targets, class numbers (rows, steps), are given, bool; those that
        count nowhere never are."""
        counts: Tensor = targets != IGNORED
        if not self.is_on:
            return counts
        drawn = self.mask(torch.ones(targets.shape, device=targets.device))
        return counts & (drawn > 0)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"share={self.first.item():.4g}, decay={self.decay.item():.4g}"
