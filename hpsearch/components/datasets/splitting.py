"""The splits that a data set lacks, divided from its training rows as its section says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Interval
from torch.utils.data import Dataset, IterableDataset, Subset

from hpsearch.components.datasets.factory_output import Source
from hpsearch.components.datasets.layouts import Layout
from hpsearch.components.datasets.split_methods import (
    DIVISIONS,
    Division,
    Pair,
    Population,
    Rows,
    split_rows,
)
from hpsearch.components.datasets.windows import rows_between, windowed
from hpsearch.components.examples import Arrays, KnownRows
from hpsearch.errors import DataError


@dataclass(frozen=True)
class SplitSettings:
    """Keywords that every data set has beside its own.

    `split` says how rows are divided: by chance, with each class in proportion unless `stratify`
    is false; `chronological`, the last rows are for testing, those before them for validation;
    by `group`, so that rows of one group are in one part, and fractions count groups. It is
    `auto` by groups or by time where the data set has them, else by chance.
    `train_rows` and `val_rows` draw that many rows of their part; `folds` is cross validation
    in place of one validation part; test rows are drawn where the data set has no test split.
    `kind` says what targets are; `auto` goes by their values (`components.kinds`), where these
    leave no doubt. With `classification`, several columns are shares of classes
    (soft labels); with `multilabel`, each is a label from 0 to 1. A single Dataset is divided by
    the fractions, at random or in its order; Datasets for train and val take `kind` alone.
    `layout` says whether the channels of a factory's images are their first or last axis; `auto`
    goes by the shape.
    """

    val_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    test_fraction: Annotated[float, Interval(ge=0, lt=1)] = 0.2
    folds: Annotated[int, Ge(2)] | None = None
    split: Literal["auto", "random", "chronological", "group"] = "auto"
    stratify: bool = True
    train_rows: Annotated[int, Ge(1)] | None = None
    val_rows: Annotated[int, Ge(1)] | None = None
    standardize: bool = True
    kind: Literal["auto", "classification", "multilabel", "regression"] = "auto"
    layout: Layout = "auto"


def divide(
    splits: dict[str, KnownRows], source: Source, preparation: SplitSettings, seed: int
) -> tuple[tuple[Pair, ...], Arrays | None]:
    """Complete the splits in place; returns the folds of the training rows, if there are any, and
    the rows of a series between training and validation.

    The steps of a series become rows once they are divided; folds are of these rows.
    """
    rng = np.random.default_rng(seed)
    division = DIVISIONS[_way(source, preparation)]
    rows = Population(len(splits["train"]), _classes(splits["train"], preparation), source.groups)
    for key in ("test", "val"):
        fraction = getattr(preparation, f"{key}_fraction")
        if key in splits or not fraction or (key == "val" and preparation.folds):
            continue
        train = splits["train"]
        rest, drawn = _draw_part(division, rows, key, fraction, rng)
        splits["train"], splits[key], rows = train.rows(rest), train.rows(drawn), rows.at(rest)
    between = None
    if source.windows is not None:
        steps = {key: split for key, split in splits.items() if isinstance(split, Arrays)}
        splits |= windowed(steps, source.windows)
        if "val" in steps:
            between = rows_between(steps["train"], steps["val"], source.windows)
        rows = Population(len(splits["train"]), gap=source.windows.gap)
    if preparation.folds is not None:
        return tuple(_draw_folds(division, rows, preparation, rng)), between
    for key, count in (("train", preparation.train_rows), ("val", preparation.val_rows)):
        part = splits[key]
        if count is not None:
            classes = _classes(part, preparation)
            splits[key] = part.rows(_draw_rows(len(part), classes, count, key, rng))
    return (), between


def divide_dataset(
    dataset: Dataset[Any], preparation: SplitSettings, seed: int
) -> dict[str, Dataset[Any]]:
    """Return the splits of a single Dataset: at random, or its last examples in order."""
    if isinstance(dataset, IterableDataset):
        rule = "must have a val split of its own where it is an IterableDataset, which has no rows"
        raise DataError(rule)
    if preparation.split == "group":
        rule = "must be random or chronological: a torch Dataset has no groups of rows"
        raise DataError(rule, "group", keyword="split")
    rng = np.random.default_rng(seed)
    way = "random" if preparation.split == "auto" else preparation.split
    rows = Population(len(dataset))  # type: ignore[arg-type]  # it has a length, as was checked
    numbers, parts = np.arange(rows.num_rows), {}
    for key in ("test", "val"):
        if fraction := getattr(preparation, f"{key}_fraction"):
            rest, drawn = _draw_part(DIVISIONS[way], rows, key, fraction, rng)
            parts[key] = Subset(dataset, numbers[drawn].tolist())
            numbers, rows = numbers[rest], rows.at(rest)
    return {"train": Subset(dataset, numbers.tolist()), **parts}


def row_stride(source: Source, preparation: SplitSettings) -> int:
    """Return how many rows before one is that which it goes on from; 0 where none is."""
    if source.windows is not None:
        return source.windows.row_stride
    is_drawn = preparation.train_rows is not None or preparation.val_rows is not None
    return int(_way(source, preparation) == "chronological" and not is_drawn)


def keeps_order(source: Source, preparation: SplitSettings) -> bool:
    """Whether the training rows stand in the order in which the data set has them."""
    if source.windows is not None:
        return True
    lacks = any(
        key not in source.splits and getattr(preparation, f"{key}_fraction")
        for key in ("test", "val")
    )
    is_divided = lacks or preparation.folds is not None
    is_drawn = is_divided and _way(source, preparation) == "random"
    return not is_drawn and preparation.train_rows is None


def _way(source: Source, preparation: SplitSettings) -> str:
    """Return how to divide; DataError where the data set lacks what that needs."""
    way, has_groups = preparation.split, source.groups is not None
    if way == "group" and not has_groups:
        raise DataError(
            "must not be 'group', as the data set has no groups of rows: a table names their "
            "column in `group`",
            keyword="split",
        )
    if way == "auto" and has_groups and source.is_ordered:
        raise DataError(
            "must be given (group or chronological) for a data set with groups that is ordered by "
            "time",
            way,
            keyword="split",
        )
    if way == "auto":
        way = "group" if has_groups else "chronological" if source.is_ordered else "random"
    if way != "random" and not preparation.stratify:
        rule = f"must not be given, as a {way} split is not stratified"
        raise DataError(rule, keyword="stratify")
    return way


def _draw_part(
    division: Division, rows: Population, key: str, fraction: float, rng: np.random.Generator
) -> Pair:
    available = division.num_units(rows)
    count = round(available * fraction)
    if not 0 < count < available:
        raise DataError(
            f"must leave at least one of {available} {division.unit} in each part",
            fraction,
            keyword=f"{key}_fraction",
        )
    return division.draw(rows, count, rng)


def _draw_folds(
    division: Division, rows: Population, preparation: SplitSettings, rng: np.random.Generator
) -> Iterator[Pair]:
    folds, available = preparation.folds or 0, division.num_units(rows)
    most = available - division.never_validated
    if folds > most:
        raise DataError(
            f"must be at most {most} with {available} {division.unit}", folds, keyword="folds"
        )
    caps = {"train": preparation.train_rows, "val": preparation.val_rows}
    if (gap := rows.gap) and rows.num_rows // (folds + 1) * folds + gap >= rows.num_rows:
        rule = f"must leave rows to train on with {rows.num_rows} windows, {gap} of which lie "
        rule += "between the training and the validation part of each fold"
        raise DataError(rule, folds, keyword="folds")
    for pair in division.folds(rows, folds, rng):
        capped = [
            part
            if count is None
            else part[_draw_rows(len(part), rows.at(part).classes, count, key, rng)]
            for part, (key, count) in zip(pair, caps.items(), strict=True)
        ]
        yield capped[0], capped[1]


def _draw_rows(
    available: int, classes: Rows | None, count: int, key: str, rng: np.random.Generator
) -> Rows:
    if count > available:
        raise DataError(
            f"must be at most the {available} rows of that part", count, keyword=f"{key}_rows"
        )
    return split_rows(available, count, classes, rng)[1]


def _classes(rows: KnownRows, preparation: SplitSettings) -> Rows | None:
    """The classes by which a draw is stratified; none in a regression."""
    has_classes = rows.y.dtype == np.int64 and rows.y.ndim == 1
    return rows.y if preparation.stratify and has_classes else None
