"""Trainers that share a program, trained an epoch at a time as one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hpsearch.training.batches import TensorBatches
from hpsearch.training.denormals import flushed_denormals
from hpsearch.training.lanes.parts import EpochParts, Part
from hpsearch.training.lanes.row_steps import RowStep, row_step
from hpsearch.training.lanes.stack import Stack
from hpsearch.training.seeds import keeps_random_states
from hpsearch.training.totals import FLUSH_STEPS, Totals
from hpsearch.training.trainer import EVAL_BATCH_SIZE, EpochPlan, Trainer

#: an epoch's metrics, or what ended the trial in it; None where a callback had ended it before
Result = dict[str, float] | Exception | None


class LaneGroup:
    """Trains lanes of one program.

    Each lane's epoch is that of its trainer by itself, to float tolerance, whatever the others
    do. `close` gives the trainers back their own tensors.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self.trainers = list(trainers)
        self._steps = [
            row_step(trainer.optimizer, columns)
            for trainer, columns in zip(trainers, map(_columns_of, trainers), strict=True)
        ]
        self._stack = self._stacked()

    def train_epoch(self) -> list[Result]:
        """Train and evaluate an epoch of each lane; see `Trainer.train_epoch`.

        `seconds` is a lane's share of the time. Errors of a lane, such as DivergedError, are
        returned; what is raised is of the program.
        """
        start = time.perf_counter()
        epoch = _Epoch(self._stack, self._steps)
        with flushed_denormals():
            epoch.train()
        for step in self._steps:
            step.write_back()
        epoch.prepare_evaluation()
        if not all(map(self._stack.holds, range(len(self._stack)))):
            self._stack.close()  # a callback has given a lane other tensors
            self._stack = epoch.stack = self._stacked()
        results = epoch.finish()
        seconds = (time.perf_counter() - start) / len(results)
        for result in results:
            if isinstance(result, dict):
                result["seconds"] = seconds
        return results

    def close(self) -> None:
        """Let each trainer have its tensors for itself."""
        self._stack.close()

    def _stacked(self) -> Stack:
        stack = Stack(self.trainers)
        for row, step in enumerate(self._steps):
            step.bind(stack.values[row], stack.grads[row])
        return stack


class _Epoch:
    """One epoch of the lanes of a stack."""

    def __init__(self, stack: Stack, steps: Sequence[RowStep]) -> None:
        self.stack, self._steps = stack, steps
        self._trainers = stack.trainers
        self._plans = [_begin(trainer) for trainer in self._trainers]
        self._totals = [Totals(t.task, t.epoch, "train") for t in self._trainers]
        self._norms: list[list[Tensor]] = [[] for _ in self._trainers]
        self._metrics: list[Any] = [{} for _ in self._trainers]
        self._measured: list[dict[str, float]] = [{} for _ in self._trainers]
        self._kept: list[tuple[Part, Tensor, Tensor]] = []
        data = self._trainers[0].batches("train")
        assert isinstance(data, TensorBatches)
        self._data = data

    def train(self) -> None:
        """Take the steps of all lanes."""
        device = self._trainers[0].device
        parts = EpochParts(self._plans, device)
        keys, first_rows = (self.stack.dropout_buffers(name) for name in ("key", "first_row"))
        self.stack.program.train()
        if not parts.is_whole:
            self.stack.grads.zero_()
        for part in parts:
            for number, (key, first_row) in enumerate(zip(keys, first_rows, strict=True)):
                key.copy_(part.keys[number])
                first_row.copy_(part.first_rows)
            self._train_part(part, adds=not parts.is_whole)
        self._flush()
        for row, totals in enumerate(self._totals):
            self._take(row, totals.summary)

    def prepare_evaluation(self) -> None:
        """Let the models hold what is evaluated, and callbacks measure."""
        for row, trainer in enumerate(self._trainers):
            self._take(row, self._measure, row, trainer)

    def finish(self) -> list[Result]:
        """Evaluate the lanes and end their epochs; returns what each reports."""
        self._evaluate()
        for row, measured in enumerate(self._measured):
            self._take(row, dict, measured)
        for row, trainer in enumerate(self._trainers):
            if isinstance(self._metrics[row], dict):
                metrics = self._metrics[row]
                self._take(row, keeps_random_states(trainer.end_epoch), metrics)
        return self._metrics

    def _measure(self, row: int, trainer: Trainer) -> None:
        norms = self._norms[row]
        norm = torch.stack(norms).mean().item() if norms else 0.0
        measured = keeps_random_states(trainer.prepare_evaluation)()
        self._measured[row] = {"lr": trainer.lr, "grad_norm": norm, **measured}

    def _train_part(self, part: Part, adds: bool) -> None:
        for row in part.begins:
            self._trainers[row].begin_step(part.steps[row] or 0)
        x, y = _gathered(self._data.x, part.rows), _gathered(self._data.y, part.rows)
        outputs, losses = self.stack.losses(x, y, part.is_row)
        if part.weights is not None:
            losses = losses * part.weights
        self.stack.gradient(losses, add=adds)
        for row in part.ends:
            self._take_step(row, part.steps[row] or 0)
            if adds:
                self.stack.grads[row].zero_()
        self._kept.append((part, outputs.detach(), y))
        if len(self._kept) == FLUSH_STEPS:
            self._flush()

    def _take_step(self, row: int, step: int) -> None:
        measure = step % self._plans[row].stride == 0
        norm = self._trainers[row].update.apply(self._steps[row].step, measure=measure)
        if norm is not None:
            self._norms[row].append(norm)

    def _flush(self) -> None:
        """Add up the totals of what was kept, so that little is kept."""
        kept, self._kept = self._kept, []
        if not kept:
            return
        if all(part.weights is None for part, _, _ in kept):
            outputs = torch.cat([outputs for _, outputs, _ in kept], 1)
            targets = torch.cat([targets for _, _, targets in kept], 1)
            num_rows = outputs.shape[1]
            sums = self.stack.totals(outputs, targets, shared=False).tolist()
            for row, totals in enumerate(self._totals):
                self._take(row, totals.add_sums, sums[row], num_rows)
            return
        for row, totals in enumerate(self._totals):
            for part, outputs, targets in kept:
                if part.steps[row] is not None:
                    is_row = slice(None) if part.is_row is None else part.is_row[row]
                    totals.keep(outputs[row][is_row], targets[row][is_row])
            self._take(row, totals.flush)

    def _evaluate(self) -> None:
        """Evaluate all lanes on the validation split at once."""
        first = self._trainers[0]
        if first.data.val is None:
            return
        self.stack.program.eval()
        all_totals = [
            Totals(t.task, t.epoch, "val", keep=bool(t.task.scores)) for t in self._trainers
        ]
        with torch.no_grad():
            for x, y in first.batches("val").read(EVAL_BATCH_SIZE):
                outputs = self.stack.outputs(x)
                if first.task.scores:
                    for row, totals in enumerate(all_totals):
                        self._take(row, totals.add, outputs[row], y)
                    continue
                sums = self.stack.totals(outputs, y, shared=True).tolist()
                for row, totals in enumerate(all_totals):
                    self._take(row, totals.add_sums, sums[row], len(y))
        for row, (trainer, totals) in enumerate(zip(self._trainers, all_totals, strict=True)):
            self._take(row, trainer.measured, "val", totals)

    def _take(
        self, row: int, call: Callable[..., Mapping[str, float] | None], *arguments: Any
    ) -> None:
        """Add the metrics that a call returns to a lane's; an error ends the lane."""
        if isinstance(self._metrics[row], dict):
            try:
                self._metrics[row] |= call(*arguments) or {}
            except Exception as error:  # the parts of a trial may be of the user's own
                self._metrics[row] = error


def _begin(trainer: Trainer) -> EpochPlan:
    return keeps_random_states(trainer.begin_epoch)()


def _gathered(values: Tensor, rows: Tensor) -> Tensor:
    return values.index_select(0, rows.flatten()).view(*rows.shape, *values.shape[1:])


def _columns_of(trainer: Trainer) -> list[slice]:
    columns, start = [], 0
    for group in trainer.optimizer.param_groups:
        stop = start + sum(param.numel() for param in group["params"])
        columns.append(slice(start, stop))
        start = stop
    return columns
