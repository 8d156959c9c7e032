"""The user's own training code as a trainer: a training function, or a class.

    def train(config, trial):                   # a generator yields its metrics each epoch
        model = ...
        if (saved := trial.load_checkpoint()) is not None:
            model.load_state_dict(saved)
        while trial.epoch < trial.max_epochs:
            yield {"train_loss": ..., "val_accuracy": ...}
            trial.save_checkpoint(model.state_dict())

What stands after the loop runs after the last epoch. A plain function does the same with
`trial.report(metrics)`. A class has `__init__(config, trial)`, `train_epoch()` returning metrics
(None to end early), `state_dict()` and `load_state_dict(state)`.
"""

from __future__ import annotations

import copy
import inspect
import io
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hpsearch import registry
from hpsearch.errors import UserCodeError
from hpsearch.importing import program_arguments
from hpsearch.outcome import CheckWarning
from hpsearch.spec import TrialConfig
from hpsearch.training.checkpoints import check_loadable, load_state
from hpsearch.training.protocol import AfterLastEpochError
from hpsearch.training.seeds import derive_seed, seed_all
from hpsearch.training.user_code.lockstep import Lockstep
from hpsearch.training.user_code.reports import Objective, read_metrics
from hpsearch.training.user_code.settings import UserSettings


class Trial:
    """What user code knows of its trial. Epochs count from 1; `epoch` is the last reported.

    `rank` is the process' number of `world_size`, where a launcher starts several.
    """

    rank = 0
    world_size = 1

    def __init__(self, config: TrialConfig, device: torch.device, epoch: int = 0) -> None:
        self.number = config.number
        self.max_epochs = config.max_epochs
        #: below 2**32: numpy and others refuse larger ones
        self.seed = derive_seed(config.seed, config.number, _PURPOSE) % 2**32
        self.device = device
        self.epoch = epoch


@dataclass
class _Saved:
    """A state as `torch.save` wrote it, and the number of epochs that it was trained."""

    epoch: int = 0
    checkpoint: bytes | None = None
    #: whether it was saved after the report of its epoch, or may be, as far as is known
    follows_report: bool = True


class FunctionTrial(Trial):
    """A trial as its training function sees it: where it reports, and where its states are."""

    def __init__(
        self, config: TrialConfig, device: torch.device, saved: _Saved, lockstep: Lockstep
    ) -> None:
        super().__init__(config, device, saved.epoch)
        self._saved = saved
        self._lockstep = lockstep

    def report(self, metrics: Mapping[str, Any], checkpoint: Any = None) -> None:
        """Report the metrics of an epoch; returns when the next epoch is wanted.

        `checkpoint` is a state to save with it, or a module, whose state_dict() is saved.
        """
        if checkpoint is not None:
            self.save_checkpoint(state_of(checkpoint), self.epoch + 1)
        self._lockstep.put(metrics)

    def save_checkpoint(self, state: Any, epoch: int | None = None) -> None:
        """Keep a state for retries, pauses and the best trials: tensors, arrays, plain values.

        `epoch` is the number of epochs that the state was trained: by default those reported, so
        save after the report, or pass `trial.epoch + 1` before it. Raises UserCodeError for other
        objects, which could be loaded only by running code from the file, and for an empty state.
        """
        trained = self.epoch if epoch is None else epoch
        if trained > self.max_epochs:
            self._lockstep.cut_short()
        check_state(state)
        buffer = io.BytesIO()  # a copy at once: training goes on in the same tensors
        torch.save(state, buffer)
        check_loadable(buffer, "save_checkpoint")
        self._saved.checkpoint = buffer.getvalue()
        self._saved.epoch = trained
        self._saved.follows_report = trained == self.epoch
        if self._saved.follows_report:
            self._lockstep.rest()

    def load_checkpoint(self) -> Any | None:
        """Return the state to go on from; None where the trial starts from scratch."""
        if self._saved.checkpoint is None:
            return None
        return load_state(io.BytesIO(self._saved.checkpoint), self.device)


class FunctionTrainer:
    """Trains by a training function, which runs in the thread that calls `train_epoch`."""

    end_reason = "returned"

    def __init__(
        self, config: TrialConfig, device: torch.device | str, objective: str | None = None
    ) -> None:
        self._config = config
        self._device = torch.device(device)
        self._objective = Objective(objective)
        self._warnings: list[CheckWarning] = []
        self._seconds_ahead = 0.0
        self._begin(_Saved())

    @property
    def epoch(self) -> int:
        """Epochs reported so far."""
        return self._trial.epoch

    def train_epoch(self) -> dict[str, float] | None:
        """Run the function up to its next report, after the last to its end; None if it returned.

        A report without the objective gets its last value. Raises UserCodeError for one that is
        no mapping of names to numbers, and at the end if none held the objective; DivergedError
        for one that isn't finite; whatever the function raises, as AfterLastEpochError once all
        epochs are reported.
        """
        started = time.perf_counter()
        if not self._lockstep.advance():
            if self.epoch == 0:
                raise UserCodeError(f"{self._config.trainable}: returned before its first report")
            self._objective.require(str(self._config.trainable))
            return None
        metrics = read_metrics(self._lockstep.item, self.epoch + 1)
        self._warn(self._objective.fill_in(metrics, self.epoch + 1))
        metrics.setdefault("seconds", time.perf_counter() - started + self._seconds_ahead)
        self._seconds_ahead = 0.0
        self._trial.epoch += 1
        if self.epoch == self._config.max_epochs:
            self._finish(metrics)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return what the function saved last, and how many epochs that was trained.

        A function that saves after its report is let run up to that. The epochs may still be
        fewer than were reported; 0 and None if it never saved.
        """
        if self._saved.epoch < self.epoch and self._saved.follows_report:
            self._let_it_save()
        return {
            "epoch": self._saved.epoch,
            "checkpoint": self._saved.checkpoint,
            "objective": self._objective.last,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Start the function again from a state."""
        self.close()
        self._objective.last = state.get("objective")  # older states have none
        self._begin(_Saved(state["epoch"], state["checkpoint"]))

    def take_warnings(self) -> list[CheckWarning]:
        """Return what the user should know of the reports since the last call."""
        warnings, self._warnings = self._warnings, []
        return warnings

    def close(self) -> None:
        """End the function where it waits; its `finally` blocks run."""
        self._lockstep.close()

    def _begin(self, saved: _Saved) -> None:
        name = f"{self._config.trainable} (trial {self._config.number})"
        self._saved = saved
        self._lockstep = Lockstep(self._run, name, *program_of(self._config))
        self._trial = FunctionTrial(self._config, self._device, saved, self._lockstep)

    def _run(self) -> None:
        result = call_user_code(self._config, self._trial)
        if not inspect.isgenerator(result):
            return
        try:
            for metrics in result:
                self._lockstep.put(metrics)
        finally:
            result.close()

    def _let_it_save(self) -> None:
        """Let the function run to its next save.

        One that has none before its next report has trained that epoch ahead. It isn't let run
        again until it has saved after a report.
        """
        started = time.perf_counter()
        self._saved.follows_report = self._lockstep.advance_to_rest()
        self._seconds_ahead += time.perf_counter() - started

    def _finish(self, metrics: dict[str, float]) -> None:
        """Let the function run to its end: what follows its loop, and its last checkpoint."""
        self._objective.require(str(self._config.trainable))
        try:
            self._lockstep.advance(is_last=True)
        except Exception as error:
            raise AfterLastEpochError(metrics, error) from error
        if self._lockstep.was_cut_short:
            fact = f"reports more than trial.max_epochs ({self.epoch}) epochs"
            advice = "the last epoch was discarded, and code after the loop did not run"
            self._warn(CheckWarning("report", f"{fact}: {advice}"))

    def _warn(self, warning: CheckWarning | None) -> None:
        if warning is not None:
            self._warnings.append(warning)


class ClassTrainer:
    """Trains by a user's class."""

    end_reason = "returned"

    def __init__(
        self, config: TrialConfig, device: torch.device | str, objective: str | None = None
    ) -> None:
        self._name = str(config.trainable)
        self._max_epochs = config.max_epochs
        self._objective = Objective(objective)
        self._warnings: list[CheckWarning] = []
        self._trial = Trial(config, torch.device(device))
        self._settings = UserSettings(*program_of(config))
        with self._settings.applied():
            self._object = call_user_code(config, self._trial)

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return self._trial.epoch

    def train_epoch(self) -> dict[str, float] | None:
        """See FunctionTrainer."""
        started = time.perf_counter()
        with self._settings.applied():
            report = self._object.train_epoch()
        if report is None:
            if self.epoch == 0:
                raise UserCodeError(f"{self._name}: ended before its first epoch")
            self._objective.require(self._name)
            return None
        metrics = read_metrics(report, self.epoch + 1)
        warning = self._objective.fill_in(metrics, self.epoch + 1)
        self._warnings += [] if warning is None else [warning]
        metrics.setdefault("seconds", time.perf_counter() - started)
        self._trial.epoch += 1
        if self.epoch == self._max_epochs:
            self._objective.require(self._name)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return the object's state, and how many epochs it was trained."""
        with self._settings.applied():
            state = self._object.state_dict()
        return {"epoch": self.epoch, "checkpoint": state, "objective": self._objective.last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        with self._settings.applied():
            self._object.load_state_dict(state["checkpoint"])
        self._objective.last = state.get("objective")
        self._trial.epoch = state["epoch"]

    def take_warnings(self) -> list[CheckWarning]:
        """Return what the user should know of the reports since the last call."""
        warnings, self._warnings = self._warnings, []
        return warnings

    def close(self) -> None:
        """Let the object clean up, if it has a method `close`; what that raises is logged."""
        try:
            with self._settings.applied():
                getattr(self._object, "close", lambda: None)()
        except (Exception, SystemExit):
            _log.warning("%s raised after its end", self._name, exc_info=True)


def is_class(config: TrialConfig) -> bool:
    """Whether `config.trainable` names a class; UserCodeError where it can't be imported."""
    name, folder = str(config.trainable), Path(config.folder)
    return inspect.isclass(registry.get("trainable", name, folder).factory)


def state_of(checkpoint: Any) -> Any:
    """Return the state of a module, and a state as it is."""
    return checkpoint.state_dict() if isinstance(checkpoint, nn.Module) else checkpoint


def check_state(state: Any) -> None:
    """Raise UserCodeError for a state that holds nothing: it would look like none when loaded."""
    if state is None or (isinstance(state, Mapping | list | tuple) and not state):
        rule = "save_checkpoint: must hold what training continues from"
        raise UserCodeError(f"{rule}, but got {state!r}")


_PURPOSE = "training function"
_log = logging.getLogger(__name__)


def call_user_code(config: TrialConfig, trial: Trial) -> Any:
    """Call the function or make the object, seeded for this trial and where it starts."""
    seed = derive_seed(config.seed, config.number, _PURPOSE, trial.epoch)
    seed_all(seed)
    component = registry.get("trainable", str(config.trainable), Path(config.folder))
    return component.build({}, config=copy.deepcopy(config.values["space"]), trial=trial)


def program_of(config: TrialConfig) -> tuple[Path, list[str]]:
    """Where a trial's code runs, and its sys.argv."""
    folder = Path(config.folder)
    return folder, program_arguments(str(config.trainable).rpartition(":")[0], folder)
