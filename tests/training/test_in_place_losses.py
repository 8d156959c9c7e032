"""A loss that changes what the metrics are computed of is an error, whatever it returns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hpsearch.components import Data, load_data
from hpsearch.errors import UserCodeError
from tests.support.trainers import make


@pytest.fixture(scope="module")
def wine() -> Data:
    return load_data({"name": "wine"}, seed=0)


def easy() -> object:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        targets.zero_()
        return cross_entropy(outputs, targets)

    return loss


def corrected() -> object:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(outputs.add_(torch.eye(3)[targets]), targets)

    return loss


def on_copies() -> object:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(outputs.clone().mul_(2), targets.clone().clamp_(max=2))

    return loss


@pytest.mark.parametrize(
    ("name", "accumulate", "changed"), [("easy", 1, "targets"), ("corrected", 2, "outputs")]
)
def test_a_loss_that_changes_what_it_is_given_ends_its_first_batch(
    name: str, accumulate: int, changed: str, wine: Data
) -> None:
    task = {"name": "classification", "loss": f"{__name__}:{name}"}
    trainer = make(wine, task=task, accumulate=accumulate)
    rule = rf"^the loss must not change its {changed} in place, .* work on {changed}\.clone"
    with pytest.raises(UserCodeError, match=rule):
        trainer.train_epoch()


def test_one_that_works_on_copies_is_fine(wine: Data) -> None:
    task = {"name": "classification", "loss": f"{__name__}:on_copies"}
    assert make(wine, task=task).train_epoch() is not None
