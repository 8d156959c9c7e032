"""Freeze-thaw: forecasts of curves, and the choice between a paused trial and a new one."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.tables import DEVELOPMENT, MAX_EPOCHS, load_task
from hpsearch.early_stopping import JointRule, geometric_rungs, make_early_stopper
from hpsearch.early_stopping.curves import extrapolate, forecast_final
from hpsearch.samplers.unit_cube import Array
from tests.support.stopping import spec

RUNGS = geometric_rungs(1, 3, MAX_EPOCHS)


def rule(direction: str = "maximize", **keywords: object) -> JointRule:
    made = make_early_stopper(spec({"name": "freeze_thaw", **keywords}, direction))
    assert isinstance(made, JointRule)
    return made


def train(stopper: JointRule, number: int, curve: Array, start: int = 0) -> int:
    """Train a trial to its next rung; returns the epochs that it then has."""
    for epoch in range(start + 1, len(curve) + 1):
        if stopper.report(number, epoch, float(curve[epoch - 1])):
            return epoch
    return len(curve)


def finish_search(stopper: JointRule, curves: Array, epochs: dict[int, int]) -> None:
    """Train what the rule resumes once no new trial may start; `epochs` are those of each."""
    while (number := stopper.leftover()) is not None:
        stopper.promote(number)
        epochs[number] = train(stopper, number, curves[number], epochs[number])


def table_curves(name: str, num_trials: int, seed: int) -> Array:
    """Return curves of random configurations of a development task, errors, lower is better."""
    task, rng = load_task(name), np.random.default_rng(seed)
    rows = rng.integers(len(task.errors), size=num_trials)
    return np.array([task.curve(int(row), rng) for row in rows])


def test_a_power_law_is_extrapolated_and_a_constant_stays() -> None:
    curve = {epoch: 0.5 + 2.0 * epoch**-0.5 for epoch in range(1, 10)}
    assert 0.5 + 2.0 * 27**-0.5 < extrapolate(curve, 27) < curve[9]  # other powers count too
    assert extrapolate(dict.fromkeys(range(1, 10), 0.3), 27) == pytest.approx(0.3)
    assert extrapolate({3: 0.7}, 9) == pytest.approx(0.7)
    assert extrapolate({2: 0.1, 5: 0.4}, 9) > 0.4  # with epochs that have no value


def test_recent_epochs_count_more_than_a_jump_long_ago() -> None:
    jumped = {epoch: 1.0 if epoch < 4 else 0.2 for epoch in range(1, 10)}
    assert extrapolate(jumped, 27) < 0.25


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # open files
def test_90_percent_intervals_hold_nine_of_ten_final_values_of_development_tables() -> None:
    hits = [hit for task in DEVELOPMENT for seed in range(6) for hit in coverage(task, seed)]
    assert 0.87 < np.mean(hits) < 0.94


def coverage(task: str, seed: int, num_trials: int = 60) -> list[bool]:
    """Return for the trials that might resume whether their intervals hold their final values.

    The rungs are as a search leaves them: the best third of each trained on.
    """
    curves = -table_curves(task, num_trials, seed)
    reached, extrapolated = np.full((num_trials, 4), np.nan), np.full((num_trials, 3), np.nan)
    going = np.arange(num_trials)
    for k, rung in enumerate(RUNGS):
        reached[going, k] = curves[going, rung - 1]
        for i in going if k < 3 else ():
            known = {epoch: curves[i, epoch - 1] for epoch in range(1, rung + 1)}
            extrapolated[i, k] = extrapolate(known, RUNGS[k + 1])
        going = going[np.argsort(-curves[going, rung - 1])][: max(len(going) // 3, 4)]
    forecasts = forecast_final(reached, extrapolated)
    paused = np.flatnonzero(np.isnan(reached[:, -1]))
    best = paused[np.argsort(-forecasts.values[paused])][: num_trials // 3]
    ends = [forecasts.interval(int(i)) for i in best]
    return [low <= curves[i, -1] <= high for i, (low, high) in zip(best, ends, strict=True)]


def test_each_trial_pauses_at_each_rung_and_nowhere_else() -> None:
    stopper = rule(max_epochs=9)
    assert stopper.rungs == (1, 3, 9)
    curve = np.linspace(0.1, 0.9, 9)
    pauses = [epoch for epoch in range(1, 10) if stopper.report(0, epoch, curve[epoch - 1])]
    assert pauses == [1, 3]


def test_a_new_trial_starts_where_the_newest_were_better_than_what_is_paused() -> None:
    stopper = rule(max_epochs=27)
    for number in range(22):
        stopper.report(number, 1, 0.01 * number if number < 10 else 1.0 + 0.01 * number)
    for number in range(10, 22):
        stopper.promote(number)
    assert stopper.promotable() is None


def test_the_best_paused_trial_resumes_when_new_ones_are_poor() -> None:
    stopper = rule(max_epochs=27)
    for number in range(20):
        stopper.report(number, 1, -0.1 * number)
    assert stopper.promotable() == 0
    assert stopper.promotable() == 0  # until it is promoted
    stopper.promote(0)
    assert stopper.promotable() != 0


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_what_is_left_of_the_epochs_goes_to_the_best(direction: str) -> None:
    errors = table_curves("hpobench/phoneme", 32, 0)
    curves = errors if direction == "minimize" else -errors
    stopper = rule(direction, max_epochs=MAX_EPOCHS, share=0.25)
    epochs = {number: train(stopper, number, curves[number]) for number in range(32)}
    assert set(epochs.values()) == {1}
    finish_search(stopper, curves, epochs)
    used = sum(epochs.values())
    assert 0.25 * 32 * MAX_EPOCHS <= used < 0.25 * 32 * MAX_EPOCHS + 18
    complete = [number for number, trained in epochs.items() if trained == MAX_EPOCHS]
    assert 3 <= len(complete) <= 10
    best = min(errors[number, -1] for number in complete)
    assert best <= np.sort(errors[:, -1])[2]


def test_one_trial_completes_whatever_the_share() -> None:
    curves = np.random.default_rng(0).normal(size=(4, 9))
    stopper = rule(max_epochs=9, share=0.001)
    epochs = {number: train(stopper, number, curves[number]) for number in range(4)}
    finish_search(stopper, curves, epochs)
    assert max(epochs.values()) == 9


def test_idle_workers_do_not_spend_the_epochs_of_the_best() -> None:
    stopper = rule(max_epochs=27, share=0.25)
    for number in range(32):
        stopper.report(number, 1, 0.01 * number)
    resumed = []
    while (number := stopper.leftover()) is not None:
        stopper.promote(number)
        resumed.append(number)
    # (0.25 · 32 · 27 - 32) / 26 could be trained in full
    assert resumed == list(range(31, 31 - 8, -1))


def test_a_replay_comes_to_the_same_decisions() -> None:
    curves = -table_curves("hpolib/protein_structure", 60, 1)
    first, history, decisions = rule(max_epochs=MAX_EPOCHS), [], []
    epochs: dict[int, int] = {}
    for _ in range(150):
        number = first.promotable()
        decisions.append((len(history), number))
        if number is None:
            number = len(epochs)
            epochs[number] = 0
        else:
            first.promote(number)
        if number >= len(curves):
            break
        start = epochs[number]
        epochs[number] = train(first, number, curves[number], start)
        history += [
            (number, e, curves[number, e - 1]) for e in range(start + 1, epochs[number] + 1)
        ]
    assert {number is None for _, number in decisions} == {True, False}
    for num_reports, number in decisions[::7]:
        second = rule(max_epochs=MAX_EPOCHS)
        for report in history[:num_reports]:
            second.report(*report)
        assert second.promotable() == number


def test_outliers_and_late_divergence_do_not_blur_the_best() -> None:
    stopper = rule("minimize", max_epochs=27)
    rng = np.random.default_rng(0)
    finals = rng.uniform(0.1, 0.5, 40)
    for number, final in enumerate(finals):
        curve = final + 0.3 * np.arange(1, 28) ** -1.0
        if number % 5 == 1:
            curve[2:] = 1e300  # diverges after the first rung
        at = train(stopper, number, curve)
        while at < 9 and number < 20:
            at = train(stopper, number, curve, at)
    waiting = sorted((finals[n], n) for n in range(20, 40))
    assert stopper.promotable() == waiting[0][1] or finals[stopper.promotable() or 0] < 0.2
    numbers = stopper.standing(waiting[0][1]).numbers
    assert numbers["low"] <= numbers["forecast"] <= numbers["high"]
    assert 0.0 < numbers["forecast"] < 1.0


def test_a_trial_that_ended_itself_keeps_its_value_and_does_not_resume() -> None:
    stopper = rule(max_epochs=9)
    for number in range(6):
        stopper.report(number, 1, 0.1 * number)
    stopper.report(5, 2, 0.9)
    stopper.finish(5, 2, 0.9)
    assert stopper.standing(5).numbers["forecast"] == pytest.approx(0.9)
    resumed = set()
    while (number := stopper.leftover()) is not None:
        stopper.promote(number)
        resumed.add(number)
    assert 5 not in resumed


def test_a_trial_that_diverged_is_dropped() -> None:
    stopper = rule(max_epochs=9)
    for number in range(4):
        stopper.report(number, 1, 0.1 * number)
    stopper.promote(3)
    stopper.drop(3)
    assert stopper.leftover() == 2


def test_equal_values_are_no_obstacle() -> None:
    stopper = rule(max_epochs=9)
    for number in range(12):
        stopper.report(number, 1, 0.5)
    assert stopper.leftover() == 0
