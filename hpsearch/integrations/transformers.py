"""Hugging Face's Trainer: `trainer.train(resume_from_checkpoint=attach(trainer))`, or its parts.

trainer = Trainer(..., callbacks=[ReportCallback()])
trainer.train(resume_from_checkpoint=resume_from_checkpoint())
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from hpsearch.reporting import checkpoint_dir, is_trial, report

_STATE = "trainer_state.json"


class ReportCallback(TrainerCallback):
    """Reports the metrics of each evaluation, once the Trainer has saved a checkpoint of it.

    By `eval_strategy="epoch"` a report is an epoch; by `"steps"` it has the step, for specs with
    `command.steps_per_epoch`. In a trial the Trainer saves after each evaluation, to the trial's
    folder instead of `output_dir`, and keeps one checkpoint unless `save_total_limit` is set.
    """

    def __init__(self) -> None:
        self._metrics: dict[str, float] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        if not is_trial():
            return
        args.output_dir = str(checkpoint_dir())
        args.save_total_limit = args.save_total_limit or 1
        for logged in state.log_history:  # the script may have been killed before its report
            if logged["step"] == state.global_step and any(map(_is_evaluated, logged)):
                self._metrics |= _numbers(logged)
        self._report(args, state)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        if is_trial() and state.global_step:
            self._metrics |= _numbers(more["metrics"])
            control.should_save = True
        return control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        self._report(args, state)

    def _report(self, args: TrainingArguments, state: TrainerState) -> None:
        metrics, self._metrics = self._metrics, {}
        if not metrics:
            return
        if args.eval_strategy == "epoch":
            report(metrics, epoch=round(state.epoch or 0), on_stop="raise")
        else:
            report(metrics, step=state.global_step, on_stop="raise")


def resume_from_checkpoint() -> str | None:
    """Return the checkpoint that `trainer.train` continues from; None at the start."""
    if not is_trial():
        return None
    whole = filter(_is_whole, checkpoint_dir().glob("checkpoint-*"))
    return max(map(str, whole), default=None, key=lambda path: int(path.rpartition("-")[2]))


def attach(trainer: Trainer) -> str | None:
    """Add a ReportCallback to a trainer, and return what `resume_from_checkpoint` does."""
    trainer.add_callback(ReportCallback())
    return resume_from_checkpoint()


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint has all its files: the Trainer writes its state last."""
    with suppress(OSError, ValueError):
        return bool(json.loads((checkpoint / _STATE).read_text()))
    return False


def _is_evaluated(name: str) -> bool:
    return name.startswith("eval_")


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    names = filter(_is_evaluated, metrics)
    return {name: metrics[name] for name in names if isinstance(metrics[name], int | float)}
