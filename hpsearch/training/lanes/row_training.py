"""An epoch of lanes, each of which steps by its own optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from hpsearch.components.batch import Batch, Tree, joined, map_tree
from hpsearch.training.batches import TensorBatches
from hpsearch.training.lanes.parts import EpochParts, Part
from hpsearch.training.lanes.row_steps import RowStep, row_step
from hpsearch.training.lanes.stack import Stack
from hpsearch.training.totals import FLUSH_STEPS, Totals
from hpsearch.training.trainer import EpochPlan, Trainer

#: modules whose optimizers, clippings and projections change tensors in place
_KEEP_TENSORS = ("torch.", "hpsearch.")
#: row, call, its arguments → None: makes a call for a lane, which its error ends
Take = Callable[..., None]


class Training(Protocol):
    """Takes the steps of lanes."""

    @property
    def reason(self) -> str:
        """Why its steps aren't recorded where they could be, or nothing."""

    def bind(self, stack: Stack) -> None:
        """Train the rows of this stack from now on."""

    def train(
        self, plans: Sequence[EpochPlan], totals: Sequence[Totals], take: Take
    ) -> list[float]:
        """Take an epoch's steps, adding to totals; returns the means of the gradients' norms."""

    def close(self) -> None:
        """Let the trainers have all that the steps keep for themselves."""


class RowTraining:
    """Takes the steps of lanes one after another; see `Training`."""

    reason = ""  # nothing of it can be recorded

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._trainers = trainers
        self._steps: list[RowStep] = []

    def bind(self, stack: Stack) -> None:
        """See Training."""
        self._stack = stack
        if not self._steps:
            self._steps = [row_step(each.optimizer, stack.groups) for each in self._trainers]
        for row, step in enumerate(self._steps):
            step.bind(stack.values[row], stack.grads[row])

    def train(
        self, plans: Sequence[EpochPlan], totals: Sequence[Totals], take: Take
    ) -> list[float]:
        """See Training."""
        norms = _RowEpoch(self._stack, self._trainers, plans, totals, take).train(
            [step.step for step in self._steps]
        )
        for step in self._steps:
            step.write_back()
        return norms

    def close(self) -> None:
        """See Training: each epoch has written everything back."""


class _RowEpoch:
    def __init__(
        self,
        stack: Stack,
        trainers: Sequence[Trainer],
        plans: Sequence[EpochPlan],
        totals: Sequence[Totals],
        take: Take,
    ) -> None:
        self._stack, self._trainers, self._plans = stack, trainers, plans
        self._totals, self._take = totals, take
        self._norms: list[list[Tensor]] = [[] for _ in trainers]
        self._kept: list[tuple[Part, Tree, Batch]] = []
        self._data = train_data(trainers[0])

    def train(self, steps: Sequence[Callable[[], None]]) -> list[float]:
        """Take the steps of all lanes."""
        parts = EpochParts(self._plans, self._trainers[0].device)
        keys, first_rows = (self._stack.dropout_buffers(name) for name in ("key", "first_row"))
        self._stack.program.train()
        adds = not parts.is_whole
        if adds:
            self._stack.grads.zero_()
        for part in parts:
            for number, (key, first_row) in enumerate(zip(keys, first_rows, strict=True)):
                key.copy_(part.keys[number])
                first_row.copy_(part.first_rows)
            self._train_part(part, adds)
            for row in part.ends:
                self._take_step(row, part.steps[row] or 0, steps[row])
                if adds:
                    self._stack.grads[row].zero_()
        self._flush()
        return [torch.stack(each).mean().item() if each else 0.0 for each in self._norms]

    def _train_part(self, part: Part, adds: bool) -> None:
        for row in part.begins:
            self._trainers[row].begin_step(part.steps[row] or 0)
        batch = gathered(self._data, part.rows)
        outputs, losses = self._stack.losses(batch, part.is_row)
        begins = None
        if part.weights is not None:
            losses = losses * part.weights
            begins = torch.zeros_like(part.weights)
            begins[part.begins] = 1
        self._stack.gradient(losses, add=adds, begins=begins)
        joins = self._trainers[0].task.joins_batches
        seen = batch.without_inputs() if joins else batch
        self._kept.append((part, map_tree(torch.detach, outputs), seen))
        if len(self._kept) == (FLUSH_STEPS if joins else 1):
            self._flush()

    def _take_step(self, row: int, step: int, take_step: Callable[[], None]) -> None:
        measure = step % self._plans[row].stride == 0
        trainer = self._trainers[row]
        if not may_rebind(trainer):
            norm = trainer.update.apply(take_step, measure=measure)
        else:

            def take_checked_step() -> None:
                self._stack.take_back(row)
                take_step()

            norm = trainer.update.apply(take_checked_step, measure=measure)
            self._stack.take_back(row)
        if norm is not None:
            self._norms[row].append(norm)

    def _flush(self) -> None:
        """Add up the totals of what was kept, so that little is kept."""
        kept, self._kept = self._kept, []
        if not kept:
            return
        if all(part.weights is None for part, _, _ in kept):
            outputs = joined([outputs for _, outputs, _ in kept], 1)
            batches = joined([batch for _, _, batch in kept], 1)
            sums = self._stack.totals(outputs, batches, shared=False).tolist()
            for row, totals in enumerate(self._totals):
                self._take(row, totals.add_sums, sums[row])
            return
        for row, totals in enumerate(self._totals):
            for part, outputs, batch in kept:
                if part.steps[row] is not None:
                    lane = partial(_of_lane, row=row, part=part)
                    totals.keep(map_tree(lane, outputs), batch.map(lane))
            self._take(row, totals.flush)


def may_rebind(trainer: Trainer) -> bool:
    """Whether a step may give parameters other tensors, as code of a user's does."""
    parts = (trainer.optimizer, trainer.update.clip, *trainer.update.projections)
    modules = (getattr(part, "__module__", "") for part in parts if part is not None)
    return not all(module.startswith(_KEEP_TENSORS) for module in modules)


def train_data(trainer: Trainer) -> TensorBatches:
    """Return the training rows, on the device."""
    data = trainer.batches("train")
    assert isinstance(data, TensorBatches)
    return data


def gathered(data: TensorBatches, rows: Tensor) -> Batch:
    """Return the batch of rows (lanes, rows), whose tensors are (lanes, rows, ...)."""
    return data.at(rows.flatten()).map(lambda flat: flat.view(*rows.shape, *flat.shape[1:]))


def _of_lane(tensor: Tensor, row: int, part: Part) -> Tensor:
    """Return a lane's rows of a part, but for those that only fill it."""
    return tensor[row] if part.is_row is None else tensor[row][part.is_row[row]]
