"""The components that a task is put together from, and whether they fit each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from hpsearch.components.batch import IGNORED, Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.losses import LOSS, Loss, class_shares, make_loss
from hpsearch.components.metrics import METRICS, Metric, Predictions
from hpsearch.components.tasks.heads import HEAD, Head
from hpsearch.errors import BadConfigurationError, UserCodeError, placed


@dataclass(frozen=True)
class TaskComponents:
    """A loss, a head and metrics; with `reports_loss` the loss is a metric, `criterion`, too."""

    loss: Loss
    head: Head
    scores: tuple[Metric, ...] = ()
    reports_loss: bool = False


class SupervisedTask(ABC):
    """What tasks with a loss of outputs and targets have in common."""

    kind: ClassVar[Kind]
    own_metrics: ClassVar[tuple[str, ...]]
    joins_batches: ClassVar[bool] = True
    #: whether rows are trained on in their order, rather than shuffled anew each epoch
    in_order: bool = False
    #: whether a recurrent model's states are kept from one batch to the next
    stateful: bool = False
    #: outputs of a model where there isn't one for each of the data's targets
    num_outputs: int | None = None
    #: the last steps of an example that a model is given; None: all of it
    history: int | None = None

    def __init__(self, parts: TaskComponents) -> None:
        self._parts = parts
        if own := sorted({*self.own_metrics} & {*self.scores}):
            rule = f"must not name {own[0]}, which {self.kind} reports by itself"
            raise BadConfigurationError(rule, keyword="metrics")

    @property
    def criterion(self) -> Loss:
        """The loss that training minimises."""
        return self._parts.loss

    @property
    def head(self) -> Head:
        """What makes predictions of outputs."""
        return self._parts.head

    @property
    def metrics(self) -> tuple[str, ...]:
        """The task's own metrics and, where the user chose a loss, `criterion`."""
        return (*self.own_metrics, *(["criterion"] if self._parts.reports_loss else []))

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of the scores that the user asked for."""
        return tuple(name for metric in self._parts.scores for name in metric.names)

    @property
    def scores_asked(self) -> tuple[Metric, ...]:
        """The scores that the user asked for."""
        return self._parts.scores

    def begin_epoch(self, epoch: int) -> None:
        """Called before an epoch of training, counted from 1; tasks of a user's may lack it."""
        return None

    def count(self, batch: Batch) -> Tensor | int:
        """Return the number of rows."""
        return len(batch)

    def loss(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the mean loss of a batch."""
        loss: Tensor = self.criterion(*self._compared(outputs, batch))
        return loss

    @torch.no_grad()
    def totals(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the task's own sums, then those of a loss that is given, then the rows."""
        outputs, targets = self._compared(outputs, batch)
        parts = [self._own_totals(outputs, targets)]
        count = self._num_compared(targets)
        if self._parts.reports_loss:
            parts.append(self.criterion(outputs, targets).double() * count)
        return torch.cat([*parts, count])

    def summary(self, totals: Sequence[float]) -> dict[str, float]:
        """Return the metrics, given totals."""
        *own, num_rows = totals
        if not self._parts.reports_loss:
            return self._own_summary(own, num_rows)
        return {**self._own_summary(own[:-1], num_rows), "criterion": own[-1] / num_rows}

    @torch.no_grad()
    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the scores of all rows of a split that are defined there."""
        seen = self._predictions(outputs, targets)
        values = {
            name: value
            for metric in self._parts.scores
            for name, value in zip(metric.names, metric.measure(seen), strict=True)
        }
        return {name: value for name, value in values.items() if value is not None}

    def _compared(self, outputs: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return outputs (rows, outputs) and the targets with which they are compared."""
        return in_float32(outputs), batch.targets

    def _num_compared(self, targets: Tensor) -> Tensor:
        """Return the number of targets that count, float64 (1,)."""
        return torch.full((1,), len(targets), dtype=torch.float64, device=targets.device)

    @abstractmethod
    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the totals that the task's own metrics need."""

    @abstractmethod
    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        """Return the task's own metrics."""

    def _predictions(self, outputs: Tensor, targets: Tensor) -> Predictions:
        outputs = outputs.double()
        shares, predicted = class_shares(targets, outputs), self.head(outputs)
        return Predictions(predicted.cpu().numpy(), shares.cpu().numpy(), self.kind)


def summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over rows or places, float64, whose target isn't IGNORED: logits (rows,
    classes, ...) and classes (rows, ...), or their shares as logits.

    Under vmap torch computes `F.cross_entropy` of classes by Python code, whose first call imports
    sympy: a quarter of a second in each worker.
    """
    if targets.is_floating_point():
        return F.cross_entropy(logits, targets, reduction="sum").double()
    log_shares = F.log_softmax(logits, 1).gather(1, targets.clamp_min(0)[:, None])[:, 0]
    return -torch.where(targets == IGNORED, 0.0, log_shares.double()).sum()


def predicted_classes(head: Head, logits: Tensor, targets: Tensor) -> Predictions:
    """Return what a model says of places (places, classes), each with a class unless IGNORED."""
    counts = targets != IGNORED
    logits, targets = logits[counts].double(), targets[counts]
    shares, predicted = class_shares(targets, logits), head(logits)
    return Predictions(predicted.numpy(force=True), shares.numpy(force=True))


@dataclass(frozen=True)
class Targets:
    """What is known of the targets that a task is built for."""

    kind: Kind
    output_size: int
    class_counts: Sequence[int] = ()
    are_soft: bool = False


def smoothed_cross_entropy(label_smoothing: float, loss: Any) -> dict[str, Any]:
    """Return the loss of a task of classes where none is given.

    Raises BadConfigurationError for smoothing beside a loss, which has its own.
    """
    if loss is not None and label_smoothing:
        raise BadConfigurationError(
            "must be set on `loss` when a loss is given",
            label_smoothing,
            keyword="label_smoothing",
        )
    return {"name": "cross_entropy", "label_smoothing": label_smoothing}


def make_parts(
    targets: Targets,
    default_loss: Any,
    loss: Any = None,
    head: Any = None,
    metrics: Sequence[Any] = (),
    folder: Path | None = None,
) -> TaskComponents:
    """Build what a task's keywords name, and check that all of it fits the targets.

    Raises BadConfigurationError.
    """
    section = default_loss if loss is None else loss
    made_loss = make_loss(section, targets.output_size, targets.class_counts, folder)
    _check_loss(made_loss, LOSS.written_out(section)["name"], targets)
    made_head = _make_head(made_loss, head, targets, folder)
    scores = tuple(_make_metrics(metrics, made_head, targets, folder))
    names = [name for metric in scores for name in metric.names]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        rule = f"must have unique names, but got {twice!r} twice"
        raise BadConfigurationError(rule, keyword="metrics")
    return TaskComponents(made_loss, made_head, scores, reports_loss=loss is not None)


def _check_loss(loss: Loss, name: str, targets: Targets) -> None:
    if loss.kinds and targets.kind not in loss.kinds:
        raise BadConfigurationError(
            f"must be for targets of {targets.kind}, but {name} is for {' or '.join(loss.kinds)}",
            keyword="loss",
        )
    if loss.needs_soft_targets and not targets.are_soft:
        raise BadConfigurationError(
            f"{name} needs targets that are shares of classes, but the data set's are classes "
            "(cross_entropy takes both)",
            keyword="loss",
        )


def _make_head(loss: Loss, section: Any, targets: Targets, folder: Path | None) -> Head:
    kind = targets.kind
    section = section or (loss.heads[0] if loss.heads else _USUAL_HEADS[kind])
    name = HEAD.written_out(section)["name"]
    with placed("head"):
        head = HEAD.build(section, folder, kind=kind)
        if not isinstance(head, Head):
            raise UserCodeError(f"{name} must return a Head", head)
        if loss.heads and name not in loss.heads:
            raise BadConfigurationError(f"must be {' or '.join(loss.heads)} for this loss", name)
        if head.kinds and kind not in head.kinds:
            raise BadConfigurationError(
                f"must be for targets of {kind}, but {name} is for {' or '.join(head.kinds)}"
            )
    return head


def _make_metrics(
    sections: Sequence[Any], head: Head, targets: Targets, folder: Path | None
) -> Iterator[Metric]:
    for number, section in enumerate(sections):
        with placed("metrics", number):
            metric = _make_metric(section, head, targets, folder)
        yield metric


def _make_metric(section: Any, head: Head, targets: Targets, folder: Path | None) -> Metric:
    name = METRICS.written_out(section)["name"]
    metric = METRICS.build(
        section, folder, output_size=targets.output_size, class_counts=targets.class_counts
    )
    if not isinstance(metric, Metric):
        raise UserCodeError(f"{name} must return a Metric", metric)
    if metric.kinds and targets.kind not in metric.kinds:
        raise BadConfigurationError(
            f"must be for targets of {targets.kind}, but {name} is for {' or '.join(metric.kinds)}"
        )
    if metric.needs_probabilities and not head.gives_probabilities:
        raise BadConfigurationError(
            f"{name} needs probabilities, but the task's head gives scores: take a loss of "
            "probabilities, or calibrate the final model"
        )
    return metric


_USUAL_HEADS: dict[Kind, str] = {
    "classification": "softmax",
    "multilabel": "sigmoid",
    "regression": "linear",
}
