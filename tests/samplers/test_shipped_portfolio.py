"""The portfolio that comes with hpsearch, as first points of a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpsearch.driver import with_warm_start
from hpsearch.errors import SpecError
from hpsearch.runs import Runs
from hpsearch.samplers.shipped_portfolio import SIZE, members, shipped_points
from hpsearch.samplers.warm_start import first_points
from hpsearch.space import SearchSpace
from hpsearch.spec import SearchSpec, draft_spec
from hpsearch.validation import check
from tests.support.specs import make_spec

RATE = {"low": 1e-5, "high": 1.0, "log": True}


def points_of(trials: int = 40, **sections: Any) -> list[dict[str, Any]]:
    spec = make_spec(search={"trials": trials}, **sections)
    points = shipped_points(spec)
    assert shipped_points(spec) == points
    return points


def test_members_come_in_their_order_with_the_values_of_the_space() -> None:
    points = points_of(
        optimizer={"name": "sgd", "lr": RATE, "momentum": {"low": 0.0, "high": 0.87}},
        model={"name": "mlp", "hidden_sizes": [8], "dropout": {"low": 0.0, "high": 0.2}},
        batch_size={"low": 64, "high": 256, "log": True},
    )
    expected = [
        {
            "optimizer.lr": member["lr"],
            "optimizer.momentum": min(0.87, member["momentum"]),
            "batch_size": max(64, int(member["batch_size"])),
            "model.dropout": min(0.2, member["dropout"]),
        }
        for member in members()
    ]
    assert points == expected


def test_optimizers_take_turns_and_choices_of_numbers_are_the_nearest_by_ratio() -> None:
    choices = [
        {"name": "sgd", "lr": RATE, "momentum": {"low": 0.0, "high": 0.99}},
        {"name": "adam", "lr": RATE},
        {"name": "nesterov", "lr": RATE},
    ]
    points = points_of(optimizer={"choices": choices}, batch_size={"choices": [8, 100]})
    assert [next(iter(point)) for point in points[:4]] == [
        "optimizer.sgd.lr",
        "optimizer.nesterov.lr",
    ] * 2
    assert points[0] == {
        "optimizer.sgd.lr": members()[0]["lr"],
        "optimizer.sgd.momentum": members()[0]["momentum"],
        "batch_size": 100 if members()[0]["batch_size"] > 28 else 8,
        "model.dropout": members()[0]["dropout"],
    }


@pytest.mark.parametrize(("momentum", "expected"), [(0.9, 0.9), (0.0, 0.0), (0.5, None)])
def test_a_momentum_takes_its_own_members(momentum: float, expected: float | None) -> None:
    rates = {member["lr"] for member in members() if member["momentum"] == expected}
    for given in (momentum, {"low": momentum, "high": momentum + 0.01}):
        points = points_of(optimizer={"name": "sgd", "lr": RATE, "momentum": given})
        assert {point["optimizer.lr"] for point in points} == rates


def test_rates_outside_of_the_range_are_left_out() -> None:
    least = min(member["lr"] for member in members())
    for low, num_expected in ((least, 1), (2 * least, 0)):
        narrow = {"low": low, "high": 1.5 * low}
        points = points_of(
            optimizer={"name": "sgd", "lr": narrow, "momentum": {"low": 0.0, "high": 0.9}}
        )
        assert len(points) == num_expected


def test_takes_a_quarter_of_the_trials_at_most() -> None:
    sgd = {"name": "sgd", "lr": RATE, "momentum": {"low": 0.0, "high": 0.9}}
    for trials, expected in ((1, 1), (8, 2), (1000, SIZE)):
        assert len(points_of(trials, optimizer=sgd)) == expected


@pytest.mark.parametrize(
    "sections",
    [
        {"optimizer": {"name": "sgd", "lr": 0.1}},
        {"optimizer": {"name": "adam", "lr": RATE}},
        {"trainable": "train.py:train", "space": {"lr": RATE}},
    ],
)
def test_is_refused_where_it_says_nothing(sections: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "def train(config, trial):\n    yield {'val_accuracy': 0.5}\n"
    )
    raw = make_spec(tmp_path, search={"warm_start": "portfolio"}, **sections).to_dict()
    with pytest.raises(
        SpecError, match=r"search\.warm_start\.0: must be left out where no learning rate of sgd"
    ):
        check(draft_spec(raw, tmp_path))


def test_auto_takes_it_where_no_search_is_alike(tmp_path: Path) -> None:
    def resolved(**sections: Any) -> SearchSpec:
        spec = make_spec(tmp_path, search={"warm_start": "auto", "trials": 20}, **sections)
        return with_warm_start(spec, Runs(tmp_path / "runs"))

    spec = resolved()
    assert spec.search.warm_start == ("portfolio",) and spec.search.earlier_searches == ()
    points = first_points(spec, [])
    assert points == shipped_points(spec) != []
    assert set(points[0]) <= {parameter.name for parameter in SearchSpace.of(spec).parameters}
    assert resolved(optimizer={"name": "sgd", "lr": 0.1}).search.warm_start == ()


def test_the_file_has_what_members_may_say() -> None:
    found = members()
    assert len(found) == SIZE and len({json.dumps(member) for member in found}) == SIZE
    assert all(set(m) == {"lr", "momentum", "batch_size", "dropout"} for m in found)


@pytest.mark.soak  # three minutes
def test_is_what_the_benchmark_learns() -> None:
    from benchmarks.portfolio import LEARNED_FROM, learn

    assert learn(LEARNED_FROM) == members()
