"""Whether the metrics that a spec names are ones that every trial reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from hpsearch import registry
from hpsearch.components import Data, epoch_metrics, task_for
from hpsearch.components.callbacks import callback_metrics
from hpsearch.components.finetuning import LEAVES_REST
from hpsearch.components.tasks import NO_DATA, Task, undefined_scores
from hpsearch.errors import ComponentError, Problem, UserCodeError, nearest_names, problem_of
from hpsearch.registry import ComponentOf, MetricName
from hpsearch.spec import Draft, Tree, join
from hpsearch.spec.objectives import MEASURED
from hpsearch.validation.kinds import kinds_that_report
from hpsearch.validation.outcomes import parted, unique
from hpsearch.validation.samples import alternatives, samples
from hpsearch.validation.signatures import Alternative, check_section


def metric_problems(
    draft: Draft, found: Mapping[str, list[Alternative]], data: Data | None
) -> Iterator[Problem]:
    """Yield what is wrong with the task, the objective, and the metrics that schedules and
    callbacks look at.

    Where the task is unknown, they must be ones of a task that it could be.
    """
    tasks, problems = tasks_of(draft, found.get("task"), data)
    yield from problems
    known = reported_metrics(draft, tasks, need_all="task" in found)
    if not known:
        return
    undefined = undefined_metrics(tasks, data)
    for place, metric in compared_metrics(draft):
        offered = [*known, *MEASURED]
        yield from _problems(place, metric, offered, undefined, _cause(metric, data))
    known = [name for name in known if name != "seconds"]  # an epoch's are known after it
    for alternative in chain.from_iterable(found.values()):
        for place, name in _watched(alternative, draft.folder):
            if isinstance(name, str):
                yield from _problems(place, name, known, undefined)


def compared_metrics(draft: Draft) -> Iterator[tuple[str, str]]:
    """Yield the metrics of the objectives and the constraints, with their places."""
    several = draft.raw.get("objectives")
    objective = draft.raw.get("objective") if not several else None
    listed = {"objectives": several, "constraints": draft.raw.get("constraints")}
    named = [("objective", objective)]
    for section, entries in listed.items():
        items = entries if isinstance(entries, list | tuple) else ()
        named += [(join(section, index), each) for index, each in enumerate(items)]
    for place, entry in named:
        metric = entry.get("metric") if isinstance(entry, Mapping) else None
        if isinstance(metric, str):
            yield join(place, "metric"), metric


def undefined_metrics(tasks: Sequence[Sequence[Task]], data: Data | None) -> dict[str, str]:
    """Return the metrics that the data's targets don't allow, and why."""
    if data is None:
        return {}
    found: dict[str, str] = {}
    for task in chain.from_iterable(tasks):
        found |= undefined_scores(task, data)
    return found


def reported_metrics(
    draft: Draft, tasks: Sequence[Sequence[Task]], *, need_all: bool = True
) -> list[str]:
    """Return the metrics that trials report with each of these tasks, or with one of them.

    Those of an alternative are with each of its losses and so on.
    """
    has_rest, measured = _has_rest(draft), measured_metrics(draft)
    combine: Callable[[Iterable[bool]], bool] = all if need_all else any
    reported = [
        _in_all([epoch_metrics(each, has_rest=has_rest, measured=measured) for each in alike])
        for alike in tasks
    ]
    return [
        name
        for name in dict.fromkeys(chain.from_iterable(reported))
        if combine(name in names for names in reported)
    ]


def _problems(
    place: str, metric: str, known: list[str], undefined: Mapping[str, str], cause: str = ""
) -> list[Problem]:
    if metric in undefined:
        rule = f"must be defined for the data, but {undefined[metric]}"
        return [Problem(place, rule, metric)]
    if metric in known:
        return []
    rule = f"must be a metric that every trial reports ({', '.join(known)}){cause}"
    return [Problem(place, rule, metric, nearest_names(metric, known))]


def _cause(metric: str, data: Data | None) -> str:
    """Return why the data has no metric that data of another kind has."""
    kinds = kinds_that_report(metric)
    if data is None or not kinds or data.kind in kinds:
        return ""
    return (
        f", and {metric} is one of {' or '.join(kinds)}, but the data is for {data.kind}, because "
        f"{data.kind_reason} (dataset.kind sets how targets are read)"
    )


def _watched(alternative: Alternative, folder: Path) -> Iterator[tuple[str, object]]:
    """Yield the metrics that a component names, and those that the components in it do."""
    for key, parameter in alternative.component.keywords.items():
        place, tree = join(alternative.path, key), alternative.keywords.get(key, parameter.default)
        if registry.marked(parameter, MetricName) is not None:
            yield from samples(tree, place)
        of = registry.marked(parameter, ComponentOf)
        if of is not None and key in alternative.keywords:
            # its problems are reported where it is checked
            for inner in parted(check_section(of, tree, place, folder))[0]:
                yield from _watched(inner, folder)


def tasks_of(
    draft: Draft, found: list[Alternative] | None, data: Data | None
) -> tuple[list[list[Task]], list[Problem]]:
    """Build the tasks that trials may have, by alternative; where it is unknown, all there are.

    Returns the problems of those that can't be built, too.
    """
    if found is None:
        kinds = [data.kind] if data is not None else registry.names("task")
        found = [Alternative("task", registry.get("task", kind), {}) for kind in kinds]
    built = [parted(_tasks(alternative, draft, data)) for alternative in found]
    tasks = [alike for alike, _ in built if alike]
    return tasks, unique(chain.from_iterable(problems for _, problems in built))


def _tasks(alternative: Alternative, draft: Draft, data: Data | None) -> Iterator[Task | Problem]:
    """Build a task with each of its losses and so on."""
    for _, keywords in samples(alternative.keywords, alternative.path):
        try:
            if data is None:
                offered = {**NO_DATA, "folder": draft.folder}
                yield alternative.component.build(keywords, **offered)
            else:
                section = {"name": alternative.component.name, **keywords}
                yield task_for(data, section, draft.folder)
        except Exception as error:  # user code may raise anything
            yield problem_of(error).below(alternative.path)


def _in_all(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the names that are in all, in the order of the first."""
    return tuple(name for name in names[0] if all(name in others for others in names))


def _has_rest(draft: Draft) -> bool:
    """Whether every trial is fine-tuned on a part of the rows."""
    finetune = draft.sections.get("finetune")
    found = [_leaves_rest(value, draft.folder) for _, value in alternatives(finetune, "finetune")]
    return all(found)


def _leaves_rest(section: Tree, folder: Path) -> bool:
    names = section.get("name") if isinstance(section, Mapping) else section
    try:
        return all(
            registry.get("finetune", str(name), folder).traits.get(LEAVES_REST, False)
            for _, name in alternatives(names, "name")
        )
    except (KeyError, ComponentError):  # reported where the section is checked
        return False


def measured_metrics(draft: Draft) -> list[str]:
    """Return the metrics that the callbacks of every trial measure."""
    try:
        each = [
            callback_metrics(sections, draft.folder)
            for _, sections in samples(draft.sections.get("callbacks"), "callbacks")
        ]
    except (KeyError, TypeError, UserCodeError):  # reported where the callbacks are checked
        return []
    everywhere = set.intersection(*map(set, each)) if each else set()
    return [name for name in dict.fromkeys(chain.from_iterable(each)) if name in everywhere]
