"""An epoch of lanes, each of which steps by its own optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from hpsearch.components.batch import Batch, Tree, joined, map_tree
from hpsearch.training.batches import TensorBatches
from hpsearch.training.lanes.augmenting import LaneAugmenting
from hpsearch.training.lanes.gradients import Gradients, LaneBatch
from hpsearch.training.lanes.parts import EpochParts, Part, PartTables
from hpsearch.training.lanes.row_steps import RowStep, row_step
from hpsearch.training.lanes.stack import Stack
from hpsearch.training.seeds import keeps_random_states
from hpsearch.training.totals import FLUSH_STEPS, Totals
from hpsearch.training.trainer import EpochPlan, Trainer

#: modules whose optimizers, clippings and projections change tensors in place
_KEEP_TENSORS = ("torch.", "hpsearch.")
#: rows of all lanes that are gathered, and whose dropout masks are drawn, at a time: few enough to
#: stay in a CPU's cache
RUN_ROWS = 512
#: whether to measure the norm of the gradient → that norm, if so: takes a lane's step
StepCall = Callable[[bool], Tensor | None]
#: row, call, its arguments → None: makes a call for a lane, which its error ends
Take = Callable[..., None]


class Training(Protocol):
    """Takes the steps of lanes."""

    @property
    def reason(self) -> str:
        """Why its steps aren't recorded where they could be, or nothing."""

    @property
    def is_closed(self) -> bool:
        """Whether gradients have closed forms."""

    def bind(self, stack: Stack) -> None:
        """Train the rows of this stack from now on."""

    def train(
        self, plans: Sequence[EpochPlan], totals: Sequence[Totals], take: Take
    ) -> list[float]:
        """Take an epoch's steps, adding to totals; returns the means of the gradients' norms."""

    def close(self) -> None:
        """Let the trainers have all that the steps keep for themselves."""


class RowTraining:
    """Takes the steps of lanes one after another; see `Training`.

    Of the stack that it is bound to, `gradients` takes those of a batch of all lanes, and each of
    `steps` a lane's step with its gradients.
    """

    reason = ""  # nothing of it can be recorded

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._trainers = trainers
        self._data = train_data(trainers[0])
        self._row_steps: list[RowStep] = []

    def bind(self, stack: Stack) -> None:
        """See Training."""
        self._stack, self.gradients = stack, Gradients(stack, closed_forms=True)
        if not self._row_steps:
            self._row_steps = [row_step(each.optimizer, stack.groups) for each in self._trainers]
        for row, step in enumerate(self._row_steps):
            step.bind(stack.values[row], stack.grads[row])
        self.steps = [self._step_of(row) for row in range(len(stack))]

    @property
    def is_closed(self) -> bool:
        """See Training."""
        return self.gradients.is_closed

    def train(
        self, plans: Sequence[EpochPlan], totals: Sequence[Totals], take: Take
    ) -> list[float]:
        """See Training."""
        epoch = _RowEpoch(self._stack, plans, totals, take)
        epoch.train(self.gradients, self._data, self.steps)
        for step in self._row_steps:
            step.write_back()
        return epoch.norms()

    def close(self) -> None:
        """See Training: each epoch has written everything back."""

    def _step_of(self, row: int) -> StepCall:
        """Return what takes a lane's step with the gradients that are there."""
        trainer, take_step = self._trainers[row], self._row_steps[row].step
        update, take_back = trainer.update, self._stack.take_back
        if not may_rebind(trainer):
            return lambda measure: update.apply(take_step, measure=measure)

        def take_checked_step() -> None:
            take_back(row)
            take_step()

        def checked(measure: bool) -> Tensor | None:
            norm = update.apply(take_checked_step, measure=measure)
            take_back(row)
            return norm

        return checked


class _RowEpoch:
    def __init__(
        self, stack: Stack, plans: Sequence[EpochPlan], totals: Sequence[Totals], take: Take
    ) -> None:
        self._stack, self._trainers, self._plans = stack, stack.trainers, plans
        self._strides = [plan.stride for plan in plans]
        # other steps begin as the epoch did: the masks' keys are in its parts
        self._has_rates = [
            each.changes_within_epochs or each.update.noise is not None for each in stack.trainers
        ]
        self._totals, self._take = totals, take
        self._norms: list[list[Tensor]] = [[] for _ in plans]
        self._kept: list[tuple[Part, Tree, Batch]] = []
        self._joins = self._trainers[0].task.joins_batches
        augments = self._trainers[0].augmenting
        self._augment = LaneAugmenting(self._trainers, plans) if augments else None

    def norms(self) -> list[float]:
        """Return the means of the gradients' norms."""
        return [torch.stack(each).mean().item() if each else 0.0 for each in self._norms]

    @keeps_random_states
    def train(self, gradients: Gradients, data: TensorBatches, steps: Sequence[StepCall]) -> None:
        """Take the steps of all lanes."""
        parts = EpochParts(self._plans, self._trainers[0].device)
        self._stack.program.train()
        self._stack.grads.zero_()
        for run in parts.tables().runs(RUN_ROWS):
            gradients.begin(run.keys, run.first_rows)
            for part, batch in zip(run, batches_of_parts(data, run), strict=True):
                self._begin_steps(part)
                rows = batch if self._augment is None else self._augment(batch)
                self._take_gradient(part, rows, gradients)
                self._take_steps(part, steps)
        self._flush()

    def _begin_steps(self, part: Part) -> None:
        for row in part.begins:
            if self._has_rates[row]:
                self._trainers[row].begin_step(part.steps[row])

    def _take_gradient(self, part: Part, rows: Batch, gradients: Gradients) -> None:
        begins = None
        if part.weights is not None and self._stack.has_penalties:
            begins = torch.zeros_like(part.weights)
            begins[part.begins] = 1
        batch = LaneBatch(rows, part.is_row, part.weights, begins)
        outputs, _ = gradients.take(batch, add=part.weights is not None)
        self._kept.append((part, outputs, rows.without_inputs() if self._joins else rows))
        if len(self._kept) == (FLUSH_STEPS if self._joins else 1):
            self._flush()

    def _take_steps(self, part: Part, steps: Sequence[StepCall]) -> None:
        for row in part.ends:
            norm = steps[row](part.steps[row] % self._strides[row] == 0)
            if norm is not None:
                self._norms[row].append(norm)
            if part.weights is not None:
                self._stack.grads[row].zero_()

    def _flush(self) -> None:
        """Add up the totals of what was kept, so that little is kept."""
        kept, self._kept = self._kept, []
        if not kept:
            return
        outputs = joined([outputs for _, outputs, _ in kept], 1)
        batches = joined([batch for _, _, batch in kept], 1)
        if kept[0][0].weights is None:
            sums = self._stack.totals(outputs, batches, shared=False).tolist()
            for row, totals in enumerate(self._totals):
                self._take(row, totals.add_sums, sums[row])
            return
        counted = torch.cat([part.counted for part, _, _ in kept], 1)
        for row, totals in enumerate(self._totals):
            if counted[row].any():
                lane = partial(of_lane, row=row, counted=counted[row])
                totals.keep(map_tree(lane, outputs), batches.map(lane))
                self._take(row, totals.flush)


def may_rebind(trainer: Trainer) -> bool:
    """Whether a step may give parameters other tensors, as code of a user's does."""
    parts = (trainer.optimizer, trainer.update.clip, *trainer.update.projections)
    modules = (getattr(part, "__module__", "") for part in parts if part is not None)
    return not all(module.startswith(_KEEP_TENSORS) for module in modules)


def train_data(trainer: Trainer) -> TensorBatches:
    """Return the training rows, on the device."""
    data = trainer.splits.batches("train")
    assert isinstance(data, TensorBatches)
    return data


def gathered(data: TensorBatches, rows: Tensor) -> Batch:
    """Return the batch of rows (lanes, rows), whose tensors are (lanes, rows, ...)."""
    return data.at(rows.flatten()).map(lambda flat: flat.view(*rows.shape, *flat.shape[1:]))


def batches_of_parts(data: TensorBatches, run: PartTables) -> Iterator[Batch]:
    """Yield the batch of each part of a run, whose tensors are (lanes, rows, ...)."""
    num_parts, num_lanes, size = len(run.sizes), len(run.rows), run.sizes[0]
    rows = run.rows.view(num_lanes, num_parts, size).transpose(0, 1)
    batches = gathered(data, rows.reshape(num_parts, num_lanes * size))
    for each in batches.divided(num_parts):
        yield each.map(lambda tensor: tensor.view(num_lanes, size, *tensor.shape[2:]))


def of_lane(tensor: Tensor, row: int, counted: Tensor) -> Tensor:
    """Return the rows of a lane that count."""
    return tensor[row][counted]
