"""Several objectives and constraints of a spec."""

from __future__ import annotations

from typing import Any

import pytest

from hpsearch.spec import Constraint, draft_spec

BASE: dict[str, Any] = {"name": "a", "trainable": "t.py:f", "space": {"x": {"low": 0, "high": 1}}}
ACCURACY, LATENCY = {"metric": "accuracy"}, {"metric": "latency", "direction": "minimize"}


def test_the_first_objective_is_the_objective() -> None:
    spec = draft_spec({**BASE, "objectives": [ACCURACY, LATENCY]}).spec
    assert spec is not None and spec.objective == spec.objectives[0]
    assert [each.metric for each in spec.all_objectives] == ["accuracy", "latency"]
    assert spec.other_metrics == ("latency",) and not spec.is_plain
    plain = spec.to_dict()
    assert "objective" not in plain
    assert draft_spec(plain, spec.folder).spec == spec


def test_one_objective_is_written_as_before() -> None:
    spec = draft_spec({**BASE, "objective": ACCURACY}).spec
    assert spec is not None and spec.is_plain and spec.other_metrics == ()
    assert not {"objectives", "constraints"} & spec.to_dict().keys()


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"objectives": [ACCURACY]}, "objectives: must be 2 to 4 objectives"),
        ({"objectives": [ACCURACY, ACCURACY]}, "objectives: must be of different metrics"),
        (
            {"objectives": [ACCURACY, LATENCY], "objective": LATENCY},
            "objectives: must not be given beside objective",
        ),
        (
            {"objectives": [{"metrc": "a"}, LATENCY]},
            "objectives.0.metrc: must be a known key, but got 'metrc'; did you mean 'metric'?",
        ),
        ({"constraints": [{"metric": "b"}]}, "constraints.0: must have max or min"),
        (
            {"constraints": [{"metric": "b", "min": 2, "max": 1}]},
            "constraints.0: must have a min (2) that is at most max (1)",
        ),
        (
            {"constraints": [{"name": "max_norm", "c": 1}]},
            "constraints.0: must name a metric; projections of weights are weight_constraints",
        ),
    ],
)
def test_what_is_refused(sections: dict[str, Any], expected: str) -> None:
    objective = {} if "objectives" in sections else {"objective": ACCURACY}
    problems = [str(each) for each in draft_spec({**BASE, **objective, **sections}).problems]
    assert any(each.startswith(expected) for each in problems), problems
    assert not any(each.startswith("objective.") for each in problems)


def test_a_margin_is_relative_to_the_bound() -> None:
    constraint = Constraint(metric="m", min=1.0, max=4.0)
    assert [constraint.margin(value) for value in (0.5, 1.0, 3.0, 5.0)] == [-0.5, 0.0, 0.25, -0.25]
    assert Constraint(metric="m", max=0.0).margin(2.0) == -2.0
    assert str(constraint) == "m at least 1 and at most 4"
