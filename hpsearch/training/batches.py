"""The batches of a split: slices of tensors in memory, or a DataLoader over a Dataset."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.data import Dataset

from hpsearch.components.batch import Batch, map_tree
from hpsearch.components.examples import Arrays, LazyRows, Split, split_length
from hpsearch.components.pairs import Pairs, Taught, Views
from hpsearch.spec import LastBatch
from hpsearch.training.loader import DatasetLoader, Reading

PLAIN = Reading()
#: rows gathered at a time: enough to amortise the call, few enough to stay in a CPU's cache
GATHER_ROWS = 1024


class Batches(Protocol):
    """A split that can be read in batches, on a device."""

    def __len__(self) -> int:
        """The number of rows."""

    def read(
        self, batch_size: int, order: Tensor | None = None, reading: Reading = PLAIN
    ) -> Iterator[Batch]:
        """Yield rows in batches, in this order (int64, on the CPU), or all as they stand."""

    def close(self) -> None:
        """Let go of what reads."""


def batches_of(
    split: Split, device: torch.device, loader: Mapping[str, Any] | None = None
) -> Batches:
    """Return the batches of a split; arrays become tensors on the device once per process.

    `loader` says how a Dataset is read, as the spec's section does.
    """
    if not isinstance(split, Arrays):
        return LoadedBatches(split, device, loader or {})
    by_device = _tensors.setdefault(split, {})
    if device not in by_device:
        with torch.inference_mode(False):  # an evaluation may be the first to need what is kept
            by_device[device] = _batches_in_memory(split, device)
    return by_device[device]


def _batches_in_memory(split: Arrays, device: torch.device) -> TensorBatches:
    if isinstance(split, Pairs):
        x, y, partners = (_tensor(part, device) for part in (split.x, split.y, split.partners))
        return PairBatches(Batch(x, y), partners)
    if isinstance(split, Views):
        return ViewBatches(Batch(_tensor(split.x, device), _tensor(split.y, device)))
    if isinstance(split, Taught):
        x, y = _tensor(split.x, device), _tensor(split.y, device)
        return TensorBatches(Batch((x, y), y))
    parts = [part for part in (split.x, split.y, split.mask) if part is not None]
    return TensorBatches(Batch(*(_tensor(part, device) for part in parts)))


def grouped_order(classes: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Draw an order of rows, int64 (rows,), in which `size` of the same class follow each other.

    What is left over of a class is a smaller group. `classes` are those of the rows, int64.
    """
    order = torch.randperm(len(classes), generator=generator)
    order = order[classes[order].argsort(stable=True)]
    ordered = classes[order]
    starts = torch.searchsorted(ordered, ordered)  # of each row's class
    begins = (torch.arange(len(order)) - starts) % size == 0
    groups = begins.cumsum(0) - 1
    keys = torch.randperm(int(begins.sum()), generator=generator)
    return order[keys[groups].argsort(stable=True)]


def epoch_order(
    num_rows: int,
    batch_size: int,
    last_batch: LastBatch,
    generator: torch.Generator | None,
    order: Tensor | None = None,
) -> Tensor:
    """Draw the order in which an epoch reads its rows, int64 (rows,); as they are without a
    generator. One may be given.

    Where `batch_size` doesn't divide the rows, the last batch is smaller (`keep`), left out
    (`drop`), filled with its own rows again (`pad`) or with the epoch's first rows (`wrap`).
    """
    if order is None and generator is None:
        order = torch.arange(num_rows)
    elif order is None:
        order = torch.randperm(num_rows, generator=generator)
    full, rest = divmod(num_rows, batch_size)
    if last_batch == "keep" or rest == 0 or full == 0:
        return order
    if last_batch == "drop":
        return order[: full * batch_size]
    source = order[-rest:] if last_batch == "pad" else order
    repeats = -(-batch_size // len(source))
    return torch.cat([order, source.repeat(repeats)[: batch_size - rest]])


def batch_sizes(num_rows: int, batch_size: int) -> list[int]:
    """Return the sizes of the batches of an epoch.

    A last batch of a single row joins its neighbour: batch norm can't train on one row.

    >>> batch_sizes(10, 4), batch_sizes(9, 4)
    ([4, 4, 2], [4, 5])
    """
    full, rest = divmod(num_rows, batch_size)
    if rest == 1 and full and batch_size > 1:
        return [batch_size] * (full - 1) + [batch_size + 1]
    return [batch_size] * full + [rest] * (rest > 0)


@dataclass(frozen=True)
class TensorBatches:
    """Batches sliced from `rows`, all that there are, on the device."""

    rows: Batch

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, index: Tensor) -> Batch:
        """Return the rows of these numbers, int64 (rows,)."""
        return self.rows.map(lambda tensor: tensor.index_select(0, index))

    def close(self) -> None:
        """Tensors stay for the next trial."""

    def read(
        self, batch_size: int, order: Tensor | None = None, reading: Reading = PLAIN
    ) -> Iterator[Batch]:
        """Yield rows; with an order many are gathered at once, else inputs are copies: a model
        may change them in place, and the split is all trials'."""
        sizes = batch_sizes(len(self) if order is None else len(order), batch_size)
        if order is None:
            for batch in self.rows.split(sizes):
                yield replace(batch, inputs=map_tree(torch.clone, batch.inputs))
            return
        group = max(1, GATHER_ROWS // batch_size)
        groups = [sizes[i : i + group] for i in range(0, len(sizes), group)]
        rows = torch.split(order.to(self.rows.device), [sum(part) for part in groups])
        for part, index in zip(groups, rows, strict=True):
            yield from self.at(index).split(part)


@dataclass(frozen=True)
class PairBatches(TensorBatches):
    """Batches of Pairs: `rows` has the examples and which pairs are similar, `partners` the
    second examples of evaluation."""

    partners: Tensor

    def __len__(self) -> int:
        return len(self.partners)

    def at(self, index: Tensor) -> Batch:
        """Return the pairs of these numbers, int64 (rows,): inputs (rows, 2, ...)."""
        x, y = self.rows
        pairs, drawn = index % len(self), index // len(self) - 1
        second = torch.where(drawn < 0, self.partners[pairs], drawn)
        both = [x.index_select(0, each) for each in (pairs % len(x), second)]
        return Batch(torch.stack(both, 1), y.index_select(0, pairs))

    def read(
        self, batch_size: int, order: Tensor | None = None, reading: Reading = PLAIN
    ) -> Iterator[Batch]:
        """Yield pairs of these numbers, or those of evaluation."""
        return super().read(batch_size, torch.arange(len(self)) if order is None else order)


class ViewBatches(TensorBatches):
    """Batches of Views."""

    def at(self, index: Tensor) -> Batch:
        """Return the rows of these numbers, each twice: inputs (rows, 2, ...)."""
        return _twice(super().at(index))

    def read(
        self, batch_size: int, order: Tensor | None = None, reading: Reading = PLAIN
    ) -> Iterator[Batch]:
        """See TensorBatches."""
        given = super().read(batch_size, order, reading)
        yield from given if order is not None else map(_twice, given)


def _twice(batch: Batch) -> Batch:
    return replace(batch, inputs=torch.stack([batch.inputs, batch.inputs], 1))


class LoadedBatches:
    """Batches of a Dataset, read by a DataLoader."""

    def __init__(
        self, dataset: Dataset[Any], device: torch.device, settings: Mapping[str, Any]
    ) -> None:
        self._dataset, self._device = dataset, device
        self._loader = DatasetLoader(dataset, settings, device)

    def __len__(self) -> int:
        return split_length(self._dataset)

    def read(
        self, batch_size: int, order: Tensor | None = None, reading: Reading = PLAIN
    ) -> Iterator[Batch]:
        """Yield collated batches; targets of a regression get an axis for targets."""
        rows = torch.arange(len(self)) if order is None else order
        for kept, y in self._loader.read(rows, batch_sizes(len(rows), batch_size), reading):
            x = kept.to(self._device, non_blocking=True)
            if isinstance(self._dataset, LazyRows):
                x = self._dataset.as_inputs(x)
            y = y.reshape(len(y), -1).float() if y.is_floating_point() else y.long()
            yield Batch(x, y.to(self._device, non_blocking=True))

    def close(self) -> None:
        """End the processes that read."""
        self._loader.close()


_tensors: WeakKeyDictionary[Arrays, dict[torch.device, TensorBatches]] = WeakKeyDictionary()


def _tensor(array: Any, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # Arrays out of Ray's object store are read-only, and trainers never write to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
