"""One search in virtual time: the control loop of a real one, and workers that take no time.

All that decides is what decides in a search: `SearchControl` with its budgets, the sampler, the
rule of early stopping, and the record, which is kept in memory. What is simulated is the workers:
each reports the next value of its trial's curve when the epoch's seconds have passed.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.storages import InMemoryStorage
from threadpoolctl import threadpool_limits

from hpsearch.early_stopping import make_early_stopper
from hpsearch.errors import Problem, SpecError
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.samplers.warm_start import warm_started
from hpsearch.simulation.curves import Curves, Training
from hpsearch.spec import SearchSpec
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.report import Report
from hpsearch.tuning.sampling import first_points, note_default, sampler_of


class VirtualClock:
    """Seconds since the start of a simulated search."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Better:
    """A trial that was trained in full and is better than all before it."""

    seconds: float  # since the start of the search
    epochs: int  # that all trials had taken together by then
    value: float  # of the objective
    trial: int


def simulate(spec: SearchSpec, curves: Curves, workers: int) -> Record:
    """Run a search in virtual time on this many workers and return its record.

    Times in the record are seconds since the start. Nothing is written to disk. The searches of
    `search.warm_start` are left out. Raises SpecError for settings that no search would start
    with, for several objectives or constraints, for a population, and where trials would be longer
    than the curves.
    """
    if not spec.is_plain:
        rule = "must not be given in a simulation: recorded curves are of one objective"
        path = "objectives" if spec.objectives else "constraints"
        raise SpecError([Problem(path, rule)])
    if spec.search.is_population:
        name = spec.search.sampler["name"]
        rule = "must be a sampler of independent trials: recorded curves are of one configuration"
        raise SpecError([Problem("search.sampler.name", rule, name)])
    if spec.max_epochs > curves.max_epochs:
        rule = f"must be at most {curves.max_epochs}, the epochs of the recorded curves"
        path = "search.early_stopping.max_epochs"
        raise SpecError([Problem(path, rule, spec.max_epochs)])
    # The sampler's matrices are small: as in a search, one thread is faster.
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        return _Workers(spec, curves, workers, Path(folder)).run()


def better_trials(record: Record) -> list[Better]:
    """Return the completed trials of a search that were better than all before, oldest first."""
    completed = [trial for trial in record.trials if trial.outcome is Outcome.COMPLETED]
    completed.sort(key=lambda trial: trial.ended_at or 0.0)
    ends = sorted(time for trial in record.trials for time in trial.reported_at.values())
    sign = 1.0 if record.spec.objective.direction == "maximize" else -1.0
    found: list[Better] = []
    used = 0
    for trial in completed:
        value, ended_at = record.objective(trial), trial.ended_at or 0.0
        while used < len(ends) and ends[used] <= ended_at:
            used += 1
        if value is not None and (not found or sign * value > sign * found[-1].value):
            found.append(Better(ended_at - record.created_at, used, value, trial.number))
    return found


class _Workers:
    """The workers of a simulated search, and the time."""

    def __init__(self, spec: SearchSpec, curves: Curves, number: int, folder: Path) -> None:
        self._curves, self._number = curves, number
        self._clock = VirtualClock()
        points = spec.search.points
        record = Record.create(InMemoryStorage(), spec, first_points=points, clock=self._clock)
        rule = make_early_stopper(spec)
        note_default(record)
        sampler = sampler_of(record, rule, number, spec.search.sampler)
        sampler = warm_started(sampler, spec, first_points(record), ())
        self._record = record
        self._control = SearchControl(record, sampler, rule, folder, clock=self._clock)
        self._trainings: dict[int, Training] = {}
        self._busy: set[int] = set()  # trials that have a worker
        self._due: list[tuple[float, int]] = []  # when each ends its epoch, a heap

    def run(self) -> Record:
        """Search to the end."""
        while not self._control.should_stop_all():
            self._hand_out()
            if not self._busy:
                break
            self._clock.now, number = heapq.heappop(self._due)
            self._busy.difference_update(self._control.end_overdue())
            if number in self._busy and not self._control.should_stop_all():
                self._take(number)
        self._control.close()
        return self._record

    def _hand_out(self) -> None:
        while len(self._busy) < self._number and not self._control.is_over:
            trial = self._control.next_trial()
            if trial is None:
                return
            if trial.number not in self._trainings:
                training = self._curves.training(
                    trial.number, trial.params, self._record.spec.search.seed
                )
                self._trainings[trial.number] = training
            self._control.start_attempt(trial.number)
            self._busy.add(trial.number)
            self._go_on(trial.number)

    def _go_on(self, number: int) -> None:
        epoch = self._record.trials[number].epochs + 1
        seconds = self._trainings[number].seconds
        heapq.heappush(self._due, (self._clock.now + seconds[epoch - 1], number))

    def _take(self, number: int) -> None:
        """Report the epoch that a trial has just ended."""
        epoch = self._record.trials[number].epochs + 1
        report = _report(self._trainings[number], epoch, self._record.spec.objective.metric)
        if self._control.take_report(number, report):
            self._busy.discard(number)
        else:
            self._go_on(number)


def _report(training: Training, epoch: int, metric: str) -> Report:
    values: Sequence[float] = training.values
    metrics = {metric: values[epoch - 1]} if epoch <= len(values) else {}
    is_last = epoch >= len(training.seconds)
    if training.end is None or not is_last:
        return Report(epoch, metrics)
    return Report(epoch, metrics, outcome=training.end, reason=training.why)
