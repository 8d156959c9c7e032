"""The steps of an epoch of several lanes, part by part: what each part computes of which lane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpsearch.training.trainer import EpochPlan

#: rows whose computation takes about as long as what each part costs beside its rows
PART_OVERHEAD_ROWS = 16


@dataclass(frozen=True)
class Part:
    """Rows of one batch of each lane, int64 (lanes, rows).

    `is_row` (lanes, rows) is false for rows that only fill the part, None where there are none;
    `weights` (lanes,) is what makes the mean over a part's rows a share of its batch's mean.
    `steps` are the steps of the epoch whose batches these are, None for lanes that have ended
    theirs; `ends` says which lanes take their step after this part. `keys` int32 (dropouts,
    lanes) and `first_rows` int32 (lanes,) are those of the dropout masks.
    """

    rows: Tensor
    steps: Sequence[int | None]
    begins: Sequence[int]
    ends: Sequence[int]
    keys: Tensor
    first_rows: Tensor
    weights: Tensor | None = None
    is_row: Tensor | None = None


class EpochParts:
    """Divides the batches of an epoch of several lanes into parts of the same size.

    Lanes with the same batch sizes take whole batches. Others take parts of a size that makes the
    epoch shortest: a batch is the sum of its parts, the last of which may have to be filled.
    """

    def __init__(self, plans: Sequence[EpochPlan], device: torch.device) -> None:
        self._plans, self._device = plans, device
        self.is_whole = all(plan.sizes == plans[0].sizes for plan in plans)
        self.adds = False

    def __iter__(self) -> Iterator[Part]:
        return self._whole() if self.is_whole else self._divided()

    def _whole(self) -> Iterator[Part]:
        orders = torch.stack([plan.order for plan in self._plans]).to(self._device)
        keys = torch.stack([plan.keys for plan in self._plans], 2).to(self._device)
        first_rows = torch.zeros(len(self._plans), dtype=torch.int32, device=self._device)
        lanes = range(len(self._plans))
        for step, rows in enumerate(torch.split(orders, self._plans[0].sizes, 1)):
            yield Part(rows, [step] * len(lanes), lanes, lanes, keys[step], first_rows)

    def _divided(self) -> Iterator[Part]:
        size = part_size([plan.sizes for plan in self._plans])
        tables = [_Table.of(plan, size) for plan in self._plans]
        length = max(len(table.steps) for table in tables)
        tables = [table.filled(length) for table in tables]
        steps = np.stack([table.steps for table in tables], 1)  # (parts, lanes)
        begins = np.stack([table.begins for table in tables], 1)
        ends = np.stack([table.ends for table in tables], 1)
        counts = np.stack([table.counts for table in tables], 1)
        is_row = np.arange(size) < np.maximum(counts, 1)[..., None]
        needs_fill: Any = ((counts > 0) & (counts < size)).any(1)
        rows = torch.stack([table.rows for table in tables], 1).to(self._device)
        weights = torch.from_numpy(np.stack([table.weights for table in tables], 1))
        keys = torch.stack([_keys(plan, table.steps) for plan, table in self._pairs(tables)], 2)
        first_rows = torch.from_numpy(np.stack([table.first_rows for table in tables], 1))
        on_device = (each.to(self._device) for each in (weights, keys, first_rows))
        weights, keys, first_rows = on_device
        is_row_there = torch.from_numpy(is_row).to(self._device)
        for part in range(length):
            yield Part(
                rows[part],
                [int(step) if step >= 0 else None for step in steps[part]],
                np.flatnonzero(begins[part]).tolist(),
                np.flatnonzero(ends[part]).tolist(),
                keys[part],
                first_rows[part],
                weights[part],
                is_row_there[part] if needs_fill[part] else None,
            )

    def _pairs(self, tables: Sequence[_Table]) -> Iterator[tuple[EpochPlan, _Table]]:
        return zip(self._plans, tables, strict=True)


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


def _keys(plan: EpochPlan, steps: np.ndarray) -> Tensor:
    return plan.keys[torch.from_numpy(np.maximum(steps, 0))]
