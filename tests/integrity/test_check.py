"""The check of a whole search: what it compares, and that it finds nothing where nothing is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hpsearch.errors import RecordError, TrackingError
from hpsearch.integrity.check import Findings, check_search
from hpsearch.outcome import Outcome
from hpsearch.runs import Runs
from hpsearch.tracking import sync
from hpsearch.training.checkpoints import CheckpointStore
from tests.support.specs import make_spec
from tests.support.whole import Search, add_checkpoint, add_trial


def test_nothing_is_wrong_with_an_intact_search(search: Search) -> None:
    assert search.check() == Findings(
        (
            "5 trials and 9 epochs of the record with the rules of a search",
            "5 trials of the record with Optuna's study",
            "the spec and the checkpoints of the record with the files",
            "the search and 5 trials of the record with MLflow's runs",
            "17 points of their curves with MLflow's",
        ),
        (),
    )


def test_a_store_that_is_out_of_reach_is_said_to_be(search: Search) -> None:
    (search.place.path / "file").touch()
    uri = f"sqlite:///{search.place.path / 'file' / 'mlflow.db'}"
    with pytest.raises(TrackingError, match="can't be used"):
        check_search(search.folder.open_record(), search.folder, uri)


def test_nothing_is_wrong_with_a_search_that_was_extended(search: Search) -> None:
    record = search.folder.take_over()
    spec = record.spec.extended(trials=1)
    record.go_on(spec)
    search.folder.write_spec(spec)
    number = add_trial(record, [0.6, 0.7, 0.9])
    add_checkpoint(record, search.folder, number)
    record.end_trial(number, Outcome.COMPLETED)
    shutil.rmtree(search.folder.checkpoints / "trial-0001")
    record.end("finished")
    sync(record, search.place.tracking_uri)
    assert search.check().problems == ()


def test_a_search_that_was_cut_off_is_compared_in_full(search: Search) -> None:
    record = search.folder.take_over()
    record.go_on()
    number = add_trial(record, [0.1])
    newest = add_checkpoint(record, search.folder, number)
    newest.with_name("epoch-0004.tmp").touch()
    sync(record, search.place.tracking_uri)
    findings = search.check()
    assert findings.problems == ()
    assert findings.compared[0] == (
        "an interrupted search: its driver died; `hpsearch resume small` completes what it lacks"
    )
    record.report(number, 2, {"val_accuracy": 0.2})
    (problem,) = search.check().problems
    assert problem.endswith("val_accuracy at step 2: must be [0.2], but got []")


def test_a_search_that_ends_while_it_is_read_is_not_interrupted(search: Search) -> None:
    record = search.folder.take_over()
    record.go_on()
    read_before = search.folder.open_record()
    record.end("finished")
    sync(record, search.place.tracking_uri)
    findings = check_search(read_before, search.folder, search.place.tracking_uri)
    assert findings == search.check()
    assert findings.problems == ()


def test_a_search_that_is_driven_is_not_wrong_while_it_goes_on(tmp_path: Path) -> None:
    place = Runs(tmp_path)
    folder = place.create(make_spec())
    with folder.drive():
        driver = folder.take_over()
        add_trial(driver, [0.1])
        read_before = folder.open_record()
        driver.report(0, 2, {"val_accuracy": 0.2})
        add_trial(driver, [0.1])
        add_checkpoint(driver, folder, 1)
        findings = check_search(read_before, folder, place.tracking_uri)
        assert findings.problems == ()
        assert "nothing with MLflow" in findings.compared[-1]
        assert not (tmp_path / "mlflow.db").exists()

        stray = CheckpointStore(folder.checkpoints, 7).save(1, {"epoch": 1}).parent
        (problem,) = check_search(read_before, folder, place.tracking_uri).problems
        assert problem.startswith(f"{stray}: must not exist")


def test_a_search_without_its_spec_is_still_there(search: Search) -> None:
    search.folder.spec.unlink()
    (problem,) = Search(search.place.path).check().problems
    assert problem.startswith(f"{search.folder.spec}: must be the spec of the record")


@pytest.mark.parametrize("spec", ["name: small", "- small", "{", None])
def test_a_record_that_is_nowhere_is_said_to_be(search: Search, spec: str | None) -> None:
    if spec is not None:
        search.folder.journal.unlink()
        search.folder.spec.write_text(spec)
    else:
        search.folder.spec.unlink()
        search.folder.journal.rename(search.place.path / "elsewhere")
    with pytest.raises(RecordError, match=r"spec\.yaml: must name the storage of the record"):
        search.folder.open_record()
