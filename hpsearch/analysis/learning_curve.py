"""The learning curve over training rows: how the error falls with data, and what more would bring.

The error follows a + b n^-c in the number n of rows (Hestness et al., arXiv 1712.00409, section
3): a is what no number of rows takes away, by noise of the targets or by the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from scipy.optimize import nnls

from hpsearch.analysis.blocks import Section, Table, as_rows
from hpsearch.analysis.style import LINES, new_figure
from hpsearch.errors import HpsearchError
from hpsearch.formatting import show, show_count
from hpsearch.spec import Direction

#: exponents of the law that are tried: 1/2 is that of an average over independent rows
EXPONENTS = np.linspace(0.1, 2.0, 20)
#: numbers of rows that a law is fitted to, at least
NUM_SIZES = 3
#: how the names of metrics of the validation rows begin
VALIDATION = "val_"
#: draws of the means with the noise between seeds, and the part of them that an interval holds
NUM_DRAWS, COVERED = 200, 0.9
#: so many times the rows that there are
FORECASTS = (2, 4)
FIGURE = "learning_curve"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """The objective of one training on so many rows."""

    rows: int
    seed: int
    value: float


@dataclass(frozen=True)
class Estimate:
    """A value of the objective with the interval that holds 90 % of the draws."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{show(self.value)} ({show(self.low)} to {show(self.high)})"


@dataclass(frozen=True)
class LearningCurve:
    """Points, and the law that they follow; `forecasts` are by the factor on all rows, `limit` is
    the objective with any number of rows."""

    metric: str
    points: tuple[Point, ...]
    exponent: float
    forecasts: dict[int, Estimate]
    limit: Estimate
    #: the law at `grid`, rows to four times those that there are
    grid: tuple[float, ...]
    law: tuple[Estimate, ...]

    @property
    def now(self) -> float:
        """The mean objective on all rows."""
        most = max(point.rows for point in self.points)
        return float(np.mean([point.value for point in self.points if point.rows == most]))

    def __str__(self) -> str:
        """What more rows would bring, in a sentence."""
        twice = self.forecasts[FORECASTS[0]]
        if math.isclose(
            twice.value, self.limit.value, rel_tol=1e-6
        ):  # the law that fits best doesn't fall
            return (
                f"more rows would bring nothing that these points show: {self.metric} is "
                f"{show(self.now)} with all rows, and {self.limit} by the law with any number"
            )
        return (
            f"twice the rows would bring {self.metric} from {show(self.now)} to {twice}, any "
            f"number of them no further than {self.limit}"
        )


def check_objective(metric: str, direction: Direction, value: float) -> None:
    """Raise HpsearchError for a metric that isn't of the validation rows, and for a value that is
    no error of at least 0, nor a score of at most 1."""
    if not metric.startswith(VALIDATION):
        rule = f"a learning curve needs a metric of the validation rows ({VALIDATION}…)"
        raise HpsearchError(f"{metric}: {rule}")
    if (1 - value if direction == "maximize" else value) < 0:
        rule = "a learning curve needs a loss of at least 0 or a score of at most 1"
        raise HpsearchError(f"{metric}: {rule}, but got {show(value)}")


def fit_learning_curve(
    metric: str, direction: Direction, points: Sequence[Point]
) -> LearningCurve:
    """Fit the law to points of three numbers of rows or more; HpsearchError for objectives that
    aren't an error of at least 0, or one less a score of at most 1."""
    sizes = sorted({point.rows for point in points})
    if len(sizes) < NUM_SIZES:
        raise HpsearchError(f"a learning curve needs three numbers of rows, but got {sizes}")
    sign = -1.0 if direction == "maximize" else 1.0
    offset = 1.0 if direction == "maximize" else 0.0
    for point in points:
        check_objective(metric, direction, point.value)
    by_size = [np.array([p.value for p in points if p.rows == size]) for size in sizes]
    errors = [offset + sign * values for values in by_size]
    rows = np.array(sizes, float)
    grid = np.geomspace(rows[0], rows[-1] * FORECASTS[-1], 60)
    wanted = np.concatenate([rows[-1] * np.array(FORECASTS, float), grid])
    rng = np.random.default_rng(0)
    means = np.array([each.mean() for each in errors])
    noise = _noise(errors)
    samples = [_fitted(rows, means, wanted)]
    for _ in range(NUM_DRAWS):
        drawn = means * (1 + noise * rng.normal(size=len(means)))
        samples.append(_fitted(rows, np.abs(drawn), wanted))
    laws = offset + sign * np.array([each[1:] for each in samples])  # limit first
    estimates = [_estimate(column) for column in laws.T]
    num = len(FORECASTS)
    return LearningCurve(
        metric,
        tuple(points),
        samples[0][0],
        dict(zip(FORECASTS, estimates[1 : 1 + num], strict=True)),
        estimates[0],
        tuple(grid.tolist()),
        tuple(estimates[1 + num :]),
    )


def _noise(errors: Sequence[Array]) -> Array:
    """Return the standard error of each mean, relative to it: that of seeds, pooled over sizes."""
    varied = [each for each in errors if len(each) > 1 and each.mean() > 0]
    squares = [float(each.var(ddof=1) / each.mean() ** 2) for each in varied]
    deviation = float(np.mean(squares)) ** 0.5 if squares else 0.0
    return np.array([deviation / len(each) ** 0.5 for each in errors])


def _fitted(rows: Array, errors: Array, wanted: Array) -> list[float]:
    """Return exponent, limit and the law at the wanted rows; residuals are relative."""
    means = np.maximum(errors, 1e-12)
    best: tuple[float, float, float, float] | None = None
    for exponent in EXPONENTS:
        shapes = np.stack([np.ones_like(rows), (rows / rows[0]) ** -exponent], 1)
        (limit, factor), residual = nnls(shapes / means[:, None], np.ones_like(means))
        if best is None or residual < best[0] - 1e-9:
            best = (residual, float(exponent), limit, factor)
    assert best is not None
    _, exponent, limit, factor = best
    law = limit + factor * (wanted / rows[0]) ** -exponent
    return [exponent, limit, *law.tolist()]


def _estimate(samples: Array) -> Estimate:
    """The first sample is that of all points."""
    low, high = np.quantile(samples, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    value = float(samples[0])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def learning_curve_section(curve: LearningCurve) -> Section:
    """Return the points as a table, and what more rows would bring."""
    most = max(point.rows for point in curve.points)
    rows = []
    for size in sorted({point.rows for point in curve.points}):
        values = np.array([point.value for point in curve.points if point.rows == size])
        spread = show(float(values.std(ddof=1))) if len(values) > 1 else "–"
        seeds = show_count(len(values), "seed")
        rows.append((str(size), show(float(values.mean())), spread, seeds))
    for factor, estimate in curve.forecasts.items():
        rows.append((str(most * factor), str(estimate), "–", "forecast"))
    rows.append(("any number", str(curve.limit), "–", "forecast"))
    header = ("training rows", curve.metric, "between seeds", "from")
    text = (
        f"With the configuration as it is {curve}. Intervals hold {COVERED:.0%} of the fits to "
        "means that vary as seeds do; that the law goes on beyond these rows is an assumption."
    )
    return Section("Learning curve", (text, Table(header, as_rows(rows))), (FIGURE,))


def learning_curve_figure(curve: LearningCurve) -> go.Figure:
    """Draw the points and the law, to four times the rows."""
    figure = new_figure("Objective over training rows", "training rows", curve.metric, height=420)
    x = [*curve.grid, *curve.grid[::-1]]
    band = [*(each.high for each in curve.law), *(each.low for each in curve.law[::-1])]
    figure.add_scatter(
        x=x,
        y=band,
        fill="toself",
        mode="none",
        fillcolor=LINES[0],
        opacity=0.15,
        name=f"{COVERED:.0%} of the fits",
        hoverinfo="skip",
    )
    law = [each.value for each in curve.law]
    figure.add_scatter(x=curve.grid, y=law, mode="lines", line={"color": LINES[0]}, name="law")
    figure.add_scatter(
        x=[point.rows for point in curve.points],
        y=[point.value for point in curve.points],
        mode="markers",
        marker={"color": LINES[1], "size": 8},
        name="training",
    )
    sizes = sorted({point.rows for point in curve.points})
    figure.add_vline(x=sizes[-1], line_dash="dot", line_width=1)
    ticks = [*sizes, *(factor * sizes[-1] for factor in curve.forecasts)]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=list(map(str, ticks)))
    return figure
