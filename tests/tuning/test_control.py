"""The control loop with real samplers, rules, records, actors and checkpoints, but without Ray:
a driver that dies after any report, or in the middle of a write, changes nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpsearch.outcome import Outcome, StoppedBy
from hpsearch.process import keep_process
from hpsearch.record import Record, TrialRecord, observations
from hpsearch.spec import Resources, SearchSpec
from hpsearch.tuning.control import STOP_INTERVAL_S
from tests.support.clock import FakeClock
from tests.support.control import (
    Driver,
    begin,
    die_and_go_on,
    finish,
    kept_files,
    summary,
)
from tests.support.specs import make_spec


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """Workers have processes of their own; here they share this one, by turns."""
    restore = keep_process()
    yield
    restore()


TRAIN = """
import math
from hpsearch import BadConfigurationError

def train(config, trial):
    level = trial.load_checkpoint() or 0.0
    if config["x"] > 0.95:
        raise BadConfigurationError("x is too large")
    while trial.epoch < trial.max_epochs:
        level = 0.9 * level + 0.1 * (1 - (config["x"] - 0.3) ** 2) + 0.01 * math.sin(trial.epoch)
        yield {"score": level, "seconds": 1.0}
        trial.save_checkpoint(level)

def gives_up(config, trial):
    level = trial.load_checkpoint() or config["x"]
    while trial.epoch < min(trial.max_epochs, 1 + int(16 * config["x"]) % 11):
        level += 0.01 * math.sin(40 * level)
        yield {"score": level, "seconds": 1.0}
        trial.save_checkpoint(level)

def diverges_later(config, trial):
    level = trial.load_checkpoint() or config["x"]
    while trial.epoch < trial.max_epochs:
        if trial.epoch == 1 and config["x"] > 0.7:
            raise BadConfigurationError("diverged after the first rung")
        level += 0.01
        yield {"score": level, "seconds": 1.0}
        trial.save_checkpoint(level)

def first_is_good(config, trial):
    for epoch in range(2 if trial.number == 0 else trial.max_epochs):
        yield {"score": 1.0 / (1 + trial.number), "seconds": 1.0}

def fails_later(config, trial):
    yield {"score": 1.0, "seconds": 1.0}
    if trial.number in (1, 3, 4, 5, 6):
        raise OSError(f"no server in trial {trial.number}")

def fails_twice(config, trial):
    from pathlib import Path
    marker = Path(config["marker"])
    level = trial.load_checkpoint() or 0
    while trial.epoch < trial.max_epochs:
        if trial.epoch == 2 and len(marker.read_text()) < 2:
            marker.write_text(marker.read_text() + "x")
            raise OSError("the data server is away")
        level += 1
        yield {"score": level, "seconds": 1.0}
        trial.save_checkpoint(level)
"""


def function_spec(folder: Path, function: str = "train", **search: Any) -> SearchSpec:
    name = f"trained_{abs(hash(str(folder)))}.py"
    (folder / name).write_text(TRAIN)
    space = {"x": {"low": 0.0, "high": 1.0}}
    if function == "fails_twice":
        (folder / "marker").write_text("")
        space = {"marker": str(folder / "marker")}  # type: ignore[dict-item]
    return make_spec(
        folder,
        name="steps",
        objective={"metric": "score"},
        trainable=f"{name}:{function}",
        space=space,
        search={"trials": 20, "early_stopping": {"max_epochs": 9}, **search},
    )


RULES = ["asha", "asha_promotion", "freeze_thaw", "hyperband", "median", "none"]


@pytest.mark.parametrize(
    ("function", "rule", "seed"),
    [
        *(("train", rule, seed) for rule in RULES for seed in range(2)),
        *(("gives_up", rule, 3) for rule in RULES[:3]),
        *(("diverges_later", rule, 4) for rule in RULES[1:3]),
    ],
)
def test_a_driver_that_dies_again_and_again_finds_what_one_finds(
    tmp_path: Path, function: str, rule: str, seed: int
) -> None:
    every = None if rule == "median" else 2
    spec = function_spec(
        tmp_path, function, early_stopping={"name": rule, "max_epochs": 9}, checkpoint_every=every
    )
    expected = finish(begin(spec, tmp_path / "whole"), tmp_path / "whole")
    folder, rng = tmp_path / "broken", random.Random(seed)
    record, deaths = die_and_go_on(begin(spec, folder), folder, rng)
    assert deaths > 5
    assert summary(record) == summary(expected)
    assert kept_files(folder) == kept_files(tmp_path / "whole")


def test_a_driver_that_dies_finds_the_batches_of_results_that_samplers_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search of hundreds of trials, where a sampler doesn't see each result at once."""
    monkeypatch.setattr(observations, "BATCHED_FROM", 8)
    monkeypatch.setattr(observations, "NUM_BATCHES", 2)
    spec = function_spec(tmp_path, checkpoint_every=2)
    expected = finish(begin(spec, tmp_path / "whole"), tmp_path / "whole")
    folder = tmp_path / "broken"
    record, deaths = die_and_go_on(begin(spec, folder), folder, random.Random(5))
    assert deaths > 5
    assert summary(record) == summary(expected)
    monkeypatch.undo()
    at_once = finish(begin(spec, tmp_path / "at_once"), tmp_path / "at_once")
    assert summary(at_once) != summary(expected)


@pytest.mark.parametrize("driver_dies", [False, True])
def test_a_good_trial_that_ends_itself_raises_the_bar_for_those_that_train_on(
    tmp_path: Path, driver_dies: bool
) -> None:
    spec = function_spec(
        tmp_path,
        "first_is_good",
        trials=2,
        early_stopping={"max_epochs": 9, "grace_period": 3},
    )
    record = begin(spec, tmp_path / "s")
    if driver_dies:
        for _, _ in zip(range(4), Driver(record, tmp_path / "s").reports(), strict=False):
            pass
        record = Record.reopen(tmp_path / "s" / "record.journal", "steps")
        assert [trial.epochs for trial in record.trials] == [2, 1]
    first, second = finish(record, tmp_path / "s").trials
    assert (first.outcome, first.epochs, first.reason) == (Outcome.COMPLETED, 2, "returned")
    numbers = {"score": 0.5, "threshold": pytest.approx(0.5 + 0.5 * 2 / 3), "trials": 2}
    assert (second.outcome, second.note) == (Outcome.STOPPED_EARLY, None)
    assert second.stopped_by == StoppedBy("asha", 3, numbers)
    assert second.reason == "asha at epoch 3 (score 0.5, threshold 0.8333, trials 2)"


def test_with_several_workers_nothing_is_lost_or_doubled_either(tmp_path: Path) -> None:
    spec = function_spec(tmp_path, trials=30, checkpoint_every=1)
    record, rng = begin(spec, tmp_path / "s"), random.Random(0)
    for _ in range(15):
        reports = Driver(record, tmp_path / "s", slots=4).reports()
        for _, _ in zip(range(rng.randint(1, 10)), reports, strict=False):
            pass
        ended = {t.number: (t.outcome, t.curve) for t in record.trials if t.outcome is not None}
        record = Record.reopen(tmp_path / "s" / "record.journal", "steps")
        assert ended.items() <= {t.number: (t.outcome, t.curve) for t in record.trials}.items()
        record.go_on()
    finish(record, tmp_path / "s", slots=4)
    assert [trial.number for trial in record.trials] == list(range(30))
    for trial in record.trials:
        assert sorted(trial.curve) == list(range(1, trial.epochs + 1))
        assert trial.outcome is not None


def test_promotion_trains_no_poor_trial_to_the_end(tmp_path: Path) -> None:
    spec = function_spec(
        tmp_path,
        trials=27,
        sampler="random",
        early_stopping={"name": "asha_promotion", "max_epochs": 9},
    )
    record = finish(begin(spec, tmp_path / "s"), tmp_path / "s")
    first_rung = {t.number: t.curve[1]["score"] for t in record.trials if t.curve}
    promoted = [t.number for t in record.trials if t.epochs > 1]
    completed = [t for t in record.trials if t.outcome is Outcome.COMPLETED]
    assert 0 < len(promoted) <= len(first_rung) // 3 + 3
    assert completed
    assert all(t.outcome is not None for t in record.trials)
    assert {t.epochs for t in record.trials if t.curve} == {1, 3, 9}
    paused = [t.stopped_by for t in record.trials if t.epochs == 1]
    assert paused and all(each is not None and each.rung == 1 for each in paused)
    ranks = [each.numbers["rank"] for each in paused if each is not None]
    assert len(set(ranks)) == len(ranks)
    assert {each.numbers["trials"] for each in paused if each is not None} == {len(first_rung)}
    best_at_first = max(first_rung, key=lambda number: first_rung[number])
    assert best_at_first in promoted


def test_freeze_thaw_tries_every_configuration_then_trains_the_best(tmp_path: Path) -> None:
    spec = function_spec(
        tmp_path,
        trials=32,
        sampler="random",
        early_stopping={"name": "freeze_thaw", "max_epochs": 9, "share": 0.8},
    )
    record = finish(begin(spec, tmp_path / "s"), tmp_path / "s", slots=4)
    trained = [trial for trial in record.trials if trial.curve]
    assert len(record.trials) == 32
    assert {trial.epochs for trial in trained} == {1, 3, 9}
    used = sum(trial.epochs for trial in trained)
    assert 0.8 * 9 * len(trained) <= used < 0.8 * 9 * len(trained) + 4 * 6
    assert record.best is not None and record.best.epochs == 9
    assert record.best.curve[1]["score"] >= sorted(t.curve[1]["score"] for t in trained)[-8]
    paused = [trial.stopped_by for trial in trained if trial.epochs < 9]
    for each in paused:
        assert each is not None and each.rule == "freeze_thaw"
        assert each.numbers["low"] <= each.numbers["forecast"] <= each.numbers["high"]


@pytest.mark.parametrize(("trials", "slots"), [(1, 1), (2, 3), (6, 1), (6, 4)])
def test_promotion_of_few_trials_completes_the_best_of_them(
    tmp_path: Path, trials: int, slots: int
) -> None:
    rule = {"name": "asha_promotion", "max_epochs": 27}
    spec = function_spec(tmp_path, trials=trials, sampler="random", early_stopping=rule)
    record = finish(begin(spec, tmp_path / "s"), tmp_path / "s", slots)
    assert record.best is not None and record.best.epochs == 27
    assert [t.number for t in record.trials if t.outcome is Outcome.COMPLETED] == [
        record.best.number
    ]
    assert all(t.outcome is not None for t in record.trials)
    rivals = [t.curve[3]["score"] for t in record.trials if t.epochs > 1]
    assert record.best.curve[3]["score"] == max(rivals)


def test_a_driver_that_dies_while_the_last_trial_is_promoted_finds_what_one_finds(
    tmp_path: Path,
) -> None:
    rule = {"name": "asha_promotion", "max_epochs": 9}
    spec = function_spec(
        tmp_path, trials=4, sampler="random", early_stopping=rule, checkpoint_every=1
    )
    expected = finish(begin(spec, tmp_path / "whole"), tmp_path / "whole")
    record = begin(spec, tmp_path / "s")
    for _ in range(20):
        for _, _ in zip(range(2), Driver(record, tmp_path / "s").reports(), strict=False):
            pass
        record = Record.reopen(tmp_path / "s" / "record.journal", "steps")
        if record.state == "finished":
            break
        record.go_on()
    assert summary(record) == summary(expected)


def test_errors_are_retried_from_the_checkpoint_as_often_as_allowed(tmp_path: Path) -> None:
    spec = function_spec(tmp_path, "fails_twice", trials=1, max_retries=2, checkpoint_every=1)
    trial = finish(begin(spec, tmp_path / "s"), tmp_path / "s").trials[0]
    assert (trial.outcome, trial.attempts, trial.epochs) == (Outcome.COMPLETED, 3, 9)
    assert trial.metric("score") == {epoch: epoch for epoch in range(1, 10)}
    assert [error["reason"] for error in trial.errors] == ["OSError: the data server is away"] * 2


def test_errors_are_not_retried_by_default(tmp_path: Path) -> None:
    spec = function_spec(tmp_path, "fails_twice", trials=1)
    trial = finish(begin(spec, tmp_path / "s"), tmp_path / "s").trials[0]
    assert (trial.outcome, trial.attempts) == (Outcome.FAILED, 1)


def test_a_stopped_search_goes_on_with_other_trials(tmp_path: Path) -> None:
    spec = function_spec(tmp_path, trials=6)
    record = begin(spec, tmp_path / "s")
    driver = Driver(record, tmp_path / "s")
    for i, _ in enumerate(driver.reports()):
        if i == 4:
            driver.control.cancel()
            driver.control.close()
            break
    cancelled = [t.number for t in record.trials if t.outcome is Outcome.CANCELLED]
    assert record.state == "stopped"
    assert len(cancelled) == 1
    record = Record.reopen(tmp_path / "s" / "record.journal", "steps")
    record.go_on()
    finish(record, tmp_path / "s")
    assert record.state == "finished"
    assert len(record.trials) == 7
    assert [t.number for t in record.trials if t.outcome is Outcome.CANCELLED] == cancelled


def test_an_extended_search_goes_on_as_if_it_had_been_longer(tmp_path: Path) -> None:
    long = function_spec(tmp_path, trials=9, sampler="random")
    expected = finish(begin(long, tmp_path / "long"), tmp_path / "long")
    short = function_spec(tmp_path, trials=5, sampler="random")
    record = finish(begin(short, tmp_path / "short"), tmp_path / "short")
    record = Record.reopen(tmp_path / "short" / "record.journal", "steps")
    record.go_on(record.spec.extended(trials=4))
    finish(record, tmp_path / "short")
    assert summary(record) == summary(expected)


def test_an_out_of_memory_trial_that_shared_a_gpu_is_tried_alone(tmp_path: Path) -> None:
    spec = function_spec(tmp_path, trials=1)
    spec = spec.model_copy(update={"resources": spec.resources.model_copy(update={"gpu": 0.25})})
    record = begin(spec, tmp_path / "s")
    control = Driver(record, tmp_path / "s").control
    trial = control.next_trial()
    assert trial is not None
    from hpsearch.tuning.report import Report

    out_of_memory = Report(0, outcome=Outcome.OUT_OF_MEMORY, reason="needs more than 8.0 GiB")
    assert control.take_report(0, out_of_memory)
    assert trial.outcome is None
    assert not control.is_over
    assert control.next_trial() is trial
    assert control.config(trial).gpu == 1
    assert control.take_report(0, out_of_memory)
    assert trial.outcome is Outcome.OUT_OF_MEMORY
    assert trial.reason == "needs more than 8.0 GiB"


def test_only_the_time_of_an_attempt_counts_to_a_trials_limit(tmp_path: Path) -> None:
    spec = function_spec(tmp_path, trials=1, trial_time_limit=60)
    clock = FakeClock()
    control = Driver(begin(spec, tmp_path / "s"), tmp_path / "s", clock=clock).control
    trial = control.next_trial()
    assert trial is not None
    clock.now += 61
    assert not list(control.end_overdue())  # it waits for a worker
    control.start_attempt(0)
    assert not control.lose_worker(0, "its node is gone", is_blameless=True)
    clock.now += 61
    assert not list(control.end_overdue())
    control.start_attempt(0)
    clock.now += 61
    assert list(control.end_overdue()) == [0]
    assert (trial.outcome, trial.attempts) == (Outcome.BAD_CONFIGURATION, 2)


def test_a_time_limit_is_looked_at_whenever_asked_and_a_request_to_stop_now_and_then(
    tmp_path: Path,
) -> None:
    clock, folder = FakeClock(), tmp_path / "s"
    record = begin(function_spec(tmp_path, time_limit=100), folder)
    control = Driver(record, folder, clock=clock).control
    assert not control.should_stop_all()
    (folder / "stop").touch()
    clock.now += STOP_INTERVAL_S / 2
    assert not control.should_stop_all()
    clock.now += STOP_INTERVAL_S
    assert control.should_stop_all()
    assert control.ending == ("stopped", "cancelled")
    (folder / "stop").unlink()
    control = Driver(record, folder, clock=clock).control
    assert not control.should_stop_all()
    clock.now += 100
    assert control.should_stop_all()
    assert control.ending == ("finished", "time_limit of 1 min 40 s reached")


def test_time_that_earlier_drivers_took_counts(tmp_path: Path) -> None:
    spec = function_spec(tmp_path, time_limit=3600)
    record = begin(spec, tmp_path / "s")
    assert not Driver(record, tmp_path / "s").control.should_stop_all()
    record.sessions = [[record.created_at - 7200, record.created_at], *record.sessions]
    control = Driver(record, tmp_path / "s").control
    assert control.should_stop_all()
    assert control.ending == ("finished", "time_limit of 1 h 0 min reached")


def test_a_budget_of_epochs_that_was_used_is_used_after_a_death_too(tmp_path: Path) -> None:
    spec = function_spec(tmp_path, epochs=10)
    record = begin(spec, tmp_path / "s")
    for _, _ in zip(range(11), Driver(record, tmp_path / "s").reports(), strict=False):
        pass
    record = Record.reopen(tmp_path / "s" / "record.journal", "steps")
    control = Driver(record, tmp_path / "s").control
    assert control.is_over
    control.close()
    assert record.reason == "budget of 10 epochs used"


def test_gpu_hours_are_a_budget(tmp_path: Path) -> None:
    spec = function_spec(tmp_path, trials=6, gpu_hours=1e-9)
    spec = spec.model_copy(update={"resources": Resources(gpu=0.5)})
    driver = Driver(begin(spec, tmp_path / "s"), tmp_path / "s")
    next(driver.reports())
    assert driver.record.gpu_seconds() > 1e-9 * 3600
    assert driver.control.should_stop_all()
    driver.control.close()
    record = driver.record
    assert (record.state, record.reason) == ("finished", "budget of 1e-09 GPU-hours used")
    assert {trial.outcome for trial in record.trials} == {Outcome.STOPPED_EARLY}


def test_only_the_time_of_attempts_counts_as_trained() -> None:
    trial = TrialRecord(0, {}, {}, started_at=0.0, attempted_at=[10.0, 100.0, 200.0])
    trial.reported_at = {1: 15.0, 2: 20.0, 3: 130.0}  # it waited from 20 to 100
    assert trial.seconds_trained() == 10.0 + 30.0
    trial.ended_at = 260.0
    assert trial.seconds_trained() == 10.0 + 30.0 + 60.0


@pytest.mark.parametrize("slots", [1, 2])
def test_ends_when_the_newest_trials_failed_alike(tmp_path: Path, slots: int) -> None:
    spec = function_spec(tmp_path, "fails_later", stop_after_failures=3)
    record = finish(begin(spec, tmp_path / "search"), tmp_path / "search", slots)
    assert record.state == "failed"
    assert record.reason == "the last 3 trials all failed: OSError: no server in trial 3"
    assert sum(t.outcome is Outcome.FAILED for t in record.trials) == 3 + slots

    again = Record.open(tmp_path / "search" / "record.journal", "steps")
    again.go_on(spec)  # what failed before is told: later trials count
    finish(again, tmp_path / "search", slots)
    assert (again.state, len(again.trials)) == ("finished", 20)


def test_a_driver_that_dies_before_it_ends_the_search_is_followed_by_its_end(
    tmp_path: Path,
) -> None:
    spec = function_spec(tmp_path, "fails_later", stop_after_failures=2)
    record = begin(spec, tmp_path / "search")
    for _ in Driver(record, tmp_path / "search").reports():
        if sum(trial.outcome is Outcome.FAILED for trial in record.trials) == 3:
            break
    again = finish(
        Record.open(tmp_path / "search" / "record.journal", "steps"), tmp_path / "search"
    )
    assert (again.state, len(again.trials)) == ("failed", 5)
