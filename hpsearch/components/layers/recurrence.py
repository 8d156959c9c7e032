"""How recurrent cells go over a sequence: the recursion, with its norms and its dropout.

Shapes: B rows, T time steps, I inputs, H hidden units, G gates.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpsearch.components.layers.dropouts import RecurrentDropout

#: h, and c of an LSTM, each (B, H)
State = tuple[Tensor, ...]
#: what drops candidates of a state, or leaves them as they are
Drop = Callable[[Tensor], Tensor]


class Recurrence(nn.Module):
    """A recurrent layer (B, T, I) → (B, T, H) whose states can be watched.

    `on_state`, where there is one, gets what each step hands to the next, (B, H) of an LSTM its h,
    in the order in which steps are taken.
    """

    on_state: Callable[[Tensor], None] | None = None


class Cell(Recurrence):
    """A recurrent layer (B, T, I) → (B, T, H) whose weights are those of a module of torch's.

    `norm_x` normalises W x of all time steps, (B, T, GH); `norm_h` U h of one, (B, GH); biases
    come after them.
    """

    kind: ClassVar[Callable[..., nn.RNNBase]]
    num_gates: ClassVar[int]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        norm_x: nn.Module | None = None,
        norm_h: nn.Module | None = None,
        norm_c: nn.Module | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__()
        self.weights = self.kind(input_size, hidden_size, batch_first=True, **keywords)
        self.norm_x, self.norm_h, self.norm_c = norm_x, norm_h, norm_c
        self._keeps_state = False
        self._kept: State | None = None

    @contextlib.contextmanager
    def keeping_state(self) -> Iterator[None]:
        """Begin each batch with the states that the one before it ended with, meanwhile: rows
        follow those of the same place. No gradient goes back to them; the first are zeros."""
        self._keeps_state = True
        try:
            yield
        finally:
            self._keeps_state, self._kept = False, None

    def forget_state(self) -> None:
        """Begin the next batch with zeros."""
        self._kept = None

    def forward(self, x: Tensor, dropout: RecurrentDropout | None = None) -> Tensor:
        """Return the outputs at all time steps."""
        is_plain = self.norm_x is None and self.norm_h is None and self.norm_c is None
        is_dropped = dropout is not None and dropout.is_on
        if is_plain and not is_dropped and self.on_state is None:
            return self._all_at_once(x)
        return self._unroll(x, dropout or RecurrentDropout())

    @abstractmethod
    def step(self, gates_x: Tensor, gates_h: Tensor, state: State, t: int, update: Drop) -> State:
        """Return the next state from W x + b and U h + b' (B, GH); `update` drops candidates."""

    def next_state(self, x: Tensor, state: State, t: int) -> State:
        """Return the state after one more input (B, I), that of the time step t."""
        gates_x = self._of_inputs(x[:, None], ())[:, 0]
        return self._advanced(gates_x, state, t, self._weight("weight_hh_l0"))

    def first_state(self, x: Tensor) -> State:
        """Return the state before the first time step."""
        return (x.new_zeros(len(x), self.weights.hidden_size),)

    def _all_at_once(self, x: Tensor) -> Tensor:
        outputs: Tensor
        if not self._keeps_state:
            outputs = self.weights(x)[0]
            return outputs
        first = [each[None] for each in self._begin(x)]
        is_lstm = len(first) > 1
        outputs, last = self.weights(x, tuple(first) if is_lstm else first[0])
        self._keep(tuple(each[0] for each in last) if is_lstm else (last[0],))
        return outputs

    def _begin(self, x: Tensor) -> State:
        """Return the state to begin a batch with; a last batch may have fewer rows."""
        if self._kept is None or len(self._kept[0]) < len(x):
            return self.first_state(x)
        return tuple(each[: len(x)].to(x.dtype) for each in self._kept)

    def _keep(self, last: State) -> None:
        if self._keeps_state:
            self._kept = tuple(each.detach() for each in last)

    def _unroll(self, x: Tensor, dropout: RecurrentDropout) -> Tensor:
        gates_x = self._of_inputs(x, dropout.input_masks(x, self.num_gates))
        weight = dropout.weights(self._weight("weight_hh_l0"))
        state, masks, outputs = self._begin(x), None, []
        for t, gates in enumerate(gates_x.unbind(1)):
            masks = dropout.state_masks(state[0], self.num_gates, masks)
            state = self._advanced(gates, state, t, weight, masks, dropout.update)
            outputs.append(state[0])
        self._keep(state)
        return dropout.drop_outputs(torch.stack(outputs, 1))

    def _advanced(
        self,
        gates_x: Tensor,
        state: State,
        t: int,
        weight: Tensor,
        masks: Sequence[Tensor] = (),
        update: Drop = torch.positive,
    ) -> State:
        """Return the state after W x + b (B, GH) of the time step t."""
        gates_h = _masked_linear(state[0], weight, masks)
        if self.norm_h is not None:
            gates_h = self.norm_h(gates_h, t)
        state = self.step(gates_x, gates_h + self._weight("bias_hh_l0"), state, t, update)
        if self.on_state is not None:
            self.on_state(state[0])
        return state

    def _of_inputs(self, x: Tensor, masks: Sequence[Tensor]) -> Tensor:
        gates = _masked_linear(x, self._weight("weight_ih_l0"), masks)
        if self.norm_x is not None:
            gates = self.norm_x(gates)
        return gates + self._weight("bias_ih_l0")

    def _weight(self, name: str) -> Tensor:
        # `get_parameter` refuses the plain tensors that torch.func puts in a parameter's place
        weight: Tensor = getattr(self.weights, name)
        return weight


class SimpleRNN(Cell):
    """h = tanh(W x + U h + b), or with relu."""

    kind, num_gates = nn.RNN, 1

    def step(self, gates_x: Tensor, gates_h: Tensor, state: State, t: int, update: Drop) -> State:
        """See Cell; there is no candidate to drop."""
        function = torch.tanh if self.weights.nonlinearity == "tanh" else torch.relu
        return (function(gates_x + gates_h),)


class LSTM(Cell):
    """Gates in torch's order: input, forget, candidate, output."""

    kind, num_gates = nn.LSTM, 4

    def first_state(self, x: Tensor) -> State:
        """Return h and c before the first time step."""
        zeros = x.new_zeros(len(x), self.weights.hidden_size)
        return zeros, zeros

    def step(self, gates_x: Tensor, gates_h: Tensor, state: State, t: int, update: Drop) -> State:
        """See Cell; `norm_c` normalises what the output's tanh sees."""
        i, f, g, o = (gates_x + gates_h).chunk(4, -1)
        c = f.sigmoid() * state[1] + i.sigmoid() * update(g.tanh())
        seen = c if self.norm_c is None else self.norm_c(c, t)
        return o.sigmoid() * seen.tanh(), c


class NoisyLSTM(LSTM):
    """An LSTM that learns its first h; while training normal noise is added to it."""

    def __init__(self, input_size: int, hidden_size: int, *norms: nn.Module, noise: float) -> None:
        super().__init__(input_size, hidden_size, *norms)
        self.h0 = nn.Parameter(torch.zeros(hidden_size))
        self.noise = noise

    def first_state(self, x: Tensor) -> State:
        """Return h and c before the first time step."""
        zeros = super().first_state(x)[0]
        h = zeros + self.h0
        return h + self.noise * torch.randn_like(h) if self.training else h, zeros


class GRU(Cell):
    """Gates in torch's order: reset, update, candidate."""

    kind, num_gates = nn.GRU, 3

    def step(self, gates_x: Tensor, gates_h: Tensor, state: State, t: int, update: Drop) -> State:
        """See Cell."""
        size = self.weights.hidden_size
        rz = (gates_x[:, : 2 * size] + gates_h[:, : 2 * size]).sigmoid()
        r, z = rz.chunk(2, -1)
        n = update((gates_x[:, 2 * size :] + r * gates_h[:, 2 * size :]).tanh())
        return ((1 - z) * n + z * state[0],)


def _masked_linear(x: Tensor, weight: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """Return weight (x mask); with several masks, each gate's part of the weight has its own."""
    if not masks:
        return F.linear(x, weight)
    gates = zip(masks, weight.chunk(len(masks)), strict=True)
    return torch.cat([F.linear(x * mask, part) for mask, part in gates], -1)
