"""What a model in training comes to on the splits that it isn't trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hpsearch.components.batch import Batch, Tree
from hpsearch.components.data import Data
from hpsearch.components.tasks import Task
from hpsearch.components.train_evaluation import TRAIN_EVAL, gaps
from hpsearch.training.augmenting import Augmenting
from hpsearch.training.forgetting import ForgettingMeter
from hpsearch.training.splits import Splits
from hpsearch.training.streams import keeping_states
from hpsearch.training.totals import Totals


@dataclass(frozen=True)
class Evaluation:
    """Evaluates a model, in evaluation mode, on the splits of its data."""

    model: nn.Module
    forward: Callable[[Tree], Tree]  # what is called for the model's outputs
    task: Task
    data: Data
    splits: Splits
    augmenting: Augmenting
    forgetting: ForgettingMeter | None
    autocast: Callable[[], contextlib.AbstractContextManager[None]]
    views_seed: int  # of what augmentations draw where they make the inputs
    in_streams: bool  # whether the model keeps its states from one batch to the next

    def metrics(self, split: str, epoch: int) -> dict[str, float]:
        """Return the metrics on a split or a part of one, named `val_loss` and so on."""
        return self.measured(split, self._totals(split, epoch, keep=bool(self.task.scores)))

    def of_epoch(self, epoch: int) -> dict[str, float]:
        """Return what an epoch reports of the splits that it isn't trained on."""
        if self.data.val is not None:
            metrics = self.metrics("val", epoch)
        else:
            metrics = {}
            if hasattr(self.task, "fit_to_validation"):
                self._fit_task(self._totals("train", epoch, keep=True))
        if self.forgetting is not None:
            metrics |= self.forgetting.measure(self.metrics("rest", epoch))
        if self.includes_train:
            totals = self._totals(TRAIN_EVAL, epoch, keep=False)
            metrics |= self.train_measured(totals, metrics)
        return metrics

    def outputs(self, split: str, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the outputs for a split, float32 (rows, output_size), and its targets; of a model
        that keeps states those of each batch by itself, as the exported model has them."""
        outputs, targets = self._totals(split, epoch, keep=True, as_exported=True).rows()
        return outputs.clone(), targets  # a tensor of inference mode has no gradients

    def measured(self, split: str, totals: Totals) -> dict[str, float]:
        """Return the metrics of a split whose totals these are."""
        if split == "val":
            self._fit_task(totals)
        scores = self.task.measure(*totals.rows()) if self.task.scores else {}
        return totals.summary() | {f"{split}_{name}": value for name, value in scores.items()}

    def train_measured(self, totals: Totals, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the metrics of the training rows in evaluation mode, and by how much they are
        above those of validation, among `metrics`."""
        found = totals.summary()
        return found | gaps({**metrics, **found}, self.task.metrics)

    @property
    def includes_train(self) -> bool:
        """Whether a callback has the training rows evaluated too."""
        return TRAIN_EVAL in self.splits.parts

    def keeps_states(self, split: str) -> bool:
        """Whether a model begins a row of a split with the states of the row before."""
        return self.in_streams and self.splits.parts.get(split) is None

    def read(self, split: str, epoch: int) -> Iterator[Batch]:
        """Yield the rows of a split as a model is evaluated on them, before `views`."""
        of_states = self.keeps_states(split)
        return (self.splits.streamed if of_states else self.splits.evaluated)(split, epoch)

    @contextlib.contextmanager
    def views(self) -> Iterator[Callable[[Batch], Batch]]:
        """Yield what a batch is evaluated as: as it is or, where augmentations make its inputs,
        the same views in every epoch."""
        if not self.data.encoding.needs_augmentations:
            yield lambda batch: batch
            return
        device = self.splits.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(self.views_seed)
            yield self.augmenting

    def _fit_task(self, totals: Totals) -> None:
        """Let a task choose what it chooses by the outputs for a split, such as a threshold."""
        if (fit := getattr(self.task, "fit_to_validation", None)) is not None:
            fit(*totals.rows())

    def _totals(self, split: str, epoch: int, *, keep: bool, as_exported: bool = False) -> Totals:
        totals = Totals(self.task, epoch, split, keep=keep)
        keeps_states = self.keeps_states(split) and not as_exported
        read = self.read if keeps_states else self.splits.evaluated
        self.model.eval()
        with (
            torch.inference_mode(),
            self.autocast(),
            self.views() as changed,
            keeping_states(self.model, keeps=keeps_states),
        ):
            for batch in map(changed, read(split, epoch)):
                totals.add(self.forward(batch.inputs), batch)
        return totals
