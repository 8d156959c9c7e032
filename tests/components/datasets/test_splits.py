"""Splits by time and by groups: nothing of the later, or of another group's, is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpsearch.errors import DataError, UserCodeError
from tests.support.datasets import arrays, load, user_factory

PARTS = ("train", "val", "test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """120 visits of 30 patients on days that are not in order; `day` tells rows apart."""
    rng = np.random.default_rng(0)
    days = rng.permutation(120)
    table = pd.DataFrame(
        {
            "day": days,
            "date": pd.Timestamp("2026-01-01") + pd.to_timedelta(days, unit="D"),
            "patient": [f"patient {i // 4}" for i in range(120)],
            "number": np.arange(120) // 4,
            "ill": rng.choice(["yes", "no"], 120, p=[0.1, 0.9]),
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    np.savez(
        tmp_path / "t.npz",
        x=table[["number"]],
        y=table["day"] % 2,
        who=table["patient"].to_numpy(str),
    )
    return tmp_path


def features(data: Any, name: str) -> list[set[float]]:
    """The values of a feature in each part."""
    column = data.feature_names.index(name)
    return [set(arrays(getattr(data, part)).x[:, column]) for part in PARTS]


@pytest.mark.parametrize("file", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("time", ["day", "date"])
def test_by_time_the_last_rows_are_kept_for_the_end(folder: Path, file: str, time: str) -> None:
    keywords = {"path": file, "target": "ill", "time": time, "standardize": False}
    other = "date" if time == "day" else "day"
    table = pd.read_csv(folder / "t.csv")
    # a copy of the days, for the column of times is no feature
    table["copy"] = table["day"]
    table.to_csv(folder / "t.csv", index=False)
    table.to_parquet(folder / "t.parquet")
    data = load(Path(file).suffix[1:], folder, drop=["patient", other], **keywords)
    assert data.feature_names == ("number", "copy")
    train, val, test = features(data, "copy")
    assert (train, val, test) == (set(range(77)), set(range(77, 96)), set(range(96, 120)))


def test_a_chronological_split_takes_the_rows_as_they_come(folder: Path) -> None:
    keywords = {"target": "ill", "drop": ["date", "patient", "day"], "standardize": False}
    data = load("csv", folder, path="t.csv", split="chronological", **keywords)
    train, val, test = features(data, "number")
    assert max(train) <= min(val) <= max(val) <= min(test)


def test_folds_in_time_validate_on_what_comes_later(folder: Path) -> None:
    keywords = {"target": "ill", "drop": ["date", "patient"], "test_fraction": 0.0}
    data = load("csv", folder, path="t.csv", time="day", folds=4, **keywords)
    assert [len(train) for train, _ in data.folds] == [24, 48, 72, 96]
    for train, val in data.folds:
        assert list(val) == list(range(train[-1] + 1, train[-1] + 25))
        assert list(train) == list(range(len(train)))


@pytest.mark.parametrize("seed", range(3))
def test_a_group_is_in_one_part(folder: Path, seed: int) -> None:
    keywords = {"target": "ill", "drop": ["date"], "standardize": False}
    data = load("csv", folder, seed, path="t.csv", group="patient", **keywords)
    train, val, test = features(data, "number")
    assert [len(part) for part in (train, val, test)] == [19, 5, 6]  # fractions count groups
    assert train | val | test == set(range(30))
    assert "patient" not in "".join(data.feature_names)


def test_groups_are_drawn_by_the_seed(folder: Path) -> None:
    parts = [
        features(
            load("csv", folder, seed, path="t.csv", group="patient", target="ill", drop=["date"]),
            "number",
        )
        for seed in (0, 0, 1)
    ]
    assert parts[0] == parts[1] != parts[2]


def test_folds_of_groups_validate_each_group_once(folder: Path) -> None:
    data = load("npz", folder, path="t.npz", groups="who", folds=5, standardize=False)
    x = arrays(data.train).x[:, 0]
    seen = []
    for train, val in data.folds:
        assert not set(x[train]) & set(x[val])
        seen += sorted(set(x[val]))
    assert sorted(seen) == sorted(set(x))
    assert len(seen) == 24


def test_groups_may_be_split_by_chance_if_one_says_so(folder: Path) -> None:
    keywords = {"target": "ill", "drop": ["date"], "split": "random", "standardize": False}
    train, val, _ = features(
        load("csv", folder, path="t.csv", group="patient", **keywords), "number"
    )
    assert train & val


def test_without_stratifying_classes_are_drawn_by_chance() -> None:
    shares = [
        np.bincount(arrays(load("digits", stratify=stratify, seed=0).val).y) / 288
        for stratify in (True, False)
    ]
    everywhere = np.bincount(arrays(load("digits").train).y) / 1150
    near, far = (np.abs(share - everywhere).max() for share in shares)
    assert near < 0.005 < far


def test_a_users_factory_names_its_groups(tmp_path: Path) -> None:
    rows = "(np.arange(40.)[:, None], np.arange(40) % 2)"
    name = user_factory(tmp_path, f"return {{'train': {rows}, 'groups': np.arange(40) // 2}}")
    data = load(name, tmp_path, standardize=False)
    pairs = [{int(x) // 2 for x in arrays(getattr(data, part)).x[:, 0]} for part in PARTS]
    assert sum(map(len, pairs)) == 20
    name = user_factory(tmp_path, f"return {{'train': {rows}, 'groups': np.arange(39)}}")
    with pytest.raises(
        UserCodeError, match=r"groups must be a label .* shape \(39,\) for 40 rows"
    ):
        load(name, tmp_path)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"split": "group"}, r"^split: must not be 'group', as .* no groups"),
        ({"group": "patients"}, r"^group: must be a column .* did you mean 'patient'"),
        (
            {"time": "patient"},
            r"column 'patient' .* must be numbers or ISO 8601 dates, as `time` orders",
        ),
        ({"group": "patient", "time": "day"}, r"^split: must be given \(group or chron"),
        ({"time": "day", "stratify": False}, r"^stratify: must not be given, as a chron"),
        ({"group": "ill"}, r"^test_fraction: must leave at least one of .* groups in each part"),
        ({"group": "patient", "folds": 25}, r"^folds: must be at most 24 with 24 groups"),
        ({"time": "day", "folds": 96}, r"^folds: must be at most 95 with 96 rows"),
        ({"time": "day", "train_rows": 78}, r"^train_rows: must be at most the 77 rows"),
    ],
)
def test_mistakes(folder: Path, keywords: dict[str, Any], message: str) -> None:
    base = {"path": "t.csv", "target": "ill", "drop": ["date"]}
    with pytest.raises(DataError, match=message):
        load("csv", folder, **base, **keywords)


def test_a_data_set_with_splits_of_its_own_is_not_split(tmp_path: Path) -> None:
    pair = "(np.eye(4), np.arange(4) % 2)"
    name = user_factory(tmp_path, f"return {{k: {pair} for k in ('train', 'val', 'test')}}")
    with pytest.raises(DataError, match=r"^split: must not be given, as .* of its own"):
        load(name, tmp_path, split="chronological")
