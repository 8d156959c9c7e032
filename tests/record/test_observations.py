"""What a sampler is told of trials, by how they ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.record.observations import Observations
from hpsearch.samplers.fidelity import score_at
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
