"""Recurrent nets, from a sequence to one output, or to one at each step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.data import Kind
from hpsearch.components.examples import Scale
from hpsearch.components.input_shapes import check_shape
from hpsearch.components.layers.cells import CellSection, make_cell
from hpsearch.components.layers.dropouts import (
    DropoutSection,
    Rate,
    RecurrentDropout,
    WordDropout,
    WordRate,
    make_dropout,
    word_dropout,
)
from hpsearch.components.layers.modules import Dropout
from hpsearch.components.layers.recurrence import Cell
from hpsearch.components.models.building import TASKS_OF_STEPS, VECTOR_TASKS
from hpsearch.components.models.padding import (
    Padding,
    held,
    is_within,
    last_of,
    make_padding,
    turned,
)
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]
Readout = Literal["last", "mean", "max", "attention"]


@register("model", "rnn", traits={"tasks": (*VECTOR_TASKS, *TASKS_OF_STEPS)})
def rnn(
    folder: Path,
    input_shape: tuple[int, ...],
    output_size: int,
    output_shape: tuple[int, ...],
    num_tokens: int,
    padding_id: int | None,
    task_kind: Kind,
    input_scale: Scale,
    cell: CellSection = "lstm",
    hidden_size: Annotated[int, Ge(1), Recommended(16, 256, log=True)] = 64,
    layers: Size = 1,
    bidirectional: bool = False,
    readout: Readout = "last",
    input_dropout: Rate = 0.0,
    dropout: DropoutSection = 0.0,
    p_embed: WordRate = 0.0,
    mask_value: float | None = None,
) -> nn.Module:
    """Recurrent layers over time, then a linear layer on the last, mean or greatest outputs, or on
    a mean with learned weights (`attention`: Raffel & Ellis, 2016, arXiv 1512.08756).

    An example is (time, features), or an image, read row by row. `dropout` follows each layer,
    new at each time step, or acts within the cells if it is a recurrent form; torch's own
    acts between layers only. With `bidirectional` a second cell of `hidden_size` units reads each
    layer backwards; its last output is that of the first time step. Where the task predicts at
    each step (language_model, sequence_labelling) there is an output for each, whatever `readout`
    says; tokens are embedded as vectors of `hidden_size`, and `p_embed` of the different tokens of
    each sequence are dropped, wherever they stand in it (Gal & Ghahramani, 2016).

    Sequences of different lengths may be filled up at their ends by steps whose features all have
    the `mask_value`, as the data set has it: readouts and backward cells leave these steps out,
    the statistics of batch norms don't. Of ids the data set says what fills up. Where there is an
    output for each step, that of the last own one is repeated.
    """
    is_each = len(output_shape) == 2
    if task_kind == "language_model" and bidirectional:
        rule = "must be false for a task that predicts each next step: it would be seen"
        raise BadConfigurationError(rule, True, keyword="bidirectional")
    padding = make_padding(mask_value, input_scale, input_shape, num_tokens, padding_id)
    words = word_dropout(p_embed, num_tokens)
    embedding = nn.Embedding(num_tokens, hidden_size) if num_tokens else None
    size = hidden_size if num_tokens else num_inputs(input_shape, "rnn")
    stack: list[RecurrentLayer] = []
    for _ in range(layers):
        cells = [make_cell(cell, size, hidden_size, folder) for _ in range(1 + bidirectional)]
        form = make_dropout(dropout, is_recurrent=True)
        stack.append(RecurrentLayer(cells, hidden_size, form))
        size = hidden_size * len(cells)
    output = nn.Linear(size, output_size)
    how: Readout | None = None if is_each else readout
    return RecurrentNet(Dropout(input_dropout), stack, output, how, embedding, words, padding)


class RecurrentNet(nn.Module):
    """Sequences (rows, time, features), images, or ids (rows, time), which `embedding` makes
    vectors, to outputs (rows, output_size); without a readout, (rows, time, output_size)."""

    def __init__(
        self,
        input_dropout: nn.Module,
        layers: list[RecurrentLayer],
        output: nn.Linear,
        readout: Readout | None,
        embedding: nn.Embedding | None = None,
        word_dropout: WordDropout | None = None,
        padding: Padding | None = None,
    ) -> None:
        super().__init__()
        self.embedding, self.word_dropout = embedding, word_dropout
        self.padding = padding
        self.input_dropout, self.layers = input_dropout, nn.ModuleList(layers)
        self.attention = Attention(output.in_features) if readout == "attention" else None
        self.output, self.readout = output, readout
        self._hidden_size = layers[-1].hidden_size

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the recurrent layers, each with its dropout, and the head."""
        first, *others = self.layers
        begin = [] if self.embedding is None else [self.embedding]
        end: list[nn.Module] = [] if self.attention is None else [self.attention]
        return [
            [*begin, self.input_dropout, first],
            *([layer] for layer in others),
            [*end, self.output],
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        lengths = None if self.padding is None else self.padding(x)
        if self.embedding is not None:
            ids = x.long()
            x = self.embedding(ids)
            if self.word_dropout is not None:
                x = self.word_dropout.of_words(x, ids)
        if x.ndim == 4:  # each row of an image with all its channels
            x = x.transpose(1, 2).flatten(2)
        x = self.input_dropout(x)
        for layer in self.layers:
            x = layer(x, lengths)
        outputs: Tensor = self.output(self._read(x, lengths))
        return outputs

    def _read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if self.readout is None:
            return x if lengths is None else held(x, lengths)
        own = None if lengths is None else is_within(lengths, x.shape[1])[..., None]
        if self.attention is not None:
            read: Tensor = self.attention(x, own)
            return read
        if self.readout == "mean":
            return x.mean(1) if own is None else (x * own).sum(1) / own.sum(1)
        if self.readout == "max":
            return (x if own is None else x.masked_fill(~own, -torch.inf)).amax(1)
        size = self._hidden_size
        last = x[:, -1] if lengths is None else last_of(x, lengths)
        return torch.cat([last[:, :size], x[:, 0, size:]], -1)


class Attention(nn.Module):
    """The mean over time with the weights softmax(v·tanh(W x + b)), (B, T, D) to (B, D)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inner, self.score = nn.Linear(size, size), nn.Linear(size, 1, bias=False)

    def weights(self, x: Tensor, own: Tensor | None = None) -> Tensor:
        """Return those of the steps, (B, T, 1), of other than their `own` steps 0."""
        scores: Tensor = self.score(self.inner(x).tanh())
        return (scores if own is None else scores.masked_fill(~own, -torch.inf)).softmax(1)

    def forward(self, x: Tensor, own: Tensor | None = None) -> Tensor:
        """Return the means."""
        return (self.weights(x, own) * x).sum(1)


class RecurrentLayer(nn.Module):
    """A cell, or one for each direction, and dropout."""

    #: to initializers its cells are not layers of their own
    is_one_layer = True

    def __init__(self, cells: list[nn.Module], hidden_size: int, dropout: nn.Module) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.cells, self.dropout = nn.ModuleList(cells), dropout
        if isinstance(dropout, RecurrentDropout):
            for cell in cells:
                _check_dropout(cell, dropout)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return outputs (rows, time, hidden units of each direction) of sequences, of which so
        many steps are their own."""
        forward, *backward = self.cells
        outputs = self._run(forward, x)
        for cell in backward:
            if lengths is None:
                read = self._run(cell, x.flip(1)).flip(1)
            else:
                read = turned(self._run(cell, turned(x, lengths)), lengths)
            outputs = torch.cat([outputs, read], -1)
        if isinstance(self.dropout, RecurrentDropout):
            return outputs
        dropped: Tensor = self.dropout(outputs.transpose(1, 2))  # (rows, channels, ...)
        return dropped.transpose(1, 2)

    def _run(self, cell: nn.Module, x: Tensor) -> Tensor:
        is_within = isinstance(self.dropout, RecurrentDropout)
        outputs: Tensor = cell(x, self.dropout) if is_within else cell(x)
        return outputs


def num_inputs(input_shape: tuple[int, ...], name: str) -> int:
    """Return the number of features of a time step."""
    if len(input_shape) == 2:
        return input_shape[1]
    needs = "sequences of the shape (time, features) or images"
    check_shape(name, len(input_shape) == 3, needs, input_shape)
    return input_shape[0] * input_shape[2]


def _check_dropout(cell: nn.Module, dropout: RecurrentDropout) -> None:
    if not isinstance(cell, Cell):
        raise BadConfigurationError(
            f"recurrent forms need one of hpsearch's cells, but got {type(cell).__name__}",
            keyword="dropout",
        )
    if dropout.needs_gates and cell.num_gates == 1:
        raise BadConfigurationError(
            "rec_mem drops the candidate of a gated cell (lstm, gru), but rnn cells have none",
            keyword="dropout",
        )
