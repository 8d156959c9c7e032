"""The data sets that scikit-learn brings, read from its files: it takes a second to import."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpsearch.components.packages import installed_path
from hpsearch.errors import DataError


class Table(NamedTuple):
    """A data set as `sklearn.datasets.load_NAME` returns it; only classes have names."""

    x: NDArray[np.float64]
    y: NDArray[Any]
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...] = ()


_WINE = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280/od315_of_diluted_wines",
    "proline",
)
_NUCLEI = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
_BREAST_CANCER = (
    *(f"mean {name}" for name in _NUCLEI),
    *(f"{name} error" for name in _NUCLEI),
    *(f"worst {name}" for name in _NUCLEI),
)
_DIABETES = ("age", "sex", "bmi", "bp", *(f"s{number}" for number in range(1, 7)))


def read_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return images of shape (rows, 8, 8), with pixels from 0 to 16, and their digits."""
    table = _numbers("digits.csv.gz", delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def read_wine() -> Table:
    """Return 178 wines of 3 cultivars."""
    return _classes("wine_data.csv", _WINE)


def read_breast_cancer() -> Table:
    """Return 569 tumours, malignant or benign."""
    return _classes("breast_cancer.csv", _BREAST_CANCER)


def read_diabetes() -> Table:
    """Return 442 patients; each feature has mean 0 and squares that sum to 1."""
    raw = _numbers("diabetes_data_raw.csv.gz")
    x = (raw - raw.mean(axis=0)) / raw.std(axis=0) / len(raw) ** 0.5
    return Table(x, _numbers("diabetes_target.csv.gz"), _DIABETES)


def _classes(name: str, feature_names: tuple[str, ...]) -> Table:
    """Read a table that begins with its sizes and the names of its classes."""
    with _file(name).open(newline="", encoding="utf-8") as file:
        (_, _, *class_names), *rows = csv.reader(file)
    table = np.array(rows, np.float64)
    return Table(table[:, :-1], table[:, -1].astype(np.int64), feature_names, tuple(class_names))


def _numbers(name: str, delimiter: str | None = None) -> NDArray[np.float64]:
    with gzip.open(_file(name), "rt", encoding="utf-8") as file:
        return np.loadtxt(file, delimiter=delimiter)


def _file(name: str) -> Path:
    if (file := installed_path("sklearn", f"datasets/data/{name}")) is not None:
        return file
    raise DataError(f"needs {name}, which comes with scikit-learn, but its installation has none")
