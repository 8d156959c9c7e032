"""Range tests of a spec: which are made, the range that follows, and what the record keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpsearch.components import Data, load_data
from hpsearch.errors import SpecError
from hpsearch.lr_range import NO_DESCENT, conclude, find_lr_ranges, with_lr_ranges
from hpsearch.record import LrRangeNote
from hpsearch.runs import Runs
from hpsearch.spec import Range, SearchSpec
from hpsearch.tuning.on_ray.lr_range import narrow_lr_ranges
from hpsearch.validation import check_spec
from hpsearch.validation.lr_places import lr_places
from tests.support.specs import make_spec

WIDE = {"low": 1e-6, "high": 10.0, "log": True}
SGD: dict[str, Any] = {"name": "sgd", "lr": WIDE}


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data({"name": "digits"}, seed=0)


def spec_with(optimizer: Any, **sections: Any) -> SearchSpec:
    return make_spec(optimizer=optimizer, **{"batch_size": 64, **sections})


def found_for(spec: SearchSpec, data: Data) -> list[LrRangeNote]:
    return find_lr_ranges(spec, data, lr_places(spec))


def test_batch_sizes_momentum_and_weight_decay_that_are_searched_are_tested(digits: Data) -> None:
    momentum = {"low": 0.0, "high": 0.99}
    sizes = {"low": 16, "high": 64}
    [note] = found_for(spec_with({**SGD, "momentum": momentum}, batch_size=sizes), digits)
    assert [dict(curve.settings) for curve in note.curves] == [
        {"batch_size": 16}, {"batch_size": 32}, {"batch_size": 64},
        {"batch_size": 32, "momentum": 0.0}, {"batch_size": 32, "momentum": 0.99},
    ]  # fmt: skip
    plain, heavy = (conclude(lr_places(spec_with(SGD))[0], [each]) for each in note.curves[-2:])
    assert heavy.high < 0.2 * plain.high  # a step is 1 / (1 - momentum) times as long
    assert note.low == heavy.low and note.high >= plain.high


def test_each_optimizer_gets_a_range_of_its_own_within_the_specs(digits: Data) -> None:
    narrow = {"low": 1e-3, "high": 5e-3, "log": True, "prior": 2e-3}
    spec = spec_with({"choices": [SGD, {"name": "adam", "lr": narrow}]})
    notes = found_for(spec, digits)
    assert [note.name for note in notes] == ["optimizer.sgd.lr", "optimizer.adam.lr"]
    assert all(note.is_found for note in notes)
    sgd, adam = (choice["lr"] for choice in with_lr_ranges(spec, notes).optimizer.choices)
    assert 1e-3 < sgd.low < 0.1 < sgd.high < 10 and sgd.log
    assert (adam.low, adam.high, adam.prior) == (1e-3, 5e-3, 2e-3)


def test_points_of_the_user_stay_in_the_range(digits: Data) -> None:
    spec = spec_with(SGD)
    notes = found_for(spec, digits)
    points = [{"optimizer.lr": 1e-5}, {"optimizer.lr": 5, "batch_size": 64}]
    assert with_lr_ranges(spec, notes, points).optimizer["lr"] == Range(low=1e-5, high=5, log=True)


def test_a_range_elsewhere_stays_and_is_said(digits: Data) -> None:
    own = {"low": 1e-6, "high": 1e-5, "log": True}
    spec = spec_with({"name": "sgd", "lr": own})
    [note] = found_for(spec, digits)
    assert not note.is_found and "lies outside" in note.message
    assert with_lr_ranges(spec, [note]) == spec


def test_a_net_that_learns_at_no_rate_is_said(digits: Data) -> None:
    spec = spec_with(SGD, model={"name": "mlp"}, initializer={"name": "zeros"})
    [note] = found_for(spec, digits)
    assert not note.is_found and note.message == NO_DESCENT


def test_a_test_that_fails_leaves_the_range(digits: Data) -> None:
    spec = spec_with(SGD, model={"name": "cnn", "channels": [0]})
    [note] = found_for(spec, digits)
    assert not note.is_found and note.message.startswith("the range test failed: ")
    assert with_lr_ranges(spec, [note]) == spec


def test_a_schedule_changes_no_test(digits: Data) -> None:
    plain, scheduled = spec_with(SGD), spec_with(SGD, lr_schedule={"name": "one_cycle"})
    assert found_for(plain, digits) == found_for(scheduled, digits)


@pytest.mark.parametrize(
    ("sections", "rule"),
    [
        ({"optimizer": {"name": "sgd", "lr": 0.1}}, "must have a range to narrow"),
        (
            {"trainable": "train.py:train", "space": {"lr": WIDE}},
            "must be given with dataset, model and optimizer only",
        ),
    ],
)
def test_a_spec_without_a_range_of_an_optimizer_is_refused(
    tmp_path: Path, sections: dict[str, Any], rule: str
) -> None:
    (tmp_path / "train.py").write_text("def train(config, trial): yield {'val_accuracy': 0.5}")
    spec = make_spec(tmp_path, **sections, search={"lr": "auto"})
    with pytest.raises(SpecError) as caught:
        check_spec(spec)
    [problem] = [each for each in caught.value.problems if each.path == "search.lr"]
    assert problem.rule.startswith(rule)


def test_the_range_is_in_the_record_and_found_once(digits: Data, tmp_path: Path) -> None:
    place = Runs(tmp_path / "runs")
    spec = spec_with(SGD, search={"lr": "auto"})
    folder = place.create(spec)
    record = folder.take_over()
    narrow_lr_ranges(record, digits, folder)
    found = record.spec.optimizer["lr"]
    assert found != spec.optimizer["lr"]
    assert record.space.distributions["optimizer.lr"].high == found.high  # type: ignore[attr-defined]
    read = folder.open_record()
    assert read.spec == record.spec and read.lr_ranges == record.lr_ranges
    assert f"high: {found.high}" in folder.spec.read_text()
    again = folder.take_over()
    narrow_lr_ranges(again, replace(digits, train=digits.val or digits.train), folder)
    assert again.spec == read.spec  # another driver makes no other tests
    assert read.spec.with_values({"optimizer": {"name": "sgd", "lr": 0.1}}).search.lr is None
