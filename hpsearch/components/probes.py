"""What features say of classes, without anything being trained: the callback `knn_probe`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.batch import Batch
from hpsearch.components.callbacks import BaseCallback
from hpsearch.components.data import Data
from hpsearch.components.examples import KnownRows
from hpsearch.components.layer_groups import layer_groups
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

#: rows whose neighbours are sought at a time
_ROWS = 1024


class NearestNeighbours(BaseCallback):
    """Classifies validation rows by the features of their nearest training rows."""

    def __init__(self, k: int) -> None:
        self._k = k

    def check_data(self, data: Data) -> None:
        """Refuse data without one class a row, or with fewer rows than neighbours."""
        y = data.train.y if isinstance(data.train, KnownRows) else np.zeros((0, 1))
        if y.ndim > 1 or y.dtype != np.int64 or len(np.unique(y)) < 2:
            rule = f"knn_probe needs rows with a class each, but the data is for {data.kind}"
            raise BadConfigurationError(rule)
        if self._k > len(y):
            rule = f"must be at most the {len(y)} training rows"
            raise BadConfigurationError(rule, self._k, keyword="k")

    def probe(self, model: nn.Module, read: Callable[[str], Iterator[Batch]]) -> dict[str, float]:
        """Return the accuracy on the validation rows that `read` gives."""
        seen, classes = _features(model, read("train"))
        asked, right = _features(model, read("val"))
        answers = nearest_classes(seen, classes, asked, self._k)
        return {"val_knn_accuracy": float((answers == right).double().mean())}


def nearest_classes(seen: Tensor, classes: Tensor, asked: Tensor, k: int) -> Tensor:
    """Return the class of most of the k rows of `seen`, or of all where these are fewer, whose
    features have the greatest cosines with those of each row `asked`; of several the one with the
    smallest number."""
    known = F.normalize(seen.flatten(1).float())
    k = min(k, len(known))  # fine-tuning may train on a subset
    found = []
    for part in torch.split(F.normalize(asked.flatten(1).float()), _ROWS):
        nearest = (part @ known.T).topk(k).indices
        votes = F.one_hot(classes[nearest], int(classes.max()) + 1).sum(1)
        found.append(votes.argmax(1))
    return torch.cat(found)


@torch.no_grad()
def _features(model: nn.Module, batches: Iterator[Batch]) -> tuple[Tensor, Tensor]:
    """Return what the head of a model gets of rows, of two views the first one's, and classes."""
    features, classes = [], []
    for batch in batches:
        with _inputs_of_head(model) as seen:
            model(batch.inputs)
        features.append(seen[0])
        classes.append(batch.targets)
    return torch.cat(features), torch.cat(classes)


@contextmanager
def _inputs_of_head(model: nn.Module) -> Iterator[Sequence[Tensor]]:
    seen: list[Tensor] = []
    head = layer_groups(model)[-1][0]
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()


@register("callback", "knn_probe")
def knn_probe(k: Annotated[int, Ge(1), Recommended(1, 50, log=True)] = 5) -> NearestNeighbours:
    """Measures `val_knn_accuracy`: each validation row has the class of most of its `k` nearest
    training rows, by the cosine of the features that the model's head gets.

    It says what an encoder has learned before anything is trained on its features, also in an
    earlier stage that ignores the classes. Costs a forward pass of both splits.
    """
    return NearestNeighbours(k)


knn_probe.metrics = ("val_knn_accuracy",)  # type: ignore[attr-defined]
