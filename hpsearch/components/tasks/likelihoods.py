"""Decoder likelihoods: what a reconstruction says of its inputs, as losses in nats a value.

Shapes: B rows, D values of an example.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpsearch.components.losses.regression import RegressionLoss
from hpsearch.errors import BadConfigurationError

Likelihood = Literal["gaussian", "gaussian_learned", "laplace", "bernoulli"]
#: the least logarithm of a learned scale: without a floor that of a perfect fit has no end
LEAST_LOG_SCALE = -6.0
#: how far from 0 to 1 values may be by rounding
_ROUNDING = 0.01


class DecoderLikelihood(RegressionLoss):
    """The mean negative log-likelihood of a value: of outputs and inputs (B, D), in nats.

    `means` makes the distributions' means of outputs, in the scale of the inputs.
    """

    def means(self, outputs: Tensor) -> Tensor:
        """Return the means (B, D), which are the outputs where nothing else is said."""
        return outputs

    @abstractmethod
    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the nats of each value (B, D)."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over rows and values."""
        return self.values(outputs, targets).mean()


class Gaussian(DecoderLikelihood):
    """N(x; o, 1)."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return e² / 2 + log(2 π) / 2."""
        return ((outputs - targets).square() + math.log(2 * math.pi)) / 2


class _Scaled(DecoderLikelihood):
    """One scale for all values, which is learned; it begins at 1."""

    def __init__(self) -> None:
        super().__init__()
        self.latent = nn.Parameter(torch.zeros(()))

    @property
    def log_scale(self) -> Tensor:
        """The logarithm of the scale, by softplus above its floor."""
        start = math.log(math.expm1(-LEAST_LOG_SCALE))  # where it is 0
        return LEAST_LOG_SCALE + F.softplus(self.latent + start)


class LearnedGaussian(_Scaled):
    """N(x; o, s²) (Rybkin et al., 2021, arXiv 2006.13202)."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return e² / (2 s²) + log s + log(2 π) / 2."""
        squares = (outputs - targets).square() * (-2 * self.log_scale).exp()
        return (squares + math.log(2 * math.pi)) / 2 + self.log_scale


class Laplace(_Scaled):
    """Laplace(x; o, s)."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return |e| / s + log(2 s)."""
        sizes = (outputs - targets).abs() * (-self.log_scale).exp()
        return sizes + self.log_scale + math.log(2)


class Bernoulli(DecoderLikelihood):
    """p^x (1 - p)^(1 - x) of values from 0 to 1 before they were standardised; outputs are the
    log odds of p."""

    def __init__(self, shape: tuple[int, ...], mean: Any, std: Any) -> None:
        super().__init__()
        self.link = Odds(*(np.broadcast_to(np.asarray(part), shape) for part in (mean, std)))

    def means(self, outputs: Tensor) -> Tensor:
        """Return the probabilities, standardised as inputs are."""
        found: Tensor = self.link(outputs)
        return found

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return -x log p - (1 - x) log(1 - p)."""
        std, mean = (each.view(targets.shape[1:]) for each in (self.link.std, self.link.mean))
        wanted = (targets * std + mean).clamp(0, 1)
        return F.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")


class Odds(nn.Module):
    """Log odds to probabilities that are standardised as inputs are: (p - mean) / std.

    Both are of the shape of an example; outputs may be of that, or flat, (B, ...).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Any, std: Any) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            number = torch.tensor(np.asarray(value, np.float32))
            self.register_buffer(name, number, persistent=False)

    def forward(self, outputs: Tensor) -> Tensor:
        """Return values in the scale of inputs."""
        shape = outputs.shape[1:]
        return (outputs.sigmoid() - self.mean.view(shape)) / self.std.view(shape)


def make_likelihood(
    name: Likelihood, shape: tuple[int, ...], mean: Any, std: Any, bounds: tuple[float, float]
) -> DecoderLikelihood:
    """Return a likelihood of inputs of a shape, standardised by these, within these bounds before.

    Raises BadConfigurationError for one that isn't of such values.
    """
    if name == "bernoulli":
        low, high = bounds
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            rule = f"must not be bernoulli, as inputs aren't from 0 to 1 but {low:g} to {high:g}"
            raise BadConfigurationError(rule, keyword="likelihood")
        return Bernoulli(shape, mean, std)
    plain: dict[str, type[DecoderLikelihood]]
    plain = {"gaussian": Gaussian, "gaussian_learned": LearnedGaussian, "laplace": Laplace}
    return plain[name]()
