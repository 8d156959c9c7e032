"""What is read out of the curve of a range test, on curves that are known."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch.analysis.lr_range import read_lr_range, smoothed

RATES = np.geomspace(1e-7, 10, 240)


def curve(
    falls_from: float = 1e-3, least_at: float = 0.1, noise: float = 0.02, offset: float = 0.0
) -> np.ndarray:
    """A loss of 2 that falls to 0.5, evenly on a logarithmic scale, and rises beyond."""
    x, begin, end = np.log10(RATES), np.log10(falls_from), np.log10(least_at)
    fall = 1.5 * np.clip((x - begin) / (end - begin), 0, 1)
    rise = 4 * np.clip(x - end, 0, None) ** 2
    drawn = np.random.default_rng(0).normal(size=len(x))
    return np.asarray(2 - fall + rise + noise * drawn + offset)


@pytest.mark.parametrize(("begin", "least"), [(1e-3, 0.1), (1e-5, 1e-3), (0.03, 1.0)])
def test_a_known_curve(begin: float, least: float) -> None:
    found = read_lr_range(RATES, curve(begin, least))
    assert found is not None and found.diverges is not None
    assert begin < found.low < 3 * begin
    assert found.minimum == pytest.approx(least, rel=0.6)
    assert begin < found.steepest < least
    assert least < found.diverges == found.high < 5 * least
    assert found.suggested == found.minimum / 10


@pytest.mark.parametrize("offset", [-5.0, 100.0])
def test_the_level_of_the_loss_does_not_matter(offset: float) -> None:
    """A negative loss, too; but one that falls by a small part of a large level has not fallen."""
    found, moved = (read_lr_range(RATES, curve(offset=o)) for o in (0.0, offset))
    if offset > 0:
        assert moved is None
    else:
        assert found is not None and moved is not None
        assert moved.low == pytest.approx(found.low) and moved.high == pytest.approx(found.high)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_flat_or_rising_loss_falls_nowhere(noise: float) -> None:
    drawn = np.random.default_rng(1).normal(size=len(RATES))
    flat = 2 + noise * drawn
    assert read_lr_range(RATES, flat) is None
    assert read_lr_range(RATES, flat + 2 * np.clip(np.log10(RATES) + 2, 0, None)) is None
    assert read_lr_range(RATES[:1], flat[:1]) is None and read_lr_range([], []) is None


def test_a_loss_that_never_turns_up_ends_at_the_last_rate() -> None:
    found = read_lr_range(RATES, curve(least_at=10.0))
    assert found is not None and found.diverges is None
    assert found.high == pytest.approx(10.0)
    assert "doesn't turn up" in str(found)


def test_the_range_is_a_decade_at_least() -> None:
    found = read_lr_range(RATES, curve(falls_from=0.07))
    assert found is not None and found.low == found.minimum / 10


def test_smoothing_lags_nowhere() -> None:
    peak = np.zeros(81)
    peak[40] = 1.0
    level = smoothed(peak)
    assert level.argmax() == 40
    np.testing.assert_allclose(level, level[::-1])
