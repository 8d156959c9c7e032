"""The batches of a Dataset, read by torch's DataLoader: the same however many processes read.

What a Dataset draws at random, and what is drawn per image, comes from a seed of the batch. So a
batch depends neither on the process that reads it nor on those before.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from hpsearch.components.examples import LazyRows, split_length
from hpsearch.errors import DataError, HpsearchError

#: inputs as they are kept, and targets
Pair = tuple[Tensor, Tensor]
Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Reading:
    """How a Dataset is read: a seed for what is drawn, the epoch, and what changes each image."""

    seed: int = 0
    epoch: int = 0
    transforms: Sequence[Transform] = ()


@dataclass
class RandomStates:
    """The states of the CPU's generator of torch, of numpy's and Python's, apart from the
    process's."""

    seed: int
    _states: tuple[Any, ...] | None = field(default=None, init=False)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Draw from these; the process's states are put back."""
        before = _random_states()
        if self._states is None:
            torch.default_generator.manual_seed(self.seed)  # a GPU's generator stays as it is
            np.random.seed(self.seed % 2**32)
            random.seed(self.seed)
        else:
            _set_random_states(self._states)
        try:
            yield
        finally:
            self._states = _random_states()
            _set_random_states(before)


def _random_states() -> tuple[Any, ...]:
    return torch.default_generator.get_state(), np.random.get_state(), random.getstate()


def _set_random_states(states: tuple[Any, ...]) -> None:
    torch.default_generator.set_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])


@dataclass(frozen=True)
class _BatchRows:
    """The rows of a batch, and its seed."""

    rows: list[int]
    seed: int
    transforms: Sequence[Transform]


class _BatchReader(Dataset[Any]):
    """A map-style Dataset that is read a batch at a time."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __getitems__(self, batch: _BatchRows) -> Any:
        """Return a batch, or the error with which it can't be read, as it is here."""
        try:
            with RandomStates(batch.seed).used():
                return self._read(batch)
        except HpsearchError as error:
            return error

    def _read(self, batch: _BatchRows) -> Any:
        dataset: Any = self._dataset
        if not isinstance(dataset, LazyRows):
            if several := getattr(dataset, "__getitems__", None):
                return default_collate(several(batch.rows))
            return default_collate([dataset[row] for row in batch.rows])
        x = dataset.read(batch.rows)
        for transform in batch.transforms:
            x = torch.stack([transform(image) for image in x])
        return x, torch.from_numpy(dataset.y[batch.rows])


class _StreamReader(IterableDataset[Any]):
    """An IterableDataset as batches of these sizes, from its begin as often as they need it."""

    def __init__(self, dataset: Dataset[Any], sizes: Sequence[int], reading: Reading) -> None:
        self._dataset, self._sizes, self._reading = dataset, sizes, reading

    def __iter__(self) -> Iterator[Any]:
        states = RandomStates(self._reading.seed)
        if set_epoch := getattr(self._dataset, "set_epoch", None):
            set_epoch(self._reading.epoch)
        rows = self._rows()
        try:
            for size in self._sizes:
                with states.used():
                    batch = default_collate([next(rows) for _ in range(size)])
                yield batch
        except HpsearchError as error:
            yield error

    def _rows(self) -> Iterator[Any]:
        length = split_length(self._dataset)
        while True:
            rows = iter(self._dataset)
            for number in range(length):
                try:
                    yield next(rows)
                except StopIteration:
                    rule = f"an IterableDataset must give as many rows as its __len__, {length}"
                    raise DataError(rule, number) from None


class _Plan:
    """The batches that a DataLoader reads next; it may outlive a reading."""

    def __init__(self) -> None:
        self.batches: Sequence[_BatchRows] = ()

    def __iter__(self) -> Iterator[_BatchRows]:
        return iter(self.batches)


class DatasetLoader:
    """Reads a Dataset in batches on the CPU, by processes as the spec's section `loader` says.

    Rows of a stream come one after another, so that one process reads them, if not this one.
    """

    def __init__(
        self, dataset: Dataset[Any], settings: Mapping[str, Any], device: torch.device
    ) -> None:
        self._dataset = dataset
        self._num_workers: int = settings.get("num_workers", 0)
        self._keeps = self._num_workers > 0 and settings.get("persistent_workers", True)
        self._options: dict[str, Any] = {"collate_fn": _as_is}
        pins = settings.get("pin_memory")
        self._options["pin_memory"] = device.type == "cuda" and pins is not False
        if self._num_workers:
            self._options["prefetch_factor"] = settings.get("prefetch_factor", 2)
        self._kept: tuple[_Plan, DataLoader[Any]] | None = None
        self._is_read = False

    def read(self, rows: Tensor, sizes: Sequence[int], reading: Reading) -> Iterator[Pair]:
        """Yield batches of these sizes, of rows in this order; a stream goes by its own."""
        if isinstance(self._dataset, IterableDataset):
            reader = _StreamReader(self._dataset, sizes, reading)
            yield from map(_checked, self._loader(reader, None, min(self._num_workers, 1)))
            return
        if isinstance(self._dataset, LazyRows):
            self._dataset.share()
        plan, loader = self._planned()
        plan.batches = [
            _BatchRows(part.tolist(), reading.seed + number, reading.transforms)
            for number, part in enumerate(torch.split(rows, list(sizes)))
        ]
        self._is_read = True
        try:
            yield from map(_checked, loader)
        finally:
            self._is_read = False

    def close(self) -> None:
        """End the processes."""
        self._kept = None  # a DataLoader ends its own when it is dropped

    def _planned(self) -> tuple[_Plan, DataLoader[Any]]:
        """Return a loader and its plan: the one that is kept, unless it is being read."""
        if self._kept is not None and not self._is_read:
            return self._kept
        plan, keeps = _Plan(), self._keeps and not self._is_read
        loader = self._loader(_BatchReader(self._dataset), plan, self._num_workers, keeps)
        if keeps:
            self._kept = plan, loader
        return plan, loader

    def _loader(
        self, dataset: Dataset[Any], plan: _Plan | None, num_workers: int, keeps: bool = False
    ) -> DataLoader[Any]:
        batches: dict[str, Any] = {"batch_size": None} if plan is None else {"batch_sampler": plan}
        return DataLoader(
            dataset,
            **batches,
            num_workers=num_workers,
            persistent_workers=keeps,
            generator=torch.Generator(),  # else it draws from the process's, which trials use
            **self._options,
        )


def _as_is(batch: Any) -> Any:
    return batch


def _checked(batch: Any) -> Pair:
    if isinstance(batch, Exception):
        raise batch
    x, y = batch
    return x, y
