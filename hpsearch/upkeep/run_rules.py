"""What must hold between a record and MLflow's runs: all is there, once, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from hpsearch.errors import Problem
from hpsearch.outcome import Outcome
from hpsearch.record import Record, TrialRecord
from hpsearch.tracking.audit import SearchRuns, StoredRun
from hpsearch.tracking.content import (
    Point,
    RunContent,
    as_test_metric,
    search_content,
    trial_content,
)

#: values by metric and step
Points = dict[tuple[str, int], list[float]]
#: params of a search that `hpsearch extend` changes; MLflow keeps the first value of a param
EXTENDABLE = ("search.trials", "search.epochs", "search.time_limit")


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
    found: dict[int, list[StoredRun]] = defaultdict(list)
    for number, run in runs.trials:
        found[number].append(run)
    for number in sorted({trial.number for trial in record.trials} | found.keys()):
        yield from map(str, _trial_problems(record, number, found[number]))


def _search_problems(record: Record, run: StoredRun) -> Iterator[Problem]:
    """Compare the parent run; what it keeps of an earlier end of the search is no problem."""
    place = f"MLflow's run {run.id} of the search"
    content = search_content(record)
    yield from _state_problems(place, content, run, EXTENDABLE)
    wanted, stored = _wanted(content.points), _stored(run)
    yield from _point_problems(
        place, wanted, {key: values for key, values in stored.items() if key in wanted}
    )


def _trial_problems(record: Record, number: int, runs: list[StoredRun]) -> Iterator[Problem]:
    if number >= len(record.trials):
        rule = f"must have no run of trial {number}, as the record has no such trial"
        yield Problem("MLflow", rule, [run.id for run in runs])
        return
    if len(runs) != 1:
        yield Problem("MLflow", f"must have one run of trial {number}", [run.id for run in runs])
        return
    trial, run = record.trials[number], runs[0]
    place = f"MLflow's run {run.id} of trial {number}"
    content = trial_content(record, trial)
    yield from _state_problems(place, content, run)
    wanted, stored = _wanted(content.points), _stored(run)
    beside = _logged_beside(record, trial) - {name for name, _ in wanted}
    yield from _point_problems(
        place, wanted, {key: values for key, values in stored.items() if key[0] not in beside}
    )


def _logged_beside(record: Record, trial: TrialRecord) -> set[str]:
    """Return the metrics of the test split, which go to the best trial's run with its model."""
    if trial.outcome is not Outcome.COMPLETED:
        return set()
    return {as_test_metric(name) for name in record.result.get("test_metrics") or {}}


def _state_problems(
    place: str, content: RunContent, run: StoredRun, changing: tuple[str, ...] = ()
) -> Iterator[Problem]:
    if run.status != content.status:
        yield Problem(place, f"must be {content.status}", run.status)
    params = {name: value for name, value in content.params.items() if name not in changing}
    yield from _text_problems(f"{place}: param", params, run.params)
    yield from _text_problems(f"{place}: tag", content.tags, run.tags)


def _text_problems(
    place: str, wanted: Mapping[str, str], stored: Mapping[str, str]
) -> Iterator[Problem]:
    for name, value in wanted.items():
        if stored.get(name) != value:
            yield Problem(f"{place} {name}", f"must be {value!r}", stored.get(name))


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
