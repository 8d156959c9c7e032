"""A record that takes long to read, as users' code may make it, keeps no other search waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpsearch.record.untrusted import UntrustedJournal
from hpsearch.service.cache.records import Records
from hpsearch.service.search_files import SearchFiles
from tests.support.reconciling import Place
from tests.support.specs import make_spec


class Slow:
    """Lets the record of `hostile` be read only once it may be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_go_on, self.begun = threading.Event(), threading.Event()
        source = SearchFiles.record_place

        def record_place(files: SearchFiles, name: str) -> UntrustedJournal | str:
            if name == "hostile":
                self.begun.set()
                assert self.may_go_on.wait(60)
            return source(files, name)

        monkeypatch.setattr(SearchFiles, "record_place", record_place)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    monkeypatch.setattr("hpsearch.service.cache.records.PATIENCE_S", 0.05)
    monkeypatch.setattr("hpsearch.service.cache.patience.PATIENCE_S", 2.0)
    slow = Slow(monkeypatch)
    yield slow
    slow.may_go_on.set()


def test_another_record_is_opened_meanwhile(tmp_path: Path, slow: Slow) -> None:
    place = Place(tmp_path)
    for name in ("hostile", "other"):
        place.service.runs.create(make_spec(name=name))
    records = Records(place.service.files)
    reading = threading.Thread(target=records.read, args=("hostile",), daemon=True)
    reading.start()
    assert slow.begun.wait(60)
    others: list[str] = []
    other = threading.Thread(
        target=lambda: others.append(records.read("other")[0].name), daemon=True
    )
    other.start()
    other.join(30)
    assert others == ["other"]
    slow.may_go_on.set()
    reading.join(30)


def test_the_reconciler_looks_after_the_others(tmp_path: Path, slow: Slow) -> None:
    place = Place(tmp_path)
    place.run("hostile")
    place.run("other")
    reconciler = place.reconciler()
    passes: list[bool] = []
    passing = threading.Thread(target=lambda: passes.append(reconciler.step()), daemon=True)
    passing.start()
    passing.join(30)
    assert passes == [True]
    assert slow.begun.is_set()
    table = place.service.table
    assert table.get("other").summary["state"] == "running"
    assert "state" not in table.get("hostile").summary
    slow.may_go_on.set()
    while "state" not in table.get("hostile").summary:  # once it has been read
        assert reconciler.step()
