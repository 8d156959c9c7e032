"""Calibrations by name: corrections of a trained classifier's probabilities.

A factory returns a `Calibration`, which is fitted on rows that training hasn't seen and maps a
model's outputs (rows, classes) to logits, whose softmax are the corrected probabilities.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hpsearch.components.data import Kind
from hpsearch.components.losses import class_shares
from hpsearch.components.tasks.heads import Head
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register


class Calibration(nn.Module):
    """From outputs to logits of better probabilities, once fitted."""

    head: Head

    def fit(self, head: Head, outputs: Tensor, targets: Tensor) -> None:
        """Fit on a model's outputs (rows, classes), and on classes or shares of them."""
        self.head = head
        self._fit(outputs.double(), class_shares(targets, outputs.double()))
        self.float()

    @abstractmethod
    def _fit(self, outputs: Tensor, shares: Tensor) -> None:
        """Set the buffers."""

    @property
    def fitted(self) -> dict[str, float]:
        """What was fitted, where it is but a few numbers."""
        return {}


class Temperature(Calibration):
    """z / T."""

    temperature: Tensor

    def _fit(self, outputs: Tensor, shares: Tensor) -> None:
        logits, log_temperature = self.head.logits(outputs), torch.zeros((), dtype=torch.float64)
        wanted = _with_doubt(shares)
        _minimize(lambda: F.cross_entropy(logits / log_temperature.exp(), wanted), log_temperature)
        self.register_buffer("temperature", log_temperature.detach().exp())

    def forward(self, outputs: Tensor) -> Tensor:
        """Return logits; their order is that of the head's."""
        return self.head.logits(outputs) / self.temperature

    @property
    def fitted(self) -> dict[str, float]:
        """The temperature."""
        return {"temperature": self.temperature.item()}


class Vector(Calibration):
    """w z + b, class by class."""

    weight: Tensor
    bias: Tensor

    def _fit(self, outputs: Tensor, shares: Tensor) -> None:
        logits = self.head.logits(outputs)
        weight, bias = torch.ones_like(logits[0]), torch.zeros_like(logits[0])
        wanted = _with_doubt(shares)
        _minimize(lambda: F.cross_entropy(weight * logits + bias, wanted), weight, bias)
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", bias.detach())

    def forward(self, outputs: Tensor) -> Tensor:
        """Return logits."""
        return self.weight * self.head.logits(outputs) + self.bias


class OneVsRest(Calibration):
    """A curve from the margin of each class to its probability, divided by their sum.

    Two classes have one curve, over the difference of their scores.
    """

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the logarithms of the curves' probabilities."""
        margins = self._margins(outputs)
        if outputs.shape[1] == 2:
            return torch.cat([self._log_curves(margins, sign=-1), self._log_curves(margins)], 1)
        return self._log_curves(margins)

    def _fit(self, outputs: Tensor, shares: Tensor) -> None:
        is_binary = shares.shape[1] == 2
        self._fit_curves(self._margins(outputs), shares[:, 1:] if is_binary else shares)

    def _margins(self, outputs: Tensor) -> Tensor:
        if outputs.shape[1] == 2:
            return self.head.logits(outputs).diff(dim=1)
        return self.head.margins(outputs)

    @abstractmethod
    def _fit_curves(self, margins: Tensor, shares: Tensor) -> None:
        """Fit a curve a column."""

    @abstractmethod
    def _log_curves(self, margins: Tensor, sign: int = 1) -> Tensor:
        """Return the logarithm of the curves or, with sign -1, of 1 minus the curves."""


class Platt(OneVsRest):
    """1 / (1 + e^-(a s + b))."""

    slope: Tensor
    shift: Tensor

    def _fit_curves(self, margins: Tensor, shares: Tensor) -> None:
        # Platt's targets, which keep the fit finite where a threshold divides the classes
        num_true = shares.sum(0)
        high = (num_true + 1) / (num_true + 2)
        low = 1 / (len(shares) - num_true + 2)
        wanted = low + shares * (high - low)
        slope, shift = torch.ones_like(margins[0]), torch.zeros_like(margins[0])

        def loss() -> Tensor:
            logits = slope * margins + shift
            return F.binary_cross_entropy_with_logits(logits, wanted)

        _minimize(loss, slope, shift)
        self.register_buffer("slope", slope.detach())
        self.register_buffer("shift", shift.detach())

    def _log_curves(self, margins: Tensor, sign: int = 1) -> Tensor:
        return F.logsigmoid(sign * (self.slope * margins + self.shift))


class Isotonic(OneVsRest):
    """A rising piecewise linear curve through `places` and `values` (curves, knots)."""

    places: Tensor
    values: Tensor

    def _fit_curves(self, margins: Tensor, shares: Tensor) -> None:
        from sklearn.isotonic import IsotonicRegression  # slow to import, and few need it

        curves = []
        for margin, share in zip(margins.T.numpy(), _with_doubt(shares).T.numpy(), strict=True):
            fitted = IsotonicRegression(y_min=0, y_max=1).fit(margin, share)
            curves.append((fitted.X_thresholds_, fitted.y_thresholds_))
        places, values = zip(*curves, strict=True)
        self.register_buffer("places", _padded(places))
        self.register_buffer("values", _padded(values))

    def _log_curves(self, margins: Tensor, sign: int = 1) -> Tensor:
        curves = self._look_up(margins.T.contiguous()).T
        return (curves if sign > 0 else 1 - curves).log()

    def _look_up(self, margins: Tensor) -> Tensor:
        """Interpolate (curves, rows); beyond its ends a curve is flat."""
        num_knots = self.places.shape[1]
        right = torch.searchsorted(self.places, margins).clamp(1, num_knots - 1)
        x, y = (
            [part.gather(1, index) for index in (right - 1, right)]
            for part in (self.places, self.values)
        )
        width = (x[1] - x[0]).clamp_min(torch.finfo(margins.dtype).tiny)
        weight = ((margins - x[0]) / width).clamp(0, 1)
        return torch.lerp(y[0], y[1], weight)


@register("calibration", "temperature")
def temperature(kind: Kind) -> Calibration:
    """softmax(z / T), T > 0 by the least log loss (Guo et al., 2017): answers stay as they are."""
    return _for_classes(Temperature, kind)


@register("calibration", "vector")
def vector(kind: Kind) -> Calibration:
    """softmax(w z + b), w and b for each class, by the least log loss (Guo et al., 2017)."""
    return _for_classes(Vector, kind)


@register("calibration", "platt")
def platt(kind: Kind) -> Calibration:
    """1 / (1 + e^-(a s + b)) of each class's score s against the rest (Platt, 1999).

    Divided by their sum where there are more than two classes, as scikit-learn does.
    """
    return _for_classes(Platt, kind)


@register("calibration", "isotonic")
def isotonic(kind: Kind) -> Calibration:
    """A rising step-like curve of each class's score (Zadrozny & Elkan, 2002), by scikit-learn.

    It overfits where it is fitted on less than about a thousand rows.
    """
    return _for_classes(Isotonic, kind)


def _for_classes(calibration: Callable[[], Calibration], kind: Kind) -> Calibration:
    if kind != "classification":
        raise BadConfigurationError(
            "needs probabilities of classes, which a classification has, but the data set's "
            f"targets are for {kind}"
        )
    return calibration()


def _with_doubt(shares: Tensor) -> Tensor:
    """Shares as if one row more had been of no class in particular.

    Else answers that are all right, which a small split may well have, would make every other
    answer infinitely sure.
    """
    num_classes = max(2, shares.shape[1])  # of two, one may stand for both
    return shares + (1 / num_classes - shares) / (len(shares) + 1)


def _padded(rows: Sequence[NDArray[np.float64]]) -> Tensor:
    """Repeat the last value of each row up to the length of the longest, at least two."""
    length = max(2, *map(len, rows))
    return torch.from_numpy(
        np.stack([np.pad(row, (0, length - len(row)), "edge") for row in rows])
    )


def _minimize(loss: Callable[[], Tensor], *parameters: Tensor) -> None:
    """Minimise a smooth loss of few parameters in place."""
    for parameter in parameters:
        parameter.requires_grad_()
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=200,
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
