"""Labelled time series of the UCR and UEA archives, as sequences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.components.packages import installed_path
from hpsearch.errors import DataError, nearest_names
from hpsearch.registry import register

INSTALL = "pip install --no-deps aeon"


@register("dataset", "ucr")
def ucr(folder: Path, set: str, data_dir: str | None = None) -> Mapping[str, Any]:
    """Series with classes, of the UCR and UEA archives (Dau et al., 2019), by their name.

    A set is a folder of `data_dir` with NAME_TRAIN.ts and NAME_TEST.ts, which are the training and
    the test rows. Without `data_dir` it is one of those that come with aeon, such as GunPoint,
    ArrowHead or BasicMotions: `pip install --no-deps aeon`. All series of a set must be of one
    length.
    """
    root = _bundled() if data_dir is None else folder / data_dir
    known = sorted(path.parent.name for path in root.glob("*/*_TRAIN.ts"))
    if set not in known:
        rule = f"must be a set in {root}, a folder with {set}_TRAIN.ts"
        raise DataError(rule, set, keyword="set", nearest=nearest_names(set, known))
    parts = {split: root / set / f"{set}_{split.upper()}.ts" for split in ("train", "test")}
    return {
        **{split: read_series(file) for split, file in parts.items() if file.is_file()},
        "kind": "classification",
    }


def read_series(file: Path) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return series float32 (rows, steps, dimensions) and the text of each one's class.

    A line below @data is a series: its dimensions between colons, each the values of its steps
    between commas, then the class.
    """
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"can't be read: {error}", str(file), keyword="set") from error
    _, _, data = content.partition("@data")
    series, classes = [], []
    for line in data.split("\n"):
        if not line.strip():
            continue
        *dimensions, label = line.strip().split(":")
        try:
            values = [[float(value) for value in each.split(",")] for each in dimensions]
            series.append(np.array(values, np.float32).T)
        except ValueError as error:
            rule = "must have series of numbers, all dimensions of one length"
            raise DataError(rule, f"{file.name}: {error}", keyword="set") from error
        classes.append(label.strip())
    lengths = {each.shape for each in series}
    if len(lengths) != 1:
        shortest, *_, longest = sorted(len(each) for each in series) or (0, 0)
        rule = f"must have series of one length, but those of {file.name} have different ones"
        raise DataError(rule, f"{shortest} to {longest}", keyword="set")
    return np.stack(series), np.array(classes)


def _bundled() -> Path:
    """Return the folder of the sets that come with aeon, which isn't imported."""
    if (found := installed_path("aeon", "datasets/data")) is not None:
        return found
    raise DataError(f"ucr needs the package aeon: `{INSTALL}`; or name your folder as `data_dir`")
