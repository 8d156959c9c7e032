"""A submitted search's log is followed to the driver's last line."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from hpsearch.cli.local import LocalSearches
from hpsearch.runs import Runs
from hpsearch.searches import create_search
from tests.support.specs import make_spec


def test_the_lines_after_a_search_s_end_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver says why there is no best trial after it has let go of the search."""
    runs = Runs(tmp_path / "runs")
    folder = create_search(make_spec(tmp_path), runs, {}, {}, {})
    folder.take_over().end("finished")
    log = folder.driver_log.open("ab", buffering=0)
    fcntl.flock(log, fcntl.LOCK_SH)
    log.write(b"first\n")

    def last_words(_: float) -> None:
        log.write(b"last\n")
        log.close()

    monkeypatch.setattr("time.sleep", last_words)
    shown = LocalSearches(runs.path).logs("small", None, follow=True)
    assert list(shown) == ["first\n", "last\n"]
