"""Every keyword of every rule of early stopping changes which trials train which epochs."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch import registry
from hpsearch.early_stopping import JointRule, PausingRule, make_early_stopper
from tests.support.stopping import spec

#: keyword → two values
VALUES = {
    "max_epochs": (9, 20),
    "grace_period": (1, 2),
    "reduction_factor": (2, 3),
    "min_trials": (3, 12),
    "share": (0.2, 0.8),
}
RULES = registry.names("early_stopping")
CASES = [
    (rule, keyword) for rule in RULES for keyword in registry.get("early_stopping", rule).keywords
]
TRIALS = 30


def trained(rule: str, **keywords: float) -> tuple[list[tuple[int, int]], list[int]]:
    """Return the epochs of trials that train side by side, and which would be promoted."""
    stopper = make_early_stopper(spec({"name": rule, "max_epochs": 9, **keywords}))
    curves = np.random.default_rng(0).normal(size=(TRIALS, stopper.rungs[-1])).cumsum(1)
    going, epochs = set(range(TRIALS)), []
    for epoch in range(1, stopper.rungs[-1] + 1):
        for number in sorted(going):
            epochs.append((number, epoch))
            if stopper.report(number, epoch, float(curves[number, epoch - 1])):
                going.remove(number)
    return epochs, promoted(stopper) if isinstance(stopper, PausingRule) else []


def promoted(stopper: PausingRule) -> list[int]:
    numbers = []
    while (number := next_of(stopper)) is not None:
        stopper.promote(number)
        numbers.append(number)
    return numbers


def next_of(stopper: PausingRule) -> int | None:
    return stopper.leftover() if isinstance(stopper, JointRule) else stopper.promotable()


@pytest.mark.parametrize(("rule", "keyword"), CASES)
def test_a_keyword_has_an_effect(rule: str, keyword: str) -> None:
    one, other = (trained(rule, **{keyword: value}) for value in VALUES[keyword])
    assert one != other


def test_names_mean_different_rules() -> None:
    seen = [str(trained(rule)) for rule in RULES]
    assert len(set(seen)) == len(RULES)
    assert len(trained("none")[0]) == 9 * TRIALS


def test_no_value_is_left_over() -> None:
    assert {keyword for _, keyword in CASES} == VALUES.keys()
