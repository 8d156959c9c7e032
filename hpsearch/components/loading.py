"""From a spec's `dataset` section to `Data`: read, check, split, standardise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Interval

from hpsearch import registry
from hpsearch.components.data import Arrays, Data, standardized
from hpsearch.components.sources import (
    RealTargets,
    Source,
    describe_dataset,
    encode,
    read_source,
)
from hpsearch.components.splits import Rows, fold_rows, split_rows
from hpsearch.errors import DataError, HpsearchError, UserCodeError
from hpsearch.registry import Component


@dataclass(frozen=True)
class Preparation:
    """Keywords that every data set has beside its own.

    `train_rows` and `val_rows` draw that many rows of their part; `folds` is cross validation
    in place of one validation part; test rows are drawn where the data set has no test split.
    `kind` says what targets are: with `classification`, several columns are shares of classes
    (soft labels); with `multilabel`, each is a label from 0 to 1. Datasets take `kind` alone.
    """

    val_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    test_fraction: Annotated[float, Interval(ge=0, lt=1)] = 0.2
    folds: Annotated[int, Ge(2)] | None = None
    train_rows: Annotated[int, Ge(1)] | None = None
    val_rows: Annotated[int, Ge(1)] | None = None
    standardize: bool = True
    kind: Literal["auto", "classification", "multilabel", "regression"] = "auto"


registry.share_keywords("dataset", Preparation)


def load_data(section: Mapping[str, Any], *, seed: int, folder: str | Path = ".") -> Data:
    """Read the data set of a spec's section, split it by `seed` and standardise it.

    Relative paths are taken from `folder`, the spec's. Raises DataError where data is missing
    or can't be used, UserCodeError where a user's factory fails or returns something else.
    """
    name = section["name"]
    component = registry.get("dataset", name, Path(folder))
    shared = registry.shared_keywords("dataset").keys() - component.own_keywords.keys()
    keywords = {key: value for key, value in section.items() if key not in {"name", *shared}}
    given = {key: value for key, value in section.items() if key in shared}
    returned = _call(component, keywords, seed, Path(folder))
    source = read_source(returned, name)
    _check_given(given, source)
    preparation = Preparation(**given)
    if all(isinstance(split, Arrays) for split in source.splits.values()):
        return _from_arrays(source, preparation, seed)
    return _from_datasets(source, preparation, name)


def _call(component: Component, keywords: Mapping[str, Any], seed: int, folder: Path) -> Any:
    try:
        return component.build(keywords, seed=seed, folder=folder)
    except HpsearchError:
        raise
    except Exception as error:  # user code may raise anything
        raise UserCodeError(
            f"dataset: {component.name} failed: {type(error).__name__}: {error}"
        ) from error


def _check_given(given: Mapping[str, Any], source: Source) -> None:
    """Refuse what would be without effect."""
    splits = source.splits
    refused = {f"{key}_fraction": f"a {key} split of its own" for key in ("test", "val")}
    refused = {key: why for key, why in refused.items() if key.split("_")[0] in splits}
    if "val" in splits:
        refused["folds"] = "a val split of its own"
    if given.get("standardize") and not source.standardize:
        refused["standardize"] = "inputs that are no quantities"
    if given.get("folds") is not None:
        refused["val_fraction"] = "folds, which take its place"
    if not all(isinstance(split, Arrays) for split in splits.values()):
        untouched = given.keys() - {"kind"}
        refused |= dict.fromkeys(untouched, "torch Datasets, which are used as they are")
    for key in given:
        if key in refused and given[key] is not None:
            raise DataError(
                f"dataset.{key}: must not be given, as the data set has {refused[key]}, "
                f"but got {given[key]!r}"
            )


def _from_arrays(source: Source, preparation: Preparation, seed: int) -> Data:
    splits, kind, class_names = encode(source, preparation.kind)
    folds = _divide(splits, preparation, np.random.default_rng(seed))
    train = splits["train"]
    data = Data(
        kind=kind,
        input_shape=train.x.shape[1:],
        output_size=len(class_names) or train.y.shape[1],
        train=train,
        val=splits.get("val"),
        test=splits.get("test"),
        folds=folds,
        class_names=class_names,
        feature_names=source.feature_names,
        standardize=preparation.standardize and source.standardize,
    )
    return data if folds else standardized(data)


def _divide(
    splits: dict[str, Arrays], preparation: Preparation, rng: np.random.Generator
) -> tuple[tuple[Rows, Rows], ...]:
    """Complete the splits in place, all draws from `rng`; returns the folds, if there are any."""
    if "test" not in splits and preparation.test_fraction:
        splits["train"], splits["test"] = _draw_fraction(splits["train"], preparation, "test", rng)
    if preparation.folds is not None:
        return tuple(_draw_folds(splits["train"], preparation.folds, preparation, rng))
    if "val" not in splits:
        splits["train"], splits["val"] = _draw_fraction(splits["train"], preparation, "val", rng)
    for key, rows in (("train", preparation.train_rows), ("val", preparation.val_rows)):
        drawn = _draw_rows(_classes(splits[key]), len(splits[key]), rows, key, rng)
        if drawn is not None:
            splits[key] = splits[key].rows(drawn)
    return ()


def _draw_fraction(
    arrays: Arrays, preparation: Preparation, key: str, rng: np.random.Generator
) -> tuple[Arrays, Arrays]:
    fraction: float = getattr(preparation, f"{key}_fraction")
    count = round(len(arrays) * fraction)
    if not 0 < count < len(arrays):
        raise DataError(
            f"dataset.{key}_fraction: must leave rows on both sides, "
            f"but got {fraction} of {len(arrays)} rows"
        )
    rest, drawn = split_rows(len(arrays), count, _classes(arrays), rng)
    return arrays.rows(rest), arrays.rows(drawn)


def _draw_folds(
    arrays: Arrays, folds: int, preparation: Preparation, rng: np.random.Generator
) -> Iterator[tuple[Rows, Rows]]:
    if folds > len(arrays):
        raise DataError(f"dataset.folds: must be at most the {len(arrays)} rows, but got {folds}")
    classes = _classes(arrays)
    for pair in fold_rows(len(arrays), folds, classes, rng):
        capped = []
        caps = {"train": preparation.train_rows, "val": preparation.val_rows}
        for rows, (key, cap) in zip(pair, caps.items(), strict=True):
            part = None if classes is None else classes[rows]
            drawn = _draw_rows(part, len(rows), cap, key, rng)
            capped.append(rows if drawn is None else rows[drawn])
        yield capped[0], capped[1]


def _draw_rows(
    classes: Rows | None, available: int, count: int | None, key: str, rng: np.random.Generator
) -> Rows | None:
    if count is None:
        return None
    if count > available:
        raise DataError(
            f"dataset.{key}_rows: must be at most the {available} rows of that part, "
            f"but got {count}"
        )
    return split_rows(available, count, classes, rng)[1]


def _classes(arrays: Arrays) -> Rows | None:
    """The classes by which a draw is stratified; none in a regression."""
    return arrays.y if arrays.y.dtype == np.int64 else None


def _from_datasets(source: Source, preparation: Preparation, name: str) -> Data:
    splits = {k: split for k, split in source.splits.items() if not isinstance(split, Arrays)}
    if len(splits) < len(source.splits):
        raise UserCodeError(f"{name}: must return arrays or Datasets, but got both")
    if "val" not in splits:
        raise UserCodeError(f"{name}: must return a Dataset for 'val' too, but got only 'train'")
    train = splits["train"]
    kind, input_shape, output_size = describe_dataset(train, source, name, preparation.kind)
    if kind != "classification" and not torch.as_tensor(train[0][1]).is_floating_point():
        splits = {key: RealTargets(split) for key, split in splits.items()}
    return Data(
        kind=kind,
        input_shape=input_shape,
        output_size=output_size,
        train=splits["train"],
        val=splits["val"],
        test=splits.get("test"),
        class_names=source.class_names,
        feature_names=source.feature_names,
    )
