"""A data set as it was read, for people: every column and what was taken for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hpsearch.components.datasets.column_reading import ColumnReading, ColumnsError
from hpsearch.components.datasets.factory_output import Source
from hpsearch.components.datasets.loading import read_data, source_warnings, targets_name
from hpsearch.components.datasets.targets import encode
from hpsearch.components.examples import Arrays, LazyRows
from hpsearch.components.tasks.kinds import KindDecision, Statement
from hpsearch.errors import ComponentError, Problem

_EXAMPLE_LENGTH = 30
#: features of arrays that are listed one by one
MAX_FEATURES = 50


@dataclass(frozen=True)
class Description:
    """The columns, what is learned, what to know, and what is wrong, with its own keyword."""

    columns: tuple[ColumnReading, ...]
    learned: str = ""
    warnings: tuple[str, ...] = ()
    problem: Problem | None = None


def describe_data(
    section: Mapping[str, Any],
    *,
    seed: int,
    folder: str | Path = ".",
    said: Statement | None = None,
) -> Description:
    """Read the data set of a spec's section as far as possible; nothing is divided or learned."""
    try:
        source, _, decision = read_data(section, seed=seed, folder=folder, said=said)
    except ColumnsError as error:
        return Description(error.columns, problem=error.problem)
    except ComponentError as error:
        return Description((), problem=error.problem)
    columns = [
        _as_target(each, decision) if each.reading == "target" else each
        for each in source.columns or _columns(source)
    ]
    problem: Problem | None = None
    try:
        decision.require(targets_name(source))
        if isinstance(source.splits["train"], Arrays):
            encode(source, decision.kind)
    except ComponentError as error:
        problem = error.problem
    learned = f"{decision.kind}, because {decision.reason}" if problem is None else ""
    return Description(tuple(columns), learned, source_warnings(source), problem)


def _as_target(reading: ColumnReading, decision: KindDecision) -> ColumnReading:
    if decision.doubt:
        return replace(reading, doubt=f"{decision.doubt}: set `kind`")
    return replace(reading, reading=f"target ({decision.kind})", why=decision.reason)


def _columns(source: Source) -> list[ColumnReading]:
    """Return the readings of what isn't a table: features of arrays, and the targets."""
    train = source.splits["train"]
    if isinstance(train, LazyRows):
        shape = " x ".join(map(str, train.input_shape))
        why = f"{len(train)} examples of {shape} numbers, read when they are needed"
        return [ColumnReading("x", "number", why), _array("y", "target", "", train.y)]
    if not isinstance(train, Arrays):
        why = "read example by example"
        return [ColumnReading("x", "torch Dataset", why), ColumnReading("y", "target", why)]
    x = train.x
    if source.num_tokens and source.windows is not None:
        return [_text(source, x)]
    target = _array("y", "target", "", train.y)
    if source.num_tokens:
        why = f"sequences of up to {x.shape[1]} ids of {source.num_tokens} tokens"
        return [_array("x", "token ids", why, x), target]
    if x.ndim > 2 or x.shape[1] > MAX_FEATURES:
        shape = " x ".join(map(str, x.shape[1:]))
        return [_array("x", "number", f"examples of {shape} numbers", x), target]
    names = source.feature_names or tuple(f"x[{number}]" for number in range(x.shape[1]))
    features = [
        _array(name, "number", "", column) for name, column in zip(names, x.T, strict=True)
    ]
    return [*features, target]


def _text(source: Source, ids: np.ndarray[Any, Any]) -> ColumnReading:
    """Return the reading of a text, as what its tokens say."""
    names = source.class_names or tuple(map(str, range(source.num_tokens)))
    example = "".join(names[int(number)] for number in ids.flat[:_EXAMPLE_LENGTH])
    shown = " ".join(example[:_EXAMPLE_LENGTH].split())
    why = f"{len(ids)} tokens of {source.num_tokens} different ones"
    return ColumnReading("text", "target (next token)", why, source.num_tokens, 0, shown)


def _array(name: str, reading: str, why: str, values: np.ndarray[Any, Any]) -> ColumnReading:
    texts = values.astype(str) if values.dtype.kind == "O" else values
    example = str(values.flat[0])[:_EXAMPLE_LENGTH]
    return ColumnReading(name, reading, why, len(np.unique(texts)), 0, example)
