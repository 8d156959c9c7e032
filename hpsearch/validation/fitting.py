"""Values that don't fit the examples of the data set: trials with them would fail."""

from __future__ import annotations

from collections.abc import Iterator

from hpsearch.components import Data
from hpsearch.components.models.building import FITTING
from hpsearch.errors import Problem
from hpsearch.spec import Range, Tree, join
from hpsearch.validation.samples import samples
from hpsearch.validation.signatures import Alternative


def batch_size_problems(tree: Tree, data: Data) -> list[Problem]:
    """Return the batch sizes that are above the number of training rows."""
    rows = data.num_train_rows
    rule = f"must be at most the number of training rows ({rows})"
    return [
        Problem(path, rule, size)
        for path, size in samples(tree, "batch_size")
        if isinstance(size, int) and size > rows
    ]


def history_problems(found: list[Alternative], data: Data) -> list[Problem]:
    """Return the histories of the task forecasting that are longer than the data set's."""
    key, steps = "history", data.one_shape[0]
    return [
        Problem(path, f"must be at most the lookback of the data set ({steps})", history)
        for task in found
        if task.component.name == "forecasting"
        for path, history in samples(task.keywords.get(key), join(task.path, key))
        if isinstance(history, int) and history > steps
    ]


def unfitting_values(found: list[Alternative], data: Data) -> Iterator[Problem]:
    """Yield ranges of models' keywords that hold integers which can't be for the data's examples:
    trials would fail."""
    for alternative in found:
        for key, fitting in alternative.component.traits.get(FITTING, {}).items():
            tree, values = alternative.keywords.get(key), fitting(data.one_shape)
            if not isinstance(tree, Range) or not values:
                continue
            inside = tree.whole_numbers
            if wrong := [value for value in inside if value not in values]:
                shape = "x".join(map(str, data.one_shape[1:]))
                fits = ", ".join(str(value) for value in values if value in inside) or "none"
                yield Problem(
                    join(alternative.path, key),
                    f"must hold only values that fit {shape} images ({{choices: [{fits}]}})",
                    wrong[0],
                )
