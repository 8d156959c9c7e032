"""Callbacks by name: what happens at the end of an epoch of a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import nn
from torch.optim.swa_utils import update_bn

from hpsearch.registry import register


class Callback(Protocol):
    """Looks at each epoch of one training; what it keeps is part of the trial's state."""

    def before_evaluation(self, model: nn.Module, train_batches: Callable[[], Any]) -> None:
        """Called after the last step of an epoch; `train_batches()` reads the training split."""

    def after_epoch(
        self, model: nn.Module, metrics: Mapping[str, float], *, is_last: bool
    ) -> bool:
        """Take an epoch's metrics; returns whether the weights were changed, so that they are
        evaluated again and the epoch's metrics are theirs."""

    @property
    def is_over(self) -> bool:
        """Whether training ends with this epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


@register("callback", "recalibrate_bn")
class RecalibrateBatchNorm(Callback):
    """Batch norm's statistics anew, with the weights of now, before each evaluation.

    The running statistics become the mean over the batches of the training split, instead of an
    exponential moving average over weights that are gone. Costs a forward pass of an epoch.
    """

    def before_evaluation(self, model: nn.Module, train_batches: Callable[[], Any]) -> None:
        """Take the statistics of the training split."""
        update_bn(train_batches(), model)

    def after_epoch(
        self, model: nn.Module, metrics: Mapping[str, float], *, is_last: bool
    ) -> bool:
        """Change nothing."""
        return False

    @property
    def is_over(self) -> bool:
        """Never."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Nothing is kept."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing was kept."""
