"""The splits of a trial's data, read in batches on its device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from hpsearch.components.batch import Batch
from hpsearch.components.data import Data
from hpsearch.training.batches import Batches, batches_of
from hpsearch.training.loader import Reading, Transform
from hpsearch.training.streams import evaluation_streams, stream_order

#: rows of a batch when nothing is learned from it: more leave the caches of a CPU
EVAL_BATCH_SIZE = 256


class Splits:
    """Reads the splits of data.

    `parts` are rows of the training split by name, int64 (rows,), or None for all, which are read
    as splits are. `seed` gives that of a purpose, for transforms that draw.
    """

    def __init__(
        self,
        data: Data,
        device: torch.device,
        loader: Mapping[str, Any],
        parts: dict[str, Tensor | None],
        seed: Callable[[str], int],
    ) -> None:
        self.parts = parts
        self.device = device
        self._data, self._loader, self._seed = data, loader, seed
        self._batches: dict[str, Batches] = {}

    def batches(self, split: str) -> Batches:
        """Return the batches of a split."""
        if split not in self._batches:
            examples = getattr(self._data, split)
            if examples is None:
                raise ValueError(f"the data has no {split} split")
            self._batches[split] = batches_of(examples, self.device, self._loader)
        return self._batches[split]

    def evaluated(self, split: str, epoch: int) -> Iterator[Batch]:
        """Yield the rows of a split, or of a part, to evaluate a model on."""
        return self.read(split, EVAL_BATCH_SIZE, epoch)

    def streamed(self, split: str, epoch: int) -> Iterator[Batch]:
        """Yield all rows of a split to evaluate a model on whose states are kept."""
        num_rows = len(self.batches("train" if split in self.parts else split))
        if (stride := self._data.row_stride) > 1:  # a row goes on from that in its place before
            whole = num_rows - int(num_rows % stride == 1)  # a last row must not join a batch
            parts = torch.split(torch.arange(num_rows), whole or num_rows)
            return chain.from_iterable(self.read(split, stride, epoch, part) for part in parts)
        size = evaluation_streams(num_rows)
        return self.read(split, size, epoch, stream_order(num_rows, size))

    def read(
        self, split: str, batch_size: int, epoch: int, order: Tensor | None = None
    ) -> Iterator[Batch]:
        """Yield the rows of a split, or of a part, as they stand, or in an order."""
        batches = self.batches("train" if split in self.parts else split)
        rows = self.parts.get(split) if order is None else order
        return batches.read(batch_size, rows, self._reading(split, epoch, ()))

    def drawn(
        self,
        order: Tensor,
        batch_size: int,
        epoch: int,
        purpose: str = "train",
        transforms: Sequence[Transform] = (),
    ) -> Iterator[Batch]:
        """Yield training rows in an order, int64 (rows,)."""
        reading = self._reading(purpose, epoch, transforms)
        return self.batches("train").read(batch_size, order, reading)

    def close(self) -> None:
        """End the processes that read Datasets."""
        for batches in self._batches.values():
            batches.close()

    def _reading(self, purpose: str, epoch: int, transforms: Sequence[Transform]) -> Reading:
        return Reading(self._seed(f"read {purpose}"), epoch, transforms)
