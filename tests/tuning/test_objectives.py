"""Several objectives and constraints in the control loop, without Ray and without training.

A driver that dies after any report changes nothing: the next one rebuilds it from the record.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hpsearch.early_stopping import make_early_stopper
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.spec import SearchSpec, draft_spec
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.decisions import Decisions
from hpsearch.tuning.report import Report
from hpsearch.tuning.sampling import sampler_of

OBJECTIVES = [{"metric": "val_accuracy"}, {"metric": "latency_ms", "direction": "minimize"}]


def make_spec(built_in: bool = True, **sections: Any) -> SearchSpec:
    space = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}
    own: dict[str, Any] = {"trainable": "t.py:f", "space": space}
    model = {
        "dataset": "digits",
        "model": {"name": "mlp", "hidden_sizes": [8], "dropout": space["x"]},
        "optimizer": {"name": "sgd", "lr": space["y"]},
    }
    search = {"trials": 24, "early_stopping": {"max_epochs": 9}}
    raw = {"name": "s", **(model if built_in else own), "search": search, **sections}
    spec = draft_spec(raw).spec
    assert spec is not None
    return spec


def metrics(params: Mapping[str, Any], epoch: int) -> dict[str, float]:
    """Metrics that follow from the hyperparameters: x costs latency, y memory."""
    x, y = params.values()
    return {
        "val_accuracy": x * (1 - 0.5**epoch) + 0.01 * math.sin(9 * epoch * y),
        "latency_ms": 1 + 9 * x,
        "peak_memory_mb": 100 * y,
    }


def run(place: Path, spec: SearchSpec, kill: random.Random | None = None) -> Record:
    """Run a search of two workers; `kill` says after which reports its driver dies."""
    record = Record.create(place, spec)

    def driver(record: Record) -> SearchControl:
        rule = make_early_stopper(spec)
        sampler = sampler_of(record, rule, 2, spec.search.sampler)
        return SearchControl(record, sampler, rule, place.parent / "checkpoints")

    control, working = driver(record), []
    while True:
        while len(working) < 2 and (trial := control.next_trial()) is not None:
            control.start_attempt(trial.number)
            working.append(trial)
        if not working:
            break
        trial = working.pop(0)
        epoch = trial.epochs + 1
        if not control.take_report(trial.number, Report(epoch, metrics(trial.params, epoch))):
            working.append(trial)
        if kill is not None and kill.random() < 0.2:
            record = Record.reopen(place, "s")
            control, working = driver(record), []
    control.close()
    return record


def story(record: Record) -> list[tuple[Any, ...]]:
    return [(trial.params, trial.outcome, trial.epochs, trial.reason) for trial in record.trials]


@pytest.mark.parametrize("name", ["asha", "hyperband"])
def test_early_stopping_keeps_both_ends_of_the_front(tmp_path: Path, name: str) -> None:
    search = {"trials": 24, "sampler": "random", "early_stopping": {"name": name, "max_epochs": 9}}
    record = run(tmp_path / "r.journal", make_spec(objectives=OBJECTIVES, search=search))
    stopped = [trial for trial in record.trials if trial.stopped_by is not None]
    assert stopped and record.state == "finished"
    assert all(trial.stopped_by.numbers.keys() >= {"rank", "trials"} for trial in stopped)
    front = record.pareto_front()
    latencies = [trial.last("latency_ms") for trial in front]
    assert latencies == sorted(latencies, reverse=True) and len(front) > 1


@pytest.mark.parametrize(
    "sections",
    [
        {"objectives": OBJECTIVES, "constraints": [{"metric": "peak_memory_mb", "max": 50}]},
        {"objective": OBJECTIVES[0], "constraints": [{"metric": "latency_ms", "max": 5}]},
    ],
    ids=["several", "one"],
)
def test_a_driver_that_dies_changes_nothing(tmp_path: Path, sections: dict[str, Any]) -> None:
    search = {"trials": 16, "early_stopping": {"max_epochs": 3}}
    spec = make_spec(**sections, search={**search, "sampler": "random"})
    whole = run(tmp_path / "whole.journal", spec)
    killed = run(tmp_path / "killed.journal", spec, random.Random(1))
    assert [params for params, *_ in story(whole)] == [params for params, *_ in story(killed)]
    replayed = Record.reopen(tmp_path / "whole.journal", "s")
    assert story(replayed) == story(whole)
    assert [trial.number for trial in replayed.pareto_front()] == [
        trial.number for trial in whole.pareto_front()
    ]
    stops = Decisions(replayed, make_early_stopper(spec)).replay()
    for trial in replayed.trials:
        assert stops[trial.number] == trial.stopped_by
    for record in (whole, killed):
        assert all(not record.broken(trial) for trial in record.pareto_front())
        assert all(trial.outcome is not None for trial in record.trials)


def test_a_bound_that_a_trial_cant_keep_any_more_stops_it(tmp_path: Path) -> None:
    bound = [{"metric": "peak_memory_mb", "max": 50}]
    record = run(tmp_path / "r.journal", make_spec(objective=OBJECTIVES[0], constraints=bound))
    broken = [trial for trial in record.trials if record.broken(trial)]
    assert broken and all(trial.epochs == 1 for trial in broken)
    assert all(trial.outcome is Outcome.STOPPED_EARLY for trial in broken)
    assert broken[0].stopped_by.rule == "constraints"
    assert str(broken[0].reason).startswith("constraints at epoch 1 (peak_memory_mb ")
    assert record.best is not None and not record.broken(record.best)


def test_metrics_of_own_code_may_still_fall(tmp_path: Path) -> None:
    bound = [{"metric": "peak_memory_mb", "max": 50}]
    spec = make_spec(built_in=False, objective=OBJECTIVES[0], constraints=bound)
    record = run(tmp_path / "r.journal", spec)
    rules = {trial.stopped_by.rule for trial in record.trials if trial.stopped_by is not None}
    assert rules == {"asha"}
