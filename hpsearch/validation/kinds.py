"""What a spec says of the kind of its targets beside `dataset.kind`."""

from __future__ import annotations

from collections.abc import Mapping

from hpsearch import registry
from hpsearch.components import epoch_metrics
from hpsearch.components.data import Kind
from hpsearch.components.encodings import encoding_of
from hpsearch.components.tasks import NO_DATA, Task
from hpsearch.components.tasks.kinds import Statement
from hpsearch.errors import HpsearchError
from hpsearch.spec import Draft, Tree
from hpsearch.validation.samples import alternatives


def stated_kind(draft: Draft) -> Statement | None:
    """Return the kind that the task is for or, without a task, the only one with the objective."""
    task = draft.sections.get("task")
    if task is not None:
        return _of_task(task)
    objective = draft.raw.get("objective") or next(iter(draft.raw.get("objectives") or ()), None)
    metric = objective.get("metric") if isinstance(objective, Mapping) else None
    kinds = kinds_that_report(metric) if isinstance(metric, str) else []
    kinds = [kind for kind in kinds if encoding_of(kind).reads_targets]
    if len(kinds) != 1:
        return None
    return Statement(kinds[0], f"only {kinds[0]} reports the objective {metric}")


def kinds_that_report(metric: str) -> list[Kind]:
    """Return the kinds whose registered task reports a metric without being asked to."""
    tasks = [task for name in registry.names("task") if (task := _build(name)) is not None]
    return list(dict.fromkeys(task.kind for task in tasks if metric in epoch_metrics(task)))


def _of_task(tree: Tree) -> Statement | None:
    sections = [section for _, section in alternatives(tree, "task")]
    names = [each.get("name") for each in sections if isinstance(each, Mapping)]
    kinds = {task.kind if (task := _build(name)) else None for name in names}
    if len(kinds) != 1 or (kind := kinds.pop()) is None:
        return None
    return Statement(kind, f"the task is for {kind}")


def _build(name: object) -> Task | None:
    """Build a registered task; None for one of the user's, which isn't known before its data."""
    if not isinstance(name, str) or name not in registry.names("task"):
        return None
    try:
        task: Task = registry.get("task", name).build({}, **NO_DATA, folder=None)
    except (HpsearchError, TypeError):  # a plug-in's may need keywords
        return None
    return task
