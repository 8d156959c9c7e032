"""Rows in their order: test-then-train of a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.datasets.streams import CONCEPTS
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data({"name": "sea", "rows": 400}, seed=0)


def trainer(data: Data, **task: Any) -> Trainer:
    values = {
        "model": {"name": "mlp", "hidden_sizes": [4]},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "batch_size": 1,
        "task": {"name": "classification", **task},
    }
    return Trainer(TrialConfig(0, 0, 2, values), data)


def test_training_metrics_are_of_rows_before_they_are_learned(data: Data) -> None:
    """As a loop that predicts a row, notes whether that is right, and then takes a step."""
    one, other = trainer(data, in_order=True), trainer(data, in_order=True)
    optimizer, right, losses = torch.optim.SGD(other.model.parameters(), lr=0.1), [], []
    assert isinstance(data.train, Arrays)
    for x, y in zip(data.train.x, data.train.y, strict=True):
        outputs, target = other.model(torch.from_numpy(x[None])), torch.tensor([int(y)])
        loss = torch.nn.functional.cross_entropy(outputs, target)
        right.append(outputs.argmax().item() == y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    metrics = one.train_epoch()
    assert metrics is not None
    assert metrics["train_accuracy"] == pytest.approx(np.mean(right))
    assert metrics["train_loss"] == pytest.approx(np.mean(losses), rel=1e-4)


def test_otherwise_rows_are_shuffled(data: Data) -> None:
    shuffled, in_order = trainer(data).train_epoch(), trainer(data, in_order=True).train_epoch()
    assert shuffled is not None and in_order is not None
    assert shuffled["train_loss"] != in_order["train_loss"]


def test_the_concepts_of_sea_follow_each_other() -> None:
    section = {"name": "sea", "rows": 4000, "noise": 0.0, "standardize": False}
    data = load_data({**section, "test_fraction": 0.25, "val_fraction": 1 / 3}, seed=0)
    for split, quarters in ((data.train, (0, 1)), (data.val, (2,)), (data.test, (3,))):
        assert isinstance(split, Arrays)
        for number, x, y in zip(
            quarters,
            np.split(split.x, len(quarters)),
            np.split(split.y, len(quarters)),
            strict=True,
        ):
            assert np.array_equal(y == 1, x[:, 0] + x[:, 1] <= CONCEPTS[number])


def ordered(**returned: Any) -> dict[str, Any]:
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    return {"train": (x, (x[:, 0] > 0).astype(np.int64)), **returned}


def own_splits() -> dict[str, Any]:
    every = ordered()["train"]
    return ordered(val=every, test=every)


def grouped() -> dict[str, Any]:
    return ordered(groups=np.arange(60) // 6)


def dataset() -> dict[str, Any]:
    x, y = map(torch.from_numpy, ordered()["train"])
    return {"train": torch.utils.data.TensorDataset(x, y)}


@pytest.mark.parametrize(
    ("factory", "section", "is_refused"),
    [
        ("ordered", {}, True),
        ("ordered", {"split": "chronological"}, False),
        ("ordered", {"split": "chronological", "train_rows": 20}, True),
        ("own_splits", {}, False),
        ("grouped", {}, False),
        ("dataset", {}, True),
        ("dataset", {"split": "chronological"}, False),
    ],
)
def test_rows_that_were_drawn_have_no_order(
    factory: str, section: dict[str, Any], is_refused: bool
) -> None:
    data = load_data({"name": f"{__name__}:{factory}", **section}, seed=0)
    if not is_refused:
        trainer(data, in_order=True).train_epoch()
        return
    rule = r"task\.in_order: must be false where .* drawn .* split: chronological, and without"
    with pytest.raises(BadConfigurationError, match=rule):
        trainer(data, in_order=True)
    trainer(data, in_order=False)
