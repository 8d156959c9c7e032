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
from hpsearch.components.tasks import Task
from hpsearch.errors import BadConfigurationError, nearest_names, placed
from hpsearch.spec import LastBatch, TrialConfig
from hpsearch.training.batches import batch_sizes, epoch_order, grouped_order
from hpsearch.training.streams import stream_order


def training_rows(
    config: TrialConfig, data: Data, task: Task, subset: Subset | None, seed: int
) -> TrainingRows:
    """Return the rows that a configuration trains on, as its task takes them; `seed` draws those
    of fine-tuning."""
    last_batch = config.values.get("last_batch")
    with placed("last_batch"):
        if isinstance(data.train, IterableDataset) and last_batch in ("pad", "wrap"):
            raise BadConfigurationError("must be keep or drop for an IterableDataset", last_batch)
    with placed("finetune"):
        return TrainingRows(
            data,
            subset,
            last_batch,
            seed,
            # of a user's own task it may be unknown
            in_order=getattr(task, "in_order", False),
            rows_per_class=getattr(task, "rows_per_class", 1),
            in_streams=getattr(task, "stateful", False),
        )


class TrainingRows:
    """Rows by number: all are trained on, unless fine-tuning wants a subset.

    `trained` and `rest` are int64 tensors, None where all are trained on. What is replayed is
    trained on, and no part of the rest. They are shuffled anew each epoch unless they are read
    `in_order` or `in_streams`; `rows_per_class` of a class, if that is more than 1, stay together.
    Rows in streams that don't fill a batch are left out. Of pairs the second examples are drawn
    each epoch.
    """

    def __init__(
        self,
        data: Data,
        subset: Subset | None,
        last_batch: LastBatch | None,
        seed: int,
        *,
        in_order: bool = False,
        rows_per_class: int = 1,
        in_streams: bool = False,
    ) -> None:
        self._rows_per_class, self.in_streams = rows_per_class, in_streams
        self._follow_each_other, self._stride = data.row_stride > 0, data.row_stride or 1
        self._in_order, self._stand_in_order = in_order, data.rows_in_order
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
        self._grouped: Tensor | None = None
        if rows_per_class > 1 and (classes := _classes(data)) is not None:
            every = torch.from_numpy(classes)
            self._grouped = every if self.trained is None else every[self.trained]

    def __len__(self) -> int:
        return self._length

    @property
    def largest_batch(self) -> int:
        """The most rows that a batch can have: of streams, those that follow each other."""
        return len(self) // self._stride if self.in_streams else len(self)

    def check_order(self) -> None:
        """Refuse the order of rows that were drawn: it means nothing."""
        if self._in_order and not self._stand_in_order:
            rule = (
                "must be false where training rows are drawn at random: a data set with split: "
                "chronological, and without train_rows, keeps their order"
            )
            raise BadConfigurationError(rule, True, keyword="in_order")

    def check_groups(self, batch_size: int) -> None:
        """Refuse groups of a class that can't be made, or that fill a batch."""
        if self._rows_per_class > 1 and self._grouped is None:
            rule = "needs rows whose classes are known, but the data set has others"
            raise BadConfigurationError(rule)
        if self._rows_per_class > 1 and batch_size < 2 * self._rows_per_class:
            rule = f"must be at most half the batch size ({batch_size})"
            raise BadConfigurationError(rule, self._rows_per_class, keyword="rows_per_class")

    def check_streams(self, batch_size: int) -> None:
        """Refuse streams of rows that don't follow each other, or of none."""
        if not self.in_streams:
            return
        rule = ""
        if self.trained is not None:
            rule = "must be false where finetune chooses a subset of the rows"
        elif not self._follow_each_other:
            rule = "must be false where rows don't follow each other: those of a data set that is "
            rule += "ordered, or split chronologically, do"
        elif not (most := self.largest_batch) >= batch_size:
            rule = f"must be false with a batch size ({batch_size}) above the {most} rows that "
            rule += "follow each other"
        if rule:
            raise BadConfigurationError(rule, True, keyword="stateful")

    def begins_anew(self, step: int, batch_size: int) -> bool:
        """Whether streams begin with a step of an epoch, counted from 0."""
        return self.in_streams and step % (self.largest_batch // batch_size) == 0

    def order(self, batch_size: int, passes: int, generator: torch.Generator) -> Tensor:
        """Draw the rows of an epoch of so many passes, in the order in which they are read."""
        order = torch.cat([self._pass(batch_size, generator) for _ in range(passes)])
        order = order if self.trained is None else self.trained[order]
        return order if self._pairs is None else self._pairs.drawn(order, generator)

    def _pass(self, batch_size: int, generator: torch.Generator) -> Tensor:
        if self.in_streams:
            length = self.largest_batch
            order = self._stride * stream_order(length - length % batch_size, batch_size)
            starts = torch.arange(1)
            if self._stride > 1:  # rows overlap, and are read in so many turns
                starts = torch.randperm(self._stride, generator=generator)
            return torch.cat([order + start for start in starts])
        drawn = None if self._in_order else generator
        given = None
        if self._grouped is not None:
            given = grouped_order(self._grouped, self._rows_per_class, generator)
        return epoch_order(len(self), batch_size, self._last_batch, drawn, given)

    def num_steps(self, batch_size: int, passes: int) -> int:
        """Return the steps of so many passes."""
        if self.in_streams:
            return passes * self._stride * (self.largest_batch // batch_size)
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
