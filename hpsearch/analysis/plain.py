"""A search as plain values, for clients that have no record: JSON can hold them all."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from hpsearch.analysis.diagnosis import diagnoses
from hpsearch.analysis.final import plain_final
from hpsearch.analysis.population import plain_lineage
from hpsearch.analysis.progress import needs_of_a_trial, summary
from hpsearch.analysis.speed import rows_per_second
from hpsearch.errors import SearchNotFoundError
from hpsearch.formatting import show_count, show_outcome
from hpsearch.record import Record, TrialRecord


def plain_summary(record: Record) -> dict[str, Any]:
    """Return the numbers of a search that a list of searches shows."""
    progress, resources = summary(record), record.spec.resources
    leader = progress.leader
    return {
        "state": record.state,
        "metric": record.spec.objective.metric,
        "direction": record.spec.objective.direction,
        "best_value": progress.best_value,
        "best_trial": None if progress.best is None else progress.best.number,
        "leader_value": progress.leader_value,
        "leader_trial": None if leader is None else leader.number,
        "leader_epochs": None if leader is None else leader.epochs,
        "trials": progress.planned,
        "extra": progress.extra,
        "ended": progress.ended,
        "running": progress.running,
        "waiting": progress.waiting,
        "waiting_for": needs_of_a_trial(resources) if progress.waiting else None,
        "completed": progress.completed,
        "stopped_early": progress.stopped_early,
        "failed": progress.failed,
        "stopped_by_user": progress.stopped_by_user,
        "cancelled": progress.cancelled,
        "paused_by": None if record.paused_by is None else record.paused_by.user,
        "epochs": progress.epochs_used,
        "epochs_saved": progress.epochs_saved,
        "seconds": progress.seconds_used,
        "seconds_saved": progress.seconds_saved,
        "gpu_seconds": record.gpu_seconds(),
        "gpu_seconds_saved": progress.seconds_saved * resources.gpu * resources.nodes,
        **({"pareto_front": len(record.pareto_front())} if record.spec.objectives else {}),
    }


def plain_trial(record: Record, trial: TrialRecord) -> dict[str, Any]:
    """Return how a trial is, without its curve."""
    return {
        "number": trial.number,
        "outcome": show_outcome(trial.outcome),
        "reason": trial.reason,
        "stopped_by": None if trial.stopped_by is None else asdict(trial.stopped_by),
        "epochs": trial.epochs,
        "attempts": trial.attempts,
        "origin": None if trial.origin is None else asdict(trial.origin),
        "goal": None if trial.goal is None else asdict(trial.goal),
        "warnings": trial.warnings_by_check,
        "objective": record.objective(trial),
        "objectives": _objectives(record, trial),
        "broken_constraints": list(map(str, record.broken(trial))) if trial.curve else [],
        "metrics": _finite(trial.curve.get(trial.epochs, {})),
        "rows_per_second": rows_per_second(record, trial),
        "params": trial.params,
        "copied_from": None if trial.copied_from is None else asdict(trial.copied_from),
        "started_at": trial.started_at,
        "ended_at": trial.ended_at,
    }


def plain_curves(record: Record, metric: str | None = None) -> list[dict[str, Any]]:
    """Return each trial's values of a metric (the objective by default) by epoch."""
    name = metric or record.spec.objective.metric
    curves = []
    for trial in record.trials:
        values = trial.metric(name)
        points = {"epochs": list(values), "values": list(values.values())}
        curves.append({"number": trial.number, "outcome": show_outcome(trial.outcome), **points})
    return curves


def plain_diagnoses(record: Record, trial: int | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return what the curves of the trials, or of one, say, by the trial's number."""
    return {
        str(number): [asdict(each) for each in said]
        for number, said in diagnoses(record).items()
        if trial in (None, number)
    }


def plain_best(record: Record) -> dict[str, Any] | None:
    """Return the best configuration of a search, with its scores; None before there is one."""
    trial = record.best
    if trial is None:
        return None
    return {
        "search": record.name,
        "trial": trial.number,
        "objective": _objectives(record, trial),
        "metrics": trial.curve[trial.epochs],
        "test_metrics": record.result.get("test_metrics"),
        "final": None if record.final is None else plain_final(record.final),
        "ensemble": None if record.ensemble is None else record.ensemble.to_plain(),
        "params": trial.params,
        "values": trial.values,
        **({"pareto_front": plain_front(record)} if record.spec.objectives else {}),
        **({"lineage": plain_lineage(record, trial)} if record.spec.search.is_population else {}),
    }


def plain_front(record: Record) -> list[dict[str, Any]]:
    """Return the trials of the Pareto front, the best in the first objective first."""
    return [
        {
            "trial": trial.number,
            "objectives": _objectives(record, trial),
            "params": trial.params,
            "checkpoint": trial.checkpoint,
        }
        for trial in record.pareto_front()
    ]


def _objectives(record: Record, trial: TrialRecord) -> dict[str, float | None]:
    return {each.metric: trial.last(each.metric) for each in record.spec.all_objectives}


def check_trial(record: Record, number: int) -> None:
    """Raise SearchNotFoundError for a trial that a search doesn't have."""
    if number >= len(record.trials):
        has = f"it has {show_count(len(record.trials), 'trial')}"
        raise SearchNotFoundError(f"{record.name} has no trial {number}; {has}")


def trial_log(trial: TrialRecord) -> str:
    """Return what the record tells of a trial's checks, attempts, errors and end."""
    epochs = show_count(trial.epochs, "epoch")
    lines = [f"trial {trial.number}: {show_outcome(trial.outcome)}, {epochs}"]
    lines += [f"copied from {trial.copied_from}"] if trial.copied_from else []
    lines += map(str, trial.warnings)
    for error in trial.errors:
        lines += [f"an attempt ended at epoch {error['epoch']}: {error['reason']}"]
        lines += [error["traceback"] or ""]
    lines += [trial.reason or "", trial.traceback or ""]
    return "\n".join(line.rstrip() for line in lines if line) + "\n"


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
