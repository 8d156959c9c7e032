"""A task's totals over the batches of an epoch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hpsearch.components.batch import IGNORED, Batch, Tree, joined
from hpsearch.components.tasks import Task
from hpsearch.errors import DivergedError

#: steps between two looks at the loss
FLUSH_STEPS = 64


class Totals:
    """Adds up a task's totals over the batches of an epoch, a group of batches at a time.

    So that a step costs no more than keeping its outputs, or their totals where the task says so,
    and the loss is looked at (which waits for a GPU) a few times an epoch. With `keep` the rows
    are kept too.
    """

    def __init__(self, task: Task, epoch: int, split: str, *, keep: bool = False) -> None:
        self._task, self._epoch, self._split = task, epoch, split
        self._kept: list[tuple[Tensor, Tensor]] | None = [] if keep else None
        self._batches: list[tuple[Tree, Batch]] = []
        self._sums: list[Tensor] = []
        self._totals: list[float] = []

    def add(self, outputs: Tree, batch: Batch) -> None:
        """Take a batch."""
        self.keep(outputs, batch)
        if len(self._batches) + len(self._sums) == FLUSH_STEPS:
            self.flush()

    def keep(self, outputs: Tree, batch: Batch) -> None:
        """Take a batch that is added up by the next `flush`."""
        if self._task.joins_batches:
            self._batches.append((outputs, batch.without_inputs()))
        else:
            self._sum(outputs, batch)

    def add_sums(self, totals: list[float]) -> None:
        """Take what the task's totals of some batches are."""
        self._add(totals)

    def summary(self) -> dict[str, float]:
        """Return the metrics, named by the split; DivergedError if a total isn't finite."""
        self.flush()
        metrics = self._task.summary(self._totals)
        return {f"{self._split}_{name}": value for name, value in metrics.items()}

    def rows(self) -> tuple[Tensor, Tensor]:
        """Return all outputs, float32 (rows, output_size), and targets, in the CPU's memory."""
        self.flush()
        assert self._kept is not None
        outputs, targets = (torch.cat(part) for part in zip(*self._kept, strict=True))
        return outputs, targets

    def flush(self) -> None:
        """Add up what was kept; DivergedError if a total isn't finite."""
        if self._batches:
            outputs, batches = (joined(part) for part in zip(*self._batches, strict=True))
            self._batches.clear()
            self._sum(outputs, batches)
        sums, self._sums = self._sums, []
        if sums:
            self._add(torch.stack(sums).sum(0).tolist())

    def _sum(self, outputs: Tree, batch: Batch) -> None:
        if self._kept is not None:
            first = outputs[0] if isinstance(outputs, tuple) else outputs  # what is predicted
            self._kept.append((first.float().cpu(), _counted(batch).cpu()))
        self._sums.append(self._task.totals(outputs, batch))

    def _add(self, totals: list[float]) -> None:
        if not all(map(math.isfinite, totals)):
            raise DivergedError(
                f"epoch {self._epoch}: {self._split}_loss must be finite, but got {totals[0]}"
            )
        before = self._totals or [0.0] * len(totals)
        self._totals = [sum(pair) for pair in zip(before, totals, strict=True)]


def _counted(batch: Batch) -> Tensor:
    """Return the targets, ids of steps that don't count as IGNORED."""
    targets: Tensor = batch.targets
    return targets if batch.mask is None else targets.masked_fill(~batch.mask, IGNORED)
