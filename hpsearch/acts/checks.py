"""What users may do to a running search now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hpsearch import registry
from hpsearch.analysis.changed_spec import changed_spec
from hpsearch.analysis.narrowing import NewRange
from hpsearch.analysis.plain import check_trial
from hpsearch.errors import (
    ConflictError,
    HpsearchError,
    NoValue,
    Problem,
    SearchEndedError,
    SpecError,
    nearest_names,
)
from hpsearch.formatting import show_count, show_outcome
from hpsearch.outcome import Outcome
from hpsearch.record import Act, Record, TrialRecord
from hpsearch.samplers.first_points import fitting_value
from hpsearch.space import Parameter
from hpsearch.spec import Scalar, SearchSpec, draft_spec, join
from hpsearch.spec.stopping import MAX_EPOCHS

#: outcomes after which a trial can be trained on
_CAN_GO_ON = (Outcome.COMPLETED, Outcome.STOPPED_EARLY, Outcome.STOPPED_BY_USER)

#: what makes no sense for members of a population
_OF_SINGLE_TRIALS = ("extend_trial", "clone_trial", "narrow")


def check_act(record: Record, act: Act) -> Act:
    """Return an act as it would be taken into a record now: with full names, and the old range.

    Raises SearchEndedError, SearchNotFoundError for a trial that isn't there, ConflictError where
    the state of the search or of the trial doesn't allow it, SpecError for wrong values.
    """
    _check_runs(record)
    if act.action in _OF_SINGLE_TRIALS and record.spec.search.is_population:
        rule = "is of a population, whose members train together: its trials can be stopped"
        raise ConflictError(f"{record.name} {rule}, and the search paused")
    if act.trial is not None:
        check_trial(record, act.trial)
    match act.action:
        case "stop_trial":
            _check_unfinished(record, _trial(record, act))
        case "extend_trial":
            _check_can_extend(record, _trial(record, act), act.to_epoch or 0)
        case "clone_trial":
            return replace(act, values=_clone_values(record, act))
        case "narrow":
            return _checked_range(record, act)
        case "pause":
            if record.paused_by is not None:
                raise ConflictError(f"{record.name} is paused already, by {record.paused_by.user}")
        case "go_on":
            if record.paused_by is None:
                raise ConflictError(f"{record.name} isn't paused")
    return act


def refusal(record: Record, act: Act) -> tuple[Act, str | None]:
    """Return an act as it is taken into a record, and why it can't be, if it can't."""
    try:
        return check_act(record, act), None
    except HpsearchError as error:
        return act, str(error)


def clone_params(record: Record, act: Act) -> dict[str, Scalar]:
    """Return the configuration of a clone; raises SpecError."""
    return _cloned(record, _trial(record, act).params, act.values)


def narrowed(spec: SearchSpec, act: Act) -> SearchSpec:
    """Return a spec with the range of an act."""
    assert act.parameter is not None and act.low is not None and act.high is not None
    ends = (act.low, act.high)
    return changed_spec(spec, [NewRange(act.parameter, ends, ends, False, "")])


def _trial(record: Record, act: Act) -> TrialRecord:
    if act.trial is None:
        raise SpecError([Problem("trial", "must be given")])
    return record.trials[act.trial]


def _check_runs(record: Record) -> None:
    name = record.name
    if record.state == "stopped":
        raise SearchEndedError(f"{name} was stopped: `hpsearch resume {name}` goes on with it")
    if record.state != "running":
        hint = f"`hpsearch extend {name}` gives it more budget"
        raise SearchEndedError(f"{name} has {record.state}: {hint}")
    if record.final is not None:
        what = "its trials have ended, and its best configurations are trained with new seeds"
        raise SearchEndedError(f"{name}: {what}; once it has finished, `hpsearch extend {name}`")


def _check_unfinished(record: Record, trial: TrialRecord) -> None:
    if trial.outcome is not None:
        raise ConflictError(f"{_place(record, trial)} has ended: {show_outcome(trial.outcome)}")


def _check_can_extend(record: Record, trial: TrialRecord, to_epoch: int) -> None:
    place = _place(record, trial)
    if trial.outcome is not None and trial.outcome not in _CAN_GO_ON:
        hint = f"`hpsearch trial clone {record.name} {trial.number}` tries other values"
        raise ConflictError(f"{place} can't go on: {show_outcome(trial.outcome)}; {hint}")
    if trial.ended_itself:
        raise ConflictError(f"{place} can't go on: it ended itself ({trial.reason})")
    other = record.continuation(trial.number)
    if other is not None:
        raise ConflictError(f"{place} goes on as trial {other.number}: extend that one")
    is_wanted = trial.outcome is None and trial.goal is not None
    least = max(trial.epochs, trial.goal.epochs if is_wanted and trial.goal else 0) + 1
    if not least <= to_epoch <= MAX_EPOCHS:
        rule = f"must be from {least} to {MAX_EPOCHS}: trial {trial.number} has "
        rule += show_count(trial.epochs, "epoch")
        rule += f" and is to have {least - 1}" if is_wanted else ""
        raise SpecError([Problem("to_epoch", rule, to_epoch)])


def _clone_values(record: Record, act: Act) -> dict[str, Scalar]:
    """Return the values of a clone by the full names of their hyperparameters."""
    trial = _trial(record, act)
    params = _cloned(record, trial.params, act.values)
    if params == trial.params:
        rule = f"a clone must change a value of trial {trial.number}"
        raise SpecError([Problem("", rule, dict(act.values) or NoValue)])
    return {n: v for n, v in params.items() if n not in trial.params or trial.params[n] != v}


def _cloned(
    record: Record, params: Mapping[str, Scalar], values: Mapping[str, Any]
) -> dict[str, Scalar]:
    """Return a configuration with other values, each by its full or its short name.

    A choice that changes brings its own hyperparameters, which must be given, and drops others.
    """
    given = {_full_name(record, params, name, values): value for name, value in values.items()}
    problems: list[Problem] = []
    found: dict[str, Scalar] = {}
    for parameter in record.space.parameters:
        if not parameter.is_active(found):
            continue
        name = parameter.name
        if name in given:
            found[name] = _fitting(parameter, given.pop(name), problems)
        elif name in params:
            found[name] = params[name]
        else:
            rule = f"must be given: {_condition(parameter)} has it"
            problems.append(Problem(name, rule))
    problems += [_unknown(record, name, given[name], found) for name in given]
    if problems:
        raise SpecError(problems)
    return found


def _full_name(
    record: Record, params: Mapping[str, Scalar], name: str, values: Mapping[str, Any]
) -> str:
    """Return the hyperparameter that is meant by `optimizer.lr`: that of the chosen optimizer."""
    chosen = {**params, **values}
    for parameter in record.space.parameters:
        if name == parameter.name:
            return name
        short = parameter.name
        for parent, label in reversed(parameter.condition):
            if chosen.get(parent) != label:
                break
            short = short.replace(join(parent, label), parent, 1)
            if name == short:
                return parameter.name
    return name


def _fitting(parameter: Parameter, value: Any, problems: list[Problem]) -> Scalar:
    try:
        return fitting_value(parameter.distribution, value)
    except ValueError as error:
        choices = getattr(parameter.distribution, "choices", ())
        nearest = nearest_names(value, [each for each in choices if isinstance(each, str)])
        problems.append(Problem(parameter.name, str(error), value, nearest))
        return None


def _condition(parameter: Parameter) -> str:
    return " and ".join(f"{name} {value}" for name, value in parameter.condition)


def _unknown(record: Record, name: str, value: Any, found: Mapping[str, Scalar]) -> Problem:
    by_name = {parameter.name: parameter for parameter in record.space.parameters}
    if name in by_name:
        rule = f"must be given only where {_condition(by_name[name])}"
        return Problem(name, rule, value)
    rule = f"must be a hyperparameter that is searched ({', '.join(found) or 'none is'})"
    return Problem(name, rule, name, nearest_names(name, by_name))


def _checked_range(record: Record, act: Act) -> Act:
    """Return an act that narrows a range, with the old ends and the new ones in their type."""
    parameters = {parameter.name: parameter for parameter in record.space.parameters}
    ranges = {
        name: each.distribution
        for name, each in parameters.items()
        if not isinstance(each.distribution, CategoricalDistribution)
    }
    name = act.parameter or ""
    if name not in ranges:
        rule = f"must be a hyperparameter with a range ({', '.join(ranges) or 'there is none'})"
        raise SpecError([Problem("parameter", rule, name, nearest_names(name, ranges))])
    _check_can_narrow(record)
    old = ranges[name]
    assert isinstance(old, FloatDistribution | IntDistribution)
    low, high = (_end(old, end, getattr(act, end)) for end in ("low", "high"))
    if low >= high:
        raise SpecError([Problem("low", f"must be less than high ({high:g})", low)])
    if (low, high) == (old.low, old.high):
        raise SpecError([Problem("low", f"must narrow {name}, which has this range already")])
    checked = replace(act, low=low, high=high, old_low=old.low, old_high=old.high)
    spec = record.spec
    # whatever else a range must be, or the record couldn't be read again
    if problems := draft_spec(narrowed(spec, checked).to_dict(), Path(spec.folder)).problems:
        raise SpecError(problems)
    return checked


def _end(old: FloatDistribution | IntDistribution, end: str, value: Any) -> float:
    """Return a new end in the range's type; the old one where none is given."""
    if value is None:
        unchanged: float = getattr(old, end)
        return unchanged
    try:
        fitting = fitting_value(old, value)
    except ValueError as error:
        raise SpecError([Problem(end, str(error), value)]) from error
    assert isinstance(fitting, int | float)
    return fitting


def _check_can_narrow(record: Record) -> None:
    sampler = record.spec.search.sampler["name"]
    is_named = sampler in registry.names("sampler")  # others are users' code: not to be imported
    if is_named and registry.get("sampler", sampler).traits.get("is_exhaustive"):
        rule = "can't be narrowed: its sampler tries each configuration of the spec once"
        raise ConflictError(f"{record.name}: {rule} ({sampler})")


def _place(record: Record, trial: TrialRecord) -> str:
    return f"{record.name}: trial {trial.number}"
