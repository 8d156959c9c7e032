"""A search ends where its forecast says that more trials bring little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch.analysis import summary
from hpsearch.early_stopping import make_early_stopper
from hpsearch.live import progress_line
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.samplers import make_sampler
from hpsearch.samplers.finals import MIN_TRIALS
from hpsearch.spec import draft_spec
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.report import Report
from hpsearch.tuning.worth import NUM_AGREEING
from tests.support.specs import make_spec

SPACE = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}


def begin(folder: Path, trials: int = 200, **stop_when: float) -> Record:
    search: dict[str, Any] = {
        "trials": trials,
        "early_stopping": {"name": "none", "max_epochs": 1},
    }
    spec = make_spec(
        folder,
        trainable="train.py:train",
        space=SPACE,
        objective={"metric": "loss", "direction": "minimize"},
        search={**search, **({"stop_when": stop_when} if stop_when else {})},
    )
    return Record.create(folder / "record.journal", spec)


def control_of(record: Record, folder: Path) -> SearchControl:
    rule, spec = make_early_stopper(record.spec), record.spec
    sampler = make_sampler(
        {"name": "auto"}, record.space, seed=0, direction="minimize", rungs=rule.rungs, slots=1
    )
    return SearchControl(record, sampler, rule, folder / spec.name)


def run(control: SearchControl, num_trials: int = 1000) -> int:
    """Train so many trials, of which each has one epoch, or all; returns how many it were."""
    for number in range(num_trials):
        if control.is_over or (trial := control.next_trial()) is None:
            return number
        x, y = (float(str(trial.params[name])) for name in "xy")
        loss = (x - 0.3) ** 2 + (y - 0.7) ** 2
        control.take_report(trial.number, Report(1, {"loss": loss}))
    return num_trials


def test_ends_it_and_says_why(tmp_path: Path) -> None:
    record = begin(tmp_path, improvement_below=0.01)
    control = control_of(record, tmp_path)
    assert 12 <= run(control) < 100
    assert control.ending is not None and control.should_stop_all()
    control.close()
    read = Record.open(record.place, record.name)
    assert read.state == "finished" and read.outlook == record.outlook
    assert read.outlook is not None and read.outlook.probability >= 0.95
    assert str(read.reason).startswith("stop_when: another ")
    assert "less than 0.01 in loss with a probability of" in str(read.reason)
    assert all(trial.outcome is Outcome.COMPLETED for trial in read.trials)


def test_ends_once_successive_forecasts_agree(tmp_path: Path) -> None:
    record = begin(tmp_path, improvement_below=1e9)  # what no forecast doubts
    assert run(control_of(record, tmp_path), MIN_TRIALS) == MIN_TRIALS
    for _ in range(2):  # drivers that die once they have asked
        record = Record.reopen(record.place, record.name)
        control = control_of(record, tmp_path)
        assert control.next_trial() is not None
        assert record.outlook is not None and record.outlook.num_agreeing == 1
    assert run(control) == NUM_AGREEING - 1
    assert record.outlook.num_ended == MIN_TRIALS + NUM_AGREEING - 1


def test_a_driver_that_takes_over_decides_alike(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    whole = begin(tmp_path / "a", improvement_below=0.01)
    num_trials = run(control_of(whole, tmp_path / "a"))
    (tmp_path / "b").mkdir()
    record = begin(tmp_path / "b", improvement_below=0.01)
    run(control_of(record, tmp_path / "b"), num_trials - 1)
    again = control_of(Record.reopen(record.place, record.name), tmp_path / "b")
    assert run(again) == 1
    assert again.record.outlook == whole.outlook
    # the end itself was not written yet: another driver comes to it as well
    last = control_of(Record.reopen(record.place, record.name), tmp_path / "b")
    assert last.next_trial() is None and last.ending == again.ending


def test_is_shown_while_it_runs(tmp_path: Path) -> None:
    record = begin(tmp_path, improvement_below=1e-9)
    run(control_of(record, tmp_path), 16)
    line = progress_line(record, summary(record))
    assert "; another 18" in line and "trials: expected -" in line


def test_is_not_asked_unless_wanted(tmp_path: Path) -> None:
    record = begin(tmp_path, trials=20)
    assert run(control_of(record, tmp_path)) == 20
    assert record.outlook is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"improvement_below": 0}, "search.stop_when.improvement_below: must be greater than 0"),
        (
            {"improvement_below": 0.1, "probability": 95},
            "search.stop_when.probability: must be less than 1, but got 95",
        ),
        ({"probability": 0.9}, "search.stop_when.improvement_below: must be given"),
        (
            {"improvment_below": 0.1, "improvement_below": 0.1},
            "search.stop_when.improvment_below: must be a known key, but got 'improvment_below'; "
            "did you mean 'improvement_below'?",
        ),
    ],
)
def test_what_it_may_not_be(value: Any, expected: str) -> None:
    raw = make_spec().to_dict()
    raw["search"] |= {"stop_when": value}
    (problem,) = draft_spec(raw).problems
    assert str(problem).startswith(expected)
