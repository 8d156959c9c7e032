"""An epoch of lanes whose steps are taken as one, by a program that can be recorded.

All that a part of the epoch needs is read from tables on the device, at a place that is counted
there too. So a part is the same few kernels for all parts, and nothing waits for the host until
the epoch is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from hpsearch.components.batch import Batch, Tree, map_tree
from hpsearch.training.batches import TensorBatches
from hpsearch.training.lanes.graphs import RecordedCalls, Recorder, recorder_for
from hpsearch.training.lanes.parts import EpochParts, PartTables
from hpsearch.training.lanes.row_training import Take, gathered, train_data
from hpsearch.training.lanes.stack import Stack
from hpsearch.training.lanes.stacked_optimizers import stacked_step
from hpsearch.training.lanes.stacked_steps import StackedStep
from hpsearch.training.totals import Totals
from hpsearch.training.trainer import EpochPlan, Trainer

Tables: TypeAlias = Mapping[str, Tensor]


class StackedTraining:
    """Takes the steps of lanes as one; see `Training`."""

    is_closed = False  # autograd takes the gradients, which can be recorded

    def __init__(self, trainers: Sequence[Trainer], recorder: Recorder | None = None) -> None:
        self._trainers = trainers
        self._recorder = recorder or recorder_for(trainers[0].device)
        self._data = train_data(trainers[0])
        self._step: StackedStep | None = None

    def bind(self, stack: Stack) -> None:
        """See Training."""
        self._stack, self._program = stack, None
        self._calls = RecordedCalls(_compute_nothing, None)
        self._step = self._step or stacked_step(self._trainers, stack.groups)
        self._step.bind(stack.values, stack.grads)

    @property
    def reason(self) -> str:
        """See Training."""
        return self._calls.reason

    def train(
        self, plans: Sequence[EpochPlan], totals: Sequence[Totals], take: Take
    ) -> list[float]:
        """See Training."""
        assert self._step is not None
        parts = EpochParts(plans, self._trainers[0].device).tables()
        strides = np.array([plan.stride for plan in plans])
        is_measured = parts.ends & (parts.steps % strides == 0)
        tables = {
            **_tables_of(parts, is_measured),
            "coefficients": self._step.coefficients(parts.steps, parts.ends),
        }
        program = self._program_of(tables)
        self._stack.program.train()
        for size, measure in zip(parts.sizes, is_measured.any(1).tolist(), strict=True):
            self._calls((size, measure))
        self._step.write_back()
        norms = (program.norms / torch.from_numpy(is_measured.sum(0)).to(program.norms)).tolist()
        for row, sums in enumerate(program.totals.tolist()):
            take(row, totals[row].add_sums, sums)
        return norms

    def close(self) -> None:
        """See Training."""
        if self._step is not None:
            self._step.close()

    def _program_of(self, tables: Tables) -> _Program:
        """Return the program that has read these tables: the last one, if they have its shapes."""
        if self._program is None or not self._program.fits(tables):
            assert self._step is not None
            self._program = _Program(self._stack, self._step, self._data, tables)
            self._calls = RecordedCalls(self._program.compute, self._recorder)
        self._program.begin(tables)
        return self._program

    _program: _Program | None


def _compute_nothing(key: tuple[int, bool]) -> None:
    """What there is before the first epoch."""


class _Program:
    """The parts of an epoch, computed one after another.

    `totals` float64 (lanes, totals) and `norms` (lanes,) are sums over the epoch.
    """

    def __init__(
        self,
        stack: Stack,
        step: StackedStep,
        data: TensorBatches,
        tables: Tables,
    ) -> None:
        self._stack, self._step, self._data = stack, step, data
        self._tables = {name: torch.empty_like(table) for name, table in tables.items()}
        self._part = torch.zeros(1, dtype=torch.int64, device=stack.values.device)
        self._keys, self._first_rows = (stack.dropout_buffers(n) for n in ("key", "first_row"))
        self.norms = torch.zeros(len(stack), dtype=torch.float64, device=stack.values.device)
        self.totals = self.norms.new_zeros(len(stack), 0)

    def fits(self, tables: Tables) -> bool:
        """Whether tables have the shapes of the program's."""
        shapes = {name: table.shape for name, table in self._tables.items()}
        return shapes == {name: table.shape for name, table in tables.items()}

    def begin(self, tables: Tables) -> None:
        """Begin an epoch."""
        for name, table in tables.items():
            self._tables[name].copy_(table)
        for sums in (self._part, self.norms, self.totals, self._stack.grads):
            sums.zero_()

    def compute(self, key: tuple[int, bool]) -> None:
        """Compute the next part, given its size and whether norms of gradients are measured."""
        size, measure = key
        rows = self._rows(size)
        now = {n: t.index_select(0, self._part)[0] for n, t in self._tables.items() if n != "rows"}
        for number, (key_of, first_row) in enumerate(
            zip(self._keys, self._first_rows, strict=True)
        ):
            key_of.copy_(now["keys"][number])
            first_row.copy_(now["first_rows"])
        batch = gathered(self._data, rows)
        outputs, losses = self._stack.losses(batch, now.get("is_row"))
        weights, begins = now.get("weights"), None
        if weights is not None:
            losses = losses * weights
            begins = now["begins"]
            self._stack.grads.mul_(1 - begins[:, None])
        self._stack.gradient(losses, add=weights is not None, begins=begins)
        norms = self._step.step(now["coefficients"], measure=measure)
        if norms is not None:
            self.norms += torch.where(now["is_measured"], norms, 0.0)
        self._add(self._totals(map_tree(torch.detach, outputs), batch, now))
        self._part += 1

    def _rows(self, size: int) -> Tensor:
        """Return the rows of the part, (lanes, size)."""
        start = self._tables["starts"].index_select(0, self._part)
        places = start + torch.arange(size, device=start.device)
        return self._tables["rows"].index_select(1, places)

    def _totals(self, outputs: Tree, batch: Batch, now: Tables) -> Tensor:
        weights, is_row = now.get("weights"), now.get("is_row")
        if weights is None:
            return self._stack.totals(outputs, batch, shared=False)
        counts = (weights > 0)[:, None]
        return self._stack.totals_of_rows(
            outputs, batch, counts if is_row is None else counts & is_row
        )

    def _add(self, totals: Tensor) -> None:
        if self.totals.shape == totals.shape:
            self.totals += totals
        else:  # the first part, which is computed before anything is recorded
            self.totals = totals.double()


def _tables_of(parts: PartTables, is_measured: np.ndarray) -> dict[str, Tensor]:
    """Return what parts need on the device; the first axis is the part's, but that of `rows`."""
    device = parts.rows.device
    starts = np.cumsum(parts.sizes) - parts.sizes
    tables = {
        "rows": parts.rows,
        "starts": torch.from_numpy(starts).to(device),
        "keys": parts.keys,
        "first_rows": parts.first_rows,
        "is_measured": torch.from_numpy(is_measured).to(device),
    }
    if parts.weights is not None:
        tables["weights"] = parts.weights
        tables["begins"] = torch.from_numpy(parts.begins).to(device).float()
    if parts.is_row is not None:
        tables["is_row"] = parts.is_row
    return tables
