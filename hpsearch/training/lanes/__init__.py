"""Trials that train side by side as one program, in plain torch.

A lane is a `Trainer` whose tensors are rows of stacks: it joins and leaves at the borders of its
epochs, and its curve and its state are those of the trainer by itself, to float tolerance.
"""

from hpsearch.training.lanes.group import Result
from hpsearch.training.lanes.lanes import Lanes, ProgramError

__all__ = ["Lanes", "ProgramError", "Result"]
