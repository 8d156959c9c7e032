"""What forecasts score that know nothing of the inputs: scores are read beside them.

As scikit-learn's DummyClassifier and DummyRegressor, which know neither soft labels nor a task's
own metrics.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from hpsearch.components.batch import Batch
from hpsearch.components.data import Data
from hpsearch.components.examples import KnownRows
from hpsearch.components.tasks.base import Task, output_shape

#: rows whose outputs, of which there may be one for each pixel, are there at once
BATCH_SIZE = 1024
Scores = dict[str, dict[str, float]]


def baseline_scores(task: Task, data: Data) -> Scores:
    """Return the metrics of each baseline on `val` and `test`, by its name; {} for Datasets.

    `prior` forecasts the training rows' shares of the classes, `majority` the class that most of
    them have, `uniform` all classes alike; a regression has `mean` and `median`, a forecast
    `seasonal_naive` and `naive`. What isn't finite, such as the log loss of a wrong certainty, is
    left out.
    """
    if not isinstance(data.train, KnownRows):
        return {}
    splits = {"val": data.val, "test": data.test}
    known = {name: each for name, each in splits.items() if isinstance(each, KnownRows)}
    same = data.encoding.forecasts(data.train.y, data.output_size)
    scores: Scores = {}
    fitted: dict[str, Task] = {}
    for split, arrays in known.items():
        own = data.encoding.row_forecasts(arrays)
        of_rows = {
            name: task.head.inverse(each).expand(len(arrays), *output_shape(task, data))
            for name, each in (same | own).items()
        }
        for name, outputs in of_rows.items():
            if split == "val":
                fitted[name] = _fitted(task, outputs, arrays)
            found = _scores(fitted.get(name, task), outputs, arrays, split)
            scores[name] = scores.get(name, {}) | found
    return scores


def _fitted(task: Task, outputs: Tensor, arrays: KnownRows) -> Task:
    """Return a task that has chosen by a baseline what it chooses by validation rows."""
    if not hasattr(task, "fit_to_validation"):
        return task
    own = copy.deepcopy(task)
    own.fit_to_validation(outputs, torch.from_numpy(arrays.y.copy()))
    return own


def _scores(task: Task, outputs: Tensor, arrays: KnownRows, split: str) -> dict[str, float]:
    targets = torch.from_numpy(arrays.y.copy())
    mask = getattr(arrays, "mask", None)
    mask = None if mask is None else torch.from_numpy(mask.copy())
    targets = targets.double() if targets.is_floating_point() else targets
    batch = Batch((), targets, mask)
    parts = list(torch.split(outputs, BATCH_SIZE))
    batches = batch.split(list(map(len, parts)))
    each = [task.totals(*pair) for pair in zip(parts, batches, strict=True)]
    totals = torch.stack(each).sum(0)
    found = task.summary(totals.tolist())
    found |= task.measure(outputs, targets) if task.scores else {}
    return {f"{split}_{name}": value for name, value in found.items() if math.isfinite(value)}
