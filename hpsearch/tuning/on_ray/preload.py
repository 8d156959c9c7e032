"""Imported by Ray's workers as they start, so that the first trial doesn't wait for it."""

import gc

gc.disable()  # imports make many objects and leave hardly any garbage

import torch  # noqa: E402

import hpsearch.tuning.on_ray.actor  # noqa: E402, F401

# The first optimizer of a process imports torch's compiler.
torch.optim.SGD([torch.zeros(1, requires_grad=True)])
gc.freeze()  # what is there now stays
gc.enable()
