"""Whether searches differ by more than chance, on samples and records that are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hpsearch.analysis.comparison import (
    best_by_epochs,
    check_comparable,
    comparison_sections,
    differences,
    paired,
    welch,
)
from hpsearch.errors import HpsearchError
from hpsearch.outcome import Outcome
from hpsearch.record import Finalist, FinalNote, Record, Sample
from tests.support.specs import make_spec


def searched(
    folder: Path,
    name: str,
    best: float,
    seeds: tuple[float, ...] = (),
    metric: str = "val_accuracy",
) -> Record:
    """A search of two trials, the second of which has the best value."""
    spec = make_spec(
        folder,
        name=name,
        objective={"metric": metric},
        trainable="train.py:train",
        space={"x": {"low": 0.0, "high": 1.0}},
        search={"early_stopping": {"max_epochs": 2}},
    )
    record = Record.create(folder / f"{name}.journal", spec)
    for number, last in enumerate((best - 0.1, best)):
        record.add_trial({"x": 0.5})
        for epoch, value in enumerate((last - 0.2, last), 1):
            record.report(number, epoch, {metric: value})
        record.end_trial(number, Outcome.COMPLETED)
    if seeds:
        record.set_final(FinalNote((Finalist(1, seeds),), len(seeds), is_ranked=True))
    return record


def test_welchs_interval_is_scipys() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, 5), rng.normal(1, 3, 8)
    found = welch("a", Sample(tuple(one)), "b", Sample(tuple(other)))
    expected = stats.ttest_ind(other, one, equal_var=False).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(other.mean() - one.mean())


@pytest.mark.parametrize(
    ("seeds", "told"),
    [
        ((0.95, 0.96, 0.94), "`b` is better than `a` by 0.05"),
        ((0.80, 0.81, 0.79), "`b` is worse than `a` by 0.1"),
        ((0.88, 0.95, 0.90), "can't be told apart"),
        ((), "nothing can be said of chance"),
    ],
)
def test_new_seeds_tell_searches_apart(
    tmp_path: Path, seeds: tuple[float, ...], told: str
) -> None:
    one = searched(tmp_path, "a", 0.92, (0.90, 0.91, 0.89))
    other = searched(tmp_path, "b", 0.97, seeds)
    found = differences([one, other])
    assert told in found[0].told("maximize")
    first, _ = comparison_sections([one, other], found)
    assert told in str(first.blocks[0]) and "0.9 ± 0.01" in str(first.blocks)


def test_pairs_of_searches_are_compared_by_their_differences(tmp_path: Path) -> None:
    firsts, gains = [0.70, 0.80, 0.90, 0.60, 0.75, 0.85], [0.02, 0.03, 0.01, 0.02, 0.03, 0.04]
    ones = [searched(tmp_path, f"a{i}", best) for i, best in enumerate(firsts)]
    others = [searched(tmp_path, f"b{i}", firsts[i] + gain) for i, gain in enumerate(gains)]
    found = paired(ones, others)
    assert found.mean == pytest.approx(0.025)
    assert found.p_value == pytest.approx(2 / 2**6)  # all six of one sign
    assert "is better than" in found.told("maximize")
    expected = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))
    same = paired(ones, ones)
    assert same.p_value == 1.0 and "can't be told apart" in same.told("maximize")


def test_other_objectives_are_refused(tmp_path: Path) -> None:
    one, other = searched(tmp_path, "a", 0.9), searched(tmp_path, "b", 0.9, metric="val_f1")
    with pytest.raises(HpsearchError, match="b maximizes val_f1, but a maximizes val_accuracy"):
        check_comparable([one, other])


def test_the_best_so_far_is_drawn_over_epochs(tmp_path: Path) -> None:
    figure = best_by_epochs([searched(tmp_path, "a", 0.9), searched(tmp_path, "b", 0.8)])
    assert [trace.name for trace in figure.data] == ["a", "b"]
    assert list(figure.data[0].x) == [2, 4] and list(figure.data[0].y) == [0.8, 0.9]
