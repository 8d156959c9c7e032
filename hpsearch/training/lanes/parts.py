"""The steps of an epoch of several lanes, part by part: what each part computes of which lane."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hpsearch.training.trainer import EpochPlan

#: rows whose computation takes about as long as what each part costs beside its rows
PART_OVERHEAD_ROWS = 16


@dataclass(frozen=True)
class Part:
    """So many rows of one batch of each lane.

    `is_row` (lanes, rows) is false for rows that only fill the part, None where there are none;
    `weights` (lanes,) is what makes the mean over a part's rows a share of its batch's mean.
    `steps` are the steps of the epoch whose batches these are, negative for lanes that have ended
    theirs; `begins` and `ends` say which lanes take the first part of a batch, and which the last,
    after which they step.
    """

    size: int
    steps: Sequence[int]
    begins: Sequence[int]
    ends: Sequence[int]
    weights: Tensor | None = None
    is_row: Tensor | None = None

    @property
    def counted(self) -> Tensor:
        """Which rows are of batches that are computed in parts, bool (lanes, rows)."""
        assert self.weights is not None
        is_lane = (self.weights > 0)[:, None].expand(-1, self.size)
        return is_lane if self.is_row is None else is_lane & self.is_row


@dataclass(frozen=True)
class PartTables:
    """All parts of an epoch, as tensors on the device; `sizes` are their rows.

    `rows` int64 (lanes, all rows) has the parts one after another. The first axis of the others
    is the part's: `keys` int32 (parts, dropouts, lanes), `first_rows` int32 and `weights`
    (parts, lanes), `is_row` (parts, lanes, rows). In the CPU's memory are `steps` int64 (parts,
    lanes), negative for lanes that have ended theirs, and `begins` and `ends`.
    """

    rows: Tensor
    sizes: Sequence[int]
    keys: Tensor
    first_rows: Tensor
    steps: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    weights: Tensor | None = None
    is_row: Tensor | None = None

    def __iter__(self) -> Iterator[Part]:
        weights = [None] * len(self.sizes) if self.weights is None else self.weights.unbind()
        columns = self.sizes, self.steps.tolist(), _places(self.begins), _places(self.ends)
        for parts in zip(*columns, weights, self._fills(), strict=True):
            yield Part(*parts)

    def runs(self, num_rows: int) -> Iterator[PartTables]:
        """Divide the parts into runs of parts of one size, of so many rows of all lanes or one."""
        start = first_row = 0
        for size, parts in itertools.groupby(self.sizes):
            most = max(1, num_rows // (size * len(self.rows)))
            end = start + len(list(parts))
            for first in range(start, end, most):
                place = slice(first, min(first + most, end))
                length = size * (place.stop - first)
                yield self._part_of(place, slice(first_row, first_row + length))
                first_row += length
            start = end

    def _part_of(self, parts: slice, rows: slice) -> PartTables:
        return PartTables(
            self.rows[:, rows],
            self.sizes[parts],
            self.keys[parts],
            self.first_rows[parts],
            self.steps[parts],
            self.begins[parts],
            self.ends[parts],
            None if self.weights is None else self.weights[parts],
            None if self.is_row is None else self.is_row[parts],
        )

    def _fills(self) -> Sequence[Tensor | None]:
        """Return which rows are of batches, None for parts of which all are."""
        if self.is_row is None:
            return [None] * len(self.sizes)
        are_filled = self.is_row.flatten(1).all(1).tolist()
        each = zip(self.is_row, are_filled, strict=True)
        return [None if is_filled else is_row for is_row, is_filled in each]


class EpochParts:
    """Divides the batches of an epoch of several lanes into parts of the same size.

    Lanes with the same batch sizes take whole batches. Others take parts of a size that makes the
    epoch shortest: a batch is the sum of its parts, the last of which may have to be filled.
    """

    def __init__(self, plans: Sequence[EpochPlan], device: torch.device) -> None:
        self._plans, self._device = plans, device
        self.is_whole = all(plan.sizes == plans[0].sizes for plan in plans)

    def tables(self) -> PartTables:
        """Return all parts."""
        return self._whole() if self.is_whole else self._divided()

    def _whole(self) -> PartTables:
        num_lanes, sizes = len(self._plans), self._plans[0].sizes
        always = np.ones((len(sizes), num_lanes), np.bool_)
        return PartTables(
            self._on_device(torch.stack([plan.order for plan in self._plans])),
            sizes,
            self._on_device(torch.stack([plan.keys for plan in self._plans], 2)),
            torch.zeros(len(sizes), num_lanes, dtype=torch.int32, device=self._device),
            np.arange(len(sizes))[:, None] * always,
            always,
            always,
        )

    def _divided(self) -> PartTables:
        size = part_size([plan.sizes for plan in self._plans])
        tables = [_Table.of(plan, size) for plan in self._plans]
        length = max(len(table.steps) for table in tables)
        tables = [table.filled(length) for table in tables]
        counts = np.stack([table.counts for table in tables], 1)  # (parts, lanes)
        is_row = (np.arange(size) < counts[..., None]) | (counts == 0)[..., None]
        keys = [_keys(plan, table.steps) for plan, table in zip(self._plans, tables, strict=True)]
        return PartTables(
            self._on_device(torch.stack([table.rows.flatten() for table in tables])),
            [size] * length,
            self._on_device(torch.stack(keys, 2)),
            self._from_numpy([table.first_rows for table in tables]),
            np.stack([table.steps for table in tables], 1),
            np.stack([table.begins for table in tables], 1),
            np.stack([table.ends for table in tables], 1),
            self._from_numpy([table.weights for table in tables]),
            None if is_row.all() else self._on_device(torch.from_numpy(is_row)),
        )

    def _from_numpy(self, columns: Sequence[np.ndarray]) -> Tensor:
        return self._on_device(torch.from_numpy(np.stack(columns, 1)))

    def _on_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, non_blocking=True)


@dataclass(frozen=True)
class _Table:
    """The parts of one lane's epoch; each array has a row for each part."""

    rows: Tensor
    steps: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    counts: np.ndarray
    first_rows: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, plan: EpochPlan, size: int) -> _Table:
        """Divide the batches of a plan into parts."""
        sizes = np.array(plan.sizes)
        num_parts = -(-sizes // size)
        steps = np.repeat(np.arange(len(sizes)), num_parts)
        number = np.arange(len(steps)) - np.repeat(np.cumsum(num_parts) - num_parts, num_parts)
        first = number * size
        counts = np.minimum(size, sizes[steps] - first)
        starts = (np.cumsum(sizes) - sizes)[steps] + first
        places = starts[:, None] + np.minimum(np.arange(size), counts[:, None] - 1)
        return cls(
            plan.order[torch.from_numpy(places)],
            steps,
            number == 0,
            number == num_parts[steps] - 1,
            counts,
            first.astype(np.int32),
            (size / sizes[steps]).astype(np.float32),
        )

    def filled(self, length: int) -> _Table:
        """Return the table with parts that do nothing at its end."""
        more = length - len(self.steps)
        if not more:
            return self

        def longer(array: np.ndarray, value: float) -> np.ndarray:
            return np.concatenate([array, np.full(more, value, array.dtype)])

        return _Table(
            torch.cat([self.rows, self.rows[:1].expand(more, -1)]),
            longer(self.steps, -1),
            longer(self.begins, False),
            longer(self.ends, False),
            longer(self.counts, 0),
            longer(self.first_rows, 0),
            longer(self.weights, 0),
        )


def part_size(lanes: Sequence[Sequence[int]]) -> int:
    """Return the size of parts in which an epoch of batches of these sizes takes least time.

    >>> part_size([[32] * 8, [128] * 2])
    32
    """
    candidates = {size for sizes in lanes for size in sizes}
    candidates.add(int(np.gcd.reduce([max(sizes) for sizes in lanes])))

    def cost(size: int) -> int:
        parts = max(int((-(-np.array(sizes) // size)).sum()) for sizes in lanes)
        return parts * (size + PART_OVERHEAD_ROWS)

    return min(sorted(candidates, reverse=True), key=cost)


def _places(flags: np.ndarray) -> list[list[int]]:
    """Return where each row of a table is true."""
    return [[place for place, is_true in enumerate(row) if is_true] for row in flags.tolist()]


def _keys(plan: EpochPlan, steps: np.ndarray) -> Tensor:
    return plan.keys[torch.from_numpy(np.maximum(steps, 0))]
