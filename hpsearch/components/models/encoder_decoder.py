"""Encoder and decoder: an example is read as a whole, then a sequence is said step by step.

Shapes: B rows, T steps, K classes, H hidden units.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from hpsearch.components.examples import Scale
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.layers.cells import CellSection, make_cell
from hpsearch.components.layers.recurrence import Cell
from hpsearch.components.layers.teaching import Teaching
from hpsearch.components.models.encoders import EncoderSection, make_encoder
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.registry import Recommended, register


@register("model", "encoder_decoder", traits={"tasks": ("sequence_generation",)})
def encoder_decoder(
    folder: Path,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    output_size: int,
    num_tokens: int,
    padding_id: int | None,
    input_scale: Scale,
    encoder: EncoderSection = "rnn",
    cell: CellSection = "gru",
    hidden_size: Annotated[int, Ge(1), Recommended(16, 256, log=True)] = 64,
    teacher_forcing: Annotated[float, Interval(ge=0, le=1), Recommended(0.0, 1.0)] = 1.0,
    teacher_forcing_decay: Annotated[float, Ge(0), Recommended(0.0, 0.1)] = 0.0,
) -> nn.Module:
    """Any model as an encoder of the whole example, and a recurrent decoder, which says a class at
    each step given what was said before (Cho et al., 2014, arXiv 1406.1078).

    The decoder's first state is tanh(W z) of the embedding z that the encoder gives, of
    `hidden_size` as the state. It reads at each step the class of the step before: in evaluation,
    and where it predicts, the likeliest one that it said. In training each step is given the
    target in its place with the probability `teacher_forcing`, by default always, and
    `teacher_forcing_decay` less in each epoch after the first (scheduled sampling: Bengio et al.,
    2015). A `cell` is lstm, gru or rnn, normalised or not.
    """
    with placed("encoder"):
        shapes = input_shape, hidden_size
        net = make_encoder(encoder, *shapes, folder, num_tokens, padding_id, input_scale)
    decoder = make_cell(cell, hidden_size, hidden_size, folder)
    if not isinstance(decoder, Cell):
        rule = "must be lstm, gru or rnn, normalised or not, which take one step after another"
        raise BadConfigurationError(rule, _name(cell), keyword="cell")
    teaching = Teaching(teacher_forcing, teacher_forcing_decay)
    return EncoderDecoder(net, decoder, hidden_size, output_size, output_shape[0], teaching)


def _name(section: Any) -> str:
    return str(section if isinstance(section, str) else section["name"])


class EncoderDecoder(nn.Module):
    """Examples (B, ...) to outputs (B, T, K); or examples and targets, class numbers (B, T), of
    which evaluation takes no notice."""

    def __init__(
        self,
        encoder: nn.Module,
        cell: Cell,
        hidden_size: int,
        num_classes: int,
        num_steps: int,
        teaching: Teaching,
    ) -> None:
        super().__init__()
        self.encoder, self.cell, self.teaching = encoder, cell, teaching
        self.first = nn.Linear(hidden_size, hidden_size)
        self.classes = nn.Embedding(num_classes + 1, hidden_size)  # the last one is the start
        self.output = nn.Linear(hidden_size, num_classes)
        self.num_steps = num_steps

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the encoder's layers, the decoder, and the head."""
        decoder = [self.first, self.classes, self.cell, self.teaching]
        return [*layer_groups(self.encoder), decoder, [self.output]]

    def forward(self, inputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """Return the outputs of a batch."""
        x, targets = inputs if isinstance(inputs, tuple | list) else (inputs, None)
        is_given = self.teaching(targets) if self.training and targets is not None else None
        z = self.encoder(x)
        begin, *others = self.cell.first_state(z)
        state = (begin + self.first(z).tanh(), *others)
        said = torch.full_like(z[:, 0], self.classes.num_embeddings - 1, dtype=torch.int64)
        outputs: list[Tensor] = []
        for t in range(self.num_steps):
            state = self.cell.next_state(self.classes(said), state, t)
            outputs.append(self.output(state[0]))
            said = outputs[-1].argmax(-1)
            if is_given is not None and targets is not None:
                said = torch.where(is_given[:, t], targets[:, t], said)
        return torch.stack(outputs, 1)
