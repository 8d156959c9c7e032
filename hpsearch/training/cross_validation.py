"""Cross validation: one trainer a fold, trained side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch

from hpsearch.components.data import Data
from hpsearch.spec import TrialConfig
from hpsearch.training.trainer import Trainer


class CrossValidation:
    """As a Trainer, over data with folds: an epoch is one epoch of each fold.

    Metrics are means over the folds, `seconds` their sum.
    """

    def __init__(
        self, config: TrialConfig, data: Data, device: str | torch.device = "cpu"
    ) -> None:
        self._config, self._data, self._device = config, data, device
        folds = _folds(data)
        self.trainers = [
            Trainer(config, fold, device, stream=f"fold{i}/") for i, fold in enumerate(folds)
        ]
        self._last: list[dict[str, float]] = [{} for _ in folds]

    @property
    def epoch(self) -> int:
        """The epochs trained of each fold."""
        return max(trainer.epoch for trainer in self.trainers)

    @property
    def end_reason(self) -> str:
        """What ended the folds' training before their budget."""
        return ", ".join(sorted({trainer.end_reason for trainer in self.trainers}))

    def train_epoch(self) -> dict[str, float] | None:
        """Train an epoch of each fold and evaluate it on its own validation rows.

        A fold whose training has ended keeps its last metrics; None when all have.
        """
        return self.combined([trainer.train_epoch() for trainer in self.trainers])

    def combined(self, metrics: Sequence[dict[str, float] | None]) -> dict[str, float] | None:
        """See ModelTrainer."""
        if all(fold is None for fold in metrics):
            return None
        seconds = sum(fold["seconds"] for fold in metrics if fold is not None)
        self._last = [new or old for new, old in zip(metrics, self._last, strict=True)]
        return {**_mean(self._last), "seconds": seconds}

    def evaluate(self, split: Literal["train", "val", "test"]) -> dict[str, float]:
        """Return the folds' mean metrics on a split."""
        return _mean([trainer.evaluate(split) for trainer in self.trainers])

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of every fold's state."""
        return {
            "folds": [trainer.state_dict() for trainer in self.trainers],
            "metrics": [dict(fold) for fold in self._last],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        for trainer, fold in zip(self.trainers, state["folds"], strict=True):
            trainer.load_state_dict(fold)
        self._last = [dict(fold) for fold in state["metrics"]]

    def load_weights(self, state: Mapping[str, Any]) -> None:
        """See ModelTrainer."""
        for trainer, fold in zip(self.trainers, state["folds"], strict=True):
            trainer.load_weights(fold)

    def final(self) -> Trainer:
        """See ModelTrainer: trained on all rows but the test split's."""
        return refit(self._config, self._data, self._config.max_epochs, self._device)

    def close(self) -> None:
        """End the processes that read Datasets."""
        for trainer in self.trainers:
            trainer.close()


def refit(
    config: TrialConfig, data: Data, epochs: int, device: str | torch.device = "cpu"
) -> Trainer:
    """Train a configuration on all rows but the test split's."""
    trainer = Trainer(config, data.merged(), device, stream="refit/")
    for _ in range(epochs):
        if trainer.train_epoch() is None:  # a callback ended it
            break
    return trainer


def _folds(data: Data) -> list[Data]:
    """The folds of data, made once per process: each holds a copy of the rows."""
    if data not in _folds_of:
        _folds_of[data] = [data.fold(i) for i in range(len(data.folds))]
    return _folds_of[data]


_folds_of: WeakKeyDictionary[Data, list[Data]] = WeakKeyDictionary()


def _mean(metrics: list[dict[str, float]]) -> dict[str, float]:
    """What isn't defined in a fold, such as the ROC AUC of one class, is left out."""
    names = [name for name in metrics[0] if all(name in fold for fold in metrics)]
    return {name: sum(fold[name] for fold in metrics) / len(metrics) for name in names}
