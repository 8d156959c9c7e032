"""Every keyword of every rule of early stopping changes which trials train which epochs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

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


def trained(rule: str, **keywords: float) -> list[tuple[int, int]]:
    """Return the epochs of trials that train side by side, then those of trials that resume."""
    stopper = make_early_stopper(spec({"name": rule, "max_epochs": 9, **keywords}))
    curves = np.random.default_rng(0).normal(size=(TRIALS, stopper.rungs[-1])).cumsum(1)
    going, epochs = set(range(TRIALS)), []
    for epoch in range(1, stopper.rungs[-1] + 1):
        for number in sorted(going):
            epochs.append((number, epoch))
            if stopper.report(number, epoch, float(curves[number, epoch - 1])):
                going.remove(number)
    if isinstance(stopper, PausingRule):
        while (resumed := next_of(stopper)) is not None:
            epochs += resume(stopper, resumed, curves[resumed], dict(epochs)[resumed])
    return epochs


def next_of(stopper: PausingRule) -> int | None:
    return stopper.leftover() if isinstance(stopper, JointRule) else stopper.promotable()


def resume(
    stopper: PausingRule, number: int, curve: NDArray[np.float64], start: int
) -> list[tuple[int, int]]:
    """Train a paused trial to its next rung."""
    stopper.promote(number)
    epochs = []
    for epoch in range(start + 1, len(curve) + 1):
        epochs.append((number, epoch))
        if stopper.report(number, epoch, float(curve[epoch - 1])):
            break
    return epochs


@pytest.mark.parametrize(("rule", "keyword"), CASES)
def test_a_keyword_has_an_effect(rule: str, keyword: str) -> None:
    one, other = (trained(rule, **{keyword: value}) for value in VALUES[keyword])
    assert one != other


def test_names_mean_different_rules() -> None:
    seen = [str(trained(rule)) for rule in RULES]
    assert len(set(seen)) == len(RULES)
    assert len(trained("none")) == 9 * TRIALS


def test_no_value_is_left_over() -> None:
    assert {keyword for _, keyword in CASES} == VALUES.keys()
