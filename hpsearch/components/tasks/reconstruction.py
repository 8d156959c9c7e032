"""Reconstruction: a model gives back its inputs, through a code or after they were changed."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.batch import Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.encodings import NumberedValues, Values, register_encoding
from hpsearch.components.examples import num_features
from hpsearch.components.losses import LossSection
from hpsearch.components.tasks.heads import LogOdds
from hpsearch.components.tasks.likelihoods import (
    Bernoulli,
    DecoderLikelihood,
    Likelihood,
    make_likelihood,
)
from hpsearch.components.tasks.parts import SupervisedTask, Targets, TaskComponents, make_parts
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

Bound = Literal["elbo", "importance_weighted"]


class Inputs(NumberedValues):
    """The inputs are the targets, whatever targets a data set has."""

    reads_targets: ClassVar[bool] = False
    ignores_targets: ClassVar[bool] = True
    gives_inputs: ClassVar[bool] = True

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return the number of values of an example."""
        return num_features(input_shape)

    def output_shape(self, output_size: int, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return that of an example."""
        return input_shape


register_encoding("reconstruction", Inputs())


class Reconstruction(SupervisedTask):
    """Errors of reconstructions and, of a variational model, the divergence of its codes.

    Such a model gives (reconstruction, means, log variances of its codes). With squared errors
    the loss times half the number of values is the negative evidence lower bound of a Gaussian
    decoder of unit variance, up to a constant: both parts are sums over values and codes. With a
    `likelihood`, whose loss is in nats, the loss times the number of values is that bound. Only
    images have a sharpness. The divergence's weight rises for `kl_warmup_epochs`.

    Of several draws a code, which are given after the log variances, the loss is the mean over
    them, or the negative bound of `importance_weighted`.
    """

    kind: ClassVar[Kind] = "reconstruction"
    joins_batches: ClassVar[bool] = False

    def __init__(
        self,
        parts: TaskComponents,
        kl_weight: float,
        kl_warmup_epochs: int = 0,
        likelihood: DecoderLikelihood | None = None,
        bound: Bound = "elbo",
    ) -> None:
        self._likelihood = likelihood
        if likelihood is not None:
            parts = replace(parts, loss=likelihood)
        if isinstance(likelihood, Bernoulli):  # what is averaged are probabilities
            parts = replace(parts, head=LogOdds())
        super().__init__(parts)
        self._kl_weight, self._kl_warmup_epochs = kl_weight, kl_warmup_epochs
        self._kl_share, self._bound = 1.0, bound

    @property
    def own_metrics(self) -> tuple[str, ...]:  # type: ignore[override]  # others' never change
        """The squared error, the divergence, the sharpness and, with a likelihood, the bound."""
        bound = () if self._likelihood is None else ("negative_elbo",)
        return ("loss", "kl_divergence", "sharpness", *bound)

    def undefined(self, input_shape: tuple[int, ...]) -> dict[str, str]:
        """Return why examples of a shape have no sharpness."""
        if _is_image(input_shape):
            return {}
        return {"sharpness": "its examples are no images of 3x3 pixels or more"}

    def link_layers(self) -> list[nn.Module]:
        """Return what makes reconstructions of outputs, where outputs are none."""
        likelihood = self._likelihood
        return [copy.deepcopy(likelihood.link)] if isinstance(likelihood, Bernoulli) else []

    def begin_epoch(self, epoch: int) -> None:
        """See SupervisedTask: take the share of the divergence's weight."""
        num_epochs = self._kl_warmup_epochs
        self._kl_share = min(1.0, (epoch - 1) / num_epochs) if num_epochs else 1.0

    def loss(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the mean loss of the values, and the weighted divergence of each."""
        given, wanted = self._compared(outputs, batch)
        mean_and_variance, drawn = _codes_of(outputs)
        num_values, weight = wanted.shape[1], self._kl_share * self._kl_weight
        if drawn is not None and self._bound == "importance_weighted":
            assert isinstance(self.criterion, DecoderLikelihood)
            nats = self.criterion.values(given, wanted).sum(1).view(drawn.shape[:2])
            ratios = log_density_ratios(mean_and_variance[0], mean_and_variance[1], drawn)
            return -importance_weighted(weight * ratios - nats).mean() / num_values
        loss: Tensor = self.criterion(given, wanted)
        if not mean_and_variance:
            return loss
        of_loss = 2 if self._likelihood is None else 1  # a squared error is twice its nats
        divergence = kl_divergences(*mean_and_variance).mean()
        weighted: Tensor = loss + of_loss * weight / num_values * divergence
        return weighted

    @torch.no_grad()
    def totals(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return those of the errors, the divergences, the variances that sharpness is made of
        and the nats of a likelihood; then those of a loss that is given, and the rows."""
        codes, drawn = _codes_of(outputs)
        if drawn is not None:  # those of one draw, which are as expected as those of all
            outputs = (outputs[0][:, 0], *codes)
        error, *others = torch.split(super().totals(outputs, batch), 1)
        divergence = kl_divergences(*codes).double().sum() if codes else 0.0 * error[0]
        found = [divergence]
        given, wanted = self._compared(outputs, batch)
        if _is_image(batch.inputs.shape[1:]):
            images = self._means(given).view_as(batch.inputs)
            found += [laplacian_variances(each).sum() for each in (images, batch.inputs)]
        if self._likelihood is not None:
            found.append(self.criterion(given, wanted).double() * wanted.numel())
        return torch.cat([error, torch.stack(found), *others])

    def _compared(self, outputs: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return reconstructions, or what they are made of, and inputs (rows, values); of several
        draws each is a row."""
        first: Tensor = in_float32(_parts_of(outputs)[0])
        wanted, drawn = batch.inputs.flatten(1), _codes_of(outputs)[1]
        if drawn is None:
            return first.flatten(1), wanted
        return first.flatten(0, 1).flatten(1), wanted.repeat_interleave(drawn.shape[1], 0)

    def _means(self, outputs: Tensor) -> Tensor:
        return outputs if self._likelihood is None else self._likelihood.means(outputs)

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the rows' mean squared errors."""
        errors = self._means(outputs) - targets
        return errors.double().square().mean(1).sum().reshape(1)

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        error, divergence, *others = totals
        metrics = {"loss": error / num_rows, "kl_divergence": divergence / num_rows}
        if self._likelihood is not None:
            metrics["negative_elbo"] = (others.pop() + divergence) / num_rows
        if others and others[1]:
            metrics["sharpness"] = others[0] / others[1]
        return metrics


def _is_image(shape: Sequence[int]) -> bool:
    return len(shape) == 3 and min(shape[1:]) > 2


def laplacian_variances(images: Tensor) -> Tensor:
    """Return the variance over pixels of the Laplacian of each image (rows, channels, H, W), the
    mean over channels: small of what is blurred (Pech-Pacheco et al., 2000).

    >>> checks = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]])
    >>> laplacian_variances(checks[None, None]).tolist()  # -4 and 4
    [16.0]
    """
    x = images.double()
    around = x[..., 2:, 1:-1] + x[..., :-2, 1:-1] + x[..., 1:-1, 2:] + x[..., 1:-1, :-2]
    laplacian = around - 4 * x[..., 1:-1, 1:-1]
    return laplacian.flatten(2).var(2, correction=0).mean(1)


def kl_divergences(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(m, e^l) || N(0, 1)) of each row in nats (Kingma and Welling, 2014, appendix B).

    >>> kl_divergences(torch.ones(1, 1), torch.zeros(1, 1)).tolist()
    [0.5]
    """
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1)


def log_density_ratios(mean: Tensor, log_variance: Tensor, codes: Tensor) -> Tensor:
    """Return log N(z; 0, 1) - log N(z; m, e^l) of codes (B, draws, K): (B, draws)."""
    mean, log_variance = mean[:, None], log_variance[:, None]
    squares = (codes - mean).square() * (-log_variance).exp()
    return 0.5 * (log_variance + squares - codes.square()).sum(-1)


def importance_weighted(log_weights: Tensor) -> Tensor:
    """Return log (Σ w / k) of the weights of k draws, (B, k): the bound L_k of Burda et al. (2016,
    arXiv 1509.00519, equation 8), which is greater than that of one draw.

    >>> importance_weighted(torch.tensor([[1.0, 3.0]]).log()).exp().tolist()
    [2.0]
    """
    return log_weights.logsumexp(1) - math.log(log_weights.shape[1])


def _codes_of(outputs: Tree) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Return the means and log variances of codes, if there are any, and several draws of each."""
    codes: tuple[Tensor, ...] = in_float32(_parts_of(outputs)[1:])
    return codes[:2], codes[2] if len(codes) > 2 else None


def _parts_of(outputs: Tree) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


@register("task", "reconstruction")
def reconstruction(
    output_size: int,
    output_shape: tuple[int, ...],
    input_mean: Any,
    input_std: Any,
    input_bounds: tuple[float, float],
    folder: Path | None,
    loss: LossSection | None = None,
    kl_weight: Annotated[float, Ge(0), Recommended(0.01, 10.0, log=True, prior=1.0)] = 1.0,
    kl_warmup_epochs: Annotated[int, Ge(0), Recommended(0, 20)] = 0,
    likelihood: Likelihood | None = None,
    bound: Bound = "elbo",
) -> Reconstruction:
    """Inputs given back, learned by the squared error or another loss; whatever targets there are.

    Reports the mean squared error of standardised inputs whatever is trained on, and the
    divergence of a variational model's codes from their prior in nats a row, which
    `kl_weight` weighs (the β of β-VAEs); that of other models is 0. The weight rises linearly
    for `kl_warmup_epochs`, from 0 in the first one, so that codes are learned before they are
    drawn to the prior (KL annealing; Sønderby et al., 2016). The value of a loss that is given is
    `criterion`. Of images it reports `sharpness`, the variance of the Laplacian of
    reconstructions over that of the images: 1 is as sharp as they are, less is blurred.
    In place of a loss a `likelihood` says how values lie around what the decoder gives:
    `gaussian` of unit variance, `gaussian_learned` and `laplace` with one scale for all values,
    which is learned, or `bernoulli` of values from 0 to 1, whose log odds the decoder gives (of
    grey values it is no likelihood, and its nats compare with their like alone). Then
    `negative_elbo` is reported: nats a row of standardised inputs, and the divergence. A
    variational model that draws several codes a row then may have the `importance_weighted` bound
    of them as loss (Burda et al., 2016), which is tighter than their mean.
    """
    targets = Targets("regression", output_size)  # numbers
    parts = make_parts(targets, "mse", loss, "linear", (), folder)
    if likelihood is None and bound != "elbo":
        rule = "must be elbo without a likelihood, in which the draws have their weights"
        raise BadConfigurationError(rule, bound, keyword="bound")
    if likelihood is None:
        return Reconstruction(parts, kl_weight, kl_warmup_epochs)
    if loss is not None:
        rule = "must be left out where a loss is given, which takes its place"
        raise BadConfigurationError(rule, likelihood, keyword="likelihood")
    decoder = make_likelihood(likelihood, output_shape, input_mean, input_std, input_bounds)
    return Reconstruction(parts, kl_weight, kl_warmup_epochs, decoder, bound)
