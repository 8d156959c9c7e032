"""What the curves of a search's trials say."""

from __future__ import annotations

from collections.abc import Iterable

from hpsearch.analysis.diagnosis.curves import curves_of
from hpsearch.analysis.diagnosis.finding import Diagnosis
from hpsearch.analysis.diagnosis.rules import diagnose
from hpsearch.record import Record, TrialRecord


def diagnoses(record: Record) -> dict[int, list[Diagnosis]]:
    """Return what is to be said of each trial, by its number; trials with nothing are left out."""
    return diagnoses_of(record, record.trials)


def diagnoses_of(record: Record, trials: Iterable[TrialRecord]) -> dict[int, list[Diagnosis]]:
    """Return what is to be said of some trials, by their numbers.

    Nothing is said of a population, whose members are parts of trainings, nor of agents, whose
    loss is of what they expect: it moves and grows as they learn.
    """
    if record.spec.search.is_population or record.spec.environment is not None:
        return {}
    baselines = record.result.get("baselines") or {}
    found = {each.number: diagnose(curves_of(each, baselines)) for each in trials}
    return {number: said for number, said in found.items() if said}


def at_work(record: Record) -> list[TrialRecord]:
    """Return the trials that workers train now, those that are furthest first."""
    if record.state != "running" or record.is_resting:
        return []
    running = [trial for trial in list(record.trials) if trial.outcome is None and trial.curve]
    return sorted((t for t in running if not t.paused), key=lambda t: (-t.epochs, t.number))
