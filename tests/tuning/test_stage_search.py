"""A search whose trials have stages, on real Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.integrity.check import check_search
from hpsearch.outcome import Outcome
from hpsearch.runs import Runs
from hpsearch.searches import run_search
from hpsearch.spec import draft_spec
from hpsearch.validation import check

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_trials_are_compared_in_their_last_stage(tmp_path: Path) -> None:
    stages = [{"task": "reconstruction", "epochs": {"low": 1, "high": 2}}]
    rule = {"name": "asha", "max_epochs": 7, "grace_period": 3, "reduction_factor": 2}
    spec = check(
        draft_spec(
            {
                "name": "pretrained",
                "objective": {"metric": "val_accuracy", "direction": "maximize"},
                "dataset": {"name": "digits", "train_rows": 100, "val_rows": 100},
                "model": {"name": "autoencoder", "hidden_sizes": [16], "code_size": 8},
                "stages": stages,
                "optimizer": {"name": "adam", "lr": {"low": 1e-4, "high": 1e-1, "log": True}},
                "batch_size": 20,
                "search": {"trials": 6, "early_stopping": rule, "max_concurrent": 1},
            }
        )
    )
    report = run_search(spec, tmp_path)
    trials = report.record.trials
    assert report.best is not None and len(trials) == 6
    assert {trial.outcome for trial in trials} == {Outcome.COMPLETED, Outcome.STOPPED_EARLY}
    for trial in trials:
        first = min(trial.metric("val_accuracy"))
        assert first == trial.params["stages.0.epochs"] + 1
        assert [*trial.metric("stage1_val_loss")] == [*range(1, first)]
        assert trial.epochs in (3, 6, 7), "all epochs count towards the rungs"
    place = Runs(tmp_path)
    folder = place.search("pretrained")
    assert check_search(report.record, folder, place.tracking_uri).problems == ()
