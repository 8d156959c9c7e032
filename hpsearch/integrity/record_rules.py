"""What must hold in a record, and between it and Optuna's study."""

from __future__ import annotations

from collections.abc import Iterator

from optuna.trial import FrozenTrial, TrialState

from hpsearch.errors import Problem
from hpsearch.formatting import show_count
from hpsearch.integrity.copy_rules import copy_problems
from hpsearch.integrity.recipe_rules import recipe_problems
from hpsearch.outcome import Outcome
from hpsearch.record import OPTUNA_STATES, Record, TrialRecord


def record_problems(record: Record) -> Iterator[str]:
    """Yield what is wrong in a record."""
    numbers = [trial.number for trial in record.trials]
    if numbers != list(range(len(numbers))):
        yield str(Problem("trials", "must be numbered from 0 without a gap", numbers))
    for trial in record.trials:
        yield from map(str, _trial_problems(record, trial))
        yield from map(str, _act_problems(record, trial))
    yield from map(str, copy_problems(record))
    yield from map(str, recipe_problems(record))
    yield from map(str, _study_problems(record))


def _trial_problems(record: Record, trial: TrialRecord) -> Iterator[Problem]:
    place = f"trial {trial.number}"
    yield from _curve_problems(place, trial, record.max_epochs(trial))
    if trial.outcome is not None:
        yield from _end_problems(place, trial, record.max_epochs(trial))
    elif record.state != "running" and not record.is_suspended:
        yield Problem(place, f"must have ended, as the search has ({record.state})", None)


def _act_problems(record: Record, trial: TrialRecord) -> Iterator[Problem]:
    """Compare what users left on a trial with their acts."""
    place = f"trial {trial.number}"
    acts = {act.id: act.action for act in record.taken_acts}
    for what, left in (("origin", trial.origin), ("goal", trial.goal)):
        if left is not None and acts.get(left.act) not in ("extend_trial", "clone_trial"):
            yield Problem(f"{place}: {what}", "must be of an act of the record", left.act)
    stopped = {act.trial for act in record.taken_acts if act.action == "stop_trial"}
    if (trial.outcome is Outcome.STOPPED_BY_USER) != (trial.number in stopped):
        rule = "must be stopped by a user where the record has that act, and only there"
        yield Problem(place, rule, trial.outcome)


def _curve_problems(place: str, trial: TrialRecord, max_epochs: int) -> Iterator[Problem]:
    epochs = sorted(trial.curve)
    first = trial.first_epoch
    if epochs != list(range(first, first + len(epochs))):
        yield Problem(place, f"must have epochs from {first} without a gap", epochs)
    if trial.epochs > max_epochs:
        yield Problem(place, f"must have at most {show_count(max_epochs, 'epoch')}", trial.epochs)
    if epochs and trial.attempts < 1:
        yield Problem(place, "must have an attempt, since it has epochs", trial.attempts)


def _end_problems(place: str, trial: TrialRecord, max_epochs: int) -> Iterator[Problem]:
    if trial.ended_at is None or trial.ended_at < trial.started_at:
        rule = f"must end at or after its start at {trial.started_at}"
        yield Problem(place, rule, trial.ended_at)
    may_be_shorter = trial.outcome is not Outcome.COMPLETED or trial.ended_itself
    if not may_be_shorter and trial.epochs != max_epochs:
        rule = f"must have trained {show_count(max_epochs, 'epoch')}, since it completed"
        yield Problem(place, rule, trial.epochs)


def _study_problems(record: Record) -> Iterator[Problem]:
    """Compare Optuna's own trials, as its samplers and its tools read them."""
    entries = record.study.get_trials(deepcopy=False)
    if len(entries) != len(record.trials):
        rule = f"must have the {show_count(len(record.trials), 'trial')} of the record"
        yield Problem("Optuna's study", rule, len(entries))
    for trial, entry in zip(record.trials, entries, strict=False):
        yield from _entry_problems(record, trial, entry)


def _entry_problems(record: Record, trial: TrialRecord, entry: FrozenTrial) -> Iterator[Problem]:
    place = f"trial {trial.number} of Optuna's study"
    state = TrialState.RUNNING if trial.outcome is None else OPTUNA_STATES[trial.outcome]
    lacks_objective = bool(record.spec.objectives) and record.objectives(trial) is None
    if trial.outcome is Outcome.COMPLETED and lacks_objective:
        state = TrialState.FAIL
    if entry.state is not state:
        yield Problem(place, f"must be {state.name}", entry.state.name)
    several = bool(record.spec.objectives)  # whose epochs Optuna doesn't take
    curve = {} if several else trial.metric(record.spec.objective.metric)
    for epoch in sorted(curve.keys() | entry.intermediate_values.keys()):
        value, there = curve.get(epoch), entry.intermediate_values.get(epoch)
        if value != there:
            yield Problem(place, f"must have {value} at epoch {epoch}", there)
    last = list(record.objectives(trial) or ())
    if entry.state is TrialState.COMPLETE and entry.values != last:
        rule = f"must have the value {', '.join(map(str, last))}"
        yield Problem(place, rule, entry.values if several else entry.value)
