"""The actor that trains trials, one after another, in a Ray worker.

It is reused: starting one costs over a second, resetting it milliseconds. Whatever ends a trial
is caught here and reported as a value, so that Ray Tune sees a failure only where the process or
its node died.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from ray import tune

from hpsearch.components import Data
from hpsearch.errors import DivergedError
from hpsearch.importing import import_ahead, program_arguments
from hpsearch.outcome import CheckWarning, Outcome
from hpsearch.process import given_up_after
from hpsearch.spec import TrialConfig
from hpsearch.training import launch, make_trainer
from hpsearch.training.checkpoints import CheckpointStore, load_checkpoint
from hpsearch.training.checks.by_name import check_trial
from hpsearch.training.command import LostProcessError, TrialFolders
from hpsearch.training.protocol import AfterLastEpochError, EpochTrainer, WarningTrainer
from hpsearch.training.user_code.process_state import ProcessState
from hpsearch.tuning.on_ray.nodes import RayNodes
from hpsearch.tuning.output import TrialOutput, output_file, output_folder
from hpsearch.tuning.report import Report
from hpsearch.tuning.trial_errors import UsedWorkerError, report_error
from hpsearch.user_code import trial_factories

#: seconds of training that the loss of a worker may cost a trial
CHECKPOINT_INTERVAL_S = 30.0
#: seconds that user code has to unwind at the end of its trial, before its worker is given up
UNWINDING_TIME_S = 60


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
        self._num_attempts = 0
        self._left = ""  # what earlier attempts left in this process for good
        self._failures: set[Any] = set()  # of attempts that found it fresh
        self._begin(config["trial"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the last trial and take the next; UsedWorkerError if it needs a fresh worker."""
        self._end()
        self._check_fresh()
        self._begin(new_config["trial"])
        return True

    def step(self) -> dict[str, Any]:
        """Train an epoch; raises UsedWorkerError where only a fresh worker can tell."""
        self._take_output()
        try:
            report = self._train_epoch()
        except LostProcessError:
            os._exit(1)  # the trial has lost its worker: it is tried again as if this one had died
        except UsedWorkerError:
            raise
        except AfterLastEpochError as error:
            self._epoch += 1
            report = dataclasses.replace(
                report_error(self._epoch, error.error), metrics=error.metrics
            )
        except (Exception, SystemExit) as error:  # the trial's own code may raise anything
            report = report_error(self._epoch, error)
        report = dataclasses.replace(report, warnings=self._take_warnings())
        if report.outcome is not None:
            self._drop_trainer()  # if the trial is tried again, it goes on from its checkpoint
        self._check_failure(report)
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
        self._epoch = self._started_at = 0
        self._warnings = ()
        self._store = CheckpointStore(self._checkpoints, trial.number)
        self._saved_at = time.monotonic()
        self._process: ProcessState | None = None

    def _enter_process(self) -> None:
        """Make the process what the trial's code finds, until the trial has left it."""
        # Modules stay loaded, so what they set as they are imported must stay too.
        import_ahead(trial_factories(self._trial), Path(self._trial.folder))
        self._process = ProcessState()
        torch.set_num_threads(self._trial.cpu)
        if self._trial.trainable:
            module = self._trial.trainable.rpartition(":")[0]
            sys.argv = program_arguments(module, Path(self._trial.folder))
        with suppress(OSError):  # a trial without code of users doesn't need it
            os.chdir(self._trial.folder)

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
            with given_up_after(UNWINDING_TIME_S + self._trial.stop_grace):
                trainer.close()
            del trainer
        process, self._process = self._process, None
        if process is not None:
            self._left = self._left or process.restore()

    def _take_warnings(self) -> tuple[CheckWarning, ...]:
        found = self._warnings
        self._warnings = ()
        if isinstance(self._trainer, WarningTrainer):
            found = (*found, *self._trainer.take_warnings())
        return found

    def _check_fresh(self) -> None:
        if self._left:
            raise UsedWorkerError(f"an earlier trial left {self._left}")

    def _check_failure(self, report: Report) -> None:
        """Raise UsedWorkerError for a failure that what earlier attempts left may have caused.

        One before the first report is believed in a fresh worker, or if it happened there too.
        """
        if report.outcome is not Outcome.FAILED or report.error is None:
            return
        if self._num_attempts == 1:
            self._failures.add(report.error.key)
        elif self._epoch == self._started_at and report.error.key not in self._failures:
            raise UsedWorkerError(f"before its first report: {report.error}")

    def _train_epoch(self) -> Report:
        trainer = self._trainer
        if trainer is None:
            self._start_attempt()
            trainer, reported = self._make_trainer()
            self._trainer, self._epoch = trainer, trainer.epoch
            self._started_at = self._epoch
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

    def _start_attempt(self) -> None:
        self._check_fresh()
        self._num_attempts += 1
        self._started_at = self._epoch
        self._enter_process()

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
        nodes = RayNodes(self._trial) if self._trial.nodes > 1 else None
        trainer = launch(self._trial, self._data, self._trial.device, self._folders(), nodes)
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

    def _folders(self) -> TrialFolders | None:
        """Return where the trial's own files are, unless nobody keeps what it prints."""
        if self._outputs is None:
            return None
        outputs = output_folder(Path(self._outputs), self._trial.number)
        return TrialFolders(self._store.files, outputs)

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
