"""A trial in its worker: its trainer, its newest checkpoint, and what it reports."""

from __future__ import annotations

import gc
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import torch

from hpsearch.code_snapshot import use_snapshot
from hpsearch.components import Data
from hpsearch.errors import DivergedError, RunsError, UserCodeError
from hpsearch.importing import import_ahead, program_arguments
from hpsearch.outcome import CheckWarning, Outcome
from hpsearch.spec import TrialConfig
from hpsearch.training import launch, make_trainer
from hpsearch.training.checkpoints import CheckpointStore, load_checkpoint
from hpsearch.training.checks.by_name import check_trial
from hpsearch.training.command import OtherNodes, TrialFolders
from hpsearch.training.protocol import EpochTrainer, WarningTrainer
from hpsearch.training.user_code.process_state import ProcessState
from hpsearch.tuning.output import output_folder
from hpsearch.tuning.report import Report
from hpsearch.user_code import trial_factories

#: seconds of training that the loss of a worker may cost a trial
CHECKPOINT_INTERVAL_S = 30.0


def import_code(names: Iterable[str], folder: Path, copy: str | None) -> None:
    """Import the modules of a user's code, from the search's copy of it if it has one: they stay
    loaded, and so must what they set."""
    use_snapshot(copy, folder)
    import_ahead(names, folder)


def import_code_of(trial: TrialConfig) -> None:
    """Import the modules of a trial's code."""
    import_code(trial_factories(trial), Path(trial.folder), trial.code)


def enter_process(trial: TrialConfig) -> ProcessState:
    """Make the process what a trial's code finds; returns its state before, to be put back."""
    import_code_of(trial)
    state = ProcessState()
    torch.set_num_threads(trial.cpu)
    if trial.trainable:
        module = trial.trainable.rpartition(":")[0]
        sys.argv = program_arguments(module, Path(trial.folder))
    with suppress(OSError):  # a trial without code of users doesn't need it
        os.chdir(trial.folder)
    return state


def free_gpu_memory() -> None:
    """Give back the GPU memory that nothing holds any more."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


class RunningTrial:
    """One trial; the trainer is made by `start`, and again after `drop`, from the checkpoint.

    `checkpoints` and `outputs`, of what trials print, are folders of the search.
    """

    def __init__(
        self,
        trial: TrialConfig,
        data: Data | None,
        checkpoints: Path,
        outputs: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trial = trial
        self._clock = clock
        self.trainer: EpochTrainer | None = None
        #: the last epoch that was reported
        self.epoch = 0
        self._data, self._checkpoints, self._outputs = data, checkpoints, outputs
        self._warnings: tuple[CheckWarning, ...] = ()
        self._store = CheckpointStore(checkpoints, trial.number)
        self._saved_at = self._clock()
        self._saved_epoch = 0
        self._metrics: dict[str, float] | None = None  # of the last epoch

    def start(self, other_nodes: OtherNodes | None = None) -> Report | None:
        """Make the trainer; returns what the trial reported last if that was saved with its
        state: the driver may have died before it took the report. It knows what it has."""
        newest = self._store.newest()
        copied = self.trial.copied_epochs
        if newest is None and copied:
            rule = "the checkpoint that it was copied from must stay until it has one of its own"
            raise RunsError(f"{self._store.folder}: {rule}, but it is gone")
        if newest is None:  # the first attempt
            self._check()
        trainer = launch(self.trial, self._data, self.trial.device, self._folders(), other_nodes)
        self.trainer = trainer
        if newest is None:
            self.epoch = trainer.epoch
            return None
        saved = load_checkpoint(newest, self.trial.device)
        trainer.load_state_dict(saved["trainer"])  # an earlier attempt got this far
        self.epoch = self._saved_epoch = trainer.epoch
        if copied and saved["epoch"] == copied:  # another trial's, whose report that was
            self._check_copy(trainer.epoch)
            return None
        # user code may save before its last report
        reported = saved["metrics"] if saved["epoch"] == trainer.epoch else None
        return None if reported is None else Report(self.epoch, reported, self._newest())

    def take(self, metrics: dict[str, float] | None) -> Report:
        """Return the report of an epoch that was trained, or of the trainer's own end (None).

        Raises DivergedError for a metric that isn't finite.
        """
        trainer = self.trainer
        assert trainer is not None
        if metrics is None:  # it ended itself before its last epoch
            saved, reason = self._save(trainer), trainer.end_reason
            return Report(self.epoch, checkpoint=saved, outcome=Outcome.COMPLETED, reason=reason)
        self.epoch += 1
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise DivergedError(f"{name} is {value} at epoch {self.epoch}")
        self._metrics = metrics
        checkpoint = self._save(trainer, metrics) if self._is_due() else None
        return Report(self.epoch, metrics, checkpoint)

    def keep(self) -> None:
        """Write the state after the last epoch, unless that is written."""
        if self.trainer is not None and self.epoch > self._saved_epoch:
            self._save(self.trainer, self._metrics)

    def take_warnings(self) -> tuple[CheckWarning, ...]:
        """Return what was found since the last call."""
        found = self._warnings
        self._warnings = ()
        if isinstance(self.trainer, WarningTrainer):
            found = (*found, *self.trainer.take_warnings())
        return found

    def drop(self) -> None:
        """Close the trainer."""
        trainer, self.trainer = self.trainer, None
        if trainer is not None:
            trainer.close()

    def _check_copy(self, epoch: int) -> None:
        """Refuse the copy of a state that its function saved in an earlier epoch."""
        if epoch != self.trial.copied_epochs:
            rule = f"must save its state after epoch {self.trial.copied_epochs}, to be copied"
            raise UserCodeError(
                f"{self.trial.trainable}: {rule}, but it was saved after epoch {epoch}: call "
                "trial.save_checkpoint each epoch"
            )

    def _is_due(self) -> bool:
        """Whether the trial's state is written after this epoch."""
        every = self.trial.checkpoint_every
        if self.epoch >= self.trial.max_epochs or self.epoch in self.trial.checkpoint_at:
            return True
        if every is not None:
            return self.epoch % every == 0
        return self._clock() - self._saved_at > CHECKPOINT_INTERVAL_S

    def _check(self) -> None:
        """Run the trial's checks on a trainer of their own, whatever launcher trains the trial."""
        trial, data = self.trial, self._data
        if data is not None and (checks := trial.values.get("checks")):
            found = check_trial(make_trainer(trial, data, trial.device), checks)
            self._warnings = tuple(CheckWarning(f.check, f.message, f.severity) for f in found)

    def _folders(self) -> TrialFolders | None:
        """Return where the trial's own files are, unless nobody keeps what it prints."""
        if self._outputs is None:
            return None
        outputs = output_folder(Path(self._outputs), self.trial.number)
        return TrialFolders(self._store.files, outputs)

    def _save(self, trainer: EpochTrainer, metrics: dict[str, float] | None = None) -> str:
        """Write the state, and the report that goes with it: a driver that dies before it takes
        the report gets it when the trial continues."""
        state = trainer.state_dict()
        self._store.save(self.epoch, {"epoch": self.epoch, "metrics": metrics, "trainer": state})
        self._saved_at, self._saved_epoch = self._clock(), self.epoch
        return self._newest()

    def _newest(self) -> str:
        newest = self._store.newest()
        assert newest is not None
        return str(newest.relative_to(self._checkpoints))
