"""Records that are kept in memory, and read again when they changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.errors import SearchNotFoundError
from hpsearch.runs import Runs
from hpsearch.service import records
from hpsearch.service.records import Records
from tests.conftest import make_spec

PARAMS = {"model.dropout": 0.1, "optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32}


def test_a_record_is_read_again_when_it_changed(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    written = runs.create(make_spec()).take_over()
    kept = Records(runs)
    first, version = kept.read("small")
    assert kept.read("small") == (first, version)
    assert kept.read("small")[0] is first
    written.add_trial(PARAMS)
    second, later = kept.read("small", fresh=True)
    assert (len(second.trials), later != version) == (1, True)


def test_a_record_that_is_slow_to_read_is_read_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "PAUSE_PER_READ", 1e6)
    runs = Runs(tmp_path)
    written = runs.create(make_spec()).take_over()
    kept = Records(runs)
    first, version = kept.read("small")
    written.add_trial(PARAMS)
    assert kept.read("small") == (first, version)
    assert kept.read("small", fresh=True)[1] != version


def test_few_records_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORDS", 1)
    runs = Runs(tmp_path)
    for name in ("a", "b"):
        runs.create(make_spec(name=name))
    kept = Records(runs)
    first, _ = kept.read("a")
    kept.read("b")
    assert kept.read("a")[0] is not first
    kept.forget("a")
    with pytest.raises(SearchNotFoundError):
        kept.read("c")
