"""Trials that share workers, without Ray: real records, rules, lanes and checkpoints."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpsearch.components import Data, load_data
from hpsearch.early_stopping import make_early_stopper
from hpsearch.outcome import Outcome
from hpsearch.process import keep_process
from hpsearch.record import Record, TrialRecord
from hpsearch.samplers import gaussian_process, make_sampler
from hpsearch.spec import SearchSpec
from hpsearch.training import Trainer
from hpsearch.training.cross_validation import CrossValidation
from hpsearch.training.lanes.gradients import Gradients, LaneBatch
from hpsearch.training.lanes.pace import Pace
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.lane_pool import LanePool
from hpsearch.tuning.on_ray import lane_actor
from hpsearch.tuning.on_ray.lane_actor import LaneActor
from hpsearch.tuning.report import LaneReports, Report
from tests.support.lane_specs import lane_spec


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """Workers have processes of their own; here they share this one, by turns."""
    restore = keep_process()
    yield
    restore()


class Driver:
    """One life of a driver, with workers that move in turn."""

    def __init__(self, record: Record, folder: Path, data: Data, lanes: int, slots: int) -> None:
        spec = record.spec
        rule = make_early_stopper(spec)
        sampler = make_sampler(
            spec.search.sampler,
            record.space,
            seed=0,
            direction="maximize",
            rungs=rule.rungs,
            slots=slots * lanes,
        )
        self.record, self._checkpoints = record, folder / "checkpoints"
        self.control = SearchControl(record, sampler, rule, self._checkpoints)
        self.pool = LanePool(self.control, lanes, spec.search.max_concurrent, measured=False)
        self._data, self._lanes, self._slots = data, lanes, slots
        self.workers: deque[tuple[str, LaneActor]] = deque()
        self._num_started = 0

    def steps(self) -> Iterator[str]:
        """Train; yields the worker after each of its messages, and ends with the search."""
        while True:
            self._begin_workers()
            if not self.workers:
                break
            name, worker = self.workers.popleft()
            try:
                change = self.pool.take(name, worker.step()["report"])
            except ProcessLookupError:
                self.workers.appendleft((name, worker))
                self.kill()
                continue
            if change.is_over:
                worker.cleanup()
            else:
                worker.change(change.stop, change.start)
                self.workers.append((name, worker))
            yield name
        self.control.close()

    def kill(self, **how: Any) -> None:
        """Lose the worker whose turn is next; it begins anew with what goes on in it."""
        name, worker = self.workers.popleft()
        worker.cleanup()
        if left := self.pool.lose(name, "killed", **how):
            self.workers.append((name, self._worker(left)))
            self.pool.start(name)

    def die(self) -> None:
        """Take the workers along."""
        for _, worker in self.workers:
            worker.cleanup()

    def _begin_workers(self) -> None:
        while len(self.workers) < self._slots and not self.pool.is_over:
            name = f"worker {self._num_started}"
            trials = self.pool.begin(name)
            if not trials:
                return
            self._num_started += 1
            self.pool.start(name)
            self.workers.append((name, self._worker(trials)))

    def _worker(self, trials: Any, outputs: str | None = None) -> LaneActor:
        worker = LaneActor.__new__(LaneActor)  # Tune's own set-up makes folders and loggers
        worker.setup(
            {"trial": trials[0], "beside": trials[1:]},
            data=self._data,
            checkpoints=str(self._checkpoints),
            outputs=outputs,
            num_lanes=self._lanes,
            num_programs=None,
        )
        return worker


def begin(folder: Path, spec: SearchSpec, data: Data, lanes: int = 4, slots: int = 2) -> Driver:
    return Driver(Record.create(folder / "record.journal", spec), folder, data, lanes, slots)


def finished(driver: Driver) -> Record:
    for _ in driver.steps():
        pass
    return driver.record


def rows(trial: TrialRecord) -> list[list[float]]:
    """What a program may change by rounding."""
    return [[each[k] for k in ("train_loss", "val_loss", "lr")] for each in trial.curve.values()]


def test_a_search_by_lanes_trains_what_one_by_one_trains(tmp_path: Path, wine: Data) -> None:
    """Without early stopping the order of reports decides nothing."""
    records = []
    for lanes in (1, 5):
        folder = tmp_path / str(lanes)
        folder.mkdir()
        records.append(finished(begin(folder, lane_spec(tmp_path, rule="none"), wine, lanes)))
    one_by_one, fused = records
    assert one_by_one.lanes.num_fused == 0
    assert fused.lanes.num_fused > 60
    for mine, theirs in zip(fused.trials, one_by_one.trials, strict=True):
        assert mine.params == theirs.params
        assert np.allclose(rows(mine), rows(theirs), rtol=1e-3)


@pytest.mark.parametrize("rule", ["asha", "asha_promotion", "freeze_thaw", "hyperband", "median"])
def test_every_rule_of_early_stopping_ends_each_trial_once(
    tmp_path: Path, wine: Data, rule: str
) -> None:
    record = finished(begin(tmp_path, lane_spec(tmp_path, rule=rule), wine))
    assert record.state == "finished"
    assert len(record.trials) == 12
    ends = {trial.outcome for trial in record.trials}
    assert ends <= {Outcome.COMPLETED, Outcome.STOPPED_EARLY}
    assert Outcome.COMPLETED in ends
    for trial in record.trials:
        assert sorted(trial.curve) == list(range(1, trial.epochs + 1))


def test_a_callback_ends_a_trial_as_it_does_alone(tmp_path: Path, wine: Data) -> None:
    callback = {"name": "early_stopping", "metric": "val_accuracy", "patience": 1}
    ends = []
    for lanes in (1, 4):
        (tmp_path / str(lanes)).mkdir()
        spec = lane_spec(tmp_path, rule="none", callbacks=[callback])
        record = finished(begin(tmp_path / str(lanes), spec, wine, lanes, slots=1))
        assert {trial.outcome for trial in record.trials} == {Outcome.COMPLETED}
        ends.append([(trial.epochs, trial.reason) for trial in record.trials])
    assert record.lanes.num_fused > 12
    assert ends[0] == ends[1]
    assert (2, "callback early_stopping") in ends[0]


def test_trials_train_their_folds_beside_those_of_others(tmp_path: Path) -> None:
    """Whatever the order of programs is; a trial goes on with all of its folds."""
    dataset = {"name": "wine", "folds": 3}
    data = load_data(dataset, seed=0)
    sizes = {"choices": [[8], [6]]}
    model = {"name": "mlp", "hidden_sizes": sizes, "dropout": {"low": 0.0, "high": 0.5}}
    spec = lane_spec(tmp_path, trials=6, rule="none", dataset=dataset, model=model)
    driver = begin(tmp_path, spec, data)
    for number, _ in enumerate(driver.steps()):
        if number == 4:
            driver.kill()
    record = driver.record
    assert {trial.outcome for trial in record.trials} == {Outcome.COMPLETED}
    assert record.lanes.num_fused > 60
    for trial in record.trials:
        alone = CrossValidation(record.config(trial), data)
        for epoch in range(1, 10):
            mine, theirs = trial.curve[epoch], alone.train_epoch()
            assert theirs is not None
            assert list(mine) == list(theirs)
            for name in ("train_loss", "val_loss", "grad_norm"):
                assert np.isclose(mine[name], theirs[name], rtol=1e-3), (name, epoch)


def test_at_most_so_many_trials_at_once(tmp_path: Path, wine: Data) -> None:
    search = {"trials": 12, "max_concurrent": 3, "early_stopping": {"max_epochs": 3}}
    driver = begin(tmp_path, lane_spec(tmp_path, search=search), wine)
    for _ in driver.steps():
        assert driver.control.num_live <= 3
    assert len(driver.record.trials) == 12


def test_a_driver_that_dies_goes_on_with_the_same_trials(tmp_path: Path, wine: Data) -> None:
    spec = lane_spec(tmp_path, rule="none")
    (tmp_path / "whole").mkdir()
    whole = finished(begin(tmp_path / "whole", spec, wine))
    driver = begin(tmp_path, spec, wine)
    record = driver.record
    for life in range(4):
        for number, _ in enumerate(driver.steps()):
            if number == 5 + life:
                break
        driver.die()
        record = Record.open(tmp_path / "record.journal", record.name)
        driver = Driver(record, tmp_path, wine, 4, 2)
    finished(driver)
    assert [trial.outcome for trial in record.trials] == [t.outcome for t in whole.trials]
    for mine, theirs in zip(record.trials, whole.trials, strict=True):
        assert np.allclose(rows(mine), rows(theirs), rtol=1e-3)


def test_a_driver_that_dies_among_trials_that_start_together_draws_the_others_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Free lanes cost one fit of the sampler, and the record alone says what they get."""
    fits, fit = [], gaussian_process.fit_hyperparameters

    def counted(*each: Any) -> Any:
        fits.append(each)
        return fit(*each)

    monkeypatch.setattr(gaussian_process, "fit_hyperparameters", counted)
    sampler = {"name": "auto", "random_fraction": 0.0}
    spec = lane_spec(tmp_path, trials=32, rule="none", search={"sampler": sampler})

    def record_after(folder: Path, num_written: int | None) -> Record:
        """A record of 16 trials that end together, after which the driver writes so many more."""
        folder.mkdir()
        place = folder / "record.journal"
        first = pool_of(Record.create(place, spec), 16)
        numbers = [trial.number for trial in first.begin("first")]
        first.start("first")
        reports = [(n, Report(9, {"val_accuracy": 1 / (1 + n)})) for n in numbers]
        fits.clear()
        with monkeypatch.context() as patch:
            if num_written is not None:
                patch.setattr(Record, "add_trial", dies_after(num_written))
                with pytest.raises(ProcessLookupError):
                    first.take("first", LaneReports(tuple(reports), capacity=16))
            else:
                first.take("first", LaneReports(tuple(reports), capacity=16))
                assert len(fits) == 1
        return Record.open(place, spec.name)

    whole = record_after(tmp_path / "whole", None)
    assert len(whole.trials) == 32
    for num_written in (0, 5, 15):
        record = record_after(tmp_path / str(num_written), num_written)
        assert len(record.trials) == 16 + num_written
        started = pool_of(record, 16).begin("second")
        assert [each.number for each in started] == list(range(16, 32))
        assert [t.params for t in record.trials] == [t.params for t in whole.trials]


def dies_after(num_written: int) -> Any:
    """A `Record.add_trial` of a driver that writes so many trials and dies."""
    left, add = [num_written], Record.add_trial

    def add_trial(record: Record, params: Any) -> TrialRecord:
        if not left[0]:
            raise ProcessLookupError
        left[0] -= 1
        return add(record, params)

    return add_trial


def pool_of(record: Record, lanes: int) -> LanePool:
    """The pool of a driver without workers of its own."""
    spec, rule = record.spec, make_early_stopper(record.spec)
    sampler = make_sampler(
        spec.search.sampler,
        record.space,
        seed=0,
        direction="maximize",
        rungs=rule.rungs,
        slots=lanes,
    )
    control = SearchControl(record, sampler, rule, Path(spec.folder) / "checkpoints")
    return LanePool(control, lanes, None, measured=False)


def test_a_worker_that_dies_costs_no_trial(tmp_path: Path, wine: Data) -> None:
    driver = begin(tmp_path, lane_spec(tmp_path, rule="none"), wine)
    for number, _ in enumerate(driver.steps()):
        if number in (3, 4, 5, 9, 20):
            driver.kill(out_of_memory=number == 9)
    outcomes = {trial.outcome for trial in driver.record.trials}
    assert outcomes == {Outcome.COMPLETED}
    assert all(len(trial.curve) == 9 for trial in driver.record.trials)


def test_a_worker_that_may_die_keeps_the_search_open_for_its_other_half(
    tmp_path: Path, wine: Data
) -> None:
    driver = begin(tmp_path, lane_spec(tmp_path, trials=2, rule="none"), wine)
    next(driver.steps())
    assert driver.control.is_over
    assert not driver.pool.is_over
    driver.kill()
    assert not driver.pool.is_over  # for the second half
    name, _ = driver.workers[-1]
    for _ in range(2):
        assert driver.pool.lose(name, "killed")
    assert not driver.pool.lose(name, "killed")
    driver.pool.start(name)  # Tune does so once more
    assert driver.pool.take(name, LaneReports((), 1)).is_over
    driver.die()


class Killing(LaneActor):
    """A worker that dies by one of its trials."""

    bad = 2

    def step(self) -> dict[str, Any]:
        """Die if that trial is here."""
        if any(trial.number == self.bad for trial in self._new) or self.bad in self._runs:
            raise ProcessLookupError
        return super().step()


def test_a_trial_that_kills_its_workers_is_found(tmp_path: Path, wine: Data) -> None:
    driver = begin(tmp_path, lane_spec(tmp_path, rule="none", trials=8), wine, slots=1)
    make = driver._worker

    def worker(trials: Any) -> LaneActor:
        made = make(trials)
        made.__class__ = Killing
        return made

    driver._worker = worker  # type: ignore[method-assign]
    finished(driver)
    bad, *others = sorted(driver.record.trials, key=lambda trial: trial.number != 2)
    assert bad.outcome is Outcome.FAILED
    assert bad.reason is not None
    assert bad.reason.startswith("its worker died 3 times")
    assert {trial.outcome for trial in others} == {Outcome.COMPLETED}


def test_a_trial_without_room_beside_others_goes_on_with_fewer(
    tmp_path: Path, wine: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = begin(tmp_path, lane_spec(tmp_path, rule="none", trials=6), wine, slots=1)
    sizes = []
    take = Gradients.take

    def take_of_two(gradients: Gradients, batch: LaneBatch, *, add: bool) -> Any:
        if len(batch.rows) > 2:
            raise torch.OutOfMemoryError("no memory")
        return take(gradients, batch, add=add)

    monkeypatch.setattr(Gradients, "take", take_of_two)
    for _ in driver.steps():
        sizes.append(sum(len(worker._runs) for _, worker in driver.workers))
    assert {trial.outcome for trial in driver.record.trials} == {Outcome.COMPLETED}
    assert any("OutOfMemoryError" in reason for reason in driver.record.lanes.reasons)


TALKING = """
import os
from torch import nn

class Talking(nn.Linear):
    def forward(self, x):
        os.write(1, b"a batch\\n")
        return super().forward(x)

def build(input_shape, output_size):
    return Talking(input_shape[0], output_size)
"""


def test_what_a_shared_program_prints_is_kept_with_its_first_trial(
    tmp_path: Path, wine: Data
) -> None:
    (tmp_path / "talking.py").write_text(TALKING)
    without = {"dry_epoch": False}  # all begin together
    spec = lane_spec(tmp_path, model={"name": "talking.py:build"}, search=without)
    driver = begin(tmp_path, spec, wine, slots=1)
    trials = driver.pool.begin("worker")
    worker = driver._worker(trials, outputs=str(tmp_path / "outputs"))
    assert worker.step()["report"].num_fused == len(trials)
    logs = [tmp_path / "outputs" / f"trial-{trial.number:04d}.log" for trial in trials]
    first, *others = [log.read_text().count("a batch") for log in logs]
    assert 0 < max(others) < first  # as each trial is made, and in the epoch of all
    assert "another attempt" not in logs[0].read_text()
    worker.cleanup()


def two_programs(folder: Path, data: Data) -> LaneActor:
    """A worker with two trials of each of two programs."""
    sizes = {"choices": [[8], [6]]}
    model = {"name": "mlp", "hidden_sizes": sizes, "dropout": {"low": 0.0, "high": 0.5}}
    record = Record.create(folder / "record.journal", lane_spec(folder, model=model))
    for label in ("[8]", "[8]", "[6]", "[6]"):
        params = {"model.dropout": 0.1, "optimizer.lr": 0.1, "batch_size": 32}
        record.add_trial({**params, "model.hidden_sizes": label})
    worker = LaneActor.__new__(LaneActor)
    first, *beside = map(record.config, record.trials)
    worker.setup(
        {"trial": first, "beside": beside},
        data=data,
        checkpoints=str(folder / "checkpoints"),
        num_lanes=4,
        num_programs=None,
    )
    return worker


@pytest.mark.parametrize(("seconds", "num_reports"), [(0.0, 2), (60.0, 4)])
def test_a_message_has_the_epochs_of_quick_programs(
    tmp_path: Path, wine: Data, monkeypatch: pytest.MonkeyPatch, seconds: float, num_reports: int
) -> None:
    monkeypatch.setattr(lane_actor, "MIN_STEP_S", seconds)
    worker = two_programs(tmp_path, wine)
    for step in range(4):
        reports = worker.step()["report"].reports
        assert len(reports) == num_reports
        assert {report.epoch for _, report in reports} == {1 + step * num_reports // 4}


def test_what_pays_is_measured_before_the_first_epoch_and_if_nothing_does_once_more(
    tmp_path: Path, wine: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    paces, epochs = [Pace(), Pace(4, 1, 2.0), Pace(8, 1, 3.0)], []

    def measured(trainer: Trainer, sizes: Any) -> Pace:
        epochs.append(trainer.epoch)
        return paces[len(epochs) - 1]

    monkeypatch.setattr(lane_actor, "measured_pace", measured)
    worker = two_programs(tmp_path, wine)
    worker._num_programs = 2
    said = [worker.step()["report"] for _ in range(4)]
    assert epochs == [0, 1]
    assert [each.capacity for each in said[1:]] == [4, 4, 4]
    assert said[-1].speedup == 2.0


def test_reports_are_taken_once(tmp_path: Path, wine: Data) -> None:
    driver = begin(tmp_path, lane_spec(tmp_path), wine, slots=1)
    trials = driver.pool.begin("worker")
    driver.pool.start("worker")
    first = trials[0].number
    said = LaneReports(((first, Report(1, {"val_accuracy": 0.5})),), capacity=4)
    assert not driver.pool.take("worker", said).is_over
    driver.pool.take("worker", replace(said, num_fused=1))
    assert len(driver.record.trials[first].curve) == 1
