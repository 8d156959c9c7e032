"""What forecasts score that know nothing of the inputs: scores are read beside them.

As scikit-learn's DummyClassifier and DummyRegressor, which know neither soft labels nor a task's
own metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hpsearch.components.batch import Batch
from hpsearch.components.data import Data, KnownRows
from hpsearch.components.tasks import Task

Scores = dict[str, dict[str, float]]


def baseline_scores(task: Task, data: Data) -> Scores:
    """Return the metrics of each baseline on `val` and `test`, by its name; {} for Datasets.

    `prior` forecasts the training rows' shares of the classes, `majority` the class that most of
    them have, `uniform` all classes alike; a regression has `mean` and `median`. What isn't
    finite, such as the log loss of a wrong certainty, is left out.
    """
    if not isinstance(data.train, KnownRows):
        return {}
    scores: Scores = {}
    for name, forecast in data.encoding.forecasts(data.train.y, data.output_size).items():
        outputs = task.head.inverse(forecast)
        scores[name] = {}
        for split, arrays in {"val": data.val, "test": data.test}.items():
            if isinstance(arrays, KnownRows):
                scores[name] |= _scores(task, outputs, arrays, split, data.output_shape)
    return scores


def _scores(
    task: Task, outputs: Tensor, arrays: KnownRows, split: str, shape: Sequence[int]
) -> dict[str, float]:
    targets = torch.from_numpy(arrays.y.copy())
    mask = getattr(arrays, "mask", None)
    mask = None if mask is None else torch.from_numpy(mask.copy())
    targets = targets.double() if targets.is_floating_point() else targets
    rows, batch = outputs.expand(len(targets), *shape), Batch((), targets, mask)
    found = task.summary(task.totals(rows, batch).tolist())
    found |= task.measure(rows, targets) if task.scores else {}
    return {f"{split}_{name}": value for name, value in found.items() if math.isfinite(value)}
