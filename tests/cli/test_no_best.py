"""Searches without a best trial: their exit status, the reason, and next steps that work."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hpsearch.analysis import SearchReport
from hpsearch.analysis.next_steps import common_end, failed_share, next_steps, why_no_best
from hpsearch.cli.following import exit_status
from hpsearch.cli.local import LocalSearches
from hpsearch.errors import HpsearchError
from hpsearch.live import status_text
from hpsearch.outcome import Outcome, RaisedError
from hpsearch.record import Record
from hpsearch.runs import Runs
from tests.support.cli import hpsearch
from tests.support.specs import make_spec
from tests.support.whole import add_trial

TRAIN = """
import threading
from pathlib import Path

def train(config, trial):
    if Path(__file__).with_name("slow").exists():
        threading.Event().wait()
    yield {"score": config["x"]}

def fails(config, trial):
    print("about to fail")
    raise ValueError(f"no data for {config['x']}")
"""
SPEC = """
name: {name}
objective: {{metric: score}}
trainable: no_best.py:{function}
space: {{x: {{low: 0.0, high: 1.0}}}}
search: {{trials: 2, max_concurrent: 1, early_stopping: {{max_epochs: 1}}{more}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "no_best.py").write_text(TRAIN)
    (tmp_path / "slow").touch()
    slow = SPEC.format(name="slow", function="train", more=", time_limit: 1")
    (tmp_path / "slow.yaml").write_text(slow)
    (tmp_path / "fails.yaml").write_text(
        SPEC.format(name="fails", function="fails", more=", dry_epoch: false")
    )
    return tmp_path


def proposed(output: str, verb: str) -> list[str]:
    """Return the command of a verb that is proposed as a next step."""
    lines = output.partition("Next:")[2].splitlines()
    line = next(line for line in lines if line.strip().startswith(f"hpsearch {verb}"))
    return shlex.split(line.strip().partition("  ")[0])[1:]


def test_a_time_limit_shorter_than_an_epoch(folder: Path) -> None:
    done = hpsearch("run", "slow.yaml", cwd=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "completed: 1 stopped early: time_limit of 1 s reached" in done.stdout
    assert "hpsearch best" not in done.stdout
    refused = hpsearch("best", "slow", cwd=folder)
    assert "time_limit of 1 s reached" in refused.stderr
    assert "time_limit of 1 s reached" in hpsearch("report", "slow", cwd=folder).stdout
    (folder / "slow").unlink()
    again = hpsearch(*proposed(done.stdout, "extend"), cwd=folder)
    assert again.returncode == 0, again.stdout + again.stderr
    assert hpsearch(*proposed(again.stdout, "best"), cwd=folder).returncode == 0


def test_all_trials_fail_but_fewer_than_end_a_search(folder: Path) -> None:
    done = hpsearch("submit", "fails.yaml", "--watch", "--runs", "runs", cwd=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    reason = "none of 2 trials completed: 2 failed: ValueError: no data for 0."
    assert done.stdout.count(reason) == 2  # as the driver prints, and as its status
    shown = hpsearch(*proposed(done.stdout, "logs"), cwd=folder)
    assert "about to fail" in shown.stdout and "Traceback" in shown.stdout


def record_of(tmp_path: Path, **search: Any) -> Record:
    return Record.create(tmp_path / "record.journal", make_spec(search={"trials": 3, **search}))


def test_the_commonest_reason_is_told_with_its_count(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    add_trial(record, [], Outcome.FAILED, "KeyError: 'x'")
    for epoch in (1, 2):
        number = add_trial(record, [])
        message = f"train_loss is nan at epoch {epoch}"
        record.end_trial(number, Outcome.DIVERGED, error=RaisedError("X", message, "a.py", 3))
    assert why_no_best(record) is None  # it goes on
    record.end("finished")
    told = "2 diverged: X: train_loss is nan at epoch 1 (trial 1 first)"
    assert why_no_best(record) == f"none of 3 trials completed: {told}"
    for text in (status_text(record), SearchReport(record).to_markdown()):
        assert told in " ".join(text.split())
    assert list(next_steps(record)) == [
        "hpsearch report small",
        "hpsearch logs small --trial 1",
        "hpsearch extend small --trials 3",
        "hpsearch ui",
    ]


def test_the_best_partial_trial_is_named_where_none_completed(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    add_trial(record, [0.3], Outcome.STOPPED_EARLY, "budget of 3 epochs used")
    add_trial(record, [0.2, 0.4], Outcome.STOPPED_EARLY, "budget of 3 epochs used")
    add_trial(record, [0.2, 0.9, 0.9], Outcome.DIVERGED, "train_loss is nan at epoch 3")
    record.end("finished")
    partial = "the best partial one is trial 1: val_accuracy 0.4 after 2 of 3 epochs"
    assert partial in (why_no_best(record) or "")
    assert partial in " ".join(status_text(record).split())


def test_download_says_that_the_best_trial_saved_nothing(tmp_path: Path) -> None:
    record = Runs(tmp_path).create(make_spec(search={"trials": 1})).open_record()
    add_trial(record, [0.1, 0.2, 0.3], Outcome.COMPLETED)
    with pytest.raises(HpsearchError, match="the best trial, 0, has no checkpoint"):
        LocalSearches(tmp_path).download("small", tmp_path)


def test_a_search_with_a_best_trial_tells_of_its_failures_too(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    add_trial(record, [], Outcome.FAILED, "KeyError: 'x'")
    add_trial(record, [0.1, 0.2, 0.3], Outcome.COMPLETED)
    record.end("finished")
    assert why_no_best(record) is None
    share = "1 of 2 trials (50%) failed; the result rests on the others"
    told = f"{share}; most frequent: KeyError: 'x' (1 trial)"
    assert f"warning: {told}" in " ".join(status_text(record).split())
    assert f"Warning: {told}" in SearchReport(record).to_markdown()
    for _ in range(3):
        add_trial(record, [0.1, 0.2, 0.3], Outcome.COMPLETED)
    assert (
        str(failed_share(record))
        == "1 of 5 trials (20%) failed; most frequent: KeyError: 'x' (1 trial)"
    )
    assert list(next_steps(record, " --runs r")) == [
        "hpsearch report small --runs r",
        "hpsearch best small --runs r",
        "hpsearch ui --runs r",
    ]
    assert list(next_steps(record, on_service=True)) == [
        "hpsearch report small",
        "hpsearch best small",
    ]


@contextmanager
def ended(record: Record, state: Any = "finished") -> Iterator[list[str]]:
    record.end(state)
    yield [step.removeprefix("hpsearch ") for step in next_steps(record)]


def test_more_of_the_budget_that_is_used_is_proposed(tmp_path: Path) -> None:
    for name, search, expected in (
        ("epochs", {"epochs": 1}, "extend small --epochs 3"),
        ("time", {"time_limit": 1e-9}, "extend small --time 10m"),
        ("hour", {"time_limit": 7200}, None),  # it has time left
        ("trials", {"trials": 1, "epochs": 1}, "extend small --trials 1 --epochs 3"),
    ):
        (tmp_path / name).mkdir()
        record = record_of(tmp_path / name, **search)
        add_trial(record, [0.1], Outcome.STOPPED_EARLY, "budget")
        with ended(record) as steps:
            extensions = [step for step in steps if step.startswith("extend")]
            assert extensions == ([] if expected is None else [expected]), name


def test_a_search_that_was_stopped_can_be_resumed(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    assert why_no_best(record) is None
    with ended(record, "stopped") as steps:
        assert "resume small" in steps
    assert why_no_best(record) == "no trial has started, so there is no best one"
    assert common_end(record.trials) is None


@pytest.mark.parametrize(
    ("state", "has_best", "status"),
    [("finished", True, 0), ("finished", False, 1), ("failed", True, 1), ("stopped", False, 130)],
)
def test_exit_status(state: str, has_best: bool, status: int) -> None:
    assert exit_status(state, has_best) == status
