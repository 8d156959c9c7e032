"""Time series as rows of a history and what comes after it, from files and generated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.datasets.describing import describe_data
from hpsearch.components.datasets.series import PERSISTENCE, least_rmse
from hpsearch.components.datasets.windows import Histories
from hpsearch.errors import DataError

STEPS = 100


def table(**columns: Any) -> pd.DataFrame:
    """Two series and a feature, all of which tell the number of their row."""
    rows = np.arange(STEPS)
    return pd.DataFrame({"a": rows, "b": 1000 - 2 * rows**1.1, "c": rows % 7, **columns})


def load(folder: Path, content: pd.DataFrame, **section: Any) -> Data:
    content.to_csv(folder / "my.csv", index=False)
    section = {"name": "series", "path": "my.csv", "target": "a", "lookback": 5, **section}
    return load_data({"standardize": False, **section}, seed=0, folder=folder)


def arrays(split: Any) -> Arrays:
    assert isinstance(split, Arrays)
    return split


class TestRows:
    def test_of_a_small_series(self) -> None:
        steps = np.arange(8, dtype=np.float32)[:, None] * [1, 10]
        made = Histories(2, (1, 3), 3, ("a",))(Arrays(steps, steps[:, :1]))
        assert made.x[:, :, 1].tolist() == [[10, 20], [20, 30], [30, 40]]
        assert made.y[:, 0, :, 0].tolist() == [[3, 5], [4, 6], [5, 7]]  # what comes
        assert made.y[:, 1, :, 0].tolist() == [[0, 2], [1, 3], [2, 4]]  # a period before
        assert made.y[:, 2, :, 0].tolist() == [[2, 2], [3, 3], [4, 4]]  # the last value

    def test_a_season_is_the_last_that_is_known(self) -> None:
        steps = np.arange(9, dtype=np.float32)[:, None]
        made = Histories(2, (1, 2, 3, 4, 5), 2, ("a",))(Arrays(steps, steps))
        assert made.y[0, 0, :, 0].tolist() == [2, 3, 4, 5, 6]
        assert made.y[0, 1, :, 0].tolist() == [0, 1, 0, 1, 0]

    def test_each_part_forecasts_its_own_steps(self, tmp_path: Path) -> None:
        """Histories reach back over the border; what is forecast does not."""
        data = load(tmp_path, table(), horizon=[1, 4])
        assert (data.y_scale.std != 1).all()
        bounds = {"train": (5, 64), "val": (64, 80), "test": (80, 100)}
        for name, (first, end) in bounds.items():
            split = arrays(getattr(data, name))
            comes = split.y[:, 0, :, 0] * data.y_scale.std.item() + data.y_scale.mean.item()
            assert comes.min() == pytest.approx(first, abs=1e-3)
            assert comes.max() == pytest.approx(end - 1, abs=1e-3)
            assert (np.rint(comes[:, 0]) == split.x[:, -1, 0] + 1).all()
            assert (np.rint(comes[:, 1]) == split.x[:, -1, 0] + 4).all()

    def test_scales_are_of_each_series_in_the_training_part(self, tmp_path: Path) -> None:
        data = load(tmp_path, table(), target=["a", "b"], features=["c"], standardize=True)
        train = arrays(data.train)
        assert data.input_shape == (5, 3) and data.output_size == 2
        assert data.x_scale.mean.ravel()[0] == pytest.approx(31, abs=1)  # of steps 0 to 63
        assert data.y_scale.mean.ravel() == pytest.approx(data.x_scale.mean.ravel()[:2], rel=0.1)
        assert train.x.mean((0, 1)) == pytest.approx([0, 0, 0], abs=1e-5)
        assert train.y.mean((0, 1, 2)) == pytest.approx([0, 0], abs=1e-5)
        assert train.y.std((0, 1, 2)) == pytest.approx([1, 1], abs=1e-5)
        changed = table()
        changed.loc[70:, "a"] *= 5  # steps of the other parts
        again = load(tmp_path, changed, target=["a", "b"], features=["c"], standardize=True)
        assert np.array_equal(again.x_scale.mean, data.x_scale.mean)

    def test_folds_validate_on_what_comes_later(self, tmp_path: Path) -> None:
        data = load(tmp_path, table(), horizon=4, folds=3)
        assert len(data.folds) == 3 and data.val is None
        comes = arrays(data.train).y[:, 0, :, 0]
        for train, val in data.folds:
            assert comes[train].max() + 1 == comes[val].min()
        assert data.fold(2).val is not None

    def test_a_parquet_file_is_read_alike(self, tmp_path: Path) -> None:
        table().to_parquet(tmp_path / "my.parquet")
        section = {"name": "series", "path": "my.parquet", "target": "a", "lookback": 5}
        found = load_data({"standardize": False, **section}, seed=0, folder=tmp_path)
        assert np.array_equal(arrays(found.val).x, arrays(load(tmp_path, table()).val).x)


class TestTimes:
    @pytest.mark.parametrize(
        "times",
        [
            np.arange(STEPS) * 0.1,
            pd.date_range("2024-01-01", periods=STEPS, freq="h"),
            pd.date_range("2024-01-31", periods=STEPS, freq="ME"),
            pd.date_range("2024-01-01", periods=STEPS, freq="B"),
        ],
        ids=["numbers", "hours", "months", "working days"],
    )
    def test_that_are_taken(self, tmp_path: Path, times: Any) -> None:
        data = load(tmp_path, table(time=times), time="time")
        assert data.feature_names == ("a",) and data.target_names == ("a",)

    def test_rows_out_of_order(self, tmp_path: Path) -> None:
        rows = table(time=pd.date_range("2024-01-01", periods=STEPS)).sample(
            frac=1, random_state=0
        )
        with pytest.raises(
            DataError, match=r"time: must grow from row to row, but row \d+ .*sort"
        ):
            load(tmp_path, rows, time="time")

    def test_a_step_that_is_there_twice(self, tmp_path: Path) -> None:
        rule = r"row 4 \(from 0\) has 3 again: .* give each series a column of its own"
        with pytest.raises(DataError, match=rule):
            load(tmp_path, table(time=[0, 1, 2, 3, *range(3, STEPS - 1)]), time="time")

    def test_dates_of_another_format(self, tmp_path: Path) -> None:
        days = pd.date_range("2024-01-01", periods=STEPS).strftime("%d.%m.%Y")
        with pytest.raises(DataError, match=r"`dates: \{time: FORMAT\}` with '%d.%m.%Y'") as told:
            load(tmp_path, table(time=days), time="time")
        assert "categories" not in str(told.value) and "drop" not in str(told.value)

    def test_a_missing_step(self, tmp_path: Path) -> None:
        rows = table(time=pd.date_range("2024-01-01", periods=STEPS)).drop(index=[50, 51])
        rule = "time: must have no missing steps, which are 1 day apart, but row 50 .* has "
        rule += "2024-02-22 after 2024-02-19, and 1 of 97 distances differ: fill"
        with pytest.raises(DataError, match=rule):
            load(tmp_path, rows, time="time")


class TestOwnFormats:
    TIMES = pd.date_range("2023-01-01", periods=STEPS).strftime("%d.%m.%Y")

    def test_dates_are_read_as_the_error_says(self, tmp_path: Path) -> None:
        rows = table(day=self.TIMES)
        with pytest.raises(DataError, match=r"dates: \{day: FORMAT\}` with '%d.%m.%Y'"):
            load(tmp_path, rows, time="day")
        data = load(tmp_path, rows, time="day", dates={"day": "%d.%m.%Y"})
        assert data.feature_names == ("a",)

    def test_so_are_large_numbers(self, tmp_path: Path) -> None:
        rows = table(d=[f"{1000 + row:,}" for row in range(STEPS)])
        with pytest.raises(DataError, match="thousands: "):
            load(tmp_path, rows, target="d")
        data = load(tmp_path, rows, target="d", thousands=",")
        first = arrays(data.train).y.ravel()[0]
        assert first * data.y_scale.std.item() + data.y_scale.mean.item() == pytest.approx(1005)


class TestHistories:
    """What an exported model is asked to go on from."""

    def encode(self, folder: Path, history: pd.DataFrame) -> Any:
        rows = table(day=TestOwnFormats.TIMES)
        data = load(folder, rows, time="day", dates={"day": "%d.%m.%Y"})
        assert data.raw_inputs is not None and data.raw_inputs.table is not None
        return data.raw_inputs.table.encode(history)

    def test_in_order_with_time_or_without(self, tmp_path: Path) -> None:
        history = table(day=TestOwnFormats.TIMES).tail(7)
        found = self.encode(tmp_path, history)
        assert found.ravel().tolist() == [95, 96, 97, 98, 99]
        assert (self.encode(tmp_path, history[["a"]]) == found).all()

    def test_out_of_order(self, tmp_path: Path) -> None:
        history = table(day=TestOwnFormats.TIMES)
        with pytest.raises(DataError, match=r"must grow .* row 1 \(from 0\) has 09.04.2023 after"):
            self.encode(tmp_path, history[::-1])
        with pytest.raises(DataError, match="must have no missing steps, which are 1 day apart"):
            self.encode(tmp_path, history.tail(9).drop(index=95))
        history.loc[95, "day"] = None
        with pytest.raises(DataError, match="'day' must have the time of each row"):
            self.encode(tmp_path, history)

    def test_infinite(self, tmp_path: Path) -> None:
        history = table().astype(float)
        history.loc[97, "a"] = np.inf
        with pytest.raises(DataError, match="column 'a' must have finite numbers, but has inf"):
            self.encode(tmp_path, history)


class TestRefused:
    @pytest.mark.parametrize(
        ("section", "message"),
        [
            ({"horizon": 30}, "the val split has 16 steps, but a window needs 30 at least"),
            ({"lookback": 80}, "the train split has 64 steps, but a window needs 81 at least: 80"),
            ({"period": 70}, "the train split has 64 steps, but a window needs 71 at least: 70"),
            ({"horizon": [4, 1]}, "horizon: must be steps ahead in growing order"),
            ({"horizon": []}, "horizon: must be steps ahead in growing order"),
            ({"target": []}, "target: must name different columns"),
            ({"target": ["a", "b"], "features": ["a"]}, "target: must name different columns"),
            ({"target": "aa"}, r"target: must be a column of .* but got 'aa'.*'a'"),
            ({"features": ["text"]}, "'text' .* must be numbers as `features`, but is read as ca"),
            (
                {"target": "hole"},
                r"some have none: hole \(1\); a series must have a value at each",
            ),
            ({"kind": "regression"}, "kind: must not be given, as the data set has windows"),
            ({"train_rows": 9}, "train_rows: must not be given, as the data set has windows"),
            ({"split": "random"}, "split: must not be given, as the data set has windows"),
            ({"folds": 20, "horizon": 10}, "folds: must leave rows to train on with 66 windows"),
        ],
    )
    def test_sections(self, tmp_path: Path, section: dict[str, Any], message: str) -> None:
        hole = np.where(np.arange(STEPS) == 9, np.nan, 1.5)
        with pytest.raises(DataError, match=message):
            load(tmp_path, table(text=["one", "two"] * 50, hole=hole), **section)

    def test_a_number_too_large_is_to_be_corrected_as_there_is_no_drop(
        self, tmp_path: Path
    ) -> None:
        with pytest.raises(DataError, match=r"such as 1e\+39: correct them$"):
            load(tmp_path, table(huge=[1e39] * STEPS), features=["huge"])


def test_columns_are_shown_as_they_were_read(tmp_path: Path) -> None:
    table(time=np.arange(STEPS), d=1).to_csv(tmp_path / "my.csv")
    section = {"name": "series", "path": "my.csv", "target": "a", "features": ["c"], "lookback": 5}
    found = describe_data({**section, "time": "time"}, seed=0, folder=tmp_path)
    assert {each.column: each.reading for each in found.columns} == {
        "a": "target (forecasting)",
        "c": "number",
        "time": "time",
        "b": "dropped",
        "d": "dropped",
        "Unnamed: 0": "dropped",
    }
    assert found.learned == "forecasting, because the data set states it"


class TestGenerated:
    def test_what_is_left_of_a_disturbance_is_known(self) -> None:
        """An autoregression on the series without its season leaves `least_rmse`."""
        section = {"name": "seasonal_series", "steps": 20_000, "lookback": 1, "standardize": False}
        train = arrays(load_data({**section, "horizon": [1, 12]}, seed=0).train)
        scale = load_data({**section, "horizon": [1, 12]}, seed=0).y_scale
        comes = train.y[:, 0, :, 0] * scale.std.item() + scale.mean.item()
        now = train.x[:, 0, 0]
        phase = (np.arange(len(now)) + 23) % 24
        season = np.array([now[phase == each].mean() for each in range(24)])
        for column, horizon in enumerate((1, 12)):
            left = PERSISTENCE**horizon * (now - season[phase])
            forecast = season[(phase + horizon) % 24] + left
            rmse = np.sqrt(np.square(comes[:, column] - forecast).mean())
            assert rmse == pytest.approx(least_rmse(horizon), rel=0.02)

    def test_series_are_different_and_seeded(self) -> None:
        section = {"name": "seasonal_series", "num_series": 2, "steps": 200}
        one, again, other = (load_data(section, seed=seed) for seed in (0, 0, 1))
        x = arrays(one.train).x
        assert np.array_equal(x, arrays(again.train).x)
        assert not np.array_equal(x, arrays(other.train).x)
        assert not np.allclose(x[..., 0], x[..., 1])


def test_elnino() -> None:
    pytest.importorskip("statsmodels", reason="pip install --no-deps statsmodels")
    data = load_data({"name": "elnino", "standardize": False}, seed=0)
    assert arrays(data.train).x[0, :2, 0] == pytest.approx([23.11, 24.2])
    assert [len(arrays(each)) for each in (data.train, data.val, data.test)] == [434, 106, 135]
