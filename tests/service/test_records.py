"""Records that are kept in memory, and read again when they changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hpsearch.errors import SearchNotFoundError
from hpsearch.outcome import Outcome
from hpsearch.runs import Runs
from hpsearch.service.cache import records
from hpsearch.service.cache.records import Records
from hpsearch.service.search_files import SearchFiles
from tests.support.specs import make_spec

PARAMS = {"model.dropout": 0.1, "optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32}


def test_of_a_record_that_changed_only_what_is_new_is_read(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    written = runs.create(make_spec()).take_over()
    written.add_trial(PARAMS)
    written.end_trial(0, Outcome.FAILED)
    kept = Records(SearchFiles(runs.path))
    first, version = kept.read("small")
    assert kept.read("small") == (first, version)
    assert kept.read("small")[0] is first
    written.add_trial(PARAMS)
    written.report(1, 1, {"val_accuracy": 0.5})
    second, later = kept.read("small")
    assert second.trials == written.trials
    assert second.trials[0] is first.trials[0]
    assert later != version
    assert len(first.trials) == 1  # for those who still read it
    written.report(1, 2, {"val_accuracy": 0.6})
    written.end("finished")
    third, _ = kept.read("small")
    assert (third.state, third.trials) == ("finished", written.trials)
    assert (second.state, second.trials[1].epochs) == ("running", 1)


def test_a_record_with_more_budget_is_read_anew(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    written = runs.create(make_spec()).take_over()
    kept = Records(SearchFiles(runs.path))
    assert kept.read("small")[0].spec.search.trials == 4
    written.go_on(written.spec.extended(trials=3))
    assert kept.read("small")[0].spec.search.trials == 7


def test_another_record_in_its_place_is_read_anew(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    written = runs.create(make_spec()).take_over()
    backup = shutil.copytree(tmp_path / "small", tmp_path / "backup")
    written.add_trial(PARAMS)
    kept = Records(SearchFiles(runs.path))
    assert len(kept.read("small")[0].trials) == 1
    shutil.rmtree(tmp_path / "small")
    backup.rename(tmp_path / "small")
    assert kept.read("small")[0].trials == []


def test_few_records_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORDS", 1)
    runs = Runs(tmp_path)
    for name in ("a", "b"):
        runs.create(make_spec(name=name))
    kept = Records(SearchFiles(runs.path))
    first, _ = kept.read("a")
    kept.read("b")
    assert kept.read("a")[0] is not first
    kept.forget("a")
    with pytest.raises(SearchNotFoundError):
        kept.read("c")
