"""Whether the mean of the best trials (`search.ensemble`) is a prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hpsearch import registry
from hpsearch.components import Data, task_for
from hpsearch.components.tasks import Task
from hpsearch.errors import BadConfigurationError, ComponentError, Problem
from hpsearch.spec import Draft, SearchSpec
from hpsearch.training import Trainer
from hpsearch.training.ensembles import check_heads
from hpsearch.training.launchers import EXPORTS, FAMILY
from hpsearch.validation.samples import samples

PLACE = "search.ensemble"


def ensemble_problems(spec: SearchSpec | None, data: Data | None) -> Iterator[Problem]:
    """Yield why the best trials of a search can't be averaged, as far as the spec's sections tell;
    see `averaging_problems`."""
    if spec is None or spec.search.ensemble is None:
        return
    if spec.is_own_code or spec.environment is not None:
        what = "of your own code no model is known" if spec.is_own_code else "actions have no mean"
        rule = f"must be given with dataset, model and optimizer only: {what}"
        yield Problem(PLACE, rule)
    elif data is not None:
        if spec.search.trials < 2:
            yield Problem(PLACE, "must be given with two trials at least (search.trials)")
        yield from _launcher_problems(spec)
        yield from _task_problems(spec, data.fold(0) if data.folds else data)


def averaging_problems(draft: Draft, trainer: Trainer) -> Iterator[Problem]:
    """Yield why outputs of a trial's model have no mean, where one is wanted."""
    if draft.spec is None or draft.spec.search.ensemble is None:
        return
    try:
        trainer.check_averaged()
    except BadConfigurationError as error:
        yield replace(error.problem, path=PLACE)


def _launcher_problems(spec: SearchSpec) -> Iterator[Problem]:
    found = [] if spec.launcher is None else samples(spec.launcher, FAMILY)
    for name in {str(section["name"]) for _, section in found}:
        if not registry.get(FAMILY, name, Path(spec.folder)).traits.get(EXPORTS, False):
            rule = f"must not be given with the launcher {name}, whose trials leave no model"
            yield Problem(PLACE, rule)


def _task_problems(spec: SearchSpec, data: Data) -> Iterator[Problem]:
    if data.encoding.is_embedding:
        rule = (
            f"must not be given with {data.kind}: its outputs are embeddings, and those of models "
            "that were trained apart have no mean"
        )
        yield Problem(PLACE, rule)
        return
    tasks = _tasks(spec, data)
    measured = {f"val_{name}" for task in tasks for name in (*task.metrics, *task.scores)}
    metric = spec.objective.metric
    if tasks and metric not in measured:
        rule = f"must be given with an objective of the task on validation rows, not {metric}"
        yield Problem(PLACE, rule, hint="such as " + sorted(measured)[0])
    try:
        check_heads([task.head for task in tasks])
    except BadConfigurationError as error:
        yield replace(error.problem, path=PLACE)


def _tasks(spec: SearchSpec, data: Data) -> Sequence[Task]:
    """Return the tasks that trials may have; nothing where one can't be built, which is reported
    elsewhere."""
    try:
        return [
            task_for(data, section, Path(spec.folder)) for _, section in samples(spec.task, "task")
        ]
    except ComponentError:
        return []
