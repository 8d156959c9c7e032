"""Tables and arrays that are unusual or wrong, each read rightly or refused with its reason."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpsearch.components import Arrays, load_data
from hpsearch.components.datasets.describing import describe_data
from hpsearch.errors import DataError, HpsearchError, UserCodeError
from tests.support.tables import ROWS, load, read, table


def cycled(*cells: Any) -> list[Any]:
    return [cells[i % len(cells)] for i in range(ROWS)]


class TestCells:
    def test_signs_of_typesetters_are_those_of_numbers(self) -> None:
        values, reading = read(["\u22121.5", "2.5"])
        assert (values, reading.doubt) == ([-1.5, 2.5], "")
        assert read(["1\u2019250.50", "-12.25"], thousands="'")[0] == [1250.5, -12.25]
        assert '`thousands: "\'"`' in read(["1\u2019250.50", "-12.25"])[1].doubt

    @pytest.mark.parametrize("form", ["{}%", "{} kg", "USD {}", "-€{}"])
    def test_units_are_seen_beside_negative_numbers(self, form: str) -> None:
        _, reading = read([form.format(each) for each in ("-1.5", "2.5", "12")])
        assert "looks like numbers with" in reading.warning

    @pytest.mark.parametrize(
        ("cells", "told"),
        [
            (["01/31/2020 09:15 PM", "02/01/2020 11:00 AM"], "'%m/%d/%Y %I:%M %p' reads them"),
            (["Jan 2020", "Feb 2021"], "'%b %Y' reads them"),
            (["2020-01-01", "2020-01-02", "2020-13-01"], "has dates, but texts too"),
            (["31.01.2020", "01.02.2020", "-"], "`na_values: ['-']` reads it as missing"),
        ],
    )
    def test_dates_are_no_categories(self, cells: list[str], told: str) -> None:
        assert told in read(cells)[1].doubt

    def test_texts_among_numbers_are_named_as_far_as_they_are_few(self) -> None:
        few = read(["1", "2", "3", "?", "none given"])[1].doubt
        assert "`na_values: ['?', 'none given']` reads them as missing" in few
        many = read([*map(str, range(9)), "(1)", "(2)", "(3)", "(4)"])[1].doubt
        assert "4 other texts too, such as '(1)', '(2)', '(3)'" in many and "na_values" not in many

    @pytest.mark.parametrize("cell", ["inf", "-inf", "1e39", "1e400"])
    def test_numbers_that_are_not_finite_name_their_column(
        self, tmp_path: Path, cell: str, recwarn: pytest.WarningsRecorder
    ) -> None:
        with pytest.raises(
            DataError, match="column 'a' of .* must have finite numbers of at most"
        ):
            load(tmp_path, table(cycled(cell, "0.5", "1.5")))
        assert not recwarn.list


class TestTypedCells:
    @pytest.mark.parametrize("cell", [[1.0, 2.0], {"a": 1}, b"raw"])
    def test_what_is_no_single_value_is_refused(self, tmp_path: Path, cell: Any) -> None:
        with pytest.raises(
            DataError, match="column 'a' of .* must have a number, a text or a dat"
        ):
            self.load(tmp_path, [cell] * ROWS)

    def test_durations_are_days(self, tmp_path: Path) -> None:
        hours = pd.to_timedelta(np.arange(ROWS) % 7 * 12, unit="h")
        assert set(np.unique(self.load(tmp_path, hours))) == set(np.arange(7) / 2)

    def test_decimals_are_numbers(self, tmp_path: Path) -> None:
        decimals = [Decimal(i % 7) / 2 for i in range(ROWS)]
        assert set(np.unique(self.load(tmp_path, decimals))) == set(np.arange(7) / 2)

    def test_a_table_without_rows(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="^path: must be a table with rows, but .* none"):
            self.load(tmp_path, [])

    @staticmethod
    def load(folder: Path, cells: Any) -> Any:
        frame = pd.DataFrame({"a": cells, "y": np.resize(["no", "yes"], len(cells))})
        frame.to_parquet(folder / "t.parquet")
        section = {"name": "parquet", "path": "t.parquet", "target": "y", "standardize": False}
        data = load_data({**section, "test_fraction": 0}, seed=0, folder=folder)
        assert isinstance(data.train, Arrays)
        return data.train.x


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"", "is empty"),
            (b"\n\n", "is empty"),
            (b"PK\x03\x04workbook", "a zip archive or a workbook"),
            (
                gzip.compress(b"a,y\n1,2\n", mtime=0),
                r"compressed by gzip: let its name end in \.gz",
            ),
            ("a,y\n1,2\n".encode("utf-16-le"), "null bytes; try `encoding: utf-16-le"),
            ("a,y\n1,ü\n".encode("utf-16-be"), "null bytes; try `encoding: utf-16-be"),
            ("a,y\n1,2\n".encode("utf-32"), "try `encoding: utf-32"),
            (b"a,y\n1,x\x00\n2,x\n", "has null bytes$"),
        ],
    )
    def test_what_is_no_text_is_told(self, tmp_path: Path, content: bytes, told: str) -> None:
        with pytest.raises(DataError, match=told):
            load(tmp_path, content)

    def test_codecs_of_bytes_are_not_proposed(self, tmp_path: Path) -> None:
        with pytest.raises(DataError) as caught:
            load(tmp_path, table(cycled("1.5", "2.5")), encoding="rot13")
        assert "got 'rot13'" in str(caught.value) and "'rot13' or" not in str(caught.value)


class TestColumns:
    @pytest.mark.parametrize("target", [[], ["y", "y"]])
    def test_targets_must_differ(self, tmp_path: Path, target: list[str]) -> None:
        with pytest.raises(DataError, match="^target: must name different columns"):
            load(tmp_path, table(cycled("1.5", "2.5")), target=target)

    def test_the_index_of_joined_tables(self, tmp_path: Path) -> None:
        half = pd.DataFrame({"x": np.random.default_rng(0).normal(size=30), "y": ["a", "b"] * 15})
        text = pd.concat([half, half]).to_csv()
        (told,) = load(tmp_path, text).warnings
        assert told.startswith("column 'Unnamed: 0' is the index that pandas writes")
        assert load(tmp_path, text, drop="auto").feature_names == ("x",)


X = np.random.default_rng(0).normal(size=(40, 4))
Y = np.arange(40) % 2


class TestArrays:
    @pytest.mark.parametrize(
        ("arrays", "told"),
        [
            (
                {"x_val": X[:9, :3], "y_val": Y[:9]},
                r"x of val must have rows of the shape .* \(4,\)",
            ),
            ({"x_val": X[:9], "y_val": np.eye(2)[Y[:9]]}, "y of val must have rows of the shape"),
            (
                {"x_val": X[:9], "y_val": np.array(["a"] * 9)},
                "y of val must be of the kind of y of",
            ),
            ({"y": Y + 1j}, "y of train must be real numbers or texts, but is complex128"),
            ({"x": X[:, :0]}, r"x of train must be .* of the shape \(40, 0\)"),
            ({"x_val": X[:9]}, "y_val: must be an array of .* but got None"),
        ],
    )
    def test_that_do_not_match(self, tmp_path: Path, arrays: dict[str, Any], told: str) -> None:
        np.savez(tmp_path / "a.npz", **{"x": X, "y": Y, **arrays})
        section = {"name": "npz", "path": "a.npz"}
        names = {name: name for name in arrays if name not in ("x", "y")}
        with pytest.raises((DataError, UserCodeError), match=told):
            load_data({**section, **names}, seed=0, folder=tmp_path)

    @pytest.mark.parametrize("content", [b"junk", None])
    def test_another_file(self, tmp_path: Path, content: bytes | None) -> None:
        np.save(tmp_path / "a.npy", X)
        if content is not None:
            (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(DataError, match=r"^path: must be an .npz file .* is none$"):
            load_data({"name": "npz", "path": "a.npy"}, seed=0, folder=tmp_path)


@pytest.mark.parametrize(
    ("cells", "kind", "told"),
    [
        (["only"], "auto", "at least two classes"),
        (["a", "b"], "regression", "regression needs targets that are numbers"),
        ([f"id {i}" for i in range(ROWS)], "auto", "each of 60 rows has a class of its own"),
        (["0", "1", "2"], "multilabel", "multilabel needs targets of the shape"),
        (["0.5", "inf", "1.5"], "regression", "must have finite numbers"),
    ],
)
def test_the_table_of_readings_ends_with_what_validation_says(
    tmp_path: Path, cells: list[str], kind: str, told: str
) -> None:
    rows = [f"{i * 7 % 11 / 2},{cell}" for i, cell in enumerate(cycled(*cells))]
    (tmp_path / "t.csv").write_text("\n".join(["x,y", *rows]))
    section = {"name": "csv", "path": "t.csv", "target": "y", "kind": kind}
    found = describe_data(section, seed=0, folder=tmp_path)
    assert found.problem is not None and told in str(found.problem)
    assert found.columns and not found.learned
    with pytest.raises(HpsearchError) as caught:
        load_data(section, seed=0, folder=tmp_path)
    assert str(caught.value) == str(found.problem)
