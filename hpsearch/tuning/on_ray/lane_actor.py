"""The actor that trains several trials at once, as lanes, in a Ray worker.

To Ray Tune it is one trial, whose config holds the trials that it begins with: a process can't be
several actors, and one message an epoch for all lanes costs the driver less than one each. What
ends a trial is reported as a value, as `TrialActor` does.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from hpsearch.components import Data
from hpsearch.outcome import Outcome
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from hpsearch.training.cross_validation import CrossValidation
from hpsearch.training.lanes.group import Result
from hpsearch.training.lanes.lanes import Lanes, ProgramError
from hpsearch.training.lanes.pace import Pace, measured_pace
from hpsearch.training.user_code.process_state import ProcessState
from hpsearch.tuning.output import TrialOutput, output_file
from hpsearch.tuning.report import LaneReports, Report
from hpsearch.tuning.running_trial import (
    RunningTrial,
    enter_process,
    free_gpu_memory,
    import_code_of,
)
from hpsearch.tuning.trial_errors import report_error

#: seconds that a step trains, if there is so much: its message costs the driver and the worker,
#: which waits for the answer, some hundredths
MIN_STEP_S = 0.1


class LaneActor(tune.Trainable):
    """Ray Tune's view of trials that share a worker: one step is an epoch of some of them."""

    def setup(
        self,
        config: dict[str, Any],
        data: Data | None = None,
        checkpoints: str = "",
        outputs: str | None = None,
        num_lanes: int = 1,
        num_programs: int | None = 1,
    ) -> None:
        """Take the first trials. `data` is shared by all.

        `num_lanes` is the greatest number of trials. Where these may have `num_programs`, it is
        only as many as make each trial's step quicker, which is measured (see `_measure`).
        """
        assert data is not None
        self._data, self._checkpoints, self._outputs = data, Path(checkpoints), outputs
        self._num_lanes, self._num_programs = num_lanes, num_programs
        self._process: ProcessState | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the last trials and take the next."""
        self.cleanup()
        self._begin(new_config)
        return True

    def change(self, stop: list[int], start: list[TrialConfig]) -> None:
        """Let trials go and take others, before the next step."""
        for number in stop:
            self._leave(number)
        self._new += start

    def keep(self, numbers: list[int]) -> None:
        """Write the states of trials, which are let go and will go on from there."""
        for number in numbers:
            if number in self._runs:
                self._runs[number].keep()

    def step(self) -> dict[str, Any]:
        """Train an epoch of the trials of one program."""
        reports = list(self._join_new())
        if not reports:
            self._measure()
            reports = list(self._train_epoch())
        return {"report": self._described(reports)}

    def cleanup(self) -> None:
        """Let go of all trials."""
        for number in list(self._runs):
            self._leave(number)
        process, self._process = self._process, None
        if process is not None:
            process.restore()
        free_gpu_memory()

    def _begin(self, config: dict[str, Any]) -> None:
        self._new: list[TrialConfig] = [config["trial"], *config["beside"]]
        self._runs: dict[int, RunningTrial] = {}
        self._lanes = Lanes()
        # as measured; until then there is one lane
        self._capacity = self._num_lanes if self._num_programs is None else 1
        self._is_measured = False
        self._speedup: float | None = None
        self._alone: set[int] = set()  # trials whose program has failed

    def _join_new(self) -> Iterable[tuple[int, Report]]:
        """Start the trials that are new; yields what some report again, and errors."""
        while self._new:
            trial = self._new.pop(0)
            self._enter_process(trial)
            run = RunningTrial(trial, self._data, self._checkpoints, self._outputs)
            self._runs[trial.number] = run
            report = self._started(run)
            if report is not None:
                yield trial.number, report

    def _started(self, run: RunningTrial) -> Report | None:
        number = run.trial.number
        output = self._output_of(number)
        try:
            report = run.start()
            for trainer in _trainers(run):
                self._lanes.join(trainer, alone=number in self._alone)
        except (Exception, SystemExit) as error:  # the parts of a trial may be of the user's own
            return self._failed(run, error)
        finally:
            if output is not None:
                output.close()
        warnings = run.take_warnings()
        if report is None and not warnings:
            return None
        return dataclasses.replace(report or Report(run.epoch), warnings=warnings)

    def _train_epoch(self) -> Iterable[tuple[int, Report]]:
        if not len(self._lanes):
            return
        # what a model prints for several trials is kept with the first
        output = self._output_of(self._next_number(), continues=True)
        try:
            results = self._train_programs()
        finally:
            if output is not None:
                output.close()
        failed = []
        for run in list(self._runs.values()):
            found = [results.get(trainer) for trainer in _trainers(run)]
            if any(isinstance(each, ProgramError) for each in found):
                failed.append(run)
            elif results.keys() & set(_trainers(run)):
                yield run.trial.number, self._taken(run, found)
        self._start_alone(failed)

    def _train_programs(self) -> dict[Trainer, Result]:
        """Train an epoch of a program, and of the next ones while these are quick; of all where a
        trial has trainers in several."""
        results: dict[Trainer, Result] = {}
        began = time.perf_counter()
        while not results or self._goes_on(results, time.perf_counter() - began):
            found = self._lanes.train_epoch()
            results |= found
            for trainer, result in found.items():
                if result is None:  # a callback has ended its training
                    self._lanes.leave(trainer)
        return results

    def _goes_on(self, results: Mapping[Trainer, Result], seconds: float) -> bool:
        """Whether the next program is trained before what was trained is reported."""
        if not self._lanes.trainers - results.keys():
            return False
        # one that a callback has let a trainer join may have been trained already
        is_new = results.keys().isdisjoint(self._lanes.next_trainers)
        return bool(self._data.folds) or (is_new and seconds < MIN_STEP_S)

    def _next_number(self) -> int:
        first = self._lanes.next_trainers[0]
        return next(number for number, run in self._runs.items() if first in _trainers(run))

    def _taken(self, run: RunningTrial, results: Sequence[Result]) -> Report:
        """Return the report of a trial whose trainers have these results."""
        try:
            metrics: list[dict[str, float] | None] = []
            for result in results:
                if isinstance(result, Exception | SystemExit):
                    raise result
                metrics.append(result)
            report = run.take(_model_trainer(run).combined(metrics))
        except (Exception, SystemExit) as error:
            report = self._failed(run, error)
        if report.outcome is not None:
            self._drop(run)  # if the trial is tried again, it resumes from its checkpoint
        return report

    def _start_alone(self, runs: Sequence[RunningTrial]) -> None:
        """Begin trials again, from their checkpoints, whose program failed within an epoch."""
        if runs:
            self._capacity = max(1, min(self._capacity, len(self._lanes) // 2))
        for run in runs:
            del self._runs[run.trial.number]
            self._drop(run)
            self._alone.add(run.trial.number)
            self._new.append(run.trial)

    def _failed(self, run: RunningTrial, error: Exception | SystemExit) -> Report:
        report = report_error(run.epoch, error)
        if report.outcome is Outcome.OUT_OF_MEMORY and len(self._runs) > 1:
            # others hold memory too: it is tried again where fewer are
            self._capacity = max(1, len(self._runs) - 1)
            return dataclasses.replace(report, outcome=None, is_crowded=True)
        return report

    def _measure(self) -> None:
        """Measure how many trials pay, and whether a program does for one.

        Before the first epoch, for which it may pay already; that none does is believed once an
        epoch has been trained.
        """
        if self._is_measured or not self._runs:
            return
        newest = next(reversed(self._runs.values()))  # it joins again behind the others
        trainer = next(iter(_trainers(newest)), None)
        if trainer is None or trainer not in self._lanes:
            return
        self._lanes.leave(trainer)
        if self._num_programs is None:
            pace = measured_pace(trainer, [1])
            self._lanes.fewest = pace.fewest
        else:
            sizes = [2**power for power in range(11) if 2**power < self._num_lanes]
            pace = measured_pace(trainer, [*sizes, self._num_lanes])
            self._lanes.fewest = pace.fewest
            self._capacity = pace.best_of(self._num_programs)
            self._speedup = pace.speedup if self._capacity > 1 else None
        self._lanes.join(trainer)
        has_trained = self._lanes.num_fused + self._lanes.num_alone > 0
        self._is_measured = pace != Pace() or has_trained

    def _described(self, reports: list[tuple[int, Report]]) -> LaneReports:
        lanes = self._lanes
        return LaneReports(
            tuple(reports),
            self._capacity,
            lanes.num_fused,
            lanes.num_alone,
            tuple(lanes.reasons),
            self._speedup,
        )

    def _leave(self, number: int) -> None:
        self._new = [trial for trial in self._new if trial.number != number]
        run = self._runs.pop(number, None)
        if run is not None:
            self._drop(run)

    def _drop(self, run: RunningTrial) -> None:
        for trainer in _trainers(run):
            if trainer in self._lanes:
                self._lanes.leave(trainer)
        run.drop()

    def _enter_process(self, trial: TrialConfig) -> None:
        if self._process is None:
            self._process = enter_process(trial)
        else:  # its state is that before the first trial of these
            import_code_of(trial)

    def _output_of(self, number: int, *, continues: bool = False) -> TrialOutput | None:
        if self._outputs is None:
            return None
        return TrialOutput(output_file(Path(self._outputs), number), continues=continues)


def _model_trainer(run: RunningTrial) -> Trainer | CrossValidation:
    assert isinstance(run.trainer, Trainer | CrossValidation)
    return run.trainer


def _trainers(run: RunningTrial) -> Sequence[Trainer]:
    """Return the lanes of a trial: one, or one for each fold; none after it is dropped."""
    return () if run.trainer is None else _model_trainer(run).trainers
