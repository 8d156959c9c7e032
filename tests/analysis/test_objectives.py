"""What is shown of several objectives and of constraints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch.analysis import SearchReport
from hpsearch.analysis.next_steps import no_best
from hpsearch.analysis.plain import plain_best, plain_summary, plain_trial
from hpsearch.live import progress_line, status_text
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.spec import draft_spec
from hpsearch.tracking.run_content import search_content

SEVERAL = [{"metric": "score"}, {"metric": "latency", "direction": "minimize"}]
BOUND = [{"metric": "memory", "max": 10}]
RESULTS = [(0.9, 9.0, 1.0), (0.8, 9.5, 1.0), (0.5, 2.0, 1.0), (0.99, 1.0, 11.0)]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Trials 0 and 2 are the front, 1 is dominated, 3 breaks the constraint."""
    return made(tmp_path, {"objectives": SEVERAL}, RESULTS)


def made(folder: Path, objectives: dict[str, Any], results: list[tuple[float, ...]]) -> Record:
    raw = {"name": "s", "trainable": "t.py:f", "space": {"x": {"low": 0.0, "high": 1.0}}}
    spec = draft_spec({**raw, **objectives, "constraints": BOUND}).spec
    assert spec is not None
    record = Record.create(folder / "r.journal", spec)
    for score, latency, memory in results:
        number = record.add_trial({"x": score}).number
        record.report(number, 1, {"score": score, "latency": latency, "memory": memory})
        record.end_trial(number, Outcome.COMPLETED)
    return record


def test_a_report_has_the_front_and_the_constraints(record: Record) -> None:
    report = SearchReport(record)
    text = report.to_markdown()
    assert "maximizes `score` and minimizes `latency`, with `memory` at most 10, over" in text
    assert "2 completed trials that no other beats in every objective. Trial 0 is the best" in text
    rows = [line.split(" | ") for line in text.splitlines()]
    assert ["| 2", "0.5", "2", "0.5 |"] in rows
    assert ["| `memory` at most 10", "1 of 4", "1 of 4", "1 |"] in rows
    assert [trial.number for trial in report.pareto_front] == [0, 2]


def test_the_front_is_drawn_over_the_first_objective(record: Record) -> None:
    figure = SearchReport(record).figures["pareto:latency"]
    front = figure.data[-1]
    assert (front.name, list(front.x), list(front.y)) == (
        "Pareto front (2)",
        [0.5, 0.9],
        [2.0, 9.0],
    )


def test_the_best_so_far_keeps_the_constraints(record: Record) -> None:
    drawn = SearchReport(record).figures["objective"]
    [line] = [trace for trace in drawn.data if trace.name == "best so far"]
    assert max(line.y) == 0.9
    points = [each.value for each in search_content(record).points if each.name == "best_score"]
    assert points == [0.9, 0.9, 0.9, 0.9]


def test_clients_get_the_front_as_plain_values(record: Record) -> None:
    best = plain_best(record)
    assert best is not None and best["objective"] == {"score": 0.9, "latency": 9.0}
    assert [(each["trial"], each["objectives"]) for each in best["pareto_front"]] == [
        (0, {"score": 0.9, "latency": 9.0}),
        (2, {"score": 0.5, "latency": 2.0}),
    ]
    assert plain_summary(record)["pareto_front"] == 2
    last = plain_trial(record, record.trials[3])
    assert last["broken_constraints"] == ["memory at most 10"]
    assert search_content(record).tags["pareto_front"] == "0, 2"


def test_the_terminal_shows_them(record: Record) -> None:
    progress = SearchReport(record).progress
    assert "best score 0.9 (trial 0), 2 trials on the Pareto front" in progress_line(
        record, progress
    )
    text = status_text(record)
    assert "memory at most 10: broken by 1 of 4 trials" in text
    assert "Pareto front" in text


def test_that_all_break_a_constraint_is_why_there_is_no_best(tmp_path: Path) -> None:
    record = made(tmp_path, {"objective": {"metric": "score"}}, RESULTS[3:])
    told = "no trial that completed has memory at most 10, so there is no best one"
    assert no_best(record) == f"{told} yet"
    record.end("finished")
    assert no_best(record) == told
    assert told in SearchReport(record).to_markdown()
