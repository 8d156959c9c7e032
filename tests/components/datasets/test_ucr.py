"""Labelled series of the UCR and UEA archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpsearch.errors import DataError
from tests.support.datasets import arrays, load

LINES = ("1,2,3:4,5,6:b", "7,8,9.5:0,-1,1e-3:a", "1,1,1:2,2,2:b", "0,0,0:0,0,0:a")


def write(folder: Path, name: str, *lines: str) -> None:
    (folder / name).mkdir()
    for split in ("TRAIN", "TEST"):
        head = "# about\n@problemName x\n@classLabel true a b\n@data\n"
        (folder / name / f"{name}_{split}.ts").write_text(head + "\n".join(lines) + "\n")


def test_steps_and_dimensions(tmp_path: Path) -> None:
    write(tmp_path, "Both", *LINES)
    data = load("ucr", tmp_path, set="Both", data_dir=".", standardize=False)
    assert (data.input_shape, data.class_names) == ((3, 2), ("a", "b"))
    test = arrays(data.test)
    assert test.x[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert test.x[1, 2].tolist() == [9.5, np.float32(1e-3)]
    assert test.y.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        (("1,2:b", "1,2,3:a"), "must have series of one length, .* but got '2 to 3'"),
        (("1,x:b", "1,2:a"), "must have series of numbers"),
        (("1,2:1:b", "1,2:1:a"), "must have series of numbers, all dimensions of one length"),
        ((), "must have series of one length"),
    ],
)
def test_refuses_what_is_no_table_of_series(
    tmp_path: Path, lines: tuple[str, ...], rule: str
) -> None:
    write(tmp_path, "Odd", *lines)
    with pytest.raises(DataError, match=f"set: {rule}"):
        load("ucr", tmp_path, set="Odd", data_dir=".")


def test_names_the_nearest_set(tmp_path: Path) -> None:
    write(tmp_path, "GunPoint", *LINES)
    with pytest.raises(DataError, match="did you mean 'GunPoint'"):
        load("ucr", tmp_path, set="gunpoint", data_dir=".")


def test_says_where_sets_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        DataError, match="ucr needs the package aeon: `pip install --no-deps aeon`"
    ):
        load("ucr", set="GunPoint")
