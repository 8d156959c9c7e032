"""The steps of the optimizer that an agent's net is trained by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from hpsearch.training.checkpoints import copied_to_cpu
from hpsearch.training.groups import load_optimizer_state, optimizer_state
from hpsearch.training.reinforcement.agents import Networks


class NetTraining:
    """A net with the spec's optimizer and clipping; between steps it is in evaluation mode."""

    def __init__(self, network: nn.Module, networks: Networks) -> None:
        self.network = network.eval()
        self.optimizer = networks.optimizer(network)
        self._clip = networks.clipping()

    def step(self, loss: Tensor) -> None:
        """Go a step down the gradient of a loss."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self._clip is not None:
            params = [each for each in self.network.parameters() if each.grad is not None]
            gradients = [each.grad for each in params if each.grad is not None]
            self._clip(params, get_total_norm(gradients))
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the net's state and of the optimizer's."""
        return {
            "network": copied_to_cpu(self.network.state_dict()),
            "optimizer": copied_to_cpu(optimizer_state(self.optimizer)),
        }

    def load_state_dict(self, state: Mapping[str, Any], *, is_others: bool) -> None:
        """Go on from such a state; see Agent."""
        self.network.load_state_dict(state["network"])
        own = copied_to_cpu(state["optimizer"])  # the optimizer keeps the tensors it is given
        load_optimizer_state(self.optimizer, own, is_others=is_others)
