"""Trainers that share a program, trained an epoch at a time as one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import torch

from hpsearch.components.batch import Batch
from hpsearch.components.train_evaluation import TRAIN_EVAL
from hpsearch.training.denormals import flushed_denormals
from hpsearch.training.lanes.programs import activations_of, program_of
from hpsearch.training.lanes.row_training import RowTraining, Training, may_rebind
from hpsearch.training.lanes.stack import Stack
from hpsearch.training.lanes.stacked_optimizers import kind_of_step
from hpsearch.training.lanes.stacked_training import StackedTraining
from hpsearch.training.seeds import keeps_random_states, random_states
from hpsearch.training.totals import Totals
from hpsearch.training.trainer import EpochPlan, Trainer

#: an epoch's metrics, or what ended the trial in it; None where a callback had ended it before
Result = dict[str, float] | Exception | SystemExit | None


class LaneGroup:
    """Trains lanes of one program.

    Each lane's epoch is that of its trainer by itself, to float tolerance, whatever the others
    do. `close` gives the trainers back their own tensors. With `stacked` the optimizers' steps
    are taken as one where they can be.
    """

    def __init__(self, trainers: Sequence[Trainer], *, stacked: bool) -> None:
        order: dict[Hashable, int] = {}
        # those with the same activations beside each other
        self.trainers = sorted(
            trainers, key=lambda each: order.setdefault(activations_of(each), len(order))
        )
        kinds = {kind_of_step(trainer) for trainer in trainers} if stacked else {None}
        is_stacked = len(kinds) == 1 and None not in kinds
        self.training: Training = (StackedTraining if is_stacked else RowTraining)(self.trainers)
        self._stack = Stack(self.trainers)
        self.training.bind(self._stack)
        self._models = list(map(_model_of, self.trainers))
        #: whether lanes must be put together again, since code of the user's has changed one
        self.is_changed = False

    @property
    def is_closed(self) -> bool:
        """Whether gradients have closed forms."""
        return self.training.is_closed

    @property
    def num_params(self) -> int:
        """Numbers that a lane trains."""
        return self._stack.num_params

    def train_epoch(self) -> list[Result]:
        """Train and evaluate an epoch of each lane; see `Trainer.train_epoch`.

        `seconds` is a lane's share of the time. Errors of a lane, such as DivergedError, are
        returned; what is raised is of the program.
        """
        start = time.perf_counter()
        epoch = _Epoch(self._stack)
        with flushed_denormals():
            epoch.train(self.training)
        epoch.prepare_evaluation()
        changed = [row for row in range(len(self._stack)) if self._is_changed(row)]
        results = epoch.finish(changed)
        self.is_changed = bool(changed)
        seconds = (time.perf_counter() - start) / len(results)
        for result in results:
            if isinstance(result, dict):
                result["seconds"] = seconds
        return results

    def close(self) -> None:
        """Let each trainer have its tensors for itself."""
        self.training.close()
        self._stack.close()

    def _is_changed(self, row: int) -> bool:
        """Whether a lane has another model, or other tensors than its row's."""
        trainer = self.trainers[row]
        if not (trainer.config.values.get("callbacks") or may_rebind(trainer)):
            return False
        return not self._stack.holds(row) or _model_of(trainer) != self._models[row]


class _Epoch:
    """One epoch of the lanes of a stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._trainers = stack, stack.trainers
        self._plans = _begin(self._trainers)
        self._metrics: list[Any] = [{} for _ in self._trainers]
        self._measured: list[dict[str, float]] = [{} for _ in self._trainers]
        self._norms = [0.0] * len(stack)

    def train(self, training: Training) -> None:
        """Take the steps of all lanes."""
        all_totals = [Totals(t.task, t.epoch, "train") for t in self._trainers]
        self._norms = training.train(self._plans, all_totals, self._take)
        for row, totals in enumerate(all_totals):
            self._take(row, totals.summary)

    @keeps_random_states
    def prepare_evaluation(self) -> None:
        """Let the models hold what is evaluated, and callbacks measure."""
        for row, trainer in enumerate(self._trainers):
            self._take(row, self._measure, row, trainer)

    def finish(self, changed: Sequence[int]) -> list[Result]:
        """Evaluate the lanes and end their epochs; returns what each reports.

        Those whose models have changed are evaluated by themselves.
        """
        rows = [row for row in range(len(self._trainers)) if row not in changed]
        self._evaluate(rows)
        for alike in self._by_train_eval_rows(rows):
            self._evaluate_train(alike)
        for row in changed:
            self._take(row, self._trainers[row].evaluation.of_epoch, self._trainers[row].epoch)
        for row, measured in enumerate(self._measured):
            self._take(row, dict, measured)
        self._end()
        return self._metrics

    @keeps_random_states
    def _end(self) -> None:
        for row, trainer in enumerate(self._trainers):
            if isinstance(self._metrics[row], dict):
                self._take(row, trainer.end_epoch, self._metrics[row])

    def _measure(self, row: int, trainer: Trainer) -> None:
        measured = trainer.prepare_evaluation()
        self._measured[row] = {"lr": trainer.lr, "grad_norm": self._norms[row], **measured}

    def _evaluate(self, rows: Sequence[int]) -> None:
        """Evaluate lanes on the validation split at once."""
        first = self._trainers[0]
        if first.data.val is None:
            return
        keep = bool(first.task.scores)
        all_totals = self._evaluated("val", rows, first.splits.evaluated("val", first.epoch), keep)
        for row in rows:
            self._take(row, self._trainers[row].evaluation.measured, "val", all_totals[row])

    def _by_train_eval_rows(self, rows: Sequence[int]) -> Iterable[list[int]]:
        """Return the lanes whose training rows are evaluated too, by which these are."""
        alike: dict[bytes | None, list[int]] = {}
        for row in rows:
            trainer = self._trainers[row]
            if trainer.evaluation.includes_train:
                index = trainer.splits.parts[TRAIN_EVAL]
                key = None if index is None else index.numpy().tobytes()
                alike.setdefault(key, []).append(row)
        return alike.values()

    def _evaluate_train(self, rows: Sequence[int]) -> None:
        """Evaluate lanes on training rows, which are the same ones, at once."""
        first = self._trainers[rows[0]]
        batches = first.splits.evaluated(TRAIN_EVAL, first.epoch)
        all_totals = self._evaluated(TRAIN_EVAL, rows, batches, keep=False)
        for row in rows:
            found = self._metrics[row]
            evaluation = self._trainers[row].evaluation
            self._take(row, evaluation.train_measured, all_totals[row], found)

    def _evaluated(
        self, split: str, rows: Sequence[int], batches: Iterable[Batch], keep: bool
    ) -> list[Totals]:
        """Return the totals of lanes over batches, one of each lane; those of `rows` are filled.

        With `keep` they have the rows too.
        """
        self._stack.program.eval()
        all_totals = [Totals(t.task, t.epoch, split, keep=keep) for t in self._trainers]
        sums = None
        with torch.no_grad():
            for batch in batches:
                outputs = self._stack.outputs(batch.inputs)
                if keep:
                    for row in rows:
                        self._take(row, all_totals[row].add, outputs[row], batch)
                    continue
                totals_of_batch = self._stack.totals(outputs, batch, shared=True).double()
                sums = totals_of_batch if sums is None else sums + totals_of_batch
        found = [] if sums is None else sums.tolist()
        for row in rows:
            if found:
                self._take(row, all_totals[row].add_sums, found[row])
        return all_totals

    def _take(
        self, row: int, call: Callable[..., Mapping[str, float] | None], *arguments: Any
    ) -> None:
        """Add the metrics that a call returns to a lane's; an error ends the lane."""
        if isinstance(self._metrics[row], dict):
            try:
                self._metrics[row] |= call(*arguments) or {}
            except (
                Exception,
                SystemExit,
            ) as error:  # the parts of a trial may be of the user's own
                self._metrics[row] = error


def _model_of(trainer: Trainer) -> Hashable:
    return program_of(trainer), activations_of(trainer)


@keeps_random_states
def _begin(trainers: Sequence[Trainer]) -> list[EpochPlan]:
    plans = []
    for trainer in trainers:
        plan = trainer.begin_epoch()
        states = random_states() if trainer.augmenting else None
        plans.append(dataclasses.replace(plan, random_states=states))
    return plans
