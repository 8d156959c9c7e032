"""The content of MLflow's runs: a search and its trials as params, tags, metrics and a status.

Pure functions of the record, within MLflow's limits; MLflow itself isn't needed here. A search
is the parent run, a trial a child run.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpsearch.outcome import Outcome
from hpsearch.record import Record, TrialRecord
from hpsearch.tracking.names import mlflow_name

# MLflow's limits, in characters. It would cut what is longer without saying so.
MAX_PARAM = 6000
MAX_TAG = 8000
MAX_WARNING = 250  # ours: a line of MLflow's pages
CUT = " ... (cut)"

#: the tag that makes a run that of a trial: its number
TRIAL_TAG = "hpsearch.trial"
#: with a check's name behind it, the tag of what that check of a trial warned of
CHECK_TAG = "hpsearch.check"
#: tags that a run may have or not; what is named hpsearch.* is ours too
SEARCH_TAGS = ("state", "reason", "seed", "best_trial", "pareto_front")
TRIAL_TAGS = (
    *("outcome", "reason", "traceback", "stopped_early", "epochs", "attempts", "nonfinite"),
    *("copied_from", "copied_epoch", "replaces"),
    *("continues", "clone_of"),
)

#: MLflow's status of a run, by the outcome of its trial and by the state of its search
TRIAL_STATUS = {
    None: "RUNNING",
    Outcome.COMPLETED: "FINISHED",
    Outcome.STOPPED_EARLY: "FINISHED",
    Outcome.DIVERGED: "FAILED",
    Outcome.OUT_OF_MEMORY: "FAILED",
    Outcome.BAD_CONFIGURATION: "FAILED",
    Outcome.FAILED: "FAILED",
    Outcome.CANCELLED: "KILLED",
    Outcome.STOPPED_BY_USER: "KILLED",
}
SEARCH_STATUS = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "stopped": "KILLED",
    "failed": "FAILED",
}


@dataclass(frozen=True)
class Point:
    """One finite value of a metric; time in milliseconds since 1970."""

    name: str
    step: int
    value: float
    timestamp: int


@dataclass(frozen=True)
class RunContent:
    """All that a run should hold; times in milliseconds since 1970."""

    name: str
    started_at: int
    ended_at: int | None
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    points: list[Point]


def trial_content(record: Record, trial: TrialRecord) -> RunContent:
    """Return what a trial's run should hold; steps are epochs.

    Values that aren't finite can't be plotted: they go to the tag `nonfinite`.
    """
    return RunContent(
        name=f"trial-{trial.number:04d}",
        started_at=milliseconds(trial.started_at),
        ended_at=None if trial.ended_at is None else milliseconds(trial.ended_at),
        status=TRIAL_STATUS[trial.outcome],
        params=flatten(trial_values(trial)),
        tags=_cut_all(
            {
                "hpsearch.searches": record.name,
                TRIAL_TAG: trial.number,
                **_check_tags(trial),
                **_origin_tags(trial),
                **_user_tags(trial),
                **_end_tags(trial),
            }
        ),
        points=list(_curve_points(trial)),
    )


def search_content(record: Record) -> RunContent:
    """Return what a search's run should hold; steps are numbers of ended trials."""
    ended = sorted(
        (trial.ended_at or 0.0, trial.number, trial)
        for trial in record.trials
        if trial.outcome is not None
    )
    trials = [trial for *_, trial in ended]
    best = record.best
    front = record.pareto_front() if record.spec.objectives else []
    tags = {
        **search_identity(record),
        **record.facts,
        "state": record.state,
        "reason": record.reason,
        "seed": record.spec.search.seed,
        "best_trial": None if best is None else best.number,
        "pareto_front": ", ".join(str(trial.number) for trial in front) or None,
    }
    points = list(_best_points(record, trials))
    if record.ended_at is not None:
        points += _final_points(record, trials, milliseconds(record.ended_at))
    return RunContent(
        name=record.name,
        started_at=milliseconds(record.created_at),
        ended_at=None if record.ended_at is None else milliseconds(record.ended_at),
        status=SEARCH_STATUS[record.state],
        params=flatten(record.spec.to_dict()),
        tags=_cut_all(tags),
        points=points,
    )


def search_identity(record: Record) -> dict[str, str]:
    """Return the tags by which a search's run is found again.

    The time tells it from an earlier search of the same name whose folder was removed.
    """
    return {"hpsearch.searches": record.name, "hpsearch.created_at": repr(record.created_at)}


def trial_values(trial: TrialRecord) -> dict[str, Any]:
    """Return a trial's resolved values as its user knows them: `space` is no level of its own."""
    return without_space_level(trial.values)


def without_space_level(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections with what `space` holds in its place.

    >>> without_space_level({"space": {"lr": 0.1}, "launcher": {"name": "ranks"}})
    {'lr': 0.1, 'launcher': {'name': 'ranks'}}
    """
    rest = {name: section for name, section in sections.items() if name != "space"}
    return {**sections.get("space", {}), **rest}


def as_test_metric(name: str) -> str:
    """Return the name under which a metric of the test split is shown.

    >>> as_test_metric("accuracy")
    'test_accuracy'
    """
    return mlflow_name(name if name.startswith("test_") else f"test_{name}")


def flatten(values: Mapping[str, Any]) -> dict[str, str]:
    """Return nested values as texts by dotted name; what isn't set is left out.

    Lists, ranges and choices stay whole, as JSON.

    >>> flatten({"model": {"name": "mlp", "hidden_sizes": [8, 8]}, "lr": {"low": 1, "high": 2}})
    {'model.name': 'mlp', 'model.hidden_sizes': '[8, 8]', 'lr': '{"low": 1, "high": 2}'}
    """
    return {mlflow_name(name): _cut(_text(value), MAX_PARAM) for name, value in _leaves(values)}


def milliseconds(seconds: float) -> int:
    """Convert a time."""
    return int(seconds * 1000)


def _check_tags(trial: TrialRecord) -> dict[str, str]:
    return {
        mlflow_name(f"{CHECK_TAG}.{check}"): _cut(message, MAX_WARNING)
        for check, message in trial.warnings_by_check.items()
    }


def _origin_tags(trial: TrialRecord) -> dict[str, Any]:
    """Return whose checkpoint a member of a population began with, and in whose place."""
    origin = trial.copied_from
    if origin is None:
        return {}
    return {
        "copied_from": origin.trial,
        "copied_epoch": origin.epoch,
        "replaces": origin.replaces,
    }


def _user_tags(trial: TrialRecord) -> dict[str, Any]:
    """Return of which trial a user made it."""
    if trial.origin is None:
        return {}
    return {"continues" if trial.origin.continues else "clone_of": trial.origin.trial}


def _end_tags(trial: TrialRecord) -> dict[str, Any]:
    tags: dict[str, Any] = {"nonfinite": ", ".join(_nonfinite(trial)) or None}
    if trial.outcome is None:
        return tags
    tags |= {"outcome": trial.outcome, "epochs": trial.epochs, "attempts": trial.attempts}
    tags["reason"] = trial.reason
    if trial.traceback is not None:  # its end says most
        tags["traceback"] = trial.traceback[-MAX_TAG:]
    if trial.outcome is Outcome.STOPPED_EARLY:
        tags["stopped_early"] = trial.epochs
    return tags


def _curve_points(trial: TrialRecord) -> Iterator[Point]:
    for epoch, metrics in trial.curve.items():
        timestamp = milliseconds(trial.reported_at[epoch])
        for name, value in metrics.items():
            if math.isfinite(value):
                yield Point(mlflow_name(name), epoch, float(value), timestamp)


def _nonfinite(trial: TrialRecord) -> Iterator[str]:
    for epoch, metrics in trial.curve.items():
        for name, value in metrics.items():
            if not math.isfinite(value):
                yield f"{name}@{epoch}={value}"


def _best_points(record: Record, ended: list[TrialRecord]) -> Iterator[Point]:
    """Yield the best objective after each trial that ended, in their order."""
    objective = record.spec.objective
    better = max if objective.direction == "maximize" else min
    best: float | None = None
    for count, trial in enumerate(ended, start=1):
        if trial.outcome is Outcome.COMPLETED and not record.broken(trial):
            value = record.objective(trial)
            if value is not None:
                best = value if best is None else better(best, value)
        if best is not None and trial.ended_at is not None:
            name = mlflow_name(f"best_{objective.metric}")
            yield Point(name, count, best, milliseconds(trial.ended_at))


def _final_points(record: Record, ended: list[TrialRecord], timestamp: int) -> list[Point]:
    """Return what is known at the end: trials by outcome, epochs, metrics of the test split."""
    counts = Counter(trial.outcome for trial in ended)
    values: dict[str, float] = {f"trials_{outcome}": counts[outcome] for outcome in Outcome}
    values["trials"] = len(ended)
    values["epochs"] = sum(len(trial.curve) for trial in ended)
    for name, value in (record.result.get("test_metrics") or {}).items():
        values[as_test_metric(name)] = value
    if record.final is not None and (best := record.final.best) is not None and best.values:
        name = mlflow_name(f"final_{record.spec.objective.metric}")
        values |= {f"{name}_mean": best.objective.mean, f"{name}_std": best.objective.std or 0.0}
    if (made := record.ensemble) is not None:
        scores = {**made.metrics, **made.test_metrics}
        values |= {mlflow_name(f"ensemble_{name}"): value for name, value in scores.items()}
    return [
        Point(name, len(ended), float(value), timestamp)
        for name, value in values.items()
        if math.isfinite(value)
    ]


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value and not _is_searched(value):
            yield from _leaves(value, name)
        elif value is not None:
            yield name, value


def _is_searched(value: Mapping[str, Any]) -> bool:
    return "choices" in value or ("low" in value and "high" in value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _cut(text: str, limit: int) -> str:
    """Shorten a text to what MLflow keeps, with escapes for what databases refuse."""
    text = text.replace("\0", r"\x00").encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else text[: limit - len(CUT)] + CUT


def _cut_all(tags: Mapping[str, Any]) -> dict[str, str]:
    return {name: _cut(str(value), MAX_TAG) for name, value in tags.items() if value is not None}
