"""What the record of a search keeps of its data."""

from __future__ import annotations

from hpsearch.components import Data
from hpsearch.record import DataNotes
from hpsearch.spec import COMPONENT_SECTIONS, SearchSpec, draft_spec
from hpsearch.validation.metrics import reported_metrics, tasks_of, undefined_metrics
from hpsearch.validation.signatures import check_section


def data_notes(spec: SearchSpec, data: Data) -> DataNotes:
    """Return what the data of a checked spec was taken for, and which metrics it doesn't allow."""
    draft = draft_spec(spec.to_dict(), spec.folder)
    task = draft.sections.get("task")
    of = COMPONENT_SECTIONS["task"]
    found = None if task is None else check_section(of, task, "task", draft.folder, [])
    tasks = tasks_of(draft, found, data, [])
    return DataNotes(
        data.description,
        data.warnings,
        tuple(reported_metrics(draft, tasks)),
        undefined_metrics(tasks, data),
    )
