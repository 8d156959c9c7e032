"""Data sets by name: factories that return arrays, whole or split.

What a factory returns, a user's too: `(x, y)`, or a mapping with `train` and, where the data
set has them, `val` and `test`, each a pair of numpy arrays or tensors, or each a torch Dataset.
The mapping may also name the `classes` and the `features`, say the `kind` of its targets
(classification, multilabel or regression), and `standardize: False` of inputs that are no
quantities; `unit: 255` of inputs that are raw values divided by 255. `groups`, a label for each
row to train, says which rows belong together; `ordered: True`, that they are ordered by time.
With `windows` rows are the steps of a series, of which it makes rows once they are split (see
`components.datasets.windows`); `num_tokens` says of how many tokens inputs are ids, `padding_id`
which of them fills up the ends of sequences; `inputs`, as InputParts, which inputs of an example
a row of `x` has one after the other.
`hpsearch.components.datasets.loading` splits and standardises them.

Libraries that only reading needs are imported where they are used: every worker imports this
module, and none reads data.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, MinLen
from numpy.typing import NDArray

from hpsearch.components.datasets import bundled
from hpsearch.components.datasets.column_reading import Dates, Missing, ReadingRule, ThousandsMark
from hpsearch.components.datasets.csv_files import CsvForm, read_csv_table
from hpsearch.components.datasets.files import read_npz, read_table, resolve
from hpsearch.components.datasets.tables import Drop, TableColumns, read_table_columns
from hpsearch.errors import DataError
from hpsearch.registry import register

Returned = Mapping[str, Any]

FASHION_MNIST_FOLDER = "/usr/share/datasets/fashion-mnist"
FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@register("dataset", "digits")
def digits() -> Returned:
    """1,797 handwritten digits of 8x8 pixels, 10 classes (scikit-learn)."""
    images, classes = bundled.read_digits()
    pixels = images[:, None] / 16  # (rows, 1, 8, 8), from 0 to 1
    names = [str(name) for name in range(10)]
    return {"train": (pixels, classes), "classes": names, "unit": 16}


@register("dataset", "wine")
def wine() -> Returned:
    """178 wines of 3 cultivars by 13 measurements (scikit-learn)."""
    return _table(bundled.read_wine())


@register("dataset", "breast_cancer")
def breast_cancer() -> Returned:
    """569 tumours, malignant or benign, by 30 measurements (scikit-learn)."""
    return _table(bundled.read_breast_cancer())


@register("dataset", "diabetes")
def diabetes() -> Returned:
    """442 patients by 10 measurements; the target is the disease's progress (scikit-learn)."""
    return _table(bundled.read_diabetes())


@register("dataset", "fashion_mnist")
def fashion_mnist(folder: Path, data_dir: str = FASHION_MNIST_FOLDER) -> Returned:
    """70,000 pictures of clothes of 28x28 pixels, 10 classes, 10,000 of them for testing.

    `data_dir` holds the four files as their authors publish them, such as
    train-images-idx3-ubyte.gz.
    """
    directory = folder / data_dir
    return {
        **{split: _idx_split(directory, name) for split, name in _IDX_NAMES.items()},
        "classes": FASHION_MNIST_CLASSES,
        "unit": 255,
    }


Separator = Annotated[str, MinLen(1)]
DecimalMark = Literal[".", ","]


@register("dataset", "csv")
def csv(
    folder: Path,
    path: str,
    target: str | Sequence[str],
    drop: Drop = (),
    features: Sequence[str] | None = None,
    group: str | None = None,
    time: str | None = None,
    separator: Separator = ",",
    header: bool = True,
    encoding: str = "utf-8",
    decimal: DecimalMark = ".",
    thousands: ThousandsMark | None = None,
    na_values: Sequence[str] = (),
    dates: Dates = (),
    categories: Sequence[str] = (),
    missing: Missing = "refuse",
) -> Returned:
    """A table in a text file: the target is a column, all others but `drop` are features.

    `hpsearch data` shows how each column is read. Columns of text become one feature a value.
    With `drop: auto`, constant columns, ids and copies of the target are no features. Rows alike
    in the column `group`, such as a patient's, stay together in a split; rows are put in the
    order of the column `time`, numbers or ISO 8601 dates, and split by it. Neither is a feature.
    Cells without a value are refused, or their rows dropped, or filled by the `missing` value: a
    statistic of the column's training rows; a category that is missing is none of the texts.
    """
    rule = ReadingRule(decimal, thousands, na_values, dates, categories, missing)
    file = resolve(folder, path)
    form = CsvForm(separator, encoding, header)
    columns = TableColumns(target, drop, features, group, time)
    return read_csv_table(file, form, columns, rule)


@register("dataset", "parquet")
def parquet(
    folder: Path,
    path: str,
    target: str | Sequence[str],
    drop: Drop = (),
    features: Sequence[str] | None = None,
    group: str | None = None,
    time: str | None = None,
    decimal: DecimalMark = ".",
    thousands: ThousandsMark | None = None,
    na_values: Sequence[str] = (),
    dates: Dates = (),
    categories: Sequence[str] = (),
    missing: Missing = "refuse",
) -> Returned:
    """A table in a Parquet file, whose columns of text are read as those of `csv` are."""
    import pandas

    file = resolve(folder, path)
    table = read_table(file, pandas.read_parquet)
    rule = ReadingRule(decimal, thousands, na_values, dates, categories, missing)
    return read_table_columns(table, file, TableColumns(target, drop, features, group, time), rule)


@register("dataset", "npz", traits={"users_arrays": True})
def npz(
    folder: Path,
    path: str,
    x: str = "x",
    y: str = "y",
    x_val: str | None = None,
    y_val: str | None = None,
    x_test: str | None = None,
    y_test: str | None = None,
    groups: str | None = None,
    num_tokens: Annotated[int, Ge(2)] | None = None,
    padding_id: Annotated[int, Ge(0)] | None = None,
) -> Returned:
    """Arrays by their names in a NumPy file; the first axis counts examples.

    `groups` names an array with a label for each example: those alike stay together in a split.
    With `num_tokens` inputs are ids of so many tokens, (rows, steps); `padding_id` is that which
    fills up the ends of shorter sequences, and belongs to the tokens.
    """
    splits = {"train": (x, y), "val": (x_val, y_val), "test": (x_test, y_test)}
    found = read_npz(resolve(folder, path), splits, groups)
    return {**found, "num_tokens": num_tokens or 0, "padding_id": padding_id}


def _table(table: bundled.Table) -> Returned:
    return {
        "train": (table.x, table.y),
        "classes": table.class_names,
        "features": table.feature_names,
        "kind": "classification" if table.class_names else "regression",
    }


_IDX_NAMES = {"train": "train", "test": "t10k"}


def _idx_split(directory: Path, name: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    images = _read_idx(directory / f"{name}-images-idx3-ubyte.gz")
    labels = _read_idx(directory / f"{name}-labels-idx1-ubyte.gz")
    return images[:, None].astype(np.float32) / np.float32(255), labels


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file: two zero bytes, type, number of axes, sizes (big-endian), values."""
    try:
        content = gzip.decompress(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"fashion_mnist needs {path}, but: {error.strerror or error}. Install the four files "
            "by `apt-get install dataset-fashion-mnist` (Debian, Ubuntu), or put them into a "
            "folder and name it as `data_dir`"
        ) from error
    num_axes = content[3]
    shape = np.frombuffer(content, ">i4", num_axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes).reshape(shape)
