"""Populations: exploits by the real control loop, samplers, records and checkpoints, without Ray:
a driver that dies anywhere changes nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpsearch.errors import SpecError
from hpsearch.integrity.record_rules import record_problems
from hpsearch.outcome import Outcome
from hpsearch.process import keep_process
from hpsearch.record import Record, TrialRecord
from hpsearch.record.lineage import lineage
from hpsearch.samplers.population import Exploit
from hpsearch.spec import SearchSpec
from hpsearch.tuning.population import Population, origin_of
from hpsearch.tuning.population_queue import PopulationQueue
from hpsearch.tuning.sampling import explorer_of
from tests.support.control import (
    Driver,
    begin,
    die_and_go_on,
    finish,
    kept_files,
    summary,
)
from tests.support.specs import make_spec

#: levels add up, so that a copy begins where its source was; some members diverge
TRAIN = """
import math

def train(config, trial):
    level = trial.load_checkpoint() or 0.0
    while trial.epoch < trial.max_epochs:
        level += 0.1 * (1 - (config["x"] - 0.3) ** 2)
        if config["x"] > 0.9 and trial.epoch == 1:
            level = math.inf
        yield {"score": level, "seconds": 1.0}
        trial.save_checkpoint(level)

def saves_once(config, trial):
    level = trial.load_checkpoint() or 0.0
    while trial.epoch < trial.max_epochs:
        level += config["x"]
        yield {"score": level, "seconds": 1.0}
        if trial.epoch == 1:
            trial.save_checkpoint(level)

def leaves(config, trial):
    level = trial.load_checkpoint() or 0.0
    while trial.epoch < (3 if trial.number == 1 else trial.max_epochs):
        level += config["x"]
        yield {"score": level, "seconds": 1.0}
        trial.save_checkpoint(level)
"""


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """Workers have processes of their own; here they share this one, by turns."""
    restore = keep_process()
    yield
    restore()


def population_spec(
    folder: Path, sampler: str = "pbt", function: str = "train", **search: Any
) -> SearchSpec:
    name = f"population_{abs(hash(str(folder)))}.py"
    (folder / name).write_text(TRAIN)
    return make_spec(
        folder,
        name="steps",
        objective={"metric": "score"},
        trainable=f"{name}:{function}",
        space={"x": {"low": 0.0, "high": 1.0}, "kind": {"choices": ["a", "b"]}},
        search={
            "trials": 30,
            "sampler": {"name": sampler, "population": 5, "perturbation_interval": 2},
            "early_stopping": {"max_epochs": 7},
            **search,
        },
    )


def copies(record: Record) -> list[TrialRecord]:
    return [trial for trial in record.trials if trial.copied_from]


@pytest.mark.parametrize(("sampler", "slots"), [("pbt", 1), ("pb2", 3)])
def test_a_driver_that_dies_again_and_again_finds_what_one_finds_with_other_workers(
    tmp_path: Path, sampler: str, slots: int
) -> None:
    spec = population_spec(tmp_path, sampler)
    expected = finish(begin(spec, tmp_path / "whole"), tmp_path / "whole", slots=2)
    folder, rng = tmp_path / "broken", random.Random(slots)
    record, deaths = die_and_go_on(begin(spec, folder), folder, rng, slots, 9)
    assert deaths > 3
    assert len(copies(record)) >= 5
    assert [trial.copied_from for trial in record.trials] == [
        trial.copied_from for trial in expected.trials
    ]
    assert summary(record) == summary(expected)
    assert kept_files(folder) == kept_files(tmp_path / "whole")
    assert list(record_problems(record)) == []


class Death(Exception):
    """Of a driver."""


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("num_ended", [0, 1, 2])
def test_a_driver_that_dies_between_a_copy_and_the_end_of_its_loser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slots: int, num_ended: int
) -> None:
    spec = population_spec(tmp_path)
    expected = finish(begin(spec, tmp_path / "whole"), tmp_path / "whole", slots=2)
    end, ended = PopulationQueue._end, list[int]()

    def dies(queue: PopulationQueue, exploit: Exploit, epoch: int) -> None:
        if len(ended) == num_ended:
            raise Death
        ended.append(exploit.loser.number)
        end(queue, exploit, epoch)

    with monkeypatch.context() as patch, pytest.raises(Death):
        patch.setattr(PopulationQueue, "_end", dies)
        finish(begin(spec, tmp_path / "broken"), tmp_path / "broken", slots)
    record = Record.reopen(tmp_path / "broken" / "record.journal", spec.name)
    record.go_on()
    assert summary(finish(record, tmp_path / "broken", slots)) == summary(expected)
    assert list(record_problems(record)) == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = tmp_path_factory.mktemp("finished")
    restore = keep_process()
    record = finish(begin(population_spec(folder), folder / "s"), folder / "s", slots=3)
    restore()
    return record


def test_a_copy_begins_where_its_source_was(finished: Record) -> None:
    for trial in copies(finished):
        origin = trial.copied_from
        assert origin is not None
        source, loser = finished.trials[origin.trial], finished.trials[origin.replaces]
        assert sorted(trial.curve) == list(range(origin.epoch + 1, trial.epochs + 1))
        gain = 0.1 * (1 - (float(trial.params["x"]) - 0.3) ** 2)  # type: ignore[arg-type]
        if trial.curve:
            before = source.curve[origin.epoch]["score"]
            assert trial.curve[origin.epoch + 1]["score"] == pytest.approx(before + gain)
        assert trial.params["kind"] == source.params["kind"]
        assert loser.outcome in (Outcome.STOPPED_EARLY, Outcome.DIVERGED)
        if loser.outcome is Outcome.STOPPED_EARLY:
            assert loser.stopped_by is not None
            numbers = {
                "score": loser.curve[origin.epoch]["score"],
                "copied": source.curve[origin.epoch]["score"],
                "of_trial": origin.trial,
            }
            assert (loser.stopped_by.rule, loser.stopped_by.rung) == ("pbt", origin.epoch)
            assert loser.stopped_by.numbers == pytest.approx(numbers)


@pytest.mark.parametrize("sampler", ["pbt", "pb2"])
def test_the_copies_of_a_record_follow_from_it_again(tmp_path: Path, sampler: str) -> None:
    folder = tmp_path / "s"
    record = finish(begin(population_spec(tmp_path, sampler), folder), folder, slots=3)
    explorer = explorer_of(record)
    assert explorer is not None
    population, again = Population(record, explorer), {}
    for epoch in (2, 4, 6):
        exploits, intervals = population.exploits(epoch), population.intervals(epoch)
        for exploit in exploits:
            number = population.successors[exploit.loser.number].number
            pending = population.pending(epoch, exploits, number)
            params = explorer.explore(number, exploit, epoch, intervals, pending)
            again[number] = (origin_of(exploit, epoch), params)
    assert again == {each.number: (each.copied_from, each.params) for each in copies(record)}
    assert len(again) >= 5


def test_a_population_trains_so_many_epochs_as_its_members(finished: Record) -> None:
    diverged = [each for each in finished.trials if each.outcome is Outcome.DIVERGED]
    assert sum(each.outcome is Outcome.COMPLETED for each in finished.trials) == 5
    # who diverges in epoch 2 has trained one of the two up to its copy
    trained = sum(len(trial.curve) for trial in finished.trials)
    assert trained == 5 * 7 - len(diverged)


def test_the_weights_of_the_best_have_a_lineage_without_a_gap(finished: Record) -> None:
    assert finished.best is not None
    stretches = lineage(finished.trials, finished.best)
    epochs = [epoch for each in stretches for epoch in range(each.first, each.last + 1)]
    assert epochs == list(range(1, 8))
    assert len(stretches) > 1
    for each in stretches:
        assert {each.first, each.last} <= set(each.trial.curve)


def test_trials_are_a_budget_of_copies_too(tmp_path: Path) -> None:
    spec = population_spec(tmp_path, trials=6)
    record = finish(begin(spec, tmp_path / "s"), tmp_path / "s", slots=2)
    assert len(copies(record)) == 1
    assert sum(each.outcome is Outcome.COMPLETED for each in record.trials) >= 4
    assert list(record_problems(record)) == []


def test_a_member_that_ends_itself_leaves(tmp_path: Path) -> None:
    spec = population_spec(tmp_path, function="leaves")
    record = finish(begin(spec, tmp_path / "s"), tmp_path / "s", slots=2)
    left = record.trials[1]
    assert (left.outcome, left.epochs) == (Outcome.COMPLETED, 3)
    assert 1 not in [t.copied_from.trial for t in copies(record) if t.copied_from.epoch > 2]  # type: ignore[union-attr]
    assert all(trial.outcome is not None for trial in record.trials)
    assert list(record_problems(record)) == []


def test_a_budget_of_epochs_ends_all_members_for_its_reason(tmp_path: Path) -> None:
    spec = population_spec(tmp_path, epochs=17)
    record = finish(begin(spec, tmp_path / "s"), tmp_path / "s", slots=2)
    assert (record.state, record.reason) == ("finished", "budget of 17 epochs used")
    assert sum(len(each.curve) for each in record.trials) >= 17
    ended = [each for each in record.trials if each.reason == record.reason]
    assert {each.outcome for each in ended} == {Outcome.STOPPED_EARLY}
    assert len({each.epochs for each in ended}) > 1, "some have waited, some trained"
    assert list(record_problems(record)) == []


def test_a_function_that_saves_too_seldom_is_told_so(tmp_path: Path) -> None:
    spec = population_spec(tmp_path, function="saves_once", stop_after_failures=20)
    record = finish(begin(spec, tmp_path / "s"), tmp_path / "s", slots=2)
    failed = [each for each in copies(record) if each.outcome is Outcome.FAILED]
    assert failed
    assert "must save its state after epoch 4, to be copied" in str(
        [each.reason for each in failed]
    )


def test_a_cancelled_population_is_followed_by_another(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    record = begin(population_spec(tmp_path), folder)
    driver = Driver(record, folder, slots=2)
    for i, _ in enumerate(driver.reports()):
        if i == 16:
            driver.control.cancel()
            break
    driver.control.close()
    assert record.state == "stopped"
    first = len(record.trials)
    record.go_on()
    finish(record, folder, slots=2)
    firsts = [each.number for each in record.trials[first:] if each.copied_from is None]
    assert firsts == list(range(first, first + 5))
    assert all(each.copied_from.trial >= first for each in copies(record)[-3:])  # type: ignore[union-attr]
    assert list(record_problems(record)) == []


def test_a_population_cannot_be_extended(tmp_path: Path) -> None:
    spec = population_spec(tmp_path, disk_quota=10)
    with pytest.raises(SpecError, match="must be a sampler of independent trials"):
        spec.extended(trials=5)
    assert spec.extended(num_bytes=5).search.disk_quota == 15
