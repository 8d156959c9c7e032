"""The actor that trains trials, one after another, in a Ray worker.

It is reused: starting one costs over a second, resetting it milliseconds. Whatever ends a trial
is caught here and reported as a value, so that Ray Tune sees a failure only where the process or
its node died.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from ray import tune

from hpsearch.components import Data
from hpsearch.errors import BadConfigurationError, DivergedError
from hpsearch.formatting import show_bytes
from hpsearch.outcome import CheckWarning, Outcome, RaisedError
from hpsearch.spec import TrialConfig
from hpsearch.training import launch, make_trainer
from hpsearch.training.checkpoints import CheckpointStore, load_checkpoint
from hpsearch.training.checks.by_name import check_trial
from hpsearch.training.protocol import EpochTrainer
from hpsearch.tuning.output import TrialOutput, output_file
from hpsearch.tuning.report import Report

#: seconds of training that the loss of a worker may cost a trial
CHECKPOINT_INTERVAL_S = 30.0


class TrialActor(tune.Trainable):
    """Ray Tune's view of a trial: one step is one epoch."""

    def setup(
        self,
        config: dict[str, Any],
        data: Data | None = None,
        checkpoints: str = "",
        outputs: str | None = None,
    ) -> None:
        """Take the first trial. `data` is shared by all.

        `checkpoints` and `outputs`, of what trials print, are folders of the search.
        """
        self._data = data
        self._checkpoints = Path(checkpoints)
        self._warnings: tuple[CheckWarning, ...] = ()
        self._outputs = outputs
        self._output: TrialOutput | None = None
        self._begin(config["trial"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the last trial and take the next."""
        self._end()
        self._begin(new_config["trial"])
        return True

    def step(self) -> dict[str, Any]:
        """Train an epoch; never raises."""
        self._take_output()
        try:
            report = dataclasses.replace(self._train_epoch(), warnings=self._warnings)
            self._warnings = ()
        except Exception as error:  # the trial's own code may raise anything
            report = report_error(self._epoch, error)
            self._drop_trainer()  # if the trial is tried again, it goes on from its checkpoint
        if self._output is not None:
            self._output.limit()
        return {"report": report}

    def cleanup(self) -> None:
        """Let go of the last trial."""
        self._end()

    def _begin(self, trial: TrialConfig) -> None:
        # The trainer itself is made in the first step, where what user code raises is caught.
        self._trial = trial
        self._trainer: EpochTrainer | None = None
        self._epoch = 0
        self._warnings = ()
        self._store = CheckpointStore(self._checkpoints, trial.number)
        self._saved_at = time.monotonic()
        torch.set_num_threads(trial.cpu)

    def _take_output(self) -> None:
        # Not before it trains: Tune may give the trial to another worker while this one starts,
        # and this one would remove, as empty, the file that the other prints to.
        if self._output is None and self._outputs is not None:
            self._output = TrialOutput(output_file(Path(self._outputs), self._trial.number))

    def _end(self) -> None:
        self._drop_trainer()
        if torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()
        if self._output is not None:
            self._output.close()
            self._output = None

    def _drop_trainer(self) -> None:
        trainer, self._trainer = self._trainer, None
        if trainer is not None:
            trainer.close()

    def _train_epoch(self) -> Report:
        trainer = self._trainer
        if trainer is None:
            trainer, reported = self._make_trainer()
            self._trainer, self._epoch = trainer, trainer.epoch
            if reported is not None:
                # The driver may have died before it took this report. It knows what it has.
                return Report(self._epoch, reported, self._newest_checkpoint())
        metrics = trainer.train_epoch()
        if metrics is None:  # it ended itself before its last epoch
            saved, reason = self._save(trainer), trainer.end_reason
            return Report(self._epoch, checkpoint=saved, outcome=Outcome.COMPLETED, reason=reason)
        self._epoch += 1
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise DivergedError(f"{name} is {value} at epoch {self._epoch}")
        checkpoint = self._save(trainer, metrics) if self._is_due() else None
        return Report(self._epoch, metrics, checkpoint)

    def _is_due(self) -> bool:
        """Whether the trial's state is written after this epoch."""
        every = self._trial.checkpoint_every
        if self._epoch >= self._trial.max_epochs or self._epoch in self._trial.checkpoint_at:
            return True
        if every is not None:
            return self._epoch % every == 0
        return time.monotonic() - self._saved_at > CHECKPOINT_INTERVAL_S

    def _make_trainer(self) -> tuple[EpochTrainer, dict[str, float] | None]:
        """Return the trainer, and what it reported last if that was saved with its state."""
        newest = self._store.newest()
        if newest is None:  # the first attempt
            self._check_trial()
        trainer = launch(self._trial, self._data, self._trial.device)
        if newest is None:
            return trainer, None
        saved = load_checkpoint(newest, self._trial.device)
        trainer.load_state_dict(saved["trainer"])  # an earlier attempt got this far
        is_newest = saved["epoch"] == trainer.epoch  # user code may save before its last report
        return trainer, saved["metrics"] if is_newest else None

    def _check_trial(self) -> None:
        """Run the trial's checks on a trainer of their own, whatever launcher trains the trial."""
        trial, data = self._trial, self._data
        if data is not None and (checks := trial.values.get("checks")):
            found = check_trial(make_trainer(trial, data, trial.device), checks)
            self._warnings = tuple(CheckWarning(f.check, f.message, f.severity) for f in found)

    def _save(self, trainer: EpochTrainer, metrics: dict[str, float] | None = None) -> str:
        """Write the state, and the report that goes with it: a driver that dies before it takes
        the report gets it when the trial goes on."""
        state = trainer.state_dict()
        self._store.save(self._epoch, {"epoch": self._epoch, "metrics": metrics, "trainer": state})
        self._saved_at = time.monotonic()
        return self._newest_checkpoint()

    def _newest_checkpoint(self) -> str:
        newest = self._store.newest()
        assert newest is not None
        return str(newest.relative_to(self._checkpoints))


def report_error(epoch: int, error: Exception) -> Report:
    """Sort an exception into the outcomes of a trial (DESIGN, outcome table)."""
    if isinstance(error, DivergedError):
        return Report(epoch, outcome=Outcome.DIVERGED, reason=str(error))
    if isinstance(error, BadConfigurationError):
        return Report(epoch, outcome=Outcome.BAD_CONFIGURATION, reason=str(error))
    if _is_out_of_memory(error):
        reason = str(error).partition("\n")[0]
        return Report(epoch, outcome=Outcome.OUT_OF_MEMORY, reason=_device_memory() + reason)
    return Report(
        epoch,
        outcome=Outcome.FAILED,
        error=_raised(error),
        traceback="".join(traceback.format_exception(error)),
    )


def _raised(error: Exception) -> RaisedError:
    """Return an exception's type, message and the line that raised it, as plain values."""
    kind, message = type(error).__name__, str(error)
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return RaisedError(kind, message)
    last = frames[-1]
    return RaisedError(kind, message, last.filename, last.lineno, last.name)


def _device_memory() -> str:
    if not torch.cuda.is_available():
        return ""
    total = torch.cuda.get_device_properties(0).total_memory
    return f"needs more than {show_bytes(total)} of GPU memory: "


def _is_out_of_memory(error: Exception) -> bool:
    # torch's CPU allocator raises a plain RuntimeError
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
