"""Which checkpoints are kept, and what they may take, over a real record and real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hpsearch.formatting import show_bytes
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.training.checkpoints import CheckpointStore
from hpsearch.tuning.retention import Retention
from tests.support.specs import make_spec
from tests.support.whole import add_trial


class Search:
    """A record and its checkpoints, of a million bytes each and a little."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder / "checkpoints"
        self.record = Record.create(folder / "record.journal", make_spec(search=settings))
        self.retention = Retention(self.record, self.folder)

    def start(self, *curve: float) -> int:
        return add_trial(self.record, list(curve))

    def save(self, number: int, epoch: int) -> str | None:
        state = {"epoch": epoch, "weights": torch.zeros(1_000_000, dtype=torch.uint8)}
        path = CheckpointStore(self.folder, number).save(epoch, state)
        checkpoint = str(path.relative_to(self.folder))
        self.record.set_checkpoint(number, checkpoint)
        return self.retention.take(number, checkpoint)

    def end(self, number: int, outcome: Outcome = Outcome.COMPLETED) -> None:
        self.record.end_trial(number, outcome)
        self.retention.end_trial(number)

    def there(self) -> set[int]:
        return {int(path.name.removeprefix("trial-")) for path in self.folder.iterdir()}


def test_the_best_and_the_unfinished_are_kept(tmp_path: Path) -> None:
    search = Search(tmp_path, keep_checkpoints=2)
    for value in (0.5, 0.7, 0.6, 0.4):
        number = search.start(0.1, 0.2, value)
        search.save(number, 3)
        search.end(number)
    stopped, running = search.start(0.9), search.start(0.1)
    search.save(stopped, 1)
    search.save(running, 1)
    search.end(stopped, Outcome.STOPPED_EARLY)
    assert search.there() == {1, 2, running}
    assert [trial.number for trial in search.record.kept()] == [1, 2]


def test_the_quota_is_of_all_checkpoints_that_are_there(tmp_path: Path) -> None:
    search = Search(tmp_path, disk_quota="2.5MB")
    best, other, third = (search.start(0.1, 0.2, value) for value in (0.5, 0.4, 0.3))
    assert search.save(best, 3) is None
    search.end(best)
    for epoch in range(1, 4):  # each in place of the last
        assert search.save(other, epoch) is None
    excess = search.save(third, 1)
    assert excess is not None
    quota, _, taken = excess.partition(" exceeded: the checkpoints take ")
    assert quota == "disk_quota of 2.5 MB"
    num_bytes = sum(file.stat().st_size for file in search.folder.rglob("*.pt"))
    assert taken == show_bytes(num_bytes) and num_bytes > 3_000_000

    again = Retention(search.record, search.folder)  # of another driver
    checkpoint = search.record.trials[third].checkpoint
    assert checkpoint is not None
    assert again.take(third, checkpoint) == excess
    search.end(other)  # no longer needed
    assert search.save(third, 2) is None


def test_a_checkpoint_that_its_worker_has_replaced_by_now_is_no_error(tmp_path: Path) -> None:
    search = Search(tmp_path, disk_quota="1KB")
    number = search.start(0.1)
    assert search.retention.take(number, "trial-0000/epoch-0001.pt") is None


def test_without_a_quota_nothing_ends_the_search(tmp_path: Path) -> None:
    search = Search(tmp_path)
    assert search.save(search.start(0.1), 1) is None


def test_nothing_is_deleted_before_the_record_holds_the_ends(tmp_path: Path) -> None:
    """A driver that dies in between would have to train such a trial again."""
    search = Search(tmp_path, keep_checkpoints=1, disk_quota="2.5MB")
    numbers = [search.start(value) for value in (0.1, 0.2, 0.3)]
    for number in numbers[:2]:
        search.save(number, 1)
    with search.retention.later(), search.record.batch():
        for number in numbers[:2]:
            search.end(number, Outcome.STOPPED_EARLY)
        assert search.there() == {0, 1}
        assert search.save(2, 1) is None  # the quota doesn't count them any more
    assert search.there() == {2}
