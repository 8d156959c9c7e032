"""Forecasting: what series are some steps later, from what they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from hpsearch.components.batch import Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.encodings import TargetEncoding, Values, register_encoding
from hpsearch.components.losses import LossSection
from hpsearch.components.metrics import MetricSections, Predictions
from hpsearch.components.tasks.parts import SupervisedTask, Targets, TaskComponents, make_parts
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.registry import register


class Forecasts(TargetEncoding):
    """Float32 (rows, 3, horizons, series): what comes, and what two simple methods say of it.

    See `components.datasets.windows.Histories`. Outputs are the series at the first horizon, then
    at the second and so on.
    """

    reads_targets: ClassVar[bool] = False
    standardizes: ClassVar[bool] = True
    target_axes: ClassVar[tuple[int, ...]] = (0, 1, 2)

    def description(self, output_size: int) -> str:
        """See TargetEncoding."""
        return f" by {output_size} outputs"

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return horizons times series."""
        return int(np.prod(y.shape[2:]))

    def row_forecasts(self, rows: Any) -> dict[str, Tensor]:
        """The last season again, and the last value."""
        known = torch.from_numpy(rows.y.copy()).double().flatten(2)
        return {"seasonal_naive": known[:, 1], "naive": known[:, 2]}

    def naive_errors(self, y: Values) -> tuple[float, ...]:
        """See TargetEncoding: those of the first horizon."""
        errors = np.abs(y[:, 0, 0] - y[:, 1, 0]).mean(0, dtype=np.float64)
        return tuple(errors.tolist())

    def right_outputs(self, targets: Tensor, output_size: int) -> Tensor:
        """See TargetEncoding."""
        return _values(targets)[:, 0]

    def columns(
        self, answers: Values, shares: Values, names: Sequence[str], share: str
    ) -> Mapping[str, Values]:
        """Return each series at each horizon."""
        return dict(zip(names, answers.T, strict=True))


register_encoding("forecasting", Forecasts())


class Forecasting(SupervisedTask):
    """Errors in the series' units, and against the seasonal naive forecast.

    Training sees standardised series, whose standard deviations are `target_std` and whose
    `naive_errors` are the denominators of MASE.
    """

    kind: ClassVar[Kind] = "forecasting"
    own_metrics: ClassVar[tuple[str, ...]] = (
        *("loss", "mae", "rmse", "mase", "skill"),
        *("mae_first", "mae_last"),
    )

    def __init__(
        self, parts: TaskComponents, target_std: Sequence[float], naive_errors: Sequence[float]
    ) -> None:
        super().__init__(parts)
        self._target_std = np.asarray(target_std)
        self._naive_errors = np.asarray(naive_errors)

    def loss(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the mean loss of the forecasts."""
        loss: Tensor = self.criterion(in_float32(outputs), _values(batch.targets)[:, 0])
        return loss

    @torch.no_grad()
    def totals(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return those of the errors, before them the absolute errors of the seasonal naive
        forecast."""
        actual, seasonal = _values(batch.targets).double()[:, :2].unbind(1)
        naive = (seasonal - actual).abs().sum(0)
        own = super().totals(outputs, Batch((), _values(batch.targets)[:, 0]))
        return torch.cat([own[: len(naive)], naive, own[len(naive) :]])

    def _predictions(self, outputs: Tensor, targets: Tensor) -> Predictions:
        """In the series' units, but for a shift that errors don't have."""
        std = np.resize(self._target_std, outputs.shape[1])
        predicted, actual = (
            each.double().numpy(force=True) * std for each in (outputs, _values(targets)[:, 0])
        )
        return Predictions(predicted, actual, "regression")

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return, output by output, absolute and squared errors."""
        errors = outputs.double() - targets.double()
        return torch.cat([errors.abs().sum(0), errors.square().sum(0)])

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        """Return the metrics; those of several series are means over them.

        MASE is of Hyndman and Koehler (2006, eq. 6 and section 3), with the seasonal naive
        forecast.
        """
        num_series = len(self._naive_errors)
        means = np.reshape(totals, (3, -1, num_series)) / num_rows
        absolute, naive, squares = means
        mae = absolute * self._target_std
        loss = float((squares * self._target_std**2).mean())
        scaled = absolute.mean(0) / self._naive_errors
        scaled_naive = naive.mean(0) / self._naive_errors
        return {
            "loss": loss,
            "mae": float(mae.mean()),
            "rmse": float(np.sqrt(loss)),
            "mase": float(scaled.mean()),
            "skill": float(1 - scaled.mean() / scaled_naive.mean()),
            "mae_first": float(mae[0].mean()),
            "mae_last": float(mae[-1].mean()),
        }


def _values(targets: Tensor) -> Tensor:
    """Return what comes and what two methods say of it, (rows, 3, outputs)."""
    return targets.flatten(2)


@register("task", "forecasting")
def forecasting(
    output_size: int,
    target_std: Sequence[float],
    naive_errors: Sequence[float],
    folder: Path | None,
    loss: LossSection | None = None,
    metrics: MetricSections = (),
    stateful: bool = False,
    history: Annotated[int, Ge(1)] | None = None,
) -> Forecasting:
    """Series some steps ahead, learned by the squared error or another loss; for time series.

    Reports the squared error in the series' own units whatever is trained on, its root `rmse`,
    the mean absolute error `mae`, and those of the first and the last horizon. `mase` divides
    the mean absolute error by that of the seasonal naive forecast in the training part, `skill`
    is 1 minus its ratio to that of the seasonal naive forecast of the same rows: above 0 is
    better than the last season again. The value of a loss that is given is `criterion`. To
    `metrics` of your own each series at each horizon is a target.

    `stateful` lets a recurrent model begin a row with the states that the row `lookback` steps
    before it ended with, as `language_model` does: gradients stay within the lookback, but what
    was before it is remembered. An epoch goes over the series from each of the first `lookback`
    rows, in an order that is drawn, each time with zeros. What an exported model is given begins
    with zeros, too.
    With `history` a model is given the last so many steps of the data set's `lookback` alone: a
    range of it is searched on the same rows.
    """
    if 0 in naive_errors:
        raise DataError(
            "a series must not repeat itself exactly in its training part, as a constant one "
            "does: MASE would divide by 0, the error of the seasonal naive forecast there"
        )
    targets = Targets("regression", output_size)
    parts = make_parts(targets, "mse", loss, "linear", metrics, folder)
    task = Forecasting(parts, target_std, naive_errors)
    task.stateful, task.history = stateful, history
    if stateful and history is not None:
        rule = "must be left out where stateful is true: states go on over all steps"
        raise BadConfigurationError(rule, history, keyword="history")
    return task
