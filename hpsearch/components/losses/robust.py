"""The general and adaptive robust loss (Barron, CVPR 2019, arXiv 1701.03077)."""

from __future__ import annotations

import functools
import math
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Gt
from numpy.typing import NDArray
from torch import Tensor, nn

from hpsearch.components.losses.base import Loss
from hpsearch.components.losses.regression import RegressionLoss
from hpsearch.registry import Recommended, register

#: bounds of a learned alpha, and of a learned scale from below
ALPHA_LOW, ALPHA_HIGH, SCALE_LOW = 0.001, 1.999, 1e-5
NUM_KNOTS = 256
#: t(2) of the curve on which the spline's knots are evenly spaced; t(0) is 0
_CURVE_END = 4.0
#: e to more than this is infinite in float32
_MAX_EXPONENT = 87.0

Scale = Annotated[float, Gt(0), Recommended(0.1, 3.0, log=True)]


def general_loss(errors: Tensor, alpha: Tensor, scale: Tensor) -> Tensor:
    """Return rho(e, alpha, scale) of each error (equation 8), for any alpha, infinite too.

    |a - 2| / a * ((z / |a - 2| + 1)^(a/2) - 1) with z = (e / scale)², and its limits.
    """
    z = (errors / scale).square()
    epsilon = torch.finfo(z.dtype).eps
    finite = torch.where(alpha.isinf(), 1.0, alpha)  # else the branch not taken has NaN gradients
    beta = (finite - 2).abs().clamp_min(epsilon)
    # Kept off 0, the power's logarithm and exponential go over into the limits at 0 and 2.
    a = torch.where(finite < 0, -1.0, 1.0) * finite.abs().clamp_min(epsilon)
    general = beta / a * torch.expm1(a / 2 * torch.log1p(z / beta))
    half = (z / 2).clamp_max(_MAX_EXPONENT)
    welsch = -torch.expm1(-half)
    return torch.where(alpha.isinf(), torch.where(alpha > 0, torch.expm1(half), welsch), general)


class Robust(RegressionLoss):
    """The general loss with constant shape and scale."""

    alpha: Tensor
    scale: Tensor

    def __init__(self, alpha: float, scale: float) -> None:
        super().__init__()
        self._set_constants(alpha=alpha, scale=scale)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over rows and targets."""
        return general_loss(outputs - targets, self.alpha, self.scale).mean()


class AdaptiveRobust(RegressionLoss):
    """The negative log-likelihood rho + log scale + log Z(alpha), both learned, by target."""

    coefficients: Tensor

    def __init__(self, output_size: int) -> None:
        super().__init__()
        self.latent_alpha = nn.Parameter(torch.zeros(output_size))
        self.latent_scale = nn.Parameter(torch.zeros(output_size))
        spline = torch.tensor(_spline_coefficients(), dtype=torch.float32)
        self.register_buffer("coefficients", spline, persistent=False)

    @property
    def alpha(self) -> Tensor:
        """The shape of each target's loss."""
        return ALPHA_LOW + (ALPHA_HIGH - ALPHA_LOW) * torch.sigmoid(self.latent_alpha)

    @property
    def scale(self) -> Tensor:
        """The scale of each target's errors."""
        start = math.log(math.expm1(1.0))  # where softplus is 1
        return SCALE_LOW + (1 - SCALE_LOW) * F.softplus(self.latent_scale + start)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over rows and targets; it may be negative."""
        alpha, scale = self.alpha, self.scale
        losses = general_loss(outputs - targets, alpha, scale)
        return (losses + scale.log() + self.log_partition(alpha)).mean()

    def log_partition(self, alpha: Tensor) -> Tensor:
        """Return log Z(alpha), 0 <= alpha <= 2, by a cubic spline; its error is below 4e-6."""
        place = _curve(alpha) * ((NUM_KNOTS - 1) / _CURVE_END)
        left = place.detach().long().clamp(0, NUM_KNOTS - 2)
        rest = place - left
        third, second, first, zeroth = self.coefficients[:, left]
        spline: Tensor = ((third * rest + second) * rest + first) * rest + zeroth
        return spline


@register("loss", "robust")
def robust(alpha: Annotated[float, Recommended(-2.0, 2.0)] = 1.0, scale: Scale = 1.0) -> Loss:
    """|a-2|/a ((z/|a-2| + 1)^(a/2) - 1), z = (e/scale)², a = alpha (Barron, 2019).

    alpha 2 is e² / 2, 1 Charbonnier, 0 Cauchy, -2 Geman-McClure, minus infinity Welsch.
    """
    return Robust(alpha, scale)


@register("loss", "adaptive_robust")
def adaptive_robust(output_size: int) -> Loss:
    """robust with alpha and scale learned for each target, as a likelihood (Barron, 2019).

    alpha stays between 0.001 and 1.999 and begins at 1, as scale does; log Z(alpha) keeps it
    from its lower bound. The loss may be negative.
    """
    return AdaptiveRobust(output_size)


def partition(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Z(alpha), the integral of e^-rho(x, alpha, 1) over x, for alpha >= 0.

    By Gauss-Legendre quadrature over v with x = tan(u), u = (1 - v²) pi / 2: for a small alpha
    the integrand over u has no finite slope where x is infinite.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    v = (nodes + 1) / 2
    x = 1 / np.tan(v**2 * math.pi / 2)
    grid = torch.from_numpy(x), torch.from_numpy(np.asarray(alpha, np.float64))[..., None]
    likelihood = torch.exp(-general_loss(*grid, torch.ones(()))).numpy()
    integrals: NDArray[np.float64] = (likelihood * (1 + x**2) * v) @ weights
    return integrals * math.pi


def _curve(alpha: Tensor) -> Tensor:
    """Barron's t(alpha), which is steep where Z is: near 0 and 2."""
    return (2.25 * alpha - 4.5) / ((alpha - 2).abs() + 0.25) + alpha + 2


@functools.cache
def _spline_coefficients() -> NDArray[np.float64]:
    """Coefficients (4, knots - 1) of log Z over t in steps of one knot, highest power first."""
    from scipy.interpolate import CubicSpline  # slow to import, and few trials need it

    # t(alpha) solved for b = 2 - alpha: b² + (2.5 - r) b - r / 4 = 0 with r = 4 - t
    r = _CURVE_END - np.linspace(0, _CURVE_END, NUM_KNOTS)
    alpha = 2 - (r - 2.5 + np.sqrt((r - 2.5) ** 2 + r)) / 2
    coefficients: NDArray[np.float64] = CubicSpline(
        np.arange(NUM_KNOTS), np.log(partition(alpha))
    ).c
    return coefficients
