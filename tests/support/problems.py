"""What is wrong with a spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpsearch.errors import SpecError
from hpsearch.spec import draft_spec
from hpsearch.validation import check

USER_CODE = """
import numpy as np
import torch
from torch import nn
from hpsearch import BadConfigurationError

def net(input_shape, output_size, width: int = 8, depth: int = 1):
    if depth > 2:
        raise BadConfigurationError("too deep")
    return nn.Linear(*input_shape, output_size)

def no_net(input_shape, output_size):
    return "a net"

def wrong_shape(input_shape, output_size):
    return nn.Linear(*input_shape, output_size + 1)

def broken(input_shape, output_size, width: int = 8):
    raise RuntimeError("no luck")

def moody(input_shape, output_size, width: int = 8):
    if width < 10:
        raise RuntimeError("too narrow")
    return nn.Linear(*input_shape, output_size)

def required(input_shape, width: int): ...

def adam_of_mine(params, lr: float):
    return torch.optim.Adam(params, lr=lr)

def data(seed, rows: int = 60):
    return np.random.default_rng(seed).normal(size=(rows, 3)), np.arange(rows) % 2

def train(config, trial):
    yield {"anything": 1.0}

def wrong_arguments(parameters, trial): ...

class Half:
    def __init__(self, config, trial): ...
    def train_epoch(self): ...

class Whole(Half):
    def state_dict(self): ...
    def load_state_dict(self, state): ...
"""


def problems_of(raw: dict[str, Any], folder: Path = Path()) -> list[str]:
    """What is wrong with a spec; `code.py` stands for the user's file."""
    text = repr(raw).replace("code.py:", "code_of_user.py:")
    draft = draft_spec(eval(text), folder)
    try:
        check(draft)
    except SpecError as error:
        return [str(problem) for problem in error.problems]
    return []
