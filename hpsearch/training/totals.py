"""A task's totals over the batches of an epoch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hpsearch.components.tasks import Task
from hpsearch.errors import DivergedError

#: steps between two looks at the loss
FLUSH_STEPS = 64


class Totals:
    """Adds up a task's totals over the batches of an epoch, a group of batches at a time.

    So that a step costs no more than keeping its outputs, and the loss is looked at (which
    waits for a GPU) a few times an epoch. With `keep` the rows are kept too.
    """

    def __init__(self, task: Task, epoch: int, split: str, *, keep: bool = False) -> None:
        self._task, self._epoch, self._split = task, epoch, split
        self._kept: list[tuple[Tensor, Tensor]] | None = [] if keep else None
        self._num_rows = 0
        self._batches: list[tuple[Tensor, Tensor]] = []
        self._totals: list[float] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take a batch."""
        self.keep(outputs, targets)
        if len(self._batches) == FLUSH_STEPS:
            self.flush()

    def keep(self, outputs: Tensor, targets: Tensor) -> None:
        """Take a batch that is added up by the next `flush`."""
        self._batches.append((outputs, targets))
        self._num_rows += len(targets)

    def add_sums(self, totals: list[float], num_rows: int) -> None:
        """Take what the task's totals of so many rows are."""
        self._num_rows += num_rows
        self._add(totals)

    def summary(self) -> dict[str, float]:
        """Return the metrics, named by the split; DivergedError if a total isn't finite."""
        self.flush()
        metrics = self._task.summary(self._totals, self._num_rows)
        return {f"{self._split}_{name}": value for name, value in metrics.items()}

    def rows(self) -> tuple[Tensor, Tensor]:
        """Return all outputs, float32 (rows, output_size), and targets, in the CPU's memory."""
        self.flush()
        assert self._kept is not None
        outputs, targets = (torch.cat(part) for part in zip(*self._kept, strict=True))
        return outputs, targets

    def flush(self) -> None:
        """Add up what was kept; DivergedError if a total isn't finite."""
        if not self._batches:
            return
        outputs, targets = (torch.cat(part) for part in zip(*self._batches, strict=True))
        outputs = outputs.float()
        self._batches.clear()
        if self._kept is not None:
            self._kept.append((outputs.cpu(), targets.cpu()))
        self._add(self._task.totals(outputs, targets).tolist())

    def _add(self, totals: list[float]) -> None:
        if not all(map(math.isfinite, totals)):
            raise DivergedError(
                f"epoch {self._epoch}: {self._split}_loss must be finite, but got {totals[0]}"
            )
        before = self._totals or [0.0] * len(totals)
        self._totals = [sum(pair) for pair in zip(before, totals, strict=True)]
