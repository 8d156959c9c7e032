"""What the record of a search keeps of its data."""

from __future__ import annotations

from collections.abc import Iterable

from hpsearch.components import Data
from hpsearch.components.examples import split_length
from hpsearch.errors import Problem
from hpsearch.record import DataNotes
from hpsearch.spec import COMPONENT_SECTIONS, Draft, SearchSpec
from hpsearch.validation.metrics import reported_metrics, tasks_of, undefined_metrics
from hpsearch.validation.outcomes import parted
from hpsearch.validation.signatures import check_section


def data_notes(spec: SearchSpec, data: Data) -> DataNotes:
    """Return how the data of a checked spec was read, and which metrics it doesn't allow."""
    draft = Draft.of(spec)
    task = draft.sections.get("task")
    of = COMPONENT_SECTIONS["task"]
    found = None if task is None else parted(check_section(of, task, "task", draft.folder))[0]
    tasks, _ = tasks_of(draft, found, data)
    return DataNotes(
        data.description,
        placed_warnings(data.warnings),
        tuple(reported_metrics(draft, tasks)),
        undefined_metrics(tasks, data),
        sum(len(rows) for rows, _ in data.folds) or split_length(data.train),
    )


def placed_warnings(warnings: Iterable[str]) -> tuple[str, ...]:
    """Return what a data set warns of, with its place in the spec."""
    return tuple(str(Problem("dataset", text)) for text in warnings)
