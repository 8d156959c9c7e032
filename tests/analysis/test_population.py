"""What a report, JSON and MLflow say of a population."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.analysis import SearchReport
from hpsearch.analysis.importance import importances
from hpsearch.analysis.plain import plain_best, plain_trial, trial_log
from hpsearch.analysis.progress import summary
from hpsearch.outcome import CopiedFrom, Outcome, StoppedBy
from hpsearch.record import Record
from hpsearch.record.lineage import lineage
from hpsearch.tracking.run_content import trial_content
from tests.support.specs import make_spec
from tests.support.whole import PARAMS, add_trial

SAMPLER = {"name": "pbt", "population": 2, "perturbation_interval": 1, "quantile_fraction": 0.5}


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Trial 2 copies trial 1 after epoch 1 in the place of trial 0; it completes, as 1 does."""
    search = {"sampler": SAMPLER, "early_stopping": {"max_epochs": 3}, "trials": 3}
    record = Record.create(tmp_path / "record.journal", make_spec(tmp_path, search=search))
    add_trial(record, [0.1])
    add_trial(record, [0.2])
    copy = record.add_trial({**PARAMS, "optimizer.adam.lr": 0.012}, CopiedFrom(1, 1, 0)).number
    numbers = {"val_accuracy": 0.1, "copied": 0.2, "of_trial": 1.0}
    record.end_trial(0, Outcome.STOPPED_EARLY, stopped_by=StoppedBy("pbt", 1, numbers))
    record.start_attempt(copy)
    for epoch in (2, 3):
        record.report(1, epoch, {"val_accuracy": 0.3})
        record.report(copy, epoch, {"val_accuracy": 0.1 * epoch + 0.2})
    record.end_trial(1, Outcome.COMPLETED)
    record.end_trial(copy, Outcome.COMPLETED)
    record.end("finished")
    return record


def test_the_report_says_who_copied_whom_and_what_became_of_the_best(record: Record) -> None:
    text = SearchReport(record).to_markdown()
    assert "2 first members and 1 copy, a trial each; 6 epochs in all." in text
    assert "| 1 | 2 | 0 (0.1) | 1 (0.2) | `optimizer.adam.lr` 0.01 → 0.012 |" in text
    assert "The weights of the best trial, 2, were trained with these:" in text
    assert "| 1 | 1 | 0.1 | adam | 0.01 | 32 |" in text
    assert "| 2 to 3 | 2 | 0.1 | adam | 0.012 | 32 |" in text
    assert "## Early stopping" not in text
    assert "pbt at epoch 1" in trial_log(record.trials[0])


def test_json_has_the_lineage(record: Record) -> None:
    best = plain_best(record)
    assert best is not None
    stretches = [(s["trial"], s["first_epoch"], s["last_epoch"]) for s in best["lineage"]]
    assert stretches == [(1, 1, 1), (2, 2, 3)]
    assert best["lineage"][0]["params"] == PARAMS
    origin = {"trial": 1, "epoch": 1, "replaces": 0}
    assert plain_trial(record, record.trials[2])["copied_from"] == origin
    assert plain_trial(record, record.trials[1])["copied_from"] is None
    assert "copied from trial 1 at epoch 1, in place of trial 0" in trial_log(record.trials[2])


def test_a_run_of_mlflow_has_whose_checkpoint_it_began_with(record: Record) -> None:
    tags = trial_content(record, record.trials[2]).tags
    found = {name: tags[name] for name in ("copied_from", "copied_epoch", "replaces")}
    assert found == {"copied_from": "1", "copied_epoch": "1", "replaces": "0"}
    assert {point.step for point in trial_content(record, record.trials[2]).points} == {2, 3}
    assert "copied_from" not in trial_content(record, record.trials[1]).tags


def test_nothing_is_said_that_copies_make_wrong(record: Record) -> None:
    assert "inherit weights and hyperparameters" in importances(record).note
    assert summary(record).epochs_saved == 0


def test_a_lineage_of_a_record_that_lies_ends(record: Record) -> None:
    record.trials[1].copied_from = CopiedFrom(2, 1, 0)
    assert [each.trial.number for each in lineage(record.trials, record.trials[2])] == [2]
    record.trials[2].copied_from = CopiedFrom(99, 1, 98)
    assert "first member" in SearchReport(record).to_markdown()
