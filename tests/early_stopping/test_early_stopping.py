"""Early stopping: the rules, told values one by one."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch import registry
from hpsearch.early_stopping import EarlyStopper, Stop, geometric_rungs, make_early_stopper
from hpsearch.early_stopping.halving import Brackets, Promotion
from tests.support.stopping import spec


def stopper(direction: str = "maximize", **early_stopping: object) -> EarlyStopper:
    return make_early_stopper(spec(early_stopping, direction))


def test_rungs_are_geometric_and_end_with_the_budget() -> None:
    assert geometric_rungs(1, 3, 27) == (1, 3, 9, 27)
    assert geometric_rungs(2, 2, 9) == (2, 4, 8, 9)
    assert geometric_rungs(5, 3, 5) == (5,)


def test_asha_lets_the_top_third_of_a_rung_go_on() -> None:
    asha = stopper(name="asha", max_epochs=9, reduction_factor=3)
    assert not asha.report(0, 1, 0.5)  # nothing to compare with yet
    assert asha.report(1, 1, 0.4)
    assert not asha.report(2, 1, 0.6)
    assert asha.report(3, 1, 0.3)
    assert not asha.report(4, 1, 0.55)  # second of five: at the 2/3 quantile


def test_asha_judges_at_rungs_alone_and_never_at_the_last_epoch() -> None:
    asha = stopper(name="asha", max_epochs=9, reduction_factor=3)
    for epoch in (2, 4, 5, 9):
        asha.report(0, epoch, 1.0)
        assert not asha.report(1, epoch, 0.0)
    asha.report(0, 3, 1.0)
    assert asha.report(1, 3, 0.0)


def test_asha_minimizes_too() -> None:
    asha = stopper("minimize", name="asha", max_epochs=9)
    assert not asha.report(0, 1, 0.5)
    assert asha.report(1, 1, 0.6)
    assert not asha.report(2, 1, 0.4)


def test_asha_agrees_with_the_quantile_of_numpy() -> None:
    values = np.random.default_rng(0).normal(size=200)
    asha = stopper(name="asha", max_epochs=9, reduction_factor=4)
    for i, value in enumerate(values):
        seen = values[: i + 1]
        threshold = float(np.quantile(seen, 0.75))
        decision = asha.report(i, 1, float(value))
        assert bool(decision) == (value < threshold)
        if decision:
            assert isinstance(decision, Stop)
            assert decision.numbers == pytest.approx({"threshold": threshold, "trials": i + 1})


def test_hyperband_gives_costlier_brackets_fewer_trials() -> None:
    hyperband = stopper(name="hyperband", max_epochs=9, reduction_factor=3)
    assert isinstance(hyperband, Brackets)
    assert hyperband.rungs == (1, 3, 9)
    counts = np.bincount([hyperband.bracket(number) for number in range(300)], minlength=3)
    # epochs a trial costs: 1 + 2/3 + 6/9 = 7/3; 3 + 6/3 = 5; 9
    shares = np.array([3 / 7, 1 / 5, 1 / 9])
    assert counts / 300 == pytest.approx(shares / shares.sum(), abs=0.02)


def test_hyperband_compares_within_a_bracket() -> None:
    hyperband = stopper(name="hyperband", max_epochs=9, reduction_factor=3)
    assert isinstance(hyperband, Brackets)
    by_bracket = {hyperband.bracket(number): number for number in range(20)}
    assert not hyperband.report(by_bracket[0], 1, 1.0)
    assert not hyperband.report(by_bracket[2], 1, 0.0)  # its first rung is the full budget
    others = [n for n in range(20, 60) if hyperband.bracket(n) == 0]
    assert hyperband.report(others[0], 1, 0.5)


def test_median_stops_what_is_worse_than_the_median_of_running_means() -> None:
    median = stopper(name="median", max_epochs=9, grace_period=2, min_trials=3)
    assert median.rungs == (2, 6, 9)
    for number, base in enumerate([0.2, 0.4, 0.6]):
        assert not median.report(number, 1, base)
        assert not median.report(number, 2, base + 0.2)
    # the medians at epoch 2 are of the means 0.3, 0.5, 0.7
    assert not median.report(3, 1, 0.1)  # within the grace period
    assert median.report(3, 2, 0.45)
    assert not median.report(4, 1, 0.1)
    assert not median.report(4, 2, 0.55)


def test_none_stops_nothing() -> None:
    rule = stopper(name="none", max_epochs=3)
    assert rule.rungs == (3,)
    assert not any(rule.report(n, e, -n) for n in range(20) for e in (1, 2, 3))


@pytest.mark.parametrize("name", registry.names("early_stopping"))
def test_a_replay_of_the_values_decides_alike(name: str) -> None:
    values = np.random.default_rng(1).normal(size=(60, 27)).tolist()
    reports = [(n, e, values[n][e - 1]) for e in range(1, 28) for n in range(60)]
    rule, again = (make_early_stopper(spec({"name": name})) for _ in range(2))
    half = len(reports) // 2
    decisions = [rule.report(*report) for report in reports]
    for report in reports[:half]:
        again.report(*report)
    assert [again.report(*report) for report in reports[half:]] == decisions[half:]
    assert any(decisions) != (name == "none")


def promotion() -> Promotion:
    rule = stopper(name="asha_promotion", max_epochs=9, reduction_factor=3)
    assert isinstance(rule, Promotion)
    return rule


def test_promotion_pauses_each_trial_at_each_rung_and_promotes_the_best_third() -> None:
    rule = promotion()
    assert rule.report(0, 1, 0.5)
    assert rule.report(1, 1, 0.4)
    assert rule.promotable() is None  # a third of two is none
    assert rule.report(2, 1, 0.6)
    assert rule.promotable() == 2
    rule.promote(2)
    assert rule.promotable() is None
    assert not rule.report(2, 2, 0.7)  # between rungs
    assert rule.report(2, 3, 0.7)
    for number, value in ((3, 0.9), (4, 0.1), (5, 0.2)):
        rule.report(number, 1, value)
    assert rule.promotable() == 3  # of six the best two, and trial 2 went on already


def test_the_highest_rung_is_promoted_from_first_and_the_last_never_pauses() -> None:
    rule = promotion()
    for number, value in enumerate([0.5, 0.6, 0.7]):
        rule.report(number, 1, value)
        rule.report(number, 3, value)
    rule.report(3, 1, 0.9)
    rule.report(4, 1, 0.8)
    rule.report(5, 1, 0.8)
    assert rule.promotable() == 2  # at rung 3, before trial 3 at rung 1
    rule.promote(2)
    assert rule.promotable() == 3
    assert not rule.report(2, 9, 0.8)


def test_a_replay_knows_which_trials_were_promoted() -> None:
    rule = promotion()
    values = [(0, 1, 0.1), (1, 1, 0.2), (2, 1, 0.3), (2, 2, 0.4)]  # trial 2 reported beyond
    for number, epoch, value in values:
        rule.report(number, epoch, value)
    assert rule.promotable() is None


def test_a_trial_that_ended_itself_counts_at_the_rungs_above() -> None:
    asha = stopper(name="asha", max_epochs=27, reduction_factor=3)
    for number, value in enumerate([0.5, 0.6, 0.7]):
        asha.report(number, 1, value)
    asha.finish(2, 2, 0.7)
    assert asha.report(1, 3, 0.6)  # without trial 2 it would be alone here, and go on
    assert not asha.report(3, 3, 0.8)
    assert asha.report(3, 9, 0.69)


def test_a_trial_that_ended_itself_counts_no_further_than_it_would_have_come() -> None:
    asha = stopper(name="asha", max_epochs=27, reduction_factor=3)
    asha.report(0, 3, 0.9)
    asha.finish(1, 2, 0.1)  # stopped at epoch 3
    assert not asha.report(0, 9, 0.05)  # alone there


def test_a_trial_that_ended_itself_counts_in_its_own_bracket() -> None:
    hyperband = stopper(name="hyperband", max_epochs=9, reduction_factor=3)
    assert isinstance(hyperband, Brackets)
    first, second, third = [n for n in range(60) if hyperband.bracket(n) == 0][:3]
    other = next(n for n in range(60) if hyperband.bracket(n) == 1)
    hyperband.finish(first, 1, 0.9)
    assert not hyperband.report(other, 3, 0.1)
    assert hyperband.report(second, 3, 0.8)
    assert not hyperband.report(third, 3, 1.0)


def test_the_median_is_of_trials_that_ended_themselves_too() -> None:
    median = stopper(name="median", max_epochs=9, min_trials=2)
    for number in (0, 1):
        median.report(number, 1, 0.5)
        median.finish(number, 1, 0.5)
    assert not median.report(2, 1, 0.5)
    assert not median.report(2, 8, 0.5)
    assert not median.report(3, 1, 0.5)
    assert median.report(4, 8, 0.4)


def test_promotion_carries_up_a_trial_that_ended_itself_once_it_is_among_the_best() -> None:
    rule = promotion()
    for number, value in enumerate([0.3, 0.2, 0.5]):
        rule.report(number, 1, value)
    rule.promote(2)
    rule.finish(2, 2, 0.6)  # waits at rung 3, is never handed out again
    assert rule.promotable() is None
    for number, value in ((3, 0.4), (4, 0.1), (5, 0.1)):
        rule.report(number, 1, value)
    assert rule.promotable() == 3
    rule.promote(3)
    rule.report(3, 3, 0.4)
    assert rule.promotable() is None  # of two at rung 3 none is among the best third
    for number, value in ((6, 0.9), (7, 0.0), (8, 0.0)):
        rule.report(number, 1, value)
    rule.promote(6)
    rule.report(6, 3, 0.5)
    assert rule.promotable() is None  # the best of three there is trial 2, and it has ended


def test_promotion_lets_one_that_ended_itself_in_the_first_rung_wait_there() -> None:
    rule = make_early_stopper(
        spec({"name": "asha_promotion", "grace_period": 3, "max_epochs": 27})
    )
    assert isinstance(rule, Promotion)
    rule.finish(0, 1, 0.9)
    rule.report(1, 3, 0.8)
    rule.report(2, 3, 0.7)
    assert rule.promotable() is None
    rule.report(1, 9, 0.8)
    rule.report(2, 9, 0.7)
    assert rule.promotable() is None  # it was carried up to epoch 9, where it is the best of three
