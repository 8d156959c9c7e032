"""How far a search is, in lines and panels."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from hpsearch import live
from hpsearch.analysis.progress import summary
from hpsearch.live import LiveView, progress_line, status_text
from hpsearch.record import Record
from hpsearch.runs import SearchFolder
from tests.support.records import add, make_spec


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record.create(tmp_path / "record.journal", make_spec(trials=2))


def test_what_is_left_is_said_of_a_running_search_alone(record: Record) -> None:
    add(record, [0.1, 0.2])
    record.sessions = [[record.created_at, None]]
    assert ", unknown left" not in status_text(record)
    assert " left" in status_text(record)
    record.state = "finished"
    record.ended_at = record.created_at + 5
    assert " left" not in status_text(record)
    assert progress_line(record, summary(record)).endswith("0 saved; 5 s")


def test_a_search_that_is_over_has_no_line_beside_its_report(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LINE_INTERVAL_S", 0.01)
    for values in ([0.1], [0.2]):
        add(record, values)
    output = io.StringIO()
    with LiveView(Console(file=output, width=40)) as view:
        view.watch(record, SearchFolder(tmp_path))
        assert view._thread is not None
        view._thread.join(0.1)
    assert "2/2 trials" not in output.getvalue()
