"""Tasks: what is learned from a batch; a task owns the loss and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components.data import Data, Kind
from hpsearch.errors import DataError
from hpsearch.registry import register


class Task(Protocol):
    """Loss and metrics, pure functions of outputs (rows, output_size) and targets."""

    kind: ClassVar[Kind]
    metrics: ClassVar[tuple[str, ...]]

    @property
    def criterion(self) -> nn.Module:
        """The loss as a module: its parameters are learned with the model's."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch, which training minimises."""

    def totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return sums over a batch's rows, as a float64 vector; batches add up."""

    def summary(self, totals: Sequence[float], num_rows: int) -> dict[str, float]:
        """Return the metrics of `num_rows` rows, given their totals."""


def task_for(data: Data, section: Mapping[str, Any] | None = None) -> Task:
    """Build the task of a spec's section, by default the one that the data set is for.

    Raises DataError where the data set's targets are of another kind.
    """
    keywords = dict(section or {"name": data.kind})
    name = keywords.pop("name")
    task: Task = registry.get("task", name).build(
        keywords,
        output_size=data.output_size,
        target_std=np.ravel(data.y_scale.std).tolist(),
        class_counts=data.class_counts,
    )
    if task.kind != data.kind:
        raise DataError(
            f"task.name: {name} needs targets for {task.kind}, but the data set's are for "
            f"{data.kind} (dataset.kind says how whole numbers are read)"
        )
    return task


def epoch_metrics(task: Task) -> tuple[str, ...]:
    """Return the names of all that a trainer reports each epoch."""
    names = (f"{split}_{metric}" for split in ("train", "val") for metric in task.metrics)
    return (*names, "lr", "grad_norm", "seconds")


@dataclass(frozen=True)
class Classification:
    """Cross entropy and accuracy.

    Label smoothing (Szegedy et al., 2016) is for training: the loss that is reported has none,
    so that trials that differ in it can be compared.
    """

    kind: ClassVar[Kind] = "classification"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")

    label_smoothing: float = 0.0
    criterion: nn.Module = field(default_factory=nn.Module)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean smoothed cross entropy."""
        return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)

    def totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the cross entropy and the number of right answers."""
        loss = F.cross_entropy(outputs, targets, reduction="sum").double()
        num_correct = (outputs.argmax(1) == targets).sum().double()
        return torch.stack([loss, num_correct])

    def summary(self, totals: Sequence[float], num_rows: int) -> dict[str, float]:
        """Return the mean cross entropy and the accuracy."""
        loss, num_correct = totals
        return {"loss": loss / num_rows, "accuracy": num_correct / num_rows}


@dataclass(frozen=True)
class Regression:
    """Mean squared error, Huber loss (Huber, 1964) or mean absolute error; and R².

    Training sees standardised targets, so Huber's delta is one standard deviation. The loss
    that is reported is in the targets' own units (squared, but for l1): `target_std` holds
    their standard deviations. Loss and R² are means over the targets.
    """

    kind: ClassVar[Kind] = "regression"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "r2")

    loss_name: Literal["mse", "huber", "l1"] = "mse"
    target_std: Sequence[float] = (1.0,)
    criterion: nn.Module = field(default_factory=nn.Module)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss over standardised targets."""
        return _CRITERIA[self.loss_name](outputs, targets)

    def totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return, target by target: losses, squared errors, targets, squared targets."""
        outputs, targets = outputs.double(), targets.double()
        losses = _CRITERIA[self.loss_name](outputs, targets, reduction="none")
        errors = (outputs - targets).square()
        return torch.stack([losses, errors, targets, targets.square()]).sum(1).flatten()

    def summary(self, totals: Sequence[float], num_rows: int) -> dict[str, float]:
        """Return the mean loss, and R² = 1 - squared errors / squared deviations."""
        losses, errors, sums, squares = np.reshape(totals, (4, -1))
        power = 1 if self.loss_name == "l1" else 2
        loss = np.mean(losses / num_rows * np.power(self.target_std, power))
        deviations = squares - sums**2 / num_rows
        # As scikit-learn has it: targets that never vary score 0.
        varies = deviations > 1e-12 * num_rows
        r2 = np.where(varies, 1 - errors / np.where(varies, deviations, 1.0), 0.0)
        return {"loss": float(loss), "r2": float(r2.mean())}


_CRITERIA: dict[str, Callable[..., Tensor]] = {
    "mse": F.mse_loss,
    "huber": F.huber_loss,
    "l1": F.l1_loss,
}


@register("task", "classification", fusible=["label_smoothing"])
def classification(
    label_smoothing: Annotated[float, Interval(ge=0, lt=1)] = 0.0,
) -> Classification:
    """Cross entropy with label smoothing; reports loss and accuracy."""
    return Classification(label_smoothing)


@register("task", "regression")
def regression(
    target_std: Sequence[float], loss: Literal["mse", "huber", "l1"] = "mse"
) -> Regression:
    """Squared, Huber or absolute error; reports loss and R²."""
    return Regression(loss, target_std)
