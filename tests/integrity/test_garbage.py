"""The removal of what searches left behind, and of nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hpsearch.errors import SearchRunningError
from hpsearch.integrity.garbage import DRAFT_AGE_S, Garbage, find_garbage, remove
from hpsearch.outcome import Outcome
from hpsearch.runs import Runs, SearchFolder
from hpsearch.training.checkpoints import CheckpointStore
from tests.support.specs import make_spec
from tests.support.whole import add_checkpoint, add_trial


def make_old(path: Path) -> Path:
    """Let a draft look as if its writer had died long ago."""
    long_ago = time.time() - DRAFT_AGE_S - 60
    os.utime(path, (long_ago, long_ago))
    return path


def make_garbage(place: Runs, name: str) -> tuple[SearchFolder, dict[Path, int]]:
    """Make a search with garbage of each kind; returns it with what is garbage, in bytes."""
    folder = place.create(make_spec(name=name))
    record = folder.open_record()
    for value in (0.5, 0.8):
        number = add_trial(record, [0.1, 0.2, value])
        add_checkpoint(record, folder, number)
        record.end_trial(number, Outcome.COMPLETED)
    runs_still = CheckpointStore(folder.checkpoints, add_trial(record, [0.1]))
    runs_still.save(1, {"epoch": 1})
    worse = folder.checkpoints / "trial-0000" / "epoch-0003.pt"
    unfinished = runs_still.folder / "epoch-0002.tmp"
    draft = folder.path / ".report.md.0123"
    unknown = folder.checkpoints / "trial-0009" / "epoch-0001.pt"
    for path in (
        unfinished,
        draft,
        unknown,
        folder.spec_draft,
        folder.ray / "generation" / "trial.json",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    make_old(draft)
    (folder.path / ".report.html.4567").touch()  # somebody writes it now
    small = dict.fromkeys((unfinished, draft, unknown.parent, folder.spec_draft), 5)
    return folder, {worse.parent: worse.stat().st_size, **small}


def sizes(garbage: list[Garbage]) -> dict[Path, int]:
    return {item.path: item.num_bytes for item in garbage}


def files(path: Path) -> set[Path]:
    return {file for file in path.rglob("*") if file.is_file() and file.name != "driver.lock"}


def test_garbage_is_found_and_removed_and_nothing_else(tmp_path: Path) -> None:
    place = Runs(tmp_path)
    folder, expected = make_garbage(place, "cut-off")
    dead, alive, other = (tmp_path / name for name in (".half.01", ".half.23", ".cache.01"))
    for path in (dead / "checkpoints", alive / "checkpoints", other):
        path.mkdir(parents=True)
    make_old(dead)
    make_old(other)
    expected[dead] = 0
    before = files(tmp_path)

    found = find_garbage(place)
    assert sizes(found) == expected
    assert files(tmp_path) == before
    assert remove(found) == sum(expected.values())
    gone = {path for path in before if {path, *path.parents} & expected.keys()}
    assert (len(gone), files(tmp_path)) == (5, before - gone)
    assert not dead.exists()
    assert alive.exists() and other.exists()
    assert find_garbage(place) == []
    assert remove(found) == 0
    assert folder.ray.is_dir()  # of a search that can be resumed


def test_rays_files_go_when_the_search_has_ended(tmp_path: Path) -> None:
    place = Runs(tmp_path)
    folder, expected = make_garbage(place, "ended")
    record = folder.open_record()
    record.end_trial(2, Outcome.STOPPED_EARLY)
    record.end("finished")
    assert set(sizes(find_garbage(place))) == {
        *(path for path in expected if path.name != "epoch-0002.tmp"),
        folder.checkpoints / "trial-0002",
        folder.ray,
    }
    remove(find_garbage(place))
    assert not folder.ray.exists()
    assert {path.name for path in folder.checkpoints.iterdir()} == {"trial-0001"}


def test_a_search_that_is_driven_is_left_alone(tmp_path: Path) -> None:
    place = Runs(tmp_path)
    folder, expected = make_garbage(place, "driven")
    before = files(tmp_path)
    found = find_garbage(place)
    assert sizes(found) == expected
    with folder.drive():  # after it was found, and while it is looked for
        assert find_garbage(place) == []
        assert remove(found) == 0
    assert files(tmp_path) == before


def test_what_a_driver_needs_by_now_stays(tmp_path: Path) -> None:
    place = Runs(tmp_path)
    folder, expected = make_garbage(place, "gone-on")
    found = find_garbage(place)
    with folder.drive():
        folder.write_spec(make_spec(name="gone-on"))
        record = folder.take_over()
        while len(record.trials) <= 9:
            add_trial(record, [])
    needed = folder.checkpoints / "trial-0009"
    assert remove(found) == sum(expected.values()) - 5 - 5
    assert needed.is_dir()


def test_no_driver_starts_while_a_search_is_held(tmp_path: Path) -> None:
    folder = Runs(tmp_path).create(make_spec())
    with folder.hold() as is_held:
        assert is_held
        with pytest.raises(SearchRunningError), folder.drive():
            pass
    with folder.drive(), folder.hold() as is_held:
        assert not is_held


def test_a_record_that_cannot_be_read_holds_up_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = Runs(tmp_path)
    _, expected = make_garbage(place, "readable")
    broken, _ = make_garbage(place, "broken")
    broken.journal.write_bytes(b"")
    assert sizes(find_garbage(place)) == expected
    assert "broken skipped" in caplog.text


def test_what_links_lead_to_stays(tmp_path: Path) -> None:
    place = Runs(tmp_path)
    folder, expected = make_garbage(place, "cut-off")
    hostile = place.create(make_spec(name="hostile"))
    hostile.checkpoints.rmdir()
    hostile.checkpoints.symlink_to(folder.checkpoints)  # all that it has no trials of
    record = folder.open_record()
    kept = {folder.checkpoints / f"trial-{trial.number:04}" for trial in record.kept()}
    assert kept and all(path in sizes(find_garbage(place)) or path.is_dir() for path in kept)

    remove([item for item in find_garbage(place) if item.search == hostile])
    assert all(path.is_dir() for path in (*kept, *expected) if path.parent == folder.checkpoints)
