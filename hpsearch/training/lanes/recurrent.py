"""torch's recurrent layers, computed for all lanes at each time step.

torch takes a sequence by one operation, which can't be batched over trials. Shapes: K lanes, B
rows, T time steps, I inputs, H hidden units, G gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: h, and c of an LSTM, each (K, B, H)
State = tuple[Tensor, ...]
#: W x + b of a step (K, B, GH), state, U' (K, H, GH), bias b' (K, 1, GH) → the next state
Step = Callable[[Tensor, State, Tensor, Tensor], State]


def take_steps_in_lanes(model: nn.Module) -> None:
    """Let recurrent layers of a model, which vmap will call, compute all lanes at once.

    Those with projections stay as they are, and those with dropout between layers, which draws
    random numbers of its own: vmap refuses both.
    """
    for module in model.modules():
        kind = _KINDS.get(type(module))
        if kind is not None and not module.proj_size and not module.dropout:
            module.__class__ = kind


class _InLanes(nn.RNNBase):
    """A recurrent layer within vmap."""

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs at all steps and the last state, as torch's module does."""
        if not isinstance(input, Tensor) or input.ndim != 3:
            raise NotImplementedError("only batches of sequences of one length are shared")
        first: State | None = (hx,) if isinstance(hx, Tensor) else hx
        x, number, last = input if self.batch_first else input.transpose(0, 1), 0, []
        for layer in range(self.num_layers):
            outputs = []
            for end in ("", "_reverse")[: 1 + self.bidirectional]:
                state = () if first is None else tuple(each[number] for each in first)
                run = x.flip(1) if end else x
                found, *state_after = _sequence(
                    self.mode, run, *self._tensors(f"_l{layer}{end}"), *state
                )
                outputs.append(found.flip(1) if end else found)
                last.append(state_after)
                number += 1
            x = torch.cat(outputs, -1)
        after = tuple(map(torch.stack, zip(*last, strict=True)))
        outputs_of_all = x if self.batch_first else x.transpose(0, 1)
        return outputs_of_all, after if self.mode == "LSTM" else after[0]

    def _tensors(self, end: str) -> list[Tensor]:
        weights: list[Tensor] = [getattr(self, f"weight_{name}{end}") for name in ("ih", "hh")]
        if self.bias:
            return weights + [getattr(self, f"bias_{name}{end}") for name in ("ih", "hh")]
        return weights + [weights[0].new_zeros(len(weights[0]))] * 2


# torch's overloads of `forward` tell packed sequences apart
class _LSTM(_InLanes, nn.LSTM):  # type: ignore[misc]
    pass


class _GRU(_InLanes, nn.GRU):  # type: ignore[misc]
    pass


class _RNN(_InLanes, nn.RNN):  # type: ignore[misc]
    pass


_KINDS: Mapping[type[nn.Module], type[Any]] = {nn.LSTM: _LSTM, nn.GRU: _GRU, nn.RNN: _RNN}


class _Sequence(torch.autograd.Function):
    """One direction of a layer: (mode, x (B, T, I), W, U, b, b', state...) → outputs, state."""

    @staticmethod
    def forward(*arguments: Any) -> Any:
        """torch.autograd.Function wants it; lanes run within vmap alone, which calls `vmap`."""
        raise AssertionError

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing calls it: autograd sees the operations of all lanes."""

    @staticmethod
    def vmap(
        info: Any, in_dims: Sequence[int | None], mode: str, *tensors: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Compute all lanes, whose axis is that in `in_dims`."""
        num_lanes: int = info.batch_size
        x, w, u, b, b_h, *state = (
            tensor.expand(num_lanes, *tensor.shape) if place is None else tensor.movedim(place, 0)
            for tensor, place in zip(tensors, in_dims[1:], strict=True)
        )
        rows, times, size = x.shape[1], x.shape[2], u.shape[-1]
        if not state:
            state = [x.new_zeros(num_lanes, rows, size)] * (2 if mode == "LSTM" else 1)
        gates = torch.baddbmm(b.unsqueeze(1), x.flatten(1, 2), w.transpose(1, 2))
        now, outputs = tuple(state), []
        weight, bias = u.transpose(1, 2), b_h.unsqueeze(1)
        for of_inputs in gates.view(num_lanes, rows, times, -1).unbind(2):
            now = _STEPS[mode](of_inputs, now, weight, bias)
            outputs.append(now[0])
        found = torch.stack(outputs, 2), *now
        return found, (0,) * len(found)


_sequence: Callable[..., tuple[Tensor, ...]] = _Sequence.apply


def _lstm(of_inputs: Tensor, state: State, weight: Tensor, bias: Tensor) -> State:
    gates = torch.baddbmm(of_inputs + bias, state[0], weight)
    i, f, g, o = gates.chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(of_inputs: Tensor, state: State, weight: Tensor, bias: Tensor) -> State:
    [h] = state
    of_state = torch.baddbmm(bias, h, weight)
    size = h.shape[-1]
    rz = (of_inputs[..., : 2 * size] + of_state[..., : 2 * size]).sigmoid()
    n = (of_inputs[..., 2 * size :] + rz[..., :size] * of_state[..., 2 * size :]).tanh()
    return (n + rz[..., size:] * (h - n),)


def _tanh(of_inputs: Tensor, state: State, weight: Tensor, bias: Tensor) -> State:
    return (torch.baddbmm(of_inputs + bias, state[0], weight).tanh(),)


def _relu(of_inputs: Tensor, state: State, weight: Tensor, bias: Tensor) -> State:
    return (torch.baddbmm(of_inputs + bias, state[0], weight).relu(),)


_STEPS: Mapping[str, Step] = {"LSTM": _lstm, "GRU": _gru, "RNN_TANH": _tanh, "RNN_RELU": _relu}
