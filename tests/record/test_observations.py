"""What a sampler is told of trials, by how they ended."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
from optuna.storages import InMemoryStorage

from hpsearch.outcome import Outcome
from hpsearch.record import Record, observations
from hpsearch.record.observations import Observations
from hpsearch.samplers.fidelity import score_at
from tests.support.records import make_spec as make_plain_spec
from tests.support.specs import make_spec

RUNGS = (1, 3, 9, 27)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.COMPLETED, [0.5, 0.7, 0.8, 0.8]),  # it ended itself, with the weights of now
        (Outcome.STOPPED_EARLY, [0.5, 0.7, None, None]),
        (None, [0.5, 0.7, None, None]),
    ],
)
def test_what_is_known_of_a_trial_at_each_rung(
    tmp_path: Path, outcome: Outcome | None, expected: list[float | None]
) -> None:
    spec = make_spec(search={"early_stopping": {"max_epochs": 27}})
    record = Record.create(tmp_path / "record.journal", spec)
    record.add_trial({"model.dropout": 0.1, "optimizer": "sgd", "optimizer.sgd.lr": 0.1,
                      "batch_size": 32})  # fmt: skip
    for epoch, value in enumerate([0.5, 0.6, 0.7, 0.8], 1):
        record.report(0, epoch, {"val_accuracy": value})
    if outcome is not None:
        record.end_trial(0, outcome)
    (observation,) = Observations(record).read()
    assert [score_at(observation, rung, "maximize") for rung in RUNGS] == expected
    assert record.trials[0].epochs == 4


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samplers see results in batches of 4 from 16 trials on, of 8 from 32 on."""
    monkeypatch.setattr(observations, "BATCHED_FROM", 16)
    monkeypatch.setattr(observations, "NUM_BATCHES", 4)


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("rule", ["asha", "asha_promotion"])
def test_a_new_driver_shows_samplers_the_batches_that_the_last_one_did(rule: str) -> None:
    """Whatever has changed since the batch ended: another view of the same record has it too."""
    clock, rng = iter(range(10_000)), random.Random(0)
    spec = make_plain_spec(trials=100, early_stopping={"name": rule, "max_epochs": 9})
    record = Record.create(InMemoryStorage(), spec, clock=lambda: float(next(clock)))
    view, batches = Observations(record), []
    while len(record.trials) < 60:
        running = [trial for trial in record.trials if trial.outcome is None]
        if len(running) < 8:
            batches.append(view.for_sampler())
            assert batches[-1] == Observations(record).for_sampler()
            record.add_trial({"lr": rng.uniform(1e-3, 1), "width": 64})
            continue
        trial = rng.choice(running)
        if trial.epochs < 9 and rng.random() < 0.7:
            record.report(trial.number, trial.epochs + 1, {"score": rng.random()})
            record.set_paused(trial.number, rng.random() < 0.2)
        else:
            ends = [Outcome.COMPLETED, Outcome.STOPPED_EARLY, Outcome.FAILED, Outcome.DIVERGED]
            record.end_trial(trial.number, rng.choice(ends if trial.epochs else ends[1:]))
    # While there are few trials all is seen, later what a batch has, which is never ahead.
    lost = {trial.number for trial in record.trials if trial.outcome is Outcome.FAILED}
    results = [
        [
            (each.number, each.curve)
            for each in batch
            if each.has_result and each.number not in lost
        ]
        for batch in batches
    ]
    are_new = [b != a for a, b in pairwise(results)]
    assert sum(are_new[:15]) > 5
    assert [i + 1 for i in range(15, 59) if are_new[i]] == [20, 24, 28, *range(32, 60, 8)]


@pytest.mark.usefixtures("few_at_once")
def test_what_came_after_a_batch_is_seen_as_running() -> None:
    clock = iter(range(10_000))
    record = Record.create(
        InMemoryStorage(), make_plain_spec(trials=100), clock=lambda: float(next(clock))
    )
    for number in range(18):
        record.add_trial({"lr": 0.1, "width": 64})
        record.report(number, 1, {"score": 0.1})
    record.report(3, 2, {"score": 0.2})
    record.end_trial(3, Outcome.DIVERGED)
    seen = Observations(record).for_sampler()
    assert (seen[3].curve, seen[3].state) == ({1: 0.1}, "running")
    assert [each.number for each in seen if not each.curve] == [15, 16, 17]
    assert all(each.curve for each in Observations(record).read())
