"""Learning-rate sweeps of several trainers at once: those that share a program as its lanes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from hpsearch.components.batch import Batch, Tree, map_tree
from hpsearch.training.denormals import flushed_denormals
from hpsearch.training.lanes.gradients import LaneBatch
from hpsearch.training.lanes.pace import measured_pace
from hpsearch.training.lanes.parts import EpochParts, Part, part_size
from hpsearch.training.lanes.probing import why_not
from hpsearch.training.lanes.programs import at, obstacle_of, program_of
from hpsearch.training.lanes.row_training import (
    RUN_ROWS,
    RowTraining,
    batches_of_parts,
    of_lane,
    train_data,
)
from hpsearch.training.lanes.stack import Stack
from hpsearch.training.lr_sweep import HIGHEST, LOWEST, Sweep, SweepProgress, sweep
from hpsearch.training.seeds import keeps_random_states
from hpsearch.training.trainer import EpochPlan, Trainer

#: lanes of a program, at most
MAX_LANES = 32


def sweep_together(
    trainers: Sequence[Trainer],
    num_steps: Sequence[int],
    lowest: float = LOWEST,
    highest: float = HIGHEST,
) -> list[Sweep]:
    """Sweep the learning rates of trainers, each in so many steps, as `sweep` does one by one.

    Those that share a program are its lanes, where that is quicker; batches and optimizers may
    be different ones. Curves are those of `sweep`, to float tolerance.
    """
    found: dict[Trainer, Sweep] = {}
    steps = dict(zip(trainers, num_steps, strict=True))
    for lanes in _programs(trainers):
        if len(lanes) > 1:
            sweeps = _sweep_lanes(lanes, [steps[lane] for lane in lanes], lowest, highest)
            found |= zip(lanes, sweeps, strict=True)
        else:
            found[lanes[0]] = sweep(lanes[0], lowest, highest, steps[lanes[0]])
    return [found[trainer] for trainer in trainers]


def _programs(trainers: Sequence[Trainer]) -> Iterator[list[Trainer]]:
    """Yield trainers that are quicker as lanes of a program, and others one by one."""
    groups: dict[Hashable, list[Trainer]] = {}
    for number, trainer in enumerate(trainers):
        alone = obstacle_of(trainer) or _obstacle_of_sweep(trainer)
        groups.setdefault(number if alone else program_of(trainer), []).append(trainer)
    for group in groups.values():
        for first in range(0, len(group), MAX_LANES):
            yield from _paying(group[first : first + MAX_LANES])


def _paying(lanes: list[Trainer]) -> Iterator[list[Trainer]]:
    """Yield lanes of a program as they are, or divided by their batches, or one by one."""
    by_size: dict[Hashable, list[Trainer]] = {}
    for lane in lanes:
        by_size.setdefault(lane.config.values["batch_size"], []).append(lane)
    if len(lanes) == 1 or _pays(lanes):
        yield lanes
    elif len(by_size) > 1:
        for same in by_size.values():
            yield from _paying(same)
    else:
        yield from ([lane] for lane in lanes)


def _obstacle_of_sweep(trainer: Trainer) -> str:
    """Return why a sweep of a trainer can't be a lane, or nothing."""
    if trainer.update.noise is not None:
        return at("gradient_noise", "its keys are drawn as each epoch begins")
    if trainer.augmenting:
        return at("augmentations", "what they draw is saved as each epoch begins")
    return ""


def _pays(lanes: list[Trainer]) -> bool:
    """Whether lanes compute what their trainers do, and in less time."""
    if why_not(lanes):
        return False
    pace = measured_pace(lanes[0], [len(lanes)])
    return pace.best > 1 and pace.speedup > _filling(lanes)


def _filling(lanes: Sequence[Trainer]) -> float:
    """Return how many rows are computed for each row of a batch, where batches differ.

    Lanes take as many steps each: the smaller batches are filled.
    """
    sizes = [_batch_size(lane) for lane in lanes]
    size = part_size([[each] for each in sizes])
    return max(-(-each // size) for each in sizes) * size * len(lanes) / sum(sizes)


def _batch_size(lane: Trainer) -> int:
    size = lane.config.values["batch_size"]
    return size if isinstance(size, int) else lane.data.num_train_rows


@keeps_random_states
def _sweep_lanes(
    lanes: list[Trainer], num_steps: Sequence[int], lowest: float, highest: float
) -> list[Sweep]:
    states = [lane.state_dict() for lane in lanes]
    try:
        with flushed_denormals():
            return _LaneSweep(lanes, num_steps, lowest, highest).run()
    finally:
        for lane, state in zip(lanes, states, strict=True):
            lane.load_state_dict(state)


class _LaneSweep:
    """The sweeps of the lanes of one program, whose steps are those of one long epoch."""

    def __init__(
        self, lanes: Sequence[Trainer], num_steps: Sequence[int], lowest: float, highest: float
    ) -> None:
        self._lanes = lanes
        self._plans = [_plan(lane, num) for lane, num in zip(lanes, num_steps, strict=True)]
        self._progress = [
            SweepProgress(lane.optimizer, lowest, highest, num)
            for lane, num in zip(lanes, num_steps, strict=True)
        ]
        self._losses = [0.0] * len(lanes)

    def run(self) -> list[Sweep]:
        """Take the steps of all lanes until each has ended or diverged."""
        stack, training = Stack(self._lanes), RowTraining(self._lanes)
        try:
            training.bind(stack)
            self._run(stack, training)
        finally:
            stack.close()
        return [progress.result() for progress in self._progress]

    def _run(self, stack: Stack, training: RowTraining) -> None:
        stack.program.train()
        stack.grads.zero_()
        data = train_data(self._lanes[0])
        for run in EpochParts(self._plans, self._lanes[0].device).tables().runs(RUN_ROWS):
            training.gradients.begin(run.keys, run.first_rows)
            for part, batch in zip(run, batches_of_parts(data, run), strict=True):
                if all(progress.is_over for progress in self._progress):
                    return
                self._take(part, batch, training, stack)

    def _take(self, part: Part, rows: Batch, training: RowTraining, stack: Stack) -> None:
        begins = None
        if part.weights is not None and stack.has_penalties:
            begins = torch.zeros_like(part.weights)
            begins[part.begins] = 1
        for row in part.begins:
            self._progress[row].set_rate()
        batch = LaneBatch(rows, part.is_row, part.weights, begins)
        outputs, losses = training.gradients.take(batch, add=part.weights is not None)
        for row, loss in enumerate(self._shares(part, outputs, rows, losses)):
            self._losses[row] += loss
        for row in part.ends:
            if not self._progress[row].is_over:
                training.steps[row](False)
                self._progress[row].take(self._losses[row])
            self._losses[row] = 0.0
            if part.weights is not None:
                stack.grads[row].zero_()

    def _shares(self, part: Part, outputs: Tree, batch: Batch, losses: Tensor) -> list[float]:
        """Return what a part has of the loss of each lane's batch."""
        if part.weights is None:
            found: list[float] = losses.tolist()
            return found
        counted = part.counted  # others only fill the part
        return [
            self._share(
                row, part.steps[row], partial(of_lane, row=row, counted=rows), outputs, batch
            )
            for row, rows in enumerate(counted)
        ]

    @torch.no_grad()
    def _share(
        self, row: int, step: int, of_lane: Callable[[Tensor], Tensor], outputs: Tree, batch: Batch
    ) -> float:
        rows = batch.map(of_lane)
        if not len(rows):
            return 0.0
        loss = self._lanes[row].task.loss(map_tree(of_lane, outputs), rows)
        return loss.item() * len(rows) / self._plans[row].sizes[step]


def _plan(trainer: Trainer, num_steps: int) -> EpochPlan:
    """Return the plan of so many steps: those of one epoch after another."""
    plans: list[EpochPlan] = []
    while sum(len(plan.sizes) for plan in plans) < num_steps:
        plans.append(trainer.begin_epoch())
    sizes = [size for plan in plans for size in plan.sizes][:num_steps]
    order = torch.cat([plan.order for plan in plans])[: sum(sizes)]
    keys = torch.cat([plan.keys for plan in plans])[:num_steps]
    return EpochPlan(order, plans[0].batch_size, sizes, keys)
