"""Dropout by name, for the `dropout` keyword of models.

A factory returns a module that drops values of activations (rows, features, ...), or, for
recurrent nets only, a `RecurrentDropout`. Rates are probabilities of dropping, as in torch and
Keras; Srivastava et al. (2014) give those of keeping. In evaluation nothing is dropped, unless the
model is a `MonteCarlo`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hpsearch.components.batch import Tree
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.layers.modules import Dropout
from hpsearch.components.tasks.heads import Head
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.registry import ComponentOf, Recommended, register

Rate = Annotated[float, Interval(ge=0, lt=1), Recommended(0.0, 0.5, prior=0.2)]
#: of words, without a range for `auto`: inputs that are numbers have none
WordRate = Annotated[float, Interval(ge=0, lt=1)]
SmallRate = Annotated[float, Interval(ge=0, lt=1), Recommended(0.0, 0.1)]

#: annotation of a keyword that is a dropout: its rate is short for the standard form
DROPOUT = ComponentOf("dropout", default="standard", short="rate")
DropoutSection = Annotated[Rate | str | Mapping[str, Any], DROPOUT]
#: the same after convolutions, where a rate is that of whole channels
SPATIAL_DROPOUT = ComponentOf("dropout", default="spatial", short="rate")
SpatialDropoutSection = Annotated[Rate | str | Mapping[str, Any], SPATIAL_DROPOUT]


def make_dropout(
    section: Any,
    of: ComponentOf = DROPOUT,
    *,
    keyword: str = "dropout",
    is_recurrent: bool = False,
) -> nn.Module:
    """Build the dropout that a rate, a name, or a mapping with `name` stands for.

    `keyword` is the model's whose value that is. Raises BadConfigurationError for a
    `RecurrentDropout` where the net isn't recurrent.
    """
    with placed(keyword):
        module: nn.Module = of.build(section)
        if isinstance(module, RecurrentDropout) and not is_recurrent:
            name = of.written_out(section)["name"]
            raise BadConfigurationError("must be a form for nets without recurrence", name)
    return module


@register("dropout", "none")
def none() -> nn.Module:
    """No dropout."""
    return Dropout(0.0)


@register("dropout", "standard")
def standard(rate: Rate = 0.2, scaling: Literal["inverted", "classic"] = "inverted") -> nn.Module:
    """Each value is 0 with probability `rate` while training (Srivastava et al., 2014).

    `inverted` scales what is left by 1 / (1 - rate) while training; `classic` scales all by
    1 - rate in evaluation, so that gradients, and the right learning rate, differ by that factor.
    """
    return Dropout(rate) if scaling == "inverted" else ClassicDropout(rate)


@register("dropout", "spatial")
def spatial(rate: Rate = 0.2) -> nn.Module:
    """Whole channels of an image, or features at all time steps (Tompson et al., 2015)."""
    return SpatialDropout(rate)


@register("dropout", "alpha")
def alpha(rate: SmallRate = 0.05) -> nn.Module:
    """For SELU: dropped values become -1.758, mean and variance are kept (Klambauer et al., 2017).

    Rates of 0.05 to 0.1 are usual.
    """
    return AlphaDropout(rate)


@register("dropout", "naive_rnn")
def naive_rnn(p_in: Rate = 0.0, p_rec: Rate = 0.2) -> nn.Module:
    """New masks at each time step, on x_t and h_(t-1): T steps keep a unit by (1 - p_rec)^T."""
    return RecurrentDropout(inputs=p_in, state=p_rec, per_step=True)


@register("dropout", "variational_rnn")
def variational_rnn(
    p_in: Rate = 0.2, p_rec: Rate = 0.2, p_out: Rate = 0.0, tied: bool = True
) -> nn.Module:
    """One mask a sequence on x_t, on h_(t-1) and on outputs (Gal & Ghahramani, 2016, 1512.05287).

    With `tied` all gates share a mask, else each has its own. Keras: `dropout` is `p_in`,
    `recurrent_dropout` is `p_rec`.
    """
    return RecurrentDropout(inputs=p_in, state=p_rec, outputs=p_out, tied=tied)


@register("dropout", "rec_mem")
def rec_mem(rate: Rate = 0.2) -> nn.Module:
    """On the candidate of a gated cell, not on its memory (Semeniuta et al., 2016, 1603.05118)."""
    return RecurrentDropout(update=rate)


@register("dropout", "weight_drop")
def weight_drop(rate: Rate = 0.2) -> nn.Module:
    """On the weights from state to state, once a batch (Merity et al., 2018, 1708.02182)."""
    return RecurrentDropout(weights=rate)


class ClassicDropout(Dropout):
    """Dropout that scales in evaluation, not while training."""

    def forward(self, x: Tensor) -> Tensor:
        """Zero values while training, multiply all by `keep` in evaluation."""
        if not self.active:
            return x
        return x * (self.mask(x) * self.keep if self.training else self.keep)


class SpatialDropout(Dropout):
    """Dropout of whole channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Zero channels of (rows, channels, ...)."""
        first = (slice(None), slice(None), *[slice(1)] * (x.ndim - 2))
        return x * self.mask(x[first]) if self.is_on else x


class AlphaDropout(Dropout):
    """a (x or alpha') + b, which keeps mean 0 and variance 1; alpha' is SELU's limit at -inf."""

    #: -lambda alpha of SELU
    DROPPED = -1.0507009873554805 * 1.6732632423543772

    a: Tensor
    b: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        keep = 1 - rate
        a = 1 / math.sqrt(keep + self.DROPPED**2 * keep * rate)
        self.scale.fill_(1.0)
        self.register_buffer("a", torch.tensor(a), persistent=False)
        self.register_buffer("b", torch.tensor(-a * rate * self.DROPPED), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of standardised activations."""
        if not self.is_on:
            return x
        mask = self.mask(x)
        return self.a.to(x.dtype) * (x * mask + self.DROPPED * (1 - mask)) + self.b.to(x.dtype)


class RecurrentDropout(nn.Module):
    """The rates at which a recurrent cell drops inputs, state, outputs, updates and weights.

    `tied` masks are the same for all gates. Masks of inputs and state are drawn once a sequence,
    or drawn again at each step (`per_step`); those of the update always at each step.
    """

    def __init__(
        self,
        inputs: float = 0.0,
        state: float = 0.0,
        outputs: float = 0.0,
        update: float | None = None,
        weights: float = 0.0,
        tied: bool = True,
        per_step: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.state, self.outputs = Dropout(inputs), Dropout(state), Dropout(outputs)
        self.update, self.weights = Dropout(update or 0.0), Dropout(weights)
        self.tied, self.per_step = tied, per_step
        self.needs_gates = update is not None

    @property
    def is_on(self) -> bool:
        """Whether anything is dropped now."""
        return any(isinstance(part, Dropout) and part.is_on for part in self.children())

    def input_masks(self, x: Tensor, num_gates: int) -> list[Tensor]:
        """Draw masks of (rows, time, features): one for all gates, or one for each; or none."""
        return self._masks(self.inputs, x if self.per_step else x[:, :1], num_gates)

    def state_masks(self, h: Tensor, num_gates: int, before: list[Tensor] | None) -> list[Tensor]:
        """Draw masks of (rows, hidden), or return those of the step before."""
        if before is not None and not self.per_step:
            return before
        return self._masks(self.state, h, num_gates)

    def drop_outputs(self, outputs: Tensor) -> Tensor:
        """Drop features of (rows, time, hidden), at all time steps."""
        return outputs * self.outputs.mask(outputs[:, :1]) if self.outputs.is_on else outputs

    def _masks(self, dropout: Dropout, x: Tensor, num_gates: int) -> list[Tensor]:
        if not dropout.is_on:
            return []
        return [dropout.mask(x) for _ in range(1 if self.tied else num_gates)]


class WordDropout(Dropout):
    """Drops words: where one is dropped from a sequence, it is so at all its places, and another
    sequence may keep it (Gal & Ghahramani, 2016, section 4.2)."""

    def __init__(self, rate: float, num_tokens: int) -> None:
        super().__init__(rate)
        self.num_tokens = num_tokens

    def of_words(self, vectors: Tensor, ids: Tensor) -> Tensor:
        """Zero the vectors (B, T, D) of words, ids (B, T) int64, or multiply them by `scale`."""
        if not self.is_on:
            return vectors
        words = self.mask(vectors.new_ones(len(ids), self.num_tokens))
        return vectors * words.gather(1, ids).unsqueeze(-1)


def word_dropout(rate: float, num_tokens: int) -> WordDropout | None:
    """Return what drops words of inputs that are tokens; BadConfigurationError for others."""
    if num_tokens:
        return WordDropout(rate, num_tokens)
    if rate:
        rule = "must be 0 where inputs are numbers: it drops words, and there are none"
        raise BadConfigurationError(rule, rate, keyword="p_embed")
    return None


class MonteCarlo(nn.Module):
    """Averages the predictions of a model over dropout masks in evaluation.

    Gal & Ghahramani (2016): the mean of what the `head` makes of the outputs, of classes their
    probabilities. The outputs that come back are those for which the head gives that mean. The
    masks are the same in each evaluation, so that it can be repeated. BadConfigurationError for a
    model without dropout.
    """

    def __init__(self, model: nn.Module, num_samples: int, head: Head) -> None:
        super().__init__()
        self.model, self.num_samples = model, num_samples
        self._head = (head,)  # in a tuple, since it is the task's and no part of the model
        if not any(map(_is_dropout, model.modules())):
            raise BadConfigurationError(
                "needs a model with dropout modules, but it has none",
                keyword="mc_dropout_samples",
            )

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return those of the model."""
        return layer_groups(self.model)

    def forward(self, x: Tree) -> Tensor:
        """Return the model's outputs, in evaluation those of the mean prediction over masks."""
        if self.training:
            outputs: Tensor = self.model(x)
            return outputs
        devices = [leaf.device for leaf in pytree.tree_leaves(x) if leaf.is_cuda][:1]
        with torch.random.fork_rng(devices), self._dropping():
            torch.manual_seed(0)
            samples = torch.stack([self.model(x) for _ in range(self.num_samples)])
            return self._head[0].mean(samples)

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        dropouts = [module for module in self.model.modules() if _is_dropout(module)]
        for module in dropouts:
            module.training = True
        try:
            yield
        finally:
            for module in dropouts:
                module.training = False


def _is_dropout(module: nn.Module) -> bool:
    is_ours = isinstance(module, Dropout) and module.drops
    return is_ours or isinstance(module, nn.modules.dropout._DropoutNd)
