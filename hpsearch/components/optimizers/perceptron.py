"""The perceptron's learning rule (Rosenblatt, 1958)."""

from __future__ import annotations

import torch
from torch.optim import Optimizer

from hpsearch.components.optimizers.building import LearningRate, Params
from hpsearch.registry import register


@register("optimizer", "perceptron_rule", fusible=["lr"])
def perceptron_rule(params: Params, lr: LearningRate = 1.0) -> Optimizer:
    """w += lr (y - y_hat) x on each mistake; needs the loss `perceptron` and `batch_size: 1`.

    The rule is a gradient step on the perceptron's criterion, whose gradient is (y_hat - y) x
    where the answer is wrong and 0 where it is right; so nothing but the rate can be set.
    """
    return torch.optim.SGD(params, lr)
