"""What must hold between a record and MLflow's runs: all is there, once, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace

from hpsearch.errors import Problem
from hpsearch.outcome import Outcome
from hpsearch.record import Record, TrialRecord
from hpsearch.spec import SearchSpec
from hpsearch.tracking.audit import SearchRuns, StoredRun
from hpsearch.tracking.run_content import (
    SEARCH_TAGS,
    TRIAL_TAG,
    TRIAL_TAGS,
    Point,
    RunContent,
    as_test_metric,
    search_content,
    trial_content,
    without_space_level,
)

#: values by metric and step
Points = dict[tuple[str, int], list[float]]
#: params of a search that `hpsearch extend` changes; MLflow keeps the first value of a param
EXTENDABLE = ("search.trials", "search.epochs", "search.time_limit", "search.disk_quota")


def num_points(record: Record) -> int:
    """Count the points that the trials' runs should hold."""
    return sum(len(trial_content(record, trial).points) for trial in record.trials)


def run_problems(record: Record, runs: SearchRuns) -> Iterator[str]:
    """Yield what is wrong in MLflow's runs of a search."""
    if len(runs.parents) != 1:
        ids = [run.id for run in runs.parents]
        yield str(Problem("MLflow", f"must have one run of search {record.name}", ids))
    else:
        yield from map(str, _search_problems(record, runs.parents[0]))
    found: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs.trials:
        found[run.tags[TRIAL_TAG]].append(run)
    for trial in record.trials:
        yield from map(str, _trial_problems(record, trial, found.pop(str(trial.number), [])))
    for number, strays in found.items():
        rule = f"must have no run of trial {number}, as the record has no such trial"
        yield str(Problem("MLflow", rule, [run.id for run in strays]))
    if runs.orphans:
        rule = "must have no runs of trials whose parent run is gone"
        yield str(Problem("MLflow", rule, runs.orphans))


def _search_problems(record: Record, run: StoredRun) -> Iterator[Problem]:
    """Compare the parent run; what it keeps of an earlier end of the search is no problem."""
    place = f"MLflow's run {run.id} of the search"
    content = search_content(record)
    yield from _state_problems(
        place,
        replace(content, params=_lasting(record, content.params)),
        replace(run, params=_lasting(record, run.params)),
        SearchSpec.model_fields,
        SEARCH_TAGS,
    )
    wanted, stored = _wanted(content.points), _stored(run)
    yield from _point_problems(
        place, wanted, {key: values for key, values in stored.items() if key in wanted}
    )


def _trial_problems(
    record: Record, trial: TrialRecord, runs: Sequence[StoredRun]
) -> Iterator[Problem]:
    if len(runs) != 1:
        rule = f"must have one run of trial {trial.number}"
        yield Problem("MLflow", rule, [run.id for run in runs])
        return
    place = f"MLflow's run {runs[0].id} of trial {trial.number}"
    content = trial_content(record, trial)
    sections = without_space_level(record.spec.trial_sections)
    yield from _state_problems(place, content, runs[0], sections, TRIAL_TAGS)
    wanted, stored = _wanted(content.points), _stored(runs[0])
    beside = _logged_beside(record, trial) - {name for name, _ in wanted}
    yield from _point_problems(
        place, wanted, {key: values for key, values in stored.items() if key[0] not in beside}
    )


def _logged_beside(record: Record, trial: TrialRecord) -> set[str]:
    """Return the metrics of the test split, which go to the best trial's run with its model."""
    if trial.outcome is not Outcome.COMPLETED:
        return set()
    return {as_test_metric(name) for name in record.result.get("test_metrics") or {}}


def _lasting(record: Record, params: Mapping[str, str]) -> dict[str, str]:
    """Return the params that neither `extend` changes nor a user who narrows a range in them."""
    narrowed = [act.parameter for act in record.taken_acts if act.parameter is not None]
    return {
        name: value
        for name, value in params.items()
        if name not in EXTENDABLE
        and not any(f"{each}.".startswith(f"{name.removeprefix('space.')}.") for each in narrowed)
    }


def _state_problems(
    place: str,
    content: RunContent,
    run: StoredRun,
    sections: Container[str],
    tags: Container[str],
) -> Iterator[Problem]:
    """Compare status, params and tags. A user may have added others: only params of these
    sections and these tags are hpsearch's own."""
    if run.status != content.status:
        yield Problem(place, f"must be {content.status}", run.status)
    own_params = {
        name: value
        for name, value in run.params.items()
        if name in content.params or name.partition(".")[0] in sections
    }
    yield from _text_problems(f"{place}: param", content.params, own_params)
    own_tags = {
        name: value
        for name, value in run.tags.items()
        if name in content.tags or name in tags or name.startswith("hpsearch.")
    }
    yield from _text_problems(f"{place}: tag", content.tags, own_tags)


def _text_problems(
    place: str, wanted: Mapping[str, str], stored: Mapping[str, str]
) -> Iterator[Problem]:
    for name in sorted(wanted.keys() | stored.keys()):
        if stored.get(name) != wanted.get(name):
            rule = f"must be {wanted[name]!r}" if name in wanted else "must not exist"
            yield Problem(f"{place} {name}", rule, stored.get(name))


def _point_problems(place: str, wanted: Points, stored: Points) -> Iterator[Problem]:
    for key in sorted(wanted.keys() | stored.keys()):
        should, there = wanted.get(key, []), stored.get(key, [])
        if sorted(should) != sorted(there):
            name, step = key
            yield Problem(f"{place}: {name} at step {step}", f"must be {should}", there)


def _wanted(points: list[Point]) -> Points:
    values: Points = defaultdict(list)
    for point in points:
        values[point.name, point.step].append(point.value)
    return values


def _stored(run: StoredRun) -> Points:
    values: Points = defaultdict(list)
    for name, history in run.history.items():
        for step, value in history:
            values[name, step].append(value)
    return values
