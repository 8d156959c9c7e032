"""The perceptron's learning rule (Rosenblatt, 1958)."""

from __future__ import annotations

import torch
from torch.optim import Optimizer

from hpsearch.components.optimizers.base import LearningRate, Params
from hpsearch.registry import register


@register("optimizer", "perceptron_rule", weight_copies=0)
def perceptron_rule(params: Params, lr: LearningRate = 1.0) -> Optimizer:
    """w += lr (y - y_hat) x on each mistake; with the model `perceptron` and `batch_size: 1`.

    That model's gradient is (y_hat - y) x, which is 0 where the answer is right; so nothing but
    the rate can be set.
    """
    return torch.optim.SGD(params, lr)
