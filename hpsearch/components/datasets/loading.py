"""From a spec's `dataset` section to `Data`: read, check, split, standardise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hpsearch import registry
from hpsearch.components.data import Data, Kind, standardized
from hpsearch.components.datasets.factory_output import Source, read_source
from hpsearch.components.datasets.layouts import axes_warnings, with_channels_first
from hpsearch.components.datasets.mixed_targets import target_blocks
from hpsearch.components.datasets.splitting import (
    SplitSettings,
    divide,
    divide_dataset,
    keeps_order,
    row_stride,
)
from hpsearch.components.datasets.targets import as_learned, decide, describe_dataset, encode
from hpsearch.components.encodings import encoding_of
from hpsearch.components.examples import KnownRows, LazyRows
from hpsearch.components.raw_inputs import RawInputs
from hpsearch.components.tasks.kinds import KindDecision, Statement, listed
from hpsearch.errors import DataError, HpsearchError, UserCodeError
from hpsearch.formatting import show_count
from hpsearch.registry import Component, is_ours

registry.share_keywords("dataset", SplitSettings)


def load_data(
    section: Mapping[str, Any],
    *,
    seed: int,
    folder: str | Path = ".",
    said: Statement | None = None,
) -> Data:
    """Read the data set of a spec's section, split it by `seed` and standardise it.

    Relative paths are taken from `folder`, the spec's; `said` is what the rest of the spec says
    of the kind. Raises DataError where data is missing or can't be used, or its kind is in doubt,
    UserCodeError where a user's factory fails or returns something else.
    """
    source, preparation, decision = read_data(section, seed=seed, folder=folder, said=said)
    decision.require(targets_name(source))
    if all(isinstance(split, KnownRows) for split in source.splits.values()):
        return _from_rows(source, preparation, decision, seed)
    return _from_datasets(source, preparation, decision, section["name"], seed)


def read_data(
    section: Mapping[str, Any],
    *,
    seed: int,
    folder: str | Path = ".",
    said: Statement | None = None,
) -> tuple[Source, SplitSettings, KindDecision]:
    """Read the data set of a spec's section as it is; the decision may be in doubt."""
    name = section["name"]
    component = registry.get("dataset", name, Path(folder))
    shared = registry.shared_keywords("dataset").keys() - component.own_keywords.keys()
    keywords = {key: value for key, value in section.items() if key not in {"name", *shared}}
    given = {key: value for key, value in section.items() if key in shared}
    returned = _call(component, keywords, seed, Path(folder))
    source = read_source(returned, name)
    _check_given(given, source)
    preparation = SplitSettings(**given)
    is_users = not is_ours(component.factory) or component.traits.get("users_arrays", False)
    if is_users or preparation.layout != "auto":
        splits, is_last, note = with_channels_first(source.splits, preparation.layout)
        source = replace(source, splits=splits, came_channels_last=is_last, layout=note)
    return source, preparation, decide(source, preparation.kind, said, name)


def targets_name(source: Source) -> str:
    """Return how to call the targets."""
    if not source.target_names:
        return "the targets"
    return f"the target {' and '.join(map(repr, source.target_names))}"


def _call(component: Component, keywords: Mapping[str, Any], seed: int, folder: Path) -> Any:
    try:
        return component.build(keywords, seed=seed, folder=folder)
    except HpsearchError:
        raise
    except Exception as error:  # user code may raise anything
        raise UserCodeError(f"{component.name} failed: {type(error).__name__}: {error}") from error


def _check_given(given: Mapping[str, Any], source: Source) -> None:
    """Refuse what would be without effect."""
    splits = source.splits
    refused = {f"{key}_fraction": f"a {key} split of its own" for key in ("test", "val")}
    refused = {key: why for key, why in refused.items() if key.split("_")[0] in splits}
    if "val" in splits:
        refused["folds"] = "a val split of its own"
    if {"val", "test"} <= splits.keys():
        refused["split"] = "a val and a test split of its own"
    if given.get("standardize") and not source.standardize:
        refused["standardize"] = "inputs that aren't quantities"
    if given.get("folds") is not None:
        refused["val_fraction"] = "folds, which take its place"
    if source.windows is not None:
        series = ("train_rows", "val_rows", "split", "stratify", "kind")
        refused |= dict.fromkeys(series, "windows of a series, whose last steps are held out")
    if not all(isinstance(split, KnownRows) for split in splits.values()):
        is_divided = splits.keys() == {"train"}
        divides = {"val_fraction", "test_fraction", "split"} if is_divided else set()
        untouched = given.keys() - {"kind"} - divides
        refused |= dict.fromkeys(untouched, "torch Datasets, which are used as they are")
    for key in given:
        if key in refused and given[key] is not None:
            rule = f"must not be given, as the data set has {refused[key]}"
            raise DataError(rule, given[key], keyword=key)


def _from_rows(
    source: Source, preparation: SplitSettings, decision: KindDecision, seed: int
) -> Data:
    blocks = target_blocks(source) if decision.kind == "multioutput" else ()
    splits, class_names = _learned(source, decision.kind)
    folds, between = divide(splits, source, preparation, seed)
    train, of = splits["train"], encoding_of(decision.kind)
    shape = train.input_shape if isinstance(train, LazyRows) else train.x.shape[1:]
    shape = of.input_shape(shape)
    data = Data(
        kind=decision.kind,
        input_shape=shape,
        output_size=of.output_size(train.y, class_names, shape),
        train=train,
        val=splits.get("val"),
        test=splits.get("test"),
        folds=folds,
        class_names=class_names,
        feature_names=source.feature_names,
        standardize=preparation.standardize and source.standardize,
        missing=source.missing,
        layout=source.layout,
        # examples of several inputs are no rows of the user's files
        came_channels_last=source.came_channels_last and not of.num_inputs,
        unit=source.unit,
        raw_inputs=RawInputs(shape) if of.num_inputs else source.raw_inputs(shape),
        num_tokens=source.num_tokens,
        padding_id=source.padding_id,
        input_parts=source.inputs,
        kind_reason=decision.reason,
        target_names=source.target_names,
        output_names=() if source.windows is None else source.windows.output_names,
        target_blocks=blocks,
        row_stride=row_stride(source, preparation),
        rows_in_order=keeps_order(source, preparation),
        between=between,
        merge_rows=getattr(source.windows, "merged", None),  # few windows need it
        warnings=(*source_warnings(source), *_lonely_classes(splits, class_names)),
    )
    return data if folds else standardized(data)


def _learned(source: Source, kind: Kind) -> tuple[dict[str, KnownRows], tuple[str, ...]]:
    """Return the splits with targets as they are learned, and the names of classes or labels."""
    lazy = {key: split for key, split in source.splits.items() if isinstance(split, LazyRows)}
    if not lazy:
        arrays, names = encode(source, kind)
        return dict(arrays), names
    if kind != "classification":
        if encoding_of(kind).made_of == "classification":
            raise DataError(f"{kind} needs rows in memory, but the data set reads images by need")
        raise DataError(
            "must be classification, as the data set has classes", kind, keyword="kind"
        )
    return dict(lazy), source.class_names


def source_warnings(source: Source) -> tuple[str, ...]:
    """Return what the user should know of a data set as it was read."""
    columns = [f"column {each.column!r} {each.warning}" for each in source.columns if each.warning]
    return (*source.warnings, *columns)


def _lonely_classes(splits: Mapping[str, KnownRows], class_names: tuple[str, ...]) -> list[str]:
    """Warn of classes with one row, which is in one split and never in another."""
    classes = np.concatenate([split.y for split in splits.values()])
    if not class_names or classes.dtype != np.int64 or classes.ndim > 1:
        return []
    counts = np.bincount(classes, minlength=len(class_names))
    lonely = [name for name, count in zip(class_names, counts, strict=True) if count == 1]
    which = f"{show_count(len(lonely), 'class', 'classes')} with one row only"
    return [f"{which}, which not every split has: {listed(lonely)}"] if lonely else []


def _from_datasets(
    source: Source, preparation: SplitSettings, decision: KindDecision, name: str, seed: int
) -> Data:
    splits = {k: split for k, split in source.splits.items() if not isinstance(split, KnownRows)}
    if len(splits) < len(source.splits):
        raise UserCodeError(f"{name}: must return arrays or Datasets, but got both")
    if splits.keys() == {"train"}:
        splits = divide_dataset(splits["train"], preparation, seed)
    if "val" not in splits:
        rule = "must return a Dataset for 'val' too, or one Dataset alone, which is divided"
        raise UserCodeError(f"{name}: {rule}, but got {' and '.join(splits)}")
    kind = decision.kind
    of = encoding_of(kind)
    if of.ignores_targets or of.must_be_said or of.made_of:
        raise DataError(f"{kind} needs arrays, but {name} returns torch Datasets", keyword="kind")
    splits = as_learned(splits, kind, name)
    input_shape, output_size = describe_dataset(splits["train"], source, name, kind)
    return Data(
        kind=kind,
        input_shape=input_shape,
        output_size=output_size,
        train=splits["train"],
        val=splits["val"],
        test=splits.get("test"),
        class_names=source.class_names,
        feature_names=source.feature_names,
        unit=source.unit,
        rows_in_order=keeps_order(source, preparation),
        raw_inputs=source.raw_inputs(input_shape),
        kind_reason=decision.reason,
        target_names=source.target_names,
        warnings=(*source_warnings(source), *axes_warnings(input_shape)),
    )
