"""Scores that the targets of a split don't have, whatever a model says of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hpsearch.components.data import Data
from hpsearch.components.encodings import encoding_of
from hpsearch.components.examples import Arrays
from hpsearch.components.tasks.base import Task
from hpsearch.components.tasks.kinds import Values, listed

#: values of outputs, at most, that are tried
MOST_VALUES = 2**24
SPLIT_WORDS = {"val": "validation", "test": "test"}


def undefined_scores(task: Task, data: Data) -> dict[str, str]:
    """Return why a task's scores aren't defined on a split of the data, by the metric's name; and
    what isn't defined for its examples, of which a task may say so.

    Random outputs and right ones are tried: what neither has, no model has. Datasets aren't read.
    """
    undefined = getattr(task, "undefined", None)
    of_examples: dict[str, str] = {} if undefined is None else undefined(data.one_shape)
    splits = ("train", *SPLIT_WORDS)
    found = {f"{name}_{each}": why for name in splits for each, why in of_examples.items()}
    if not task.scores:
        return found
    for name, y in _targets(data):
        missing = set(task.scores) - _defined(task, y, data.output_size)
        why = _why(data, y, SPLIT_WORDS[name]) if missing else ""
        found |= {f"{name}_{score}": why for score in task.scores if score in missing}
    return found


def _targets(data: Data) -> Iterator[tuple[str, Values]]:
    """Yield the targets of each split that is scored; a mean over folds needs all of them.

    The rows of data with folds are as they were read: pairs are made of them in each fold.
    """
    of = data.encoding
    for name, split in (("test", data.test), ("val", data.val)):
        if isinstance(split, Arrays):
            yield name, of.examples(split).y if data.folds else split.y
    for _, rows in data.folds:
        if isinstance(data.train, Arrays):
            yield "val", of.examples(data.train.rows(rows)).y


def _defined(task: Task, y: Values, output_size: int) -> set[str]:
    """Return the scores that are defined for one of two sets of outputs."""
    targets = torch.as_tensor(y)
    found: set[str] = set()
    if targets.numel() * output_size > MOST_VALUES:
        return set(task.scores)
    for outputs in _outputs(task, targets, output_size):
        try:
            with torch.no_grad():
                found |= task.measure(outputs, targets).keys()
        except Exception:  # a user's metric may raise anything; then its trial fails
            return set(task.scores)
    return found


def _outputs(task: Task, targets: Tensor, output_size: int) -> Iterator[Tensor]:
    """Yield outputs that are right, and random ones."""
    right = encoding_of(task.kind).right_outputs(targets, output_size)
    if task.kind == "multilabel":  # there may be an output for each set of labels
        right = task.head.inverse(right.sigmoid()).detach()
    yield right
    yield torch.randn(right.shape, generator=torch.Generator().manual_seed(0))


def _why(data: Data, y: Values, split: str) -> str:
    """Say what the targets of a split lack, as far as their kind tells."""
    if data.kind == "classification" and y.ndim == 1:
        counts = np.bincount(y, minlength=data.output_size)
        if (absent := np.flatnonzero(counts == 0)).size:
            rows = listed(_counts(data)[absent])
            return f"the {split} split has no row of class {_named(data, absent)} ({rows} in all)"
    members = y > 0.5
    if data.kind == "multilabel" and (same := (members == members[0]).all(axis=0)).any():
        labels = _named(data, np.flatnonzero(same))
        return f"all rows of the {split} split are alike in label {labels}"
    return f"the targets of the {split} split don't allow it"


def _counts(data: Data) -> Values:
    """The rows of each class in all splits."""
    splits = (data.train, data.val, data.test)
    classes = np.concatenate([split.y for split in splits if isinstance(split, Arrays)])
    return np.bincount(classes, minlength=data.output_size)


def _named(data: Data, numbers: Values) -> str:
    names = data.class_names or tuple(map(str, range(data.output_size)))
    return listed([repr(names[number]) for number in numbers])
