"""A record that version 0.1 wrote, which kept sentences where there are facts now."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

from hpsearch.analysis import SearchReport
from hpsearch.analysis.stopping import rungs
from hpsearch.outcome import CheckWarning, Outcome, RaisedError, StoppedBy
from hpsearch.record import Record, earlier_versions
from hpsearch.tuning.failures import common_failure

JOURNAL = Path(__file__).parent / "data" / "version_0_1.journal"
LINE = 15  # of its code, that raised
RULE, BUDGET, RAISED, RAISED_AGAIN, DIED, ENDED_ITSELF, RUNS = range(7)


def record(folder: Path) -> Record:
    shutil.copy(JOURNAL, folder / "record.journal")
    return Record.open(folder / "record.journal", "demo")


def test_its_sentences_are_read_as_facts(tmp_path: Path) -> None:
    trials = record(tmp_path).trials
    assert trials[RULE].stopped_by == StoppedBy("asha", 1)
    assert trials[RULE].reason == "asha at epoch 1"
    assert trials[BUDGET].stopped_by is None
    assert trials[BUDGET].reason == "time_limit of 5 s reached"
    place = ("/home/someone/train.py", LINE, "train")
    assert trials[RAISED].error == RaisedError("OSError", "away: again", *place)
    assert trials[RAISED].reason == "OSError: away: again"
    assert (trials[DIED].error, trials[DIED].reason[:24]) == (None, "its worker died 3 times:")
    assert (trials[ENDED_ITSELF].ended_itself, trials[ENDED_ITSELF].reason) == (True, "returned")
    assert trials[RUNS].reason is None
    [warning] = trials[RULE].warnings
    assert warning == CheckWarning("loss_at_init", "first loss 9.000: an even guess has 2.3")


def test_its_report_counts_what_the_rule_stopped(tmp_path: Path) -> None:
    found = record(tmp_path)
    assert [(rung.epoch, rung.stopped) for rung in rungs(found)] == [(1, 1)]
    text = SearchReport(found).to_markdown()
    assert "`loss_at_init`" in text and "first loss 9.000: an even guess has 2.3" in text


def test_its_failures_are_like_those_of_today(tmp_path: Path) -> None:
    old = record(tmp_path)
    failed = [old.trials[RAISED], old.trials[RAISED_AGAIN]]
    assert common_failure(failed, 2) == "the first 2 trials all failed: OSError: away: again"
    assert common_failure([*failed, old.trials[DIED]], 3) is None
    number = old.add_trial({"lr": 0.1, "width": 64}).number
    raised = RaisedError("OSError", "x", "/home/someone/train.py", LINE)
    old.end_trial(number, Outcome.FAILED, error=raised)
    assert common_failure([*failed, old.trials[number]], 3) is not None


def test_examples_in_docstrings() -> None:
    results = doctest.testmod(earlier_versions)
    assert (results.attempted, results.failed) == (5, 0)
