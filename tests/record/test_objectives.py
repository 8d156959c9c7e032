"""A record of several objectives and constraints: its front, its best, and what Optuna has."""

from __future__ import annotations

from pathlib import Path

from optuna.trial import TrialState

from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.spec import SearchSpec, draft_spec

BOUND = [{"metric": "memory", "max": 10}]
SEVERAL = [{"metric": "score"}, {"metric": "latency", "direction": "minimize"}]


def spec(**sections: object) -> SearchSpec:
    raw = {"name": "s", "trainable": "t.py:f", "space": {"x": {"low": 0.0, "high": 1.0}}}
    made = draft_spec({**raw, **sections}).spec
    assert made is not None
    return made


def add(record: Record, outcome: Outcome | None = Outcome.COMPLETED, **metrics: float) -> None:
    number = record.add_trial({"x": 0.5}).number
    record.report(number, 1, metrics)
    if outcome is not None:
        record.end_trial(number, outcome)


def several(folder: Path, **sections: object) -> Record:
    record = Record.create(folder / "r.journal", spec(objectives=SEVERAL, **sections))
    add(record, score=0.9, latency=9.0)
    add(record, score=0.8, latency=9.5)  # dominated
    add(record, score=0.5, latency=2.0)
    add(record, Outcome.STOPPED_EARLY, score=0.99, latency=1.0)  # at a lower fidelity
    add(record, score=0.7)  # the other objective never came
    add(record, score=0.95, latency=9.0)  # dominates the first
    return record


def test_the_front_is_of_completed_trials_the_best_in_the_first_objective_first(
    tmp_path: Path,
) -> None:
    record = several(tmp_path)
    assert [trial.number for trial in record.pareto_front()] == [5, 2]
    assert record.best is not None and record.best.number == 5
    assert [trial.number for trial in record.ranked()] == [5, 2, 0, 1, 4]
    assert [trial.number for trial in record.kept()] == [5, 2]  # though keep_checkpoints is 1


def test_it_is_read_back_and_optuna_has_all_objectives(tmp_path: Path) -> None:
    several(tmp_path)
    record = Record.reopen(tmp_path / "r.journal", "s")
    assert [trial.number for trial in record.pareto_front()] == [5, 2]
    study = record.study
    assert [each.name for each in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.trials[0].values == [0.9, 9.0]
    assert (study.trials[3].state, study.trials[3].values) == (TrialState.PRUNED, [0.99, 1.0])
    assert study.trials[0].intermediate_values == {}
    assert study.trials[4].state is TrialState.FAIL  # it has no value of an objective
    assert {trial.number for trial in study.best_trials} == {5, 2}


def test_what_breaks_a_constraint_never_wins(tmp_path: Path) -> None:
    made = spec(objective={"metric": "score"}, constraints=BOUND)
    record = Record.create(tmp_path / "r.journal", made)
    add(record, score=0.9, memory=11.0)
    add(record, score=0.95)  # not known to keep it
    assert record.best is None
    add(record, score=0.1, memory=10.0)
    assert record.best is not None and record.best.number == 2
    assert [trial.number for trial in record.ranked()] == [2, 1, 0]
    assert [[str(each) for each in record.broken(trial)] for trial in record.trials] == [
        ["memory at most 10"],
        ["memory at most 10"],
        [],
    ]
    values = [trial.system_attrs["constraints"] for trial in record.study.trials]
    assert [value[0] > 0 for value in values] == [True, True, False]  # as Optuna's samplers


def test_the_standing_after_an_epoch_knows_nothing_of_later_ones(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "r.journal", spec(objectives=SEVERAL))
    number = record.add_trial({"x": 0.5}).number
    record.report(number, 1, {"score": 0.5, "latency": 4.0})
    record.report(number, 2, {"score": 0.6})  # the last latency stands
    record.report(number, 3, {"score": 0.7, "latency": 3.0})
    trial = record.trials[number]
    scores = [record.standing(trial, epoch).scores for epoch in (1, 2, 3)]
    assert scores == [(0.5, -4.0), (0.6, -4.0), (0.7, -3.0)]
