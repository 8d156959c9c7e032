"""Where to look next: which ranges move, narrow or stay, on records that are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpsearch.analysis.narrowing import FewerChoices, NewRange, next_changes, next_section
from hpsearch.next_spec import continued, next_spec
from hpsearch.record import Record
from hpsearch.spec import draft_spec
from hpsearch.validation import load_checked_spec
from tests.support import records
from tests.support.searched import searched
from tests.support.specs import make_spec

LOG = {"low": 1e-4, "high": 1.0, "log": True}
LINE = {"low": 0.0, "high": 1.0}


def test_a_range_narrows_to_where_the_best_lie(tmp_path: Path) -> None:
    record = searched(tmp_path, {"lr": LOG, "x": LINE}, lambda p: -abs(np.log10(p["lr"]) + 2))
    [change] = next_changes(record)
    assert isinstance(change, NewRange) and change.name == "lr" and not change.is_wider
    low, high = change.after
    assert 1e-4 < low < 0.01 < high < 1.0
    assert "the best 8 trials lie from" in change.why
    spec, _ = next_spec(record)
    assert (spec.space["lr"].low, spec.space["lr"].high, spec.space["lr"].log) == (low, high, True)
    assert spec.space["x"] == record.spec.space["x"]
    assert spec.name == "small-next" and spec.search.warm_start == ("small",)
    assert draft_spec(spec.to_dict()).spec is not None


def test_ends_stay_powers_of_two(tmp_path: Path) -> None:
    powers = {"low": 8, "high": 1024, "powers_of_two": True}
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    inner = searched(tmp_path / "in", {"n": powers}, lambda p: -abs(np.log2(p["n"]) - 6))
    [narrower] = next_changes(inner)
    assert isinstance(narrower, NewRange) and narrower.after == (16, 128)
    outer = searched(tmp_path / "out", {"n": powers}, lambda p: np.log2(p["n"]))
    [wider] = next_changes(outer)
    assert isinstance(wider, NewRange) and wider.is_wider and wider.after == (256, 16384)
    spec, _ = next_spec(outer)
    assert spec.space["n"].powers_of_two and draft_spec(spec.to_dict()).spec is not None


def test_a_spec_that_goes_on_is_one_that_can_run(tmp_path: Path) -> None:
    """A population takes no warm start, and the plan of a recipe is over."""
    lr = {"name": "sgd", "lr": LOG, "momentum": {"low": 0.5, "high": 0.9}}
    for sampler, earlier, following in [
        ("random", ("small",), "random"),
        ("disciplined", ("small",), "auto"),
        ("pbt", (), "pbt"),
    ]:
        search = {"sampler": sampler, "trials": 12, "early_stopping": {"max_epochs": 9}}
        settings = {"model": "mlp", "batch_size": 32, "optimizer": lr, "search": search}
        spec = continued(make_spec(tmp_path, **settings), "small")
        assert spec.search.warm_start == earlier
        assert spec.search.sampler["name"] == following
        path = tmp_path / "next.yaml"
        path.write_text(spec.model_copy(update={"name": "more"}).to_yaml())
        load_checked_spec(path)


@pytest.mark.parametrize(("num_elsewhere", "narrows"), [(4, False), (16, True)])
def test_a_range_stays_while_few_trials_have_looked_elsewhere(
    tmp_path: Path, num_elsewhere: int, narrows: bool
) -> None:
    """Where a sampler settles early, the best lie where it has looked."""
    record = Record.create(tmp_path / "r.journal", records.make_spec(space={"lr": LOG}))
    elsewhere = np.geomspace(0.2, 1.0, num_elsewhere)
    for lr in [*np.geomspace(0.005, 0.02, 20), *elsewhere]:
        records.add(record, [1.0 - abs(np.log10(lr) + 2)], lr=float(lr))
    changes = next_changes(record)
    assert bool(changes) == narrows
    assert not narrows or changes[0].after[1] < 0.2  # type: ignore[operator]


@pytest.mark.parametrize(("sign", "moved"), [(1, (None, 100.0)), (-1, (1e-6, None))])
def test_a_bound_that_the_best_press_against_moves(
    tmp_path: Path, sign: int, moved: tuple[float | None, float | None]
) -> None:
    record = searched(tmp_path, {"lr": LOG}, lambda p: sign * float(np.log(p["lr"])))
    [change] = next_changes(record)
    assert isinstance(change, NewRange) and change.is_wider and "press against" in change.why
    for end, expected in zip(change.after, moved, strict=True):
        assert expected is None or end == pytest.approx(expected)


def test_noise_changes_nothing(tmp_path: Path) -> None:
    drawn = np.random.default_rng(1)
    space = {"lr": LOG, "x": LINE, "kind": {"choices": ["a", "b"]}}
    record = searched(tmp_path, space, lambda p: float(drawn.normal()))
    assert next_changes(record) == [] and next_section(record) == []


def test_a_choice_that_none_of_the_best_has_goes_with_its_ranges(tmp_path: Path) -> None:
    kind = {"choices": [{"name": "a", "lr": LOG}, {"name": "b", "lr": LINE}]}
    record = searched(tmp_path, {"kind": kind}, lambda p: float(p["kind"] == "b"))
    changes = next_changes(record)
    [choices] = [change for change in changes if isinstance(change, FewerChoices)]
    assert choices.name == "kind" and "a" not in choices.after
    spec, _ = next_spec(record)
    assert "a" not in spec.space["kind"].labels


def test_a_bound_of_a_component_is_never_crossed(tmp_path: Path) -> None:
    optimizer = {"name": "sgd", "lr": 0.1, "momentum": {"low": 0.0, "high": 0.99}}
    record = searched(
        tmp_path,
        {},
        lambda p: p["optimizer.momentum"],
        dataset="digits",
        model={"name": "mlp"},
        optimizer=optimizer,
        batch_size=32,
    )
    [change] = next_changes(record)
    assert isinstance(change, NewRange) and change.after[1] > 1
    spec, [made] = next_spec(record)
    assert isinstance(made, NewRange) and made.after[1] == 0.99 and made.after[0] > 0
    assert spec.optimizer["momentum"].high == 0.99


def test_says_nothing_of_few_trials(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, trainable="train.py:train", space={"lr": LOG})
    record = Record.create(tmp_path / "record.journal", spec)
    assert next_changes(record) == []
    assert next_spec(record, "second")[0].name == "second"


def test_a_search_under_constraints_begins_anew(tmp_path: Path) -> None:
    """`validate` refuses a warm start with constraints."""
    limit = [{"metric": "cost", "max": 1.0}]
    spec = make_spec(tmp_path, trainable="train.py:train", space={"lr": LOG}, constraints=limit)
    record = Record.create(tmp_path / "record.journal", spec)
    found, _ = next_spec(record)
    assert found.search.warm_start == () and found.constraints == spec.constraints
