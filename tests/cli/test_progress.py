"""How far a search is, in lines and panels."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from hpsearch import live
from hpsearch.analysis.progress import summary
from hpsearch.live import LiveView, progress_line, status_text
from hpsearch.outcome import CheckWarning, Outcome
from hpsearch.record import Act, Record
from hpsearch.runs import Runs, SearchFolder
from tests.support.cli import hpsearch
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


def test_a_function_that_saves_nothing_is_told_of_once(record: Record, tmp_path: Path) -> None:
    add(record, [0.1]).warnings = [CheckWarning("checkpoint", "epoch 1 is not saved: why")]
    printed = io.StringIO()
    with LiveView(Console(file=printed, width=200)) as view:
        view.watch(record, SearchFolder(tmp_path / "demo"))
        view._say_news(record)
    assert printed.getvalue().count("warning: trial 0: epoch 1 is not saved: why") == 1


def test_what_is_taken_from_earlier_searches_is_told_once(record: Record, tmp_path: Path) -> None:
    told = "before: 3 of 4 trials fit the search space"
    printed = io.StringIO()
    with LiveView(Console(file=printed, width=40)) as view:
        view.watch(record, SearchFolder(tmp_path / "demo"))
        record.note_transfers([told])  # once the earlier searches are read
        for _ in range(2):
            view._say_news(record)
    assert printed.getvalue().count(f"warm start: {told}\n") == 1


def test_what_curves_of_running_trials_show_is_said_once_and_in_the_panel(
    record: Record, tmp_path: Path
) -> None:
    record.add_trial({"lr": 0.1, "width": 64})
    record.start_attempt(0)
    for epoch in range(1, 7):
        record.report(0, epoch, {"score": 0.1, "train_loss": 3.0 + (-1) ** epoch})
    sentence = "trial 0: learning rate too high: training loss still moves by 2 an epoch, at 4"
    printed = io.StringIO()
    with LiveView(Console(file=printed, width=200)) as view:
        view.watch(record, SearchFolder(tmp_path / "demo"))
        for _ in range(2):
            view._say_diagnoses(record)
    assert printed.getvalue().count(sentence) == 1
    shown = status_text(record, width=200)
    assert "trial 0" in shown and sentence.partition(": ")[2] in shown
    record.end_trial(0, Outcome.COMPLETED)
    assert "learning rate too high" not in status_text(record, width=200)


def test_a_paused_search_says_who_paused_it(record: Record) -> None:
    add(record, [0.1])
    add(record, [0.1], outcome=None)
    record.note_act(Act("1", "ann", 1.0, "pause", taken_at=2.0))
    assert "paused by ann, 1 running" in progress_line(record, summary(record))
    record.set_resting(True)
    line = progress_line(record, summary(record))
    assert "1/2 trials, paused by ann, " in line
    assert "0 stopped early, 0 failed; " in line
    record.trials[0].outcome = Outcome.STOPPED_BY_USER
    assert "0 stopped early, 0 failed, 1 stopped by users; " in progress_line(
        record, summary(record)
    )
    record.note_act(Act("2", "ann", 3.0, "go_on", taken_at=4.0))
    record.set_resting(False)
    assert "1 running" in progress_line(record, summary(record))


def test_a_list_has_the_leading_value_before_any_trial_completed(tmp_path: Path) -> None:
    record = Runs(tmp_path / "runs").create(make_spec(trials=2)).take_over()
    record.add_trial({"lr": 0.1, "width": 64})
    record.report(0, 1, {"score": 0.25})
    assert "0/2     0.25 after 1 epoch  score" in hpsearch("list", cwd=tmp_path).stdout
    record.report(0, 9, {"score": 0.5})
    record.end_trial(0, Outcome.COMPLETED)
    assert "1/2     0.5   score" in hpsearch("list", cwd=tmp_path).stdout


def test_a_search_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    place = Runs(tmp_path / "runs")
    for name in ("damaged", "whole"):
        place.create(make_spec().model_copy(update={"name": name})).take_over()
    place.search("damaged").journal.write_bytes(b"")
    shown = hpsearch("list", cwd=tmp_path).stdout
    assert "damaged unreadable" in " ".join(shown.split())
    assert "there is no complete record" in shown
    assert any(line.split()[:1] == ["whole"] for line in shown.splitlines())
