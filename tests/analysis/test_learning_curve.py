"""The law of a learning curve over rows: found on curves that are made, and said honestly."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch.analysis.learning_curve import (
    Point,
    fit_learning_curve,
    learning_curve_figure,
    learning_curve_section,
)
from hpsearch.errors import HpsearchError

SIZES = (125, 250, 500, 1000)


def made(limit: float, factor: float, exponent: float, noise: float = 0.0) -> list[Point]:
    """Losses by the law, of three seeds."""
    drawn = np.random.default_rng(0)
    return [
        Point(size, seed, limit + factor * size**-exponent + noise * float(drawn.normal()))
        for size in SIZES
        for seed in range(3)
    ]


@pytest.mark.parametrize(("limit", "factor", "exponent"), [(0.1, 5.0, 0.5), (0.0, 20.0, 1.0)])
def test_a_known_law_is_found(limit: float, factor: float, exponent: float) -> None:
    curve = fit_learning_curve("val_loss", "minimize", made(limit, factor, exponent))
    assert curve.exponent == pytest.approx(exponent)
    assert curve.limit.value == pytest.approx(limit, abs=1e-3)
    for times, forecast in curve.forecasts.items():
        expected = limit + factor * (times * 1000) ** -exponent
        assert forecast.value == pytest.approx(expected, abs=1e-3)
        assert forecast.low <= forecast.value <= forecast.high


def test_a_score_rises_to_its_limit() -> None:
    points = [Point(p.rows, p.seed, 1 - p.value) for p in made(0.05, 2.0, 0.5)]
    curve = fit_learning_curve("val_accuracy", "maximize", points)
    assert curve.limit.value == pytest.approx(0.95, abs=1e-3)
    assert curve.now < curve.forecasts[2].value < curve.forecasts[4].value < curve.limit.value
    assert "twice the rows would bring val_accuracy from 0.88" in str(curve)


def test_noise_widens_what_is_forecast_and_most_what_is_farthest() -> None:
    sure, unsure = (
        fit_learning_curve("val_loss", "minimize", made(0.1, 5.0, 0.5, noise))
        for noise in (0.001, 0.02)
    )
    widths = [each.forecasts[4].high - each.forecasts[4].low for each in (sure, unsure)]
    assert widths[0] < 0.5 * widths[1]
    assert unsure.limit.low <= 0.1 <= unsure.limit.high
    assert (
        unsure.limit.high - unsure.limit.low > unsure.forecasts[2].high - unsure.forecasts[2].low
    )


def test_a_flat_curve_says_that_more_rows_bring_nothing() -> None:
    curve = fit_learning_curve("val_loss", "minimize", made(0.3, 0.0, 1.0))
    assert curve.forecasts[4].value == pytest.approx(0.3) == curve.limit.value
    assert str(curve).startswith("more rows would bring nothing that these points show: val_loss")


def test_a_loss_that_grows_with_rows_is_not_said_to_get_better() -> None:
    losses = dict(zip(SIZES, (1.277, 1.532, 1.121, 1.826), strict=True))
    points = [
        Point(size, seed, loss + seed / 99) for size, loss in losses.items() for seed in (0, 1)
    ]
    assert "twice the rows" not in str(fit_learning_curve("val_loss", "minimize", points))


def test_what_has_no_law_is_refused() -> None:
    with pytest.raises(HpsearchError, match="needs three numbers of rows"):
        fit_learning_curve("val_loss", "minimize", made(0.1, 5.0, 0.5)[:6])
    with pytest.raises(HpsearchError, match="val_return: a learning curve needs a loss of at"):
        fit_learning_curve("val_return", "maximize", [Point(n, 0, 200.0) for n in SIZES])


def test_the_section_and_the_figure_have_points_and_forecasts() -> None:
    curve = fit_learning_curve("val_loss", "minimize", made(0.1, 5.0, 0.5, 0.01))
    section = learning_curve_section(curve)
    rows = section.blocks[1].rows  # type: ignore[union-attr]
    assert [row[0] for row in rows] == ["125", "250", "500", "1000", "2000", "4000", "any number"]
    names = [trace.name for trace in learning_curve_figure(curve).data]
    assert names == ["90% of the fits", "law", "training"]
