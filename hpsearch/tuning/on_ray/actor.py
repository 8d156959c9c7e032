"""The actor that trains trials, one after another, in a Ray worker.

It is reused: starting one costs over a second, resetting it milliseconds. Whatever ends a trial
is caught here and reported as a value, so that Ray Tune sees a failure only where the process or
its node died.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from ray import tune

from hpsearch.components import Data
from hpsearch.outcome import Outcome
from hpsearch.process import given_up_after
from hpsearch.spec import TrialConfig
from hpsearch.training.command import LostProcessError
from hpsearch.training.protocol import AfterLastEpochError
from hpsearch.training.user_code.process_state import ProcessState
from hpsearch.tuning.on_ray.nodes import RayNodes
from hpsearch.tuning.output import TrialOutput, output_file
from hpsearch.tuning.report import Report
from hpsearch.tuning.running_trial import RunningTrial, enter_process, free_gpu_memory
from hpsearch.tuning.trial_errors import UsedWorkerError, report_error

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
            self._run.epoch += 1
            report = dataclasses.replace(
                report_error(self._run.epoch, error.error), metrics=error.metrics
            )
        except (Exception, SystemExit) as error:  # the trial's own code may raise anything
            report = report_error(self._run.epoch, error)
        report = dataclasses.replace(report, warnings=self._run.take_warnings())
        if report.outcome is not None:
            self._drop_trainer()  # if the trial is tried again, it resumes from its checkpoint
        self._check_failure(report)
        if self._output is not None:
            self._output.limit()
        return {"report": report}

    def keep(self) -> None:
        """Write the state of the trial, which is let go and will go on from there."""
        self._run.keep()

    def cleanup(self) -> None:
        """Let go of the last trial."""
        self._end()

    def _begin(self, trial: TrialConfig) -> None:
        # The trainer itself is made in the first step, where what user code raises is caught.
        self._run = RunningTrial(trial, self._data, self._checkpoints, self._outputs)
        self._started_at = 0
        self._process: ProcessState | None = None

    def _take_output(self) -> None:
        # Not before it trains: Tune may give the trial to another worker while this one starts,
        # and this one would remove, as empty, the file that the other prints to.
        if self._output is None and self._outputs is not None:
            self._output = TrialOutput(output_file(Path(self._outputs), self._run.trial.number))

    def _end(self) -> None:
        self._drop_trainer()
        free_gpu_memory()
        if self._output is not None:
            self._output.close()
            self._output = None

    def _drop_trainer(self) -> None:
        if self._run.trainer is not None:
            with given_up_after(UNWINDING_TIME_S + self._run.trial.stop_grace):
                self._run.drop()
        process, self._process = self._process, None
        if process is not None:
            self._left = self._left or process.restore()

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
        elif self._run.epoch == self._started_at and report.error.key not in self._failures:
            raise UsedWorkerError(f"before its first report: {report.error}")

    def _train_epoch(self) -> Report:
        if self._run.trainer is None:
            self._start_attempt()
            trial = self._run.trial
            reported = self._run.start(RayNodes(trial) if trial.nodes > 1 else None)
            self._started_at = self._run.epoch
            if reported is not None:
                return reported
        trainer = self._run.trainer
        assert trainer is not None
        return self._run.take(trainer.train_epoch())

    def _start_attempt(self) -> None:
        self._check_fresh()
        self._num_attempts += 1
        self._started_at = self._run.epoch
        self._process = enter_process(self._run.trial)
