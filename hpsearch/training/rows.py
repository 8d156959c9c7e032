"""The rows of the training split: those that are trained on, in which order, and the rest."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from hpsearch.components.data import Data
from hpsearch.components.datasets.split_methods import Rows, split_rows
from hpsearch.components.examples import KnownRows, split_length
from hpsearch.components.finetuning import Subset
from hpsearch.components.pairs import Pairs
from hpsearch.errors import BadConfigurationError, nearest_names
from hpsearch.spec import LastBatch
from hpsearch.training.batches import batch_sizes, epoch_order


def check_last_batch(data: Data, last_batch: LastBatch | None) -> None:
    """Refuse to fill the last batch of a stream with rows that were read before."""
    if isinstance(data.train, IterableDataset) and last_batch in ("pad", "wrap"):
        raise BadConfigurationError("must be keep or drop for an IterableDataset", last_batch)


class TrainingRows:
    """Rows by number: all are trained on, unless fine-tuning wants a subset.

    `trained` and `rest` are int64 tensors, None where all are trained on. What is replayed is
    trained on, and no part of the rest. They are shuffled anew each epoch unless they are read
    `in_order`. Of pairs the second examples are drawn each epoch.
    """

    def __init__(
        self,
        data: Data,
        subset: Subset | None,
        last_batch: LastBatch | None,
        seed: int,
        *,
        in_order: bool = False,
    ) -> None:
        self._in_order = in_order
        self._pairs = data.train if isinstance(data.train, Pairs) else None
        self._last_batch: LastBatch = last_batch or "keep"
        if isinstance(data.train, IterableDataset) and subset is not None:
            rule = "needs rows by number, but an IterableDataset has none"
            raise BadConfigurationError(rule)
        self._length = split_length(data.train)
        self.trained: Tensor | None = None
        self.rest: Tensor | None = None
        if subset is not None:
            parts = _divide(subset, data, np.random.default_rng(seed))
            self.trained, self.rest = (torch.from_numpy(np.sort(part)) for part in parts)
            self._length = len(self.trained)

    def __len__(self) -> int:
        return self._length

    def order(self, batch_size: int, passes: int, generator: torch.Generator) -> Tensor:
        """Draw the rows of an epoch of so many passes, in the order in which they are read."""
        drawn = None if self._in_order else generator
        orders = [
            epoch_order(len(self), batch_size, self._last_batch, drawn) for _ in range(passes)
        ]
        order = torch.cat(orders)
        order = order if self.trained is None else self.trained[order]
        return order if self._pairs is None else self._pairs.drawn(order, generator)

    def num_steps(self, batch_size: int, passes: int) -> int:
        """Return the steps of so many passes."""
        if self._last_batch == "keep":
            return len(batch_sizes(len(self) * passes, batch_size))
        full, rest = divmod(len(self), batch_size)
        return passes * (full + (rest > 0 and self._last_batch != "drop"))


def _divide(subset: Subset, data: Data, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Return the rows to train on and the rest, classes in proportion in what is drawn."""
    num_rows = split_length(data.train)
    classes = _classes(data)
    candidates = np.arange(num_rows)
    if subset.classes:
        candidates = candidates[_is_wanted(subset, data)]
    count = round(len(candidates) * subset.fraction)
    _, chosen = _draw(candidates, count, classes, rng)
    rest = np.setdiff1d(np.arange(num_rows), chosen)
    rest, replayed = _draw(rest, round(len(rest) * subset.replay_fraction), classes, rng)
    if len(chosen) == 0 or len(rest) == 0:
        raise BadConfigurationError(
            f"must choose some of the {num_rows} training rows and leave some, but chooses "
            f"{len(chosen)} and leaves {len(rest)}"
        )
    return np.concatenate([chosen, replayed]), rest


def _draw(
    rows: Rows, count: int, classes: Rows | None, rng: np.random.Generator
) -> tuple[Rows, Rows]:
    own = None if classes is None else classes[rows]
    others, drawn = split_rows(len(rows), count, own, rng)
    return rows[others], rows[drawn]


def _is_wanted(subset: Subset, data: Data) -> NDArray[np.bool_]:
    classes = _classes(data)
    if classes is None:
        raise BadConfigurationError(
            "needs arrays with one class a row, but the data set has "
            f"{'others' if isinstance(data.train, KnownRows) else 'a torch Dataset'}",
            keyword="classes",
        )
    known = {name: number for number, name in enumerate(data.class_names)}
    unknown = [name for name in map(str, subset.classes) if name not in known]
    if unknown:
        rule = f"must be classes of the data set ({', '.join(known)})"
        near = nearest_names(unknown[0], known)
        raise BadConfigurationError(rule, unknown[0], keyword="classes", nearest=near)
    return np.isin(classes, [known[str(name)] for name in subset.classes])


def _classes(data: Data) -> Rows | None:
    if not isinstance(data.train, KnownRows):
        return None
    y = data.train.y
    return y if y.dtype == np.int64 and y.ndim == 1 else None
