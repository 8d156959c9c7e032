"""Metrics that a trial lacks though its data allows them."""

from __future__ import annotations

from pathlib import Path

from hpsearch.analysis.missing import missing_metrics
from hpsearch.record import DataNotes, Record
from tests.support.records import add, make_spec


def test_scores_of_predictions_are_told_and_what_a_model_has_none_of_isnt(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "record.journal", make_spec())
    metrics = ("score", "val_roc_auc", "val_r2", "saturated_units")
    record.data = DataNotes(metrics=metrics, undefined={"val_r2": "there are classes"})
    add(record, [0.5] * 9)
    assert missing_metrics(record) == [
        "val_roc_auc: trial 0 doesn't have them at its last epoch: its predictions don't allow it"
    ]
