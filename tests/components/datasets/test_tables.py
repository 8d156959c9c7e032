"""Tables as people have them: how each column is read, and what is told of it."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpsearch.components import Data, load_data
from hpsearch.components.datasets import cell_texts
from hpsearch.components.datasets.column_reading import ColumnReading, ColumnsError
from hpsearch.errors import DataError, SpecError
from tests.support.datasets import arrays
from tests.support.specs import checked
from tests.support.tables import ROWS, load, read, table


def values_of(data: Data, feature: str = "a") -> list[float]:
    index = data.feature_names.index(feature)
    splits = (arrays(split).x[:, index] for split in (data.train, data.val, data.test))
    return sorted({float(value) for split in splits for value in split})


class TestNumbers:
    @pytest.mark.parametrize(
        ("cells", "keywords", "values"),
        [
            (["1,5", "2,25", "-3"], {"decimal": ","}, [-3, 1.5, 2.25]),
            (["1.234,5", "12", "1.000.000"], {"decimal": ",", "thousands": "."},
             [12, 1234.5, 1e6]),
            (["1 234", "12"], {"thousands": " "}, [12, 1234]),
            (["1\u00a0234", "1\u202f235", "12"], {"thousands": " "}, [12, 1234, 1235]),
            (["1'234", "12"], {"thousands": "'"}, [12, 1234]),
            (["1e3", ".5", "2."], {}, [0.5, 2, 1000]),
            (["True", "False"], {}, [0, 1]),
            (["TRUE", "false"], {}, [0, 1]),
        ],
    )  # fmt: skip
    def test_are_read_as_the_keywords_say(
        self, tmp_path: Path, cells: list[str], keywords: dict[str, Any], values: list[float]
    ) -> None:
        data = load(tmp_path, table(cells, ";"), separator=";", **keywords)
        assert values_of(data) == values

    @pytest.mark.parametrize(
        ("cells", "keywords", "told"),
        [
            (["1,5", "2,25"], {}, r"numbers, such as '1,5': `decimal: ','` reads them"),
            (["1.234,5", "7"], {}, "`decimal: ','` with `thousands: \".\"` reads"),
            (["1,234", "5,678"], {}, "`thousands: \",\"` or `decimal: ','` reads"),
            (["1,234,567", "2"], {}, 'numbers, such as .*: `thousands: ","` reads them'),
            (["1 234", "5 678"], {}, '`thousands: " "` reads them'),
            (["1'234", "5'678"], {}, '`thousands: "\'"` reads them'),
            (["1.5", "2.5"], {"decimal": ","}, r"numbers, such as '1.5': `decimal: '.'"),
            (["12,5", "3,1"], {"thousands": ","}, r"such as '12,5': `decimal: ','"),
            (["1", "2", "3", "?"], {}, r"numbers, but texts too, such as '\?'.*na_values: \['\?"),
            (["0", "1", "2", "3+"], {}, r"such as '3\+': .* name it in `categories`"),
        ],
    )
    def test_in_doubt_are_refused_with_the_keyword_to_set(
        self, tmp_path: Path, cells: list[str], keywords: dict[str, Any], told: str
    ) -> None:
        with pytest.raises(ColumnsError, match="^column 'a' of .*t.csv") as raised:
            load(tmp_path, table(cells, ";"), separator=";", **keywords)
        assert raised.match(told)
        assert "otherwise name it in `categories` or `drop`" in str(raised.value)
        as_is = load(tmp_path, table(cells, ";"), separator=";", **keywords, categories=["a"])
        assert sum(name.startswith("a_") for name in as_is.feature_names) == len(cells)

    @pytest.mark.parametrize("keywords", [{"thousands": "."}, {"decimal": ",", "thousands": ","}])
    def test_have_one_mark_for_decimals_and_another_for_thousands(
        self, tmp_path: Path, keywords: dict[str, Any]
    ) -> None:
        with pytest.raises(DataError, match="^thousands: must not be `decimal`"):
            load(tmp_path, table(["0.125", "1.5"]), **keywords)

    def test_with_units_are_warned_of(self, tmp_path: Path) -> None:
        data = load(tmp_path, table(["5 kg", "7 kg", "9.5 kg"]))
        assert "column 'a' looks like numbers with 'kg', such as '5 kg'" in data.warnings[0]

    def test_that_are_codes_can_be_categories(self, tmp_path: Path) -> None:
        data = load(tmp_path, table(["01", "1", "02"]), categories=["a"])
        assert data.feature_names == ("b", "a_01", "a_02", "a_1")

    def test_of_a_target_stay_whole(self, tmp_path: Path) -> None:
        text = "x;y\n" + "".join(f"{i},5;{i % 2}\n" for i in range(60))
        data = load(tmp_path, text, separator=";", decimal=",")
        assert (data.kind, data.class_names) == ("classification", ("0", "1"))

    def test_of_a_target_are_in_doubt_as_others_are(self, tmp_path: Path) -> None:
        text = "x;y\n" + "".join(f"{i};{i},5\n" for i in range(60))
        with pytest.raises(ColumnsError, match="column 'y' of .* looks like numbers"):
            load(tmp_path, text, separator=";")
        assert load(tmp_path, text, separator=";", decimal=",").kind == "regression"


class TestDates:
    def test_of_iso_8601_are_days_since_1970(self, tmp_path: Path) -> None:
        data = load(tmp_path, table(["1970-01-02", "1969-12-31", "1970-01-01T12:00"]))
        assert values_of(data) == [-1, 0.5, 1]
        assert load(tmp_path, table(["9999-12-31", "0001-01-01"]))

    @pytest.mark.parametrize(
        ("cells", "told"),
        [
            (["31.12.2024", "01.02.2024"], "{a: FORMAT}` with '%d.%m.%Y' reads them"),
            (["01/02/2024", "03/04/2024"], "with '%d/%m/%Y' or '%m/%d/%Y' reads them"),
            (["Jan 5 1999", "5 Jan 1999"], ""),
            (["05 Jan 1999 12:30", "06 Jan 1999 13:00"], "'%d %b %Y %H:%M'"),
        ],
    )
    def test_of_other_formats_are_refused_with_the_formats_that_read_them(
        self, tmp_path: Path, cells: list[str], told: str
    ) -> None:
        if not told:
            assert len(load(tmp_path, table(cells)).feature_names) == 3
            return
        with pytest.raises(ColumnsError, match="looks like dates, such as") as raised:
            load(tmp_path, table(cells))
        assert told in str(raised.value)

    def test_are_read_by_the_format_that_is_given(self, tmp_path: Path) -> None:
        text = table(["02.01.1970", "03.01.1970"])
        assert values_of(load(tmp_path, text, dates={"a": "%d.%m.%Y"})) == [1, 2]
        with pytest.raises(ColumnsError, match=r"must hold dates .*'%Y' .*, but has '02.01.1970'"):
            load(tmp_path, text, dates={"a": "%Y"})
        with pytest.raises(ColumnsError, match=r"must hold dates of the format ISO 8601"):
            load(tmp_path, text, dates=["a"])

    def test_order_rows(self, tmp_path: Path) -> None:
        days = [f"{month:02}.{month:02}.2024,{month},{month % 2}" for month in range(12, 0, -1)]
        text = "\n".join(["day,x,y", *days]) + "\n"
        data = load(tmp_path, text, time="day", dates={"day": "%d.%m.%Y"}, test_fraction=0.25)
        assert data.feature_names == ("x",)
        assert arrays(data.test).x[:, 0].tolist() == [10, 11, 12]


class TestMissing:
    @pytest.mark.parametrize("text", ["NA", "n/a", "NaN", "null", "None", "#N/A", "<NA>", ""])
    def test_values_of_numbers_are_counted(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(ColumnsError, match=r"every cell of .*: a \(20\); `missing: drop`"):
            load(tmp_path, table(["1.5", text, "3"]))

    def test_values_are_named_by_na_values(self, tmp_path: Path) -> None:
        for cells in (["1", "?", "3"], ["x", " ?", "y"]):
            with pytest.raises(ColumnsError, match=r"some have none: a \(20\)"):
                load(tmp_path, table(cells), na_values=["?"])

    def test_a_category_may_be_called_na(self, tmp_path: Path) -> None:
        data = load(tmp_path, table(["NA", "EU", "AS"]))
        assert data.feature_names == ("b", "a_AS", "a_EU", "a_NA")
        assert any("column 'a' has the category 'NA'" in told for told in data.warnings)
        with pytest.raises(ColumnsError, match=r"some have none: a \(20\)"):
            load(tmp_path, table(["NA", "EU", "AS"]), na_values=["NA"])
        silent = load(tmp_path, table(["NA", "EU", "AS"]), categories=["a"])
        assert not any("'NA'" in told for told in silent.warnings)

    def test_a_class_may_be_called_none(self, tmp_path: Path) -> None:
        text = table(["1", "2"]).replace("no", "None")
        assert load(tmp_path, text).class_names == ("None", "yes")

    def test_a_target_without_a_value(self, tmp_path: Path) -> None:
        text = table(["1", "2"]).replace("yes", "", 3)
        with pytest.raises(ColumnsError, match=r"some have none: y \(3\)"):
            load(tmp_path, text)

    def test_a_column_without_any_value(self, tmp_path: Path) -> None:
        with pytest.raises(ColumnsError, match="column 'a' of .* has no value in any row"):
            load(tmp_path, table([""]))
        data = load(tmp_path, table([""]), drop="auto")
        assert data.feature_names == ("b",)
        assert "column 'a' has no value, and is left out (`drop: auto`)" in data.warnings


class TestFiles:
    def test_another_separator(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"^separator: .* one column.* `separator: ';'`"):
            load(tmp_path, table(["1,5", "2,5"], ";"))
        with pytest.raises(DataError, match=r'^separator: .*; try `separator: "\\t"`'):
            load(tmp_path, table(["1", "2"], "\t"), separator=";")

    def test_more_fields_than_the_header(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="must have as many fields as its first"):
            load(tmp_path, "a,y\n1,no,3\n2,yes,4\n")

    @pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16"])
    def test_another_encoding_is_named(self, tmp_path: Path, encoding: str) -> None:
        text = table(["Café", "Thé"]).encode(encoding)
        named = "utf-16" if encoding == "utf-16" else "cp1252"
        with pytest.raises(DataError, match=f"utf-8 can't read it.* `encoding: {named}") as raised:
            load(tmp_path, text)
        if named == "cp1252":
            assert "Café" in str(raised.value)
        data = load(tmp_path, text, encoding=named)
        assert data.feature_names == ("b", "a_Café", "a_Thé")

    def test_an_encoding_that_nobody_knows(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"^encoding: must be an .* did you mean 'cp125"):
            load(tmp_path, table(["1"]), encoding="cp12522")

    def test_a_byte_order_mark_is_no_part_of_a_name(self, tmp_path: Path) -> None:
        data = load(tmp_path, b"\xef\xbb\xbf" + table(["x", "z"]).encode())
        assert data.feature_names == ("b", "a_x", "a_z")

    def test_spaces_around_names_and_texts_do_not_count(self, tmp_path: Path) -> None:
        data = load(tmp_path, table(["x ", " z"], name=" a "))
        assert data.feature_names == ("b", "a_x", "a_z")

    def test_names_that_stand_twice(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="unique names, but 'b' stands 2 times"):
            load(tmp_path, table(["1"], name="b"))

    def test_without_a_header(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        rows = "".join(f"{a:.1f},{b:.2f},{'no' if a > 0 else 'yes'}\n" for a, b in
                       rng.normal(size=(60, 2)))  # fmt: skip
        with pytest.raises(DataError, match=r"^target: .*the first line looks like data.*"
                           r"`header: false`"):  # fmt: skip
            load(tmp_path, rows)
        data = load(tmp_path, rows, header=False, target="2")
        assert (data.feature_names, data.class_names) == (("0", "1"), ("no", "yes"))
        named = rows.splitlines()[0].split(",")
        with_hint = load(tmp_path, rows, target=named[2], drop=[named[1]])
        assert "the first line looks like data" in with_hint.warnings[0]

    def test_without_rows(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"must be a table with rows"):
            load(tmp_path, "a,y\n")

    def test_parquet_is_read_as_its_types_say(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        frame = pd.DataFrame(
            {
                "day": pd.to_datetime("1970-01-01")
                + pd.to_timedelta(rng.integers(9, size=60), "D"),
                "flag": rng.random(60) < 0.5,
                "text": rng.choice(["1,5", "2,5"], 60),
                "group": pd.Categorical(rng.choice(["u", "v"], 60)),
                "whole": pd.array(rng.integers(0, 9, 60), dtype="Int64"),
                "y": rng.random(60) < 0.5,
            }
        )
        frame.to_parquet(tmp_path / "t")
        section = {"name": "parquet", "path": "t", "target": "y", "standardize": False}
        with pytest.raises(ColumnsError, match="column 'text' of .* `decimal: ','"):
            load_data(section, seed=0, folder=tmp_path)
        data = load_data({**section, "decimal": ","}, seed=0, folder=tmp_path)
        assert data.feature_names == ("day", "flag", "text", "whole", "group_u", "group_v")
        assert (data.kind, data.class_names) == ("classification", ("False", "True"))
        assert set(values_of(data, "day")) <= set(range(9))
        assert values_of(data, "text") == [1.5, 2.5]


def sorted_table(**columns: Any) -> str:
    """A table that is sorted by its class, with other columns put before."""
    rng = np.random.default_rng(0)
    classes = ["no"] * (ROWS // 2) + ["yes"] * (ROWS // 2)
    frame = pd.DataFrame({"noise": rng.normal(size=ROWS), **columns, "y": classes})
    return frame.to_csv(index=False)


SUSPECTS = {
    "index": (range(ROWS), "numbers the rows from 0"),
    "from_1": (range(1, ROWS + 1), "numbers the rows from 1"),
    "shuffled": (np.random.default_rng(1).permutation(ROWS), "numbers the rows from 0"),
    "text_id": ([f"id {i}" for i in range(ROWS)], "has as many different values as rows"),
    "whole_id": (np.arange(ROWS) * 7 + 1000, "has as many different values as rows"),
    "constant": ([3] * ROWS, "has the same value in every row"),
    "constant_text": (["same"] * ROWS, "has the same value in every row"),
    "copy": (["no"] * (ROWS // 2) + ["yes"] * (ROWS // 2), "is a copy of the target 'y'"),
    "code": ([7] * (ROWS // 2) + [3] * (ROWS // 2), "is a copy of the target 'y'"),
}


class TestSuspects:
    @pytest.mark.parametrize("name", SUSPECTS)
    def test_are_warned_of_dropped_or_kept(self, tmp_path: Path, name: str) -> None:
        values, why = SUSPECTS[name]
        text = sorted_table(**{name: values})
        told = f"column {name!r} {why}"
        data = load(tmp_path, text)
        assert [each for each in data.warnings if each.startswith(told)] == list(data.warnings)
        assert f"`drop: [{name!r}]`, or auto, leaves it out" in data.warnings[0]
        assert any(feature.startswith(name) for feature in data.feature_names)
        dropped = load(tmp_path, text, drop="auto")
        assert dropped.feature_names == ("noise",)
        assert dropped.warnings[0].startswith(told)
        assert "is left out (`drop: auto`)" in dropped.warnings[0]
        listed = load(tmp_path, text, drop=[name])
        assert (listed.feature_names, listed.warnings) == (("noise",), ())
        kept = load(tmp_path, text, drop="auto", features=[name, "noise"])
        assert any(feature.startswith(name) for feature in kept.feature_names)
        assert kept.warnings == ()

    def test_the_index_that_pandas_writes(self, tmp_path: Path) -> None:
        """On rows that are sorted by class it says all, and of new rows nothing."""
        frame = pd.DataFrame({"noise": np.random.default_rng(0).normal(size=ROWS)})
        frame["y"] = ["no"] * 30 + ["yes"] * 30
        frame.to_csv(tmp_path / "t.csv")
        text = (tmp_path / "t.csv").read_text()
        (told,) = load(tmp_path, text).warnings
        assert told.startswith("column 'Unnamed: 0' is the index that pandas writes")
        assert load(tmp_path, text, drop="auto").feature_names == ("noise",)

    def test_many_texts_that_are_no_ids_are_refused(self, tmp_path: Path) -> None:
        names = [f"name {i % 110}" for i in range(240)]
        with pytest.raises(ColumnsError, match="at most 100 different texts, but has 110"):
            load(tmp_path, table(names, rows=240), drop="auto")
        ids = [f"name {i}" for i in range(240)]
        with pytest.raises(ColumnsError, match="at most 100 different texts, but has 240"):
            load(tmp_path, table(ids, rows=240))
        assert load(tmp_path, table(ids, rows=240), drop="auto").feature_names == ("b",)

    @pytest.mark.parametrize("cell", ["{},5", "{:02}.01.2024 03:04"])
    def test_what_is_in_doubt_is_no_id(self, tmp_path: Path, cell: str) -> None:
        text = table([cell.format(i + 1) for i in range(28)], ";", rows=28)
        with pytest.raises(ColumnsError, match="column 'a' of .* looks like"):
            load(tmp_path, text, separator=";", drop="auto")

    def test_a_target_on_another_scale_is_a_copy(self, tmp_path: Path) -> None:
        celsius = np.random.default_rng(0).normal(20, 5, ROWS).round(3)
        frame = pd.DataFrame({"fahrenheit": celsius * 1.8 + 32, "x": celsius**2, "y": celsius})
        data = load(tmp_path, frame.to_csv(index=False))
        (told,) = data.warnings
        assert told.startswith("column 'fahrenheit' is a copy of the target 'y'")

    def test_real_numbers_and_days_that_all_differ_are_no_ids(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        days = pd.date_range("2024-01-01", periods=ROWS).astype(str)
        frame = pd.DataFrame({"x": rng.normal(size=ROWS), "day": days, "y": rng.normal(size=ROWS)})
        assert load(tmp_path, frame.to_csv(index=False)).warnings == ()

    def test_something_must_be_left(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="must be a feature, but all are dropped"):
            load(tmp_path, "a,y\n" + "1,no\n1,yes\n" * 30, drop="auto")
        with pytest.raises(DataError, match="must be a feature, but all are dropped"):
            load(tmp_path, sorted_table(), drop=["noise"])


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"features": ["a"], "drop": ["a"]}, "features: must not name what `drop` names"),
        ({"drop": ["y"]}, "drop: must not name what `target` names, but got 'y'"),
        ({"dates": ["a"], "categories": ["a"]}, "categories: must not name what `dates`"),
        ({"categories": ["aa"]}, r"categories: must be a column of .* did you mean 'a'"),
        ({"dates": {"c": None}}, "dates: must be a column of"),
        ({"features": ["z"]}, "features: must be a column of"),
    ],
)
def test_keywords_name_columns_once(
    tmp_path: Path, keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=f"^{message}"):
        load(tmp_path, table(["1", "2"]), **keywords)


def test_readings_say_what_was_taken_for_what() -> None:
    assert read(["1", "NA", None])[1] == ColumnReading(
        "a", "number", "numbers; NA missing", distinct=1, missing=2, example="1"
    )
    assert read(["x" * 50, "y"])[1].example == "x" * 29 + "…"
    assert read([True, False])[0] == [True, False]
    assert read([1, 2], categories=["a"])[0] == ["1", "2"]
    values, reading = read(["5", "7"], decimal=",")
    assert (values, reading.reading) == ([5, 7], "number")
    assert all(isinstance(value, int) for value in values)


def test_docstrings() -> None:
    assert doctest.testmod(cell_texts).failed == 0


def test_the_keywords_are_those_of_a_spec(tmp_path: Path) -> None:
    rows = "".join(f"{i % 28 + 1:02}.01.2024;{i},5;?;x;{i % 7},5\n" for i in range(60))
    (tmp_path / "t.csv").write_text(f"day;a;b;c;y\n{rows}", encoding="cp1252")
    dataset = {
        "separator": ";",
        "decimal": ",",
        "thousands": ".",
        "encoding": "cp1252",
        "na_values": ["?"],
        "dates": {"day": "%d.%m.%Y"},
        "categories": ["c"],
        "drop": "auto",
        "header": True,
    }
    assert checked(tmp_path, "val_loss", dataset=dataset).dataset["drop"] == "auto"
    wrong = {"decimal": ";", "thousands": "_", "drop": "automatic", "dates": "day", "header": 3}
    with pytest.raises(SpecError) as raised:
        checked(tmp_path, "val_loss", dataset=dataset | wrong)
    assert {problem.path for problem in raised.value.problems} >= {
        f"dataset.{keyword}" for keyword in wrong
    }
