"""Rows that follow each other, read so that a recurrent model's states can be kept.

A split is divided into as many streams as a batch has rows; a batch has the next row of each, so
that a row begins with the states which that in its place in the batch before ended with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from hpsearch.components.layers.dropouts import MonteCarlo
from hpsearch.components.layers.recurrence import Cell
from hpsearch.components.models.recurrent import RecurrentLayer
from hpsearch.errors import BadConfigurationError

#: streams of a split that is evaluated
NUM_STREAMS = 32


def stream_order(num_rows: int, num_streams: int) -> Tensor:
    """Return rows in batches of the next one of each stream, int64 (rows,).

    What is left over makes the first streams longer by one: a last batch that is smaller.

    >>> stream_order(7, 3).tolist()
    [0, 3, 5, 1, 4, 6, 2]
    """
    length, rest = divmod(num_rows, num_streams)
    streams = torch.arange(num_streams)
    starts = streams * length + streams.clamp_max(rest)
    order = (starts + torch.arange(length)[:, None]).flatten()
    return torch.cat([order, (starts + length)[:rest]])


def evaluation_streams(num_rows: int) -> int:
    """Return the number of streams of a split: no last batch has a single row, which would join
    the one before."""
    fitting = (each for each in range(min(NUM_STREAMS, num_rows), 0, -1) if num_rows % each != 1)
    return next(fitting, 1)


def check_keeps_states(model: nn.Module) -> None:
    """Refuse a model whose states can't be kept, or of which not all can."""
    if isinstance(model, MonteCarlo):
        rule = "must be false with mc_dropout_samples, each of which would have states of its own"
        raise BadConfigurationError(rule, True, keyword="stateful")
    layers = [each for each in model.modules() if isinstance(each, RecurrentLayer)]
    cells = [list(layer.cells) for layer in layers]
    if not layers or any(len(each) > 1 or not isinstance(each[0], Cell) for each in cells):
        raise BadConfigurationError(
            "must be false for a model without states that can be kept: those of rnn can, with a "
            "cell lstm, gru or rnn, normalised or not",
            True,
            keyword="stateful",
        )


@contextlib.contextmanager
def keeping_states(model: nn.Module, *, keeps: bool = True) -> Iterator[Callable[[], None]]:
    """Let the cells of a model keep their states from one batch to the next, meanwhile, or not.

    What is yielded lets them begin with zeros again.
    """
    cells = [each for each in model.modules() if isinstance(each, Cell)] if keeps else []

    def forget() -> None:
        for cell in cells:
            cell.forget_state()

    with contextlib.ExitStack() as stack:
        for cell in cells:
            stack.enter_context(cell.keeping_state())
        yield forget
