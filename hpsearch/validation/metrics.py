"""Whether the metrics that a spec names are ones that every trial reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from hpsearch import registry
from hpsearch.components import Data, epoch_metrics, task_for
from hpsearch.components.tasks import NO_DATA
from hpsearch.errors import BadConfigurationError, HpsearchError, Problem, nearest_names
from hpsearch.registry import MetricName, Of
from hpsearch.spec import Draft, Tree, join
from hpsearch.validation.kinds import kinds_that_report
from hpsearch.validation.signatures import Alternative, alternatives, check_section, samples


def check_metrics(
    draft: Draft,
    found: Mapping[str, list[Alternative]],
    data: Data | None,
    problems: list[Problem],
) -> None:
    """Check the objective, and the metrics that schedules and callbacks look at.

    Where the task is unknown, they must be ones of a task that it could be.
    """
    known = _reported(draft, found.get("task"), data, problems)
    if not known:
        return
    objective = draft.raw.get("objective")
    metric = objective.get("metric") if isinstance(objective, Mapping) else None
    if isinstance(metric, str):
        problems += _problems("objective.metric", metric, known, _cause(metric, data))
    known = [name for name in known if name != "seconds"]  # an epoch's are known after it
    for alternative in chain.from_iterable(found.values()):
        for place, name in _watched(alternative, draft.folder):
            new = _problems(place, name, known) if isinstance(name, str) else []
            problems += [problem for problem in new if problem not in problems]


def _problems(place: str, metric: str, known: list[str], cause: str = "") -> list[Problem]:
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
        f", and {metric} is one of {' or '.join(kinds)}, but the data is for {data.kind}, as "
        f"{data.kind_reason} (dataset.kind says how targets are read)"
    )


def _watched(alternative: Alternative, folder: Path) -> Iterator[tuple[str, object]]:
    """Yield the metrics that a component names, and those that the components in it do."""
    for key, parameter in alternative.component.keywords.items():
        place, tree = join(alternative.path, key), alternative.keywords.get(key, parameter.default)
        if registry.marked(parameter, MetricName) is not None:
            yield from samples(tree, place)
        of = registry.marked(parameter, Of)
        if of is not None and key in alternative.keywords:
            for inner in check_section(of, tree, place, folder, []):  # told of where it is checked
                yield from _watched(inner, folder)


def _reported(
    draft: Draft, found: list[Alternative] | None, data: Data | None, problems: list[Problem]
) -> list[str]:
    """Return the metrics that every trial reports; where the task is unknown, that one could."""
    combine: Callable[[Iterable[bool]], bool] = all
    if found is None:
        kinds = [data.kind] if data is not None else registry.names("task")
        found = [Alternative("task", registry.get("task", kind), {}) for kind in kinds]
        combine = any
    reported = [names for task in found if (names := _metrics(task, draft, data, problems))]
    return [
        name
        for name in dict.fromkeys(chain.from_iterable(reported))
        if combine(name in names for names in reported)
    ]


def _metrics(
    alternative: Alternative, draft: Draft, data: Data | None, problems: list[Problem]
) -> tuple[str, ...]:
    """Return the names of what a task reports with each of its losses and so on."""
    found: list[tuple[str, ...]] = []
    has_rest = _has_rest(draft.sections.get("finetune"))
    for _, keywords in samples(alternative.keywords, alternative.path):
        try:
            if data is None:
                offered = {**NO_DATA, "folder": draft.folder}
                task = alternative.component.build(keywords, **offered)
            else:
                section = {"name": alternative.component.name, **keywords}
                task = task_for(data, section, draft.folder)
        except (HpsearchError, BadConfigurationError) as error:
            problem = Problem.of(error, alternative.path)
            problems += [problem] if problem not in problems else []
        else:
            found.append(epoch_metrics(task, has_rest=has_rest))
    everywhere = set.intersection(*map(set, found)) if found else set()
    return tuple(name for name in found[0] if name in everywhere) if found else ()


def _has_rest(finetune: Tree) -> bool:
    """Whether every trial is fine-tuned on a subset of the rows."""
    sections = [value for _, value in alternatives(finetune, "finetune")]
    names = [value.get("name") if isinstance(value, Mapping) else value for value in sections]
    return all(name == "subset" for name in names)
