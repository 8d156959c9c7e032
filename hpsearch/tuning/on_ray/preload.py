"""Imported by Ray's workers as they start, so that the first trial doesn't wait for it."""

import torch

import hpsearch.tuning.on_ray.actor  # noqa: F401

# The first optimizer of a process imports torch's compiler, which takes two seconds.
torch.optim.SGD([torch.zeros(1, requires_grad=True)])
