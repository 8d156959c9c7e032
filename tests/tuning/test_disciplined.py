"""The disciplined plan by the real control loop: drivers that die change nothing, `check` decides
it again, and the report says what each phase chose and why."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpsearch.analysis.blocks import Table
from hpsearch.analysis.recipe import recipe_section
from hpsearch.integrity.record_rules import record_problems
from hpsearch.next_spec import next_spec
from hpsearch.outcome import Outcome
from hpsearch.process import keep_process
from hpsearch.record import Record
from hpsearch.samplers.disciplined import Params
from hpsearch.spec import SearchSpec
from tests.support.control import begin, die_and_go_on, finish
from tests.support.specs import make_spec

TRAIN = """
from hpsearch import BadConfigurationError

def train(config, trial):
    level = trial.load_checkpoint() or 0.0
    if config["lr"] > 0.5:
        raise BadConfigurationError("diverged")
    goal = abs(config["lr"] - 0.2) + abs(config["momentum"] - 0.99) + config["weight_decay"]
    while trial.epoch < trial.max_epochs:
        level += 1 - goal
        yield {"score": level, "seconds": 1.0}
        trial.save_checkpoint(level)
"""
SPACE: dict[str, Any] = {
    "lr": {"low": 1e-3, "high": 0.6, "log": True},
    "momentum": {"choices": [0.9, 0.95, 0.99]},
    "weight_decay": {"low": 1e-5, "high": 1e-2, "log": True},
}


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """Workers have processes of their own; here they share this one, by turns."""
    restore = keep_process()
    yield
    restore()


def spec_in(folder: Path, rule: str = "asha_promotion") -> SearchSpec:
    (folder / "train.py").write_text(TRAIN)
    stopping = {"name": rule, "max_epochs": 6}
    if rule != "none":
        stopping |= {"grace_period": 2, "reduction_factor": 3}
    return make_spec(
        folder,
        objective={"metric": "score", "direction": "maximize"},
        trainable="train.py:train",
        space=SPACE,
        search={
            "trials": 20,
            "sampler": "disciplined",
            "early_stopping": stopping,
            "checkpoint_every": 1,  # else an attempt may be too short for any progress
        },
    )


def tried(record: Record) -> list[Params]:
    return [dict(trial.params) for trial in record.trials]


@pytest.mark.parametrize(("rule", "slots"), [("asha_promotion", 3), ("none", 1)])
def test_drivers_that_die_change_nothing(tmp_path: Path, rule: str, slots: int) -> None:
    spec = spec_in(tmp_path, rule)
    whole = finish(begin(spec, tmp_path / "whole"), tmp_path / "whole", slots)
    assert len(whole.trials) == 9 and whole.state == "finished"
    assert whole.best is not None
    assert (whole.best.params["lr"], whole.best.params["momentum"]) == (0.2, 0.99)
    assert whole.trials[0].outcome is Outcome.BAD_CONFIGURATION
    assert list(record_problems(whole)) == []
    record = begin(spec, tmp_path / "dies")
    record, deaths = die_and_go_on(record, tmp_path / "dies", random.Random(slots), slots)
    assert deaths > 0
    assert tried(record) == tried(whole) and list(record_problems(record)) == []


def test_the_report_has_each_choice_with_its_numbers(tmp_path: Path) -> None:
    record = finish(begin(spec_in(tmp_path), tmp_path / "search"), tmp_path / "search", 3)
    [section] = recipe_section(record)
    [table] = [block for block in section.blocks if isinstance(block, Table)]
    assert [row[0] for row in table.rows] == ["`lr`", "`momentum`", *["`weight_decay`"] * 2]
    rates, momenta, decays, between = table.rows
    assert "0.6 (no value), 0.2 (1." in rates[1] and rates[2] == "0.2"
    assert momenta[2] == "0.99" and decays[2] == "1e-05"
    assert between[1].startswith("3.16e-05 (") and between[2] == "1e-05"
    spec, _ = next_spec(record)
    assert spec.search.sampler == {"name": "auto"}  # the plan is over
    other = begin(make_spec(name="other"), tmp_path / "other")
    assert recipe_section(other) == []


def test_a_trial_that_does_not_follow_is_a_problem(tmp_path: Path) -> None:
    record = finish(begin(spec_in(tmp_path), tmp_path / "search"), tmp_path / "search", 3)
    record.trials[4].params["momentum"] = 0.95
    problems = [each for each in record_problems(record) if each.startswith("trial 4: params")]
    assert len(problems) == 1 and "follows from the phases before" in problems[0]
