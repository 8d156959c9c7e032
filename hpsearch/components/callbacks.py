"""Callbacks by name: what happens at the end of an epoch of a trial.

A factory gets the names of the `metrics` that every epoch reports, and the spec's `folder`. Where
callbacks of its making measure some themselves, its attribute `metrics` names them; `{metric}` in
a name stands for each metric of the task. Where not all models have them, its `measures(model)`
says whether one has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hpsearch import registry
from hpsearch.components.batch import Batch, Tree
from hpsearch.components.data import Data
from hpsearch.components.monitored_metric import Mode, Watched, check_watched, sign_of, watched
from hpsearch.registry import ComponentOf, KerasDefault, Recommended, register

CALLBACK = ComponentOf("callback")


class Callback(Protocol):
    """Looks at each epoch of one training; what it keeps is part of the trial's state."""

    def measure(
        self,
        model: nn.Module,
        loss: Callable[[Tree, Batch], Tensor],
        batches: Iterator[Batch],
    ) -> dict[str, float]:
        """Called after the last step of an epoch; returns metrics of its own, and changes
        nothing. `batches` are of one size, drawn as those of the epoch."""
        return {}

    def check_data(self, data: Data) -> None:
        """Called before training; raises for data that nothing can be measured of."""
        return None

    def probe(self, model: nn.Module, read: Callable[[str], Iterator[Batch]]) -> dict[str, float]:
        """Called after the last step of an epoch, with the model in evaluation mode; returns
        metrics of its own, and changes nothing. `read(split)` gives a split's rows in order."""
        return {}

    def derived(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Called with all metrics of an epoch; returns more of its own that follow from them."""
        return {}

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


class BaseCallback(Callback):
    """Does nothing at any time, and keeps nothing; others override what they do."""

    def before_evaluation(self, model: nn.Module, train_batches: Callable[[], Any]) -> None:
        """Change nothing."""

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


def callback_metrics(
    sections: Sequence[Any] | None, folder: Path | None = None, model: nn.Module | None = None
) -> tuple[str, ...]:
    """Return the names of what the callbacks of these sections measure, of a model if one is
    given."""
    names = [CALLBACK.written_out(section)["name"] for section in sections or ()]
    factories = [registry.get("callback", name, folder).factory for name in names]
    if model is not None:
        factories = [each for each in factories if getattr(each, "measures", _any)(model)]
    found = [name for factory in factories for name in getattr(factory, "metrics", ())]
    return tuple(dict.fromkeys(found))


def _any(model: nn.Module) -> bool:
    return True


@register("callback", "recalibrate_bn")
class RecalibrateBatchNorm(BaseCallback):
    """Recomputes batch norm's statistics with the current weights before each evaluation.

    The running statistics become the mean over the batches of the training split, instead of an
    exponential moving average over weights that are gone. Norms that fine-tuning has frozen keep
    theirs. Costs a forward pass of an epoch.
    """

    def before_evaluation(self, model: nn.Module, train_batches: Callable[[], Any]) -> None:
        """Take the statistics of the training split, in the modes in which it was trained on."""
        norms = [each for each in model.modules() if isinstance(each, _BatchNorm)]
        norms = [each for each in norms if each.training and each.track_running_stats]
        if not norms:
            return
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch then takes the mean over all batches
        with torch.no_grad():
            for x, _ in train_batches():
                model(x)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


class EarlyStopping(Callback):
    """Ends a training that doesn't get better, with the weights of its best epoch."""

    def __init__(
        self,
        metric: str,
        sign: float,
        patience: int,
        min_delta: float,
        restore_best: bool,
        generalization_loss: float | None,
    ) -> None:
        self._metric, self._sign, self._min_delta = metric, sign, min_delta
        self._patience, self._restore, self._limit = patience, restore_best, generalization_loss
        self._best, self._num_bad, self._is_over = math.inf, 0, False
        self._weights: dict[str, Any] = {}

    def before_evaluation(self, model: nn.Module, train_batches: Callable[[], Any]) -> None:
        """Change nothing."""

    def after_epoch(
        self, model: nn.Module, metrics: Mapping[str, float], *, is_last: bool
    ) -> bool:
        """Take an epoch's metrics; at the end put the best weights back."""
        found = watched(metrics, self._metric)
        if found is None:
            return False
        value = self._sign * found
        if value < self._best - self._min_delta:
            self._best, self._num_bad = value, 0
            self._weights = _copied(model) if self._restore else {}
        else:
            self._num_bad += 1
        self._is_over = self._num_bad >= self._patience or self._has_lost_too_much(value)
        if (self._is_over or is_last) and self._num_bad and self._weights:
            model.load_state_dict(self._weights)
            return True
        return False

    @property
    def is_over(self) -> bool:
        """Whether training ends with this epoch."""
        return self._is_over

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and its weights."""
        counts = {"best": self._best, "num_bad": self._num_bad, "is_over": self._is_over}
        return {**counts, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._best, self._num_bad = state["best"], state["num_bad"]
        self._is_over, self._weights = state["is_over"], state["weights"]

    def _has_lost_too_much(self, value: float) -> bool:
        """Prechelt's GL = 100 (E / E_best - 1) > limit, of a loss that is positive."""
        if self._limit is None or self._best <= 0:
            return False
        return 100 * (value / self._best - 1) > self._limit


@register("callback", "early_stopping", weight_copies=lambda restore_best, **_: int(restore_best))
def early_stopping(
    metrics: Sequence[str],
    metric: Watched = "val_loss",
    mode: Mode | None = None,
    patience: Annotated[int, Ge(1), Recommended(2, 10), KerasDefault(1)] = 5,
    min_delta: Annotated[float, Ge(0)] = 0.0,
    restore_best: Annotated[bool, KerasDefault(False)] = True,
    generalization_loss: Annotated[float, Gt(0)] | None = None,
) -> Callback:
    """Ends the trial after `patience` epochs without a better metric; the best weights stay.

    The metrics of the last epoch are those of the weights that are kept. `mode` is min for losses,
    else max. `generalization_loss` ends it too where the loss exceeds its best by so many percent
    (Prechelt, 1998: 5).
    """
    check_watched(metric, metrics)
    return EarlyStopping(
        metric, sign_of(metric, mode), patience, min_delta, restore_best, generalization_loss
    )


def _copied(model: nn.Module) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
