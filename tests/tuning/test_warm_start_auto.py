"""`warm_start: auto` names the searches of a runs folder that are alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch.driver import with_warm_start
from hpsearch.outcome import Outcome
from hpsearch.runs import Runs
from tests.support.specs import make_spec

PLANE = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}


def searched(place: Runs, name: str, space: Any, num_trials: int = 3) -> None:
    """A search of the folder in which so many trials have ended."""
    spec = make_spec(place.path, name=name, trainable="train.py:train", space=space)
    record = place.create(spec).take_over()
    for number in range(num_trials):
        record.add_trial(dict.fromkeys(space, 0.1 * number))
        record.report(number, 1, {spec.objective.metric: 0.5})
        record.end_trial(number, Outcome.STOPPED_EARLY)


def test_finds_them_and_leaves_the_rest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = Runs(tmp_path / "runs")
    searched(place, "alike", PLANE)
    searched(place, "empty", PLANE, num_trials=0)
    searched(place, "other", {"x": PLANE["x"]})
    searched(place, "damaged", PLANE)
    place.search("damaged").journal.write_bytes(b"")
    spec = make_spec(
        place.path,
        name="new",
        trainable="train.py:train",
        space=PLANE,
        search={"warm_start": "auto"},
    )
    found = with_warm_start(spec, place)
    assert found.search.warm_start == ("alike",)
    assert "warm start of new without it" in caplog.text and "damaged" in caplog.text
    assert with_warm_start(found, place) == found  # what is named stays


def test_begins_cold_where_there_are_none(tmp_path: Path) -> None:
    spec = make_spec(trainable="train.py:train", space=PLANE, search={"warm_start": ["auto"]})
    assert with_warm_start(spec, Runs(tmp_path)).search.warm_start == ()
