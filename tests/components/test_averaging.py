"""Optimizers that average: the average is evaluated, kept and exported; steps go on without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hpsearch.components import Data
from hpsearch.training import Trainer, export_model
from hpsearch.training.checkpoints import CheckpointStore, load_checkpoint
from tests.support.trainers import goes_on_bit_for_bit, make

MLP = {"name": "mlp", "hidden_sizes": [8]}
#: of torch and of pytorch-optimizer
AVERAGING = [
    "asgd",
    "po:schedulefreesgd",
    "po:schedulefreeadamw",
    "po:schedulefreeradam",
    "po:splus",
]


def trainer(data: Data, name: str = "asgd", **values: Any) -> Trainer:
    keywords = values.pop("keywords", {})
    optimizer = {"name": name, "lr": 0.05, **keywords}
    return make(data, **{"model": MLP, "optimizer": optimizer, **values})


def weights_of(each: Trainer) -> list[Tensor]:
    return [param.detach().clone() for param in each.model.parameters()]


def iterates_of(each: Trainer, epochs: int) -> list[list[Tensor]]:
    """Train; returns the weights after each step."""
    found: list[list[Tensor]] = []
    each.optimizer.register_step_post_hook(lambda *_: found.append(weights_of(each)))
    for _ in range(epochs):
        each.train_epoch()
    return found


@pytest.mark.parametrize("t0", [0, 5, 12])
def test_the_model_holds_the_mean_of_what_came_after_t0(wine: Data, t0: int) -> None:
    """torch's recursion, ax += (w - ax) / max(1, t - 1 - t0), begins with step t0 + 2."""
    averaged = trainer(wine, keywords={"t0": t0})
    iterates = iterates_of(averaged, 2)
    assert len(iterates) > t0 + 3
    for param, *after in zip(averaged.model.parameters(), *iterates[t0 + 1 :], strict=True):
        torch.testing.assert_close(param.detach(), torch.stack(after).mean(0))


@pytest.mark.parametrize("name", AVERAGING)
def test_the_average_keeps_the_constraints(wine: Data, name: str) -> None:
    """Of weights that each step leaves too large."""
    averaged = trainer(
        wine, name, keywords={"lr": 0.5}, weight_constraints=[{"name": "max_norm", "c": 0.3}]
    )
    for _ in range(2):
        averaged.train_epoch()
    model = export_model(averaged)
    norms = [param.norm(dim=1).max() for param in model.parameters() if param.ndim == 2]
    assert len(norms) == 2 and max(norms) <= 0.3 + 1e-5
    again = (trainer(wine, name, weight_constraints=[{"name": "unit_norm"}]) for _ in range(3))
    goes_on_bit_for_bit(*again)


def test_t0_changes_what_is_evaluated_and_not_how_it_trains(wine: Data) -> None:
    early, late = (trainer(wine, keywords={"t0": t0}) for t0 in (0, 1_000_000))
    for _ in range(3):
        one, other = early.train_epoch(), late.train_epoch()
        assert one is not None and other is not None
        assert one["train_loss"] == other["train_loss"]
        assert one["val_loss"] != other["val_loss"]
    plain = trainer(wine, keywords={"t0": 1_000_000})
    last = iterates_of(plain, 1)[-1]  # so late the average is the last iterate
    assert all(torch.equal(*pair) for pair in zip(last, weights_of(plain), strict=True))


@pytest.mark.parametrize("name", AVERAGING)
class TestEvery:
    def test_evaluates_and_exports_the_average(self, wine: Data, name: str) -> None:
        each = trainer(wine, name)
        last = iterates_of(each, 2)[-1]
        averages = weights_of(each)
        assert not any(torch.equal(*pair) for pair in zip(averages, last, strict=True))
        exported = export_model(each)
        found = dict(exported.named_parameters()).values()
        for average, param in zip(averages, found, strict=True):
            assert torch.equal(average, param)

    def test_trains_on_from_the_iterate(self, wine: Data, name: str) -> None:
        """A step begins where the last one ended, whatever was evaluated between."""
        each = trainer(wine, name)
        begins: list[list[Tensor]] = []
        each.optimizer.register_step_pre_hook(lambda *_: begins.append(weights_of(each)))
        ends = iterates_of(each, 2)
        for begin, end in zip(begins[1:], ends[:-1], strict=True):
            for one, other in zip(begin, end, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)

    def test_goes_on_bit_for_bit(self, wine: Data, name: str) -> None:
        goes_on_bit_for_bit(*(trainer(wine, name) for _ in range(3)))

    def test_layers_that_are_frozen_at_first_have_no_average_yet(
        self, wine: Data, name: str
    ) -> None:
        tune = {"name": "gradual_unfreeze", "every": 1}
        *_, last = goes_on_bit_for_bit(*(trainer(wine, name, finetune=tune) for _ in range(3)))
        assert last["val_loss"] < 5

    def test_a_checkpoint_evaluates_as_the_trainer_did(
        self, wine: Data, name: str, tmp_path: Path
    ) -> None:
        """Without its optimizer, as the final model of a search is made."""
        each, other = trainer(wine, name), trainer(wine, name)
        metrics = each.train_epoch()
        CheckpointStore(tmp_path, 0).save(1, {"trainer": each.state_dict()})
        state = load_checkpoint(tmp_path / "trial-0000" / "epoch-0001.pt")["trainer"]
        other.model.load_state_dict(state["model"])
        assert metrics is not None
        assert other.evaluate("val")["val_loss"] == metrics["val_loss"]


def test_the_best_average_comes_back(wine: Data) -> None:
    """Early stopping keeps what it saw evaluated."""
    stop = {"name": "early_stopping", "patience": 1, "metric": "val_loss"}
    each = trainer(wine, keywords={"lr": 5.0}, callbacks=[stop])
    losses = []
    while (metrics := each.train_epoch()) is not None:
        losses.append(metrics["val_loss"])
    assert len(losses) < 4
    assert losses[-1] == min(losses) == each.evaluate("val")["val_loss"]


def test_recalibrated_batch_norms_know_the_average(wine: Data) -> None:
    model = {"name": "mlp", "hidden_sizes": [8], "norm": "batch"}
    each = trainer(wine, model=model, callbacks=["recalibrate_bn"], batch_size="full")
    each.train_epoch()
    each.train_epoch()
    linear, norm = each.model[1], each.model[2]
    inputs = linear(torch.from_numpy(wine.train.x))  # type: ignore[union-attr]
    assert torch.allclose(norm.running_mean, inputs.mean(0), atol=1e-5)
