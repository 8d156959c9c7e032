"""The last lines of a search: the best trial's metrics, whatever their names are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from hpsearch.analysis import SearchReport
from hpsearch.live import render_report
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from tests.support.records import make_spec


@pytest.mark.parametrize(
    ("metrics", "line"),
    [
        ({"score": 0.5, "loss": 2.0, "seconds": 1.0}, "metrics score 0.5, loss 2"),
        ({"score": 0.5, "val_loss": 2.0}, "validation val_loss 2"),
    ],
)
def test_tell_the_best_trials_metrics(
    tmp_path: Path, metrics: dict[str, float], line: str
) -> None:
    record = Record.create(tmp_path / "record.journal", make_spec())
    record.add_trial({"lr": 0.1, "width": 64})
    record.report(0, 9, metrics)
    record.end_trial(0, Outcome.COMPLETED)
    record.end("finished")
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as captured:
        console.print(render_report(SearchReport(record)))
    assert line in [" ".join(each.split()) for each in captured.get().splitlines()]
