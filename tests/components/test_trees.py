"""Recursive nets: a Tree-LSTM against an LSTM where a tree is a chain, one without gates against
its formula, and both on expressions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hpsearch.components import load_data
from hpsearch.components.datasets.trees import KINDS
from hpsearch.components.models.trees import ChildSumCell, OrderedCell, RecursiveNet
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from tests.support.problems import problems_of
from tests.support.trainers import goes_on_bit_for_bit


def net() -> RecursiveNet:
    torch.manual_seed(0)
    return RecursiveNet("tree_lstm", ChildSumCell(3, 4), nn.Linear(4, 2))


def ungated(*, has_tensor: bool = False) -> RecursiveNet:
    torch.manual_seed(0)
    cell = OrderedCell(3, 4, has_tensor=has_tensor)
    return RecursiveNet("recursive_nn", cell, nn.Linear(4, 2))


def tree(parents: list[float], features: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.tensor(parents)[:, None], features], 1)[None]


def test_a_chain_is_an_lstm() -> None:
    model, x = net(), torch.randn(5, 3)
    lstm, cell = nn.LSTM(3, 4, batch_first=True), model.cell
    assert isinstance(cell, ChildSumCell)
    i, o, u, f = cell.inputs.weight.chunk(4)
    hi, ho, hu = cell.sums.weight.chunk(3)
    bi, bo, bu, bf = cell.inputs.bias.chunk(4)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.cat([i, f, u, o]))
        lstm.weight_hh_l0.copy_(torch.cat([hi, cell.child.weight, hu, ho]))
        lstm.bias_ih_l0.copy_(torch.cat([bi, bf, bu, bo]))
        lstm.bias_hh_l0.zero_()
    outputs = model(tree([1, 2, 3, 4, -1], x))
    torch.testing.assert_close(outputs, model.output(lstm(x[None])[0][:, -1]))


def test_children_have_no_order_and_what_fills_up_no_part() -> None:
    model, x = net(), torch.randn(4, 3)
    first = model(tree([2, 2, 3, -1], x))
    torch.testing.assert_close(first, model(tree([2, 2, 3, -1], x[[1, 0, 2, 3]])))
    filled = torch.cat([torch.randn(1, 3), x])
    torch.testing.assert_close(first, model(tree([0, 3, 3, 4, -1], filled)))
    assert not torch.allclose(first, model(tree([1, 2, 3, -1], x)))


@pytest.mark.parametrize("has_tensor", [False, True])
def test_a_node_without_gates_is_what_its_formula_says(has_tensor: bool) -> None:
    model, x = ungated(has_tensor=has_tensor), torch.randn(4, 3)
    cell = model.cell
    assert isinstance(cell, OrderedCell)

    def node(features: torch.Tensor, *children: torch.Tensor) -> torch.Tensor:
        c = torch.cat([*children, *[torch.zeros(4)] * (2 - len(children))])
        inner = cell.inputs.weight @ features + cell.inputs.bias + cell.pair.weight @ c
        if cell.tensor is not None:
            inner = inner + torch.stack([c @ matrix @ c for matrix in cell.tensor.weight])
        return inner.tanh()

    root = node(x[3], node(x[2], node(x[0]), node(x[1])))
    expected = model.output(root)
    torch.testing.assert_close(model(tree([2, 2, 3, -1], x))[0], expected)
    filled = torch.cat([torch.randn(1, 3), x])
    torch.testing.assert_close(model(tree([0, 3, 3, 4, -1], filled))[0], expected)
    # children have an order
    assert not torch.allclose(model(tree([2, 2, 3, -1], x[[1, 0, 2, 3]]))[0], expected)


def value(rows: Any) -> bool:
    """The value of an expression, node by node."""
    found: dict[int, bool] = {}
    for number, row in enumerate(rows):
        children = [found[k] for k in found if rows[k, 0] == number]
        if not row[1:].any():
            continue
        kind = KINDS[int(row[1:].argmax())]
        if kind in ("false", "true"):
            found[number] = kind == "true"
        else:
            rule: Any = {"and": all, "or": any, "not": lambda each: not each[0]}[kind]
            found[number] = rule(children)
    return found[len(rows) - 1]


def test_expressions_have_their_values() -> None:
    train: Any = load_data({"name": "logic_trees", "trees": 200}, seed=0).train
    assert [value(rows) for rows in train.x] == train.y.astype(bool).tolist()
    assert 0.3 < train.y.mean() < 0.7


@pytest.mark.parametrize(
    ("model", "lr"),
    [
        ({"name": "tree_lstm"}, 0.02),
        ({"name": "recursive_nn"}, 0.02),
        ({"name": "recursive_nn", "composition": "tensor"}, 0.003),
    ],
    ids=str,
)
def test_it_learns_to_evaluate(model: dict[str, Any], lr: float) -> None:
    values = {
        "model": {"hidden_size": 16, **model},
        "optimizer": {"name": "adam", "lr": lr},
        "batch_size": 64,
    }
    data = load_data({"name": "logic_trees", "trees": 1200, "nodes": 7}, seed=0)
    trainer = Trainer(TrialConfig(0, 0, 12, values), data)
    accuracies = [(trainer.train_epoch() or {})["val_accuracy"] for _ in range(12)]
    assert max(accuracies) > 0.95


def test_a_tensor_in_half_precision_goes_on_bit_for_bit() -> None:
    values = {
        "model": {"name": "recursive_nn", "hidden_size": 4, "composition": "tensor"},
        "optimizer": {"name": "adam"},
        "batch_size": 16,
    }
    data = load_data({"name": "logic_trees", "trees": 60, "nodes": 5}, seed=0)
    config = TrialConfig(0, 0, 4, values | {"precision": "bf16"})
    goes_on_bit_for_bit(*(Trainer(config, data) for _ in range(3)))


class TestRefused:
    VALUES: dict[str, Any] = {  # noqa: RUF012
        "model": {"name": "tree_lstm"},
        "optimizer": {"name": "adam"},
        "batch_size": 16,
    }

    def test_what_are_no_trees(self) -> None:
        data = load_data({"name": f"{__name__}:backwards", "standardize": False}, seed=0)
        with pytest.raises(DataError, match="tree_lstm needs trees whose first number"):
            Trainer(TrialConfig(0, 0, 1, self.VALUES), data)

    def test_more_children_than_there_are_places(self) -> None:
        data = load_data({"name": f"{__name__}:three_children", "standardize": False}, seed=0)
        values = {**self.VALUES, "model": {"name": "recursive_nn"}}
        with pytest.raises(DataError, match="at most 2 children, but one has 3: tree_lstm takes"):
            Trainer(TrialConfig(0, 0, 1, values), data)
        assert Trainer(TrialConfig(0, 0, 1, self.VALUES), data).train_epoch() is not None

    def test_trees_that_take_for_ever_to_draw(self) -> None:
        found = problems_of({"dataset": {"name": "logic_trees", "nodes": 100_000}})
        rule = "dataset.nodes: must be less than or equal to 255, but got 100000"
        assert rule in found

    def test_a_table(self) -> None:
        data = load_data({"name": "wine"}, seed=0)
        with pytest.raises(BadConfigurationError, match="tree_lstm needs trees of the shape"):
            Trainer(TrialConfig(0, 0, 1, self.VALUES), data)


def backwards() -> Any:
    x = np.zeros((40, 3, 2), np.float32)
    x[:, :, 0] = [-1, 0, 0]  # the root is first
    return x, np.arange(40) % 2


def three_children() -> Any:
    x = np.random.default_rng(0).normal(size=(40, 4, 3)).astype(np.float32)
    x[:, :, 0] = [3, 3, 3, -1]
    return x, np.arange(40) % 2
