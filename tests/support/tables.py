"""Tables as files, and how they are read."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpsearch.components import Data, load_data
from hpsearch.components.datasets.column_reading import ColumnReading, ReadingRule
from hpsearch.components.datasets.columns import read_column

ROWS = 60


def table(cells: list[str], separator: str = ",", rows: int = ROWS, name: str = "a") -> str:
    """A table with a column of these cells, again and again, some noise, and two classes."""
    rng = np.random.default_rng(0)
    lines = [
        separator.join([cell, f"{rng.integers(1000)}", "no" if rng.random() < 0.5 else "yes"])
        for cell, _ in zip(itertools.cycle(cells), range(rows), strict=False)
    ]
    return "\n".join([separator.join([name, "b", "y"]), *lines]) + "\n"


def read(cells: list[Any], **rule: Any) -> tuple[list[Any], ColumnReading]:
    values, reading = read_column(pd.Series(cells, name="a"), ReadingRule(**rule))
    return values.tolist(), reading


def load(folder: Path, text: str | bytes, **keywords: Any) -> Data:
    (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    section = {"name": "csv", "path": "t.csv", "target": "y", "standardize": False, **keywords}
    return load_data(section, seed=0, folder=folder)
