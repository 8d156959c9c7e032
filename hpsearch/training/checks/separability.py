"""The check of whether a model without hidden layers can learn its data at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.conv import _ConvNd

from hpsearch.components.datasets.split_methods import split_rows
from hpsearch.components.examples import Arrays
from hpsearch.registry import register
from hpsearch.training.checks.by_name import ROWS, Finding
from hpsearch.training.seeds import derive_seed
from hpsearch.training.trainer import Trainer


@register("check", "linear_separability")
def linear_separability(trainer: Trainer) -> Finding | None:
    """Without hidden layers the classes must be linearly separable, unlike XOR's."""
    if _has_hidden_layers(trainer.model):
        return Finding("linear_separability", True, "the model has hidden layers")
    train = trainer.data.train
    if trainer.data.kind != "classification" or not isinstance(train, Arrays) or train.y.ndim > 1:
        return None
    x, y = _sample(train, trainer.config.seed)
    if len(x) <= x.shape[1]:  # as good as any few rows are separable
        return None
    ok = is_linearly_separable(x, y)
    message = (
        f"a linear model can tell the classes of {len(x)} training rows apart"
        if ok
        else f"no linear model tells the classes of {len(x)} training rows apart: what is left of "
        "the errors needs a hidden layer"
    )
    return Finding("linear_separability", ok, message)


def _sample(train: Arrays, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return as many rows as are looked at, flat, with classes in proportion; all trials' same."""
    if len(train) > ROWS:
        rng = np.random.default_rng(derive_seed(seed, 0, "linear_separability"))
        train = train.rows(split_rows(len(train), ROWS, train.y, rng)[1])
    return train.x.reshape(len(train), -1), train.y


def is_linearly_separable(x: NDArray[np.float32], y: NDArray[np.int64]) -> bool:
    """Whether some w and b give each row's own class the greatest w·x + b.

    A linear program without objective: (w_y - w_k)·x + b_y - b_k >= 1 for every other class k.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    classes, index = np.unique(y, return_inverse=True)
    rows = np.hstack([x, np.ones((len(x), 1))])
    num_rows, num_weights = rows.shape
    others = np.array([[k for k in range(len(classes)) if k != own] for own in index], int)
    blocks = np.stack([others, np.broadcast_to(index[:, None], others.shape)], 2)
    columns = blocks[..., None] * num_weights + np.arange(num_weights)
    values = np.stack([rows, -rows], 1)[:, None].repeat(others.shape[1], 1)
    count = num_rows * others.shape[1]
    starts = np.arange(count + 1) * 2 * num_weights
    shape = (count, len(classes) * num_weights)
    matrix = csr_array((values.ravel(), columns.ravel(), starts), shape=shape)
    bounds = (None, None)
    found = linprog(np.zeros(shape[1]), A_ub=matrix, b_ub=-np.ones(count), bounds=bounds)
    return bool(found.success)


def _has_hidden_layers(model: nn.Module) -> bool:
    layers = nn.Linear | nn.Bilinear | _ConvNd | nn.RNNBase
    return sum(isinstance(module, layers) for module in model.modules()) > 1
