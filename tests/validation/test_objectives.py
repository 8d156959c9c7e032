"""What `validate` refuses of several objectives and of constraints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch.errors import SpecError
from hpsearch.spec import draft_spec
from hpsearch.validation import check
from tests.support.specs import GOOD

SEVERAL = [{"metric": "val_accuracy"}, {"metric": "latency_ms", "direction": "minimize"}]


def problems(folder: Path, **sections: Any) -> list[str]:
    raw = {key: value for key, value in GOOD.items() if key != "objective"}
    raw |= {"objectives": SEVERAL, **sections}
    try:
        check(draft_spec(raw, folder))
    except SpecError as error:
        return [str(each) for each in error.problems]
    return []


def test_what_is_measured_is_a_metric_of_objectives_and_constraints(tmp_path: Path) -> None:
    assert problems(tmp_path) == []
    bound = [{"metric": "peak_memory_mb", "max": 8000}, {"metric": "parameters", "max": 1e5}]
    assert problems(tmp_path, constraints=bound) == []


def test_an_unknown_metric_is_named_with_the_nearest(tmp_path: Path) -> None:
    [told] = problems(tmp_path, objectives=[SEVERAL[0], {"metric": "latency"}])
    assert told.startswith("objectives.1.metric: must be a metric that every trial reports")
    assert told.endswith("but got 'latency'; did you mean 'latency_ms'?")
    [told] = problems(tmp_path, constraints=[{"metric": "parameter", "max": 3}])
    assert told.startswith("constraints.0.metric: ") and "'parameters'" in told


@pytest.mark.parametrize(
    ("search", "place", "rule"),
    [
        ({"early_stopping": "freeze_thaw"}, "early_stopping.name", "one of asha, hyperband, none"),
        ({"early_stopping": {"name": "median"}}, "early_stopping.name", "must be one of asha"),
        ({"sampler": "cmaes"}, "sampler.name", "with several objectives must be one of auto"),
        ({"stop_when": {"improvement_below": 0.1}}, "stop_when", "must not be given with several"),
        ({"warm_start": ["other"]}, "warm_start", "must not be given with several objectives"),
    ],
)  # fmt: skip
def test_what_compares_by_one_number_is_refused(
    tmp_path: Path, search: dict[str, Any], place: str, rule: str
) -> None:
    told = problems(tmp_path, search=search)
    assert any(each.startswith(f"search.{place}: ") and rule in each for each in told), told


def test_a_rule_of_the_users_may_judge_by_standings(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(
        "class Rule:\n"
        "    def __init__(self, max_epochs, by_standing=False):\n"
        "        self.rungs = (1, max_epochs)\n"
        "    def report(self, number, epoch, standing):\n"
        "        return standing.scores[1] < -5.0\n"
        "    def finish(self, number, epoch, standing):\n"
        "        pass\n"
    )
    rule = {"name": "rules.py:Rule", "max_epochs": 3}
    assert problems(tmp_path, search={"early_stopping": rule}) == []
