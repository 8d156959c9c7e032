"""Snapshot ensembles: what is evaluated, kept and exported are the members' mean predictions."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hpsearch.components import Data, load_data
from hpsearch.components.ensembles import Snapshots
from hpsearch.components.tasks.heads import LogOdds
from hpsearch.components.tasks.kinds import Statement
from hpsearch.errors import BadConfigurationError
from hpsearch.training import Trainer, export_model
from hpsearch.training.checkpoints import CheckpointStore, load_checkpoint
from hpsearch.training.lanes.programs import obstacle_of
from tests.support.trainers import goes_on_bit_for_bit, make

SAID = Statement("reconstruction", "the task is for reconstruction")
SNAPSHOTS = {"name": "snapshot", "cycles": 4}
BATCH_NORM = {"name": "mlp", "hidden_sizes": [8], "norm": "batch"}


def probabilities(trainer: Trainer) -> Tensor:
    return trainer.predict("val")[0].softmax(1)


def test_parts_of_a_training_are_equal() -> None:
    def taken(cycles: int, max_epochs: int) -> list[int]:
        of = Snapshots(cycles, cycles)
        return [epoch for epoch in range(1, max_epochs + 1) if of.takes(epoch, max_epochs)]

    assert taken(4, 12) == [3, 6, 9]  # the last weights are the model's own
    assert taken(3, 10) == [4, 7]
    assert taken(5, 3) == [1, 2]


@pytest.mark.parametrize(("members", "newest"), [(None, [0, 1, 2, 3]), (2, [2, 3])])
def test_the_prediction_is_the_mean_of_the_members(
    wine: Data, members: int | None, newest: list[int]
) -> None:
    ensemble = make(wine, model=BATCH_NORM, ensemble={**SNAPSHOTS, "members": members})
    plain = make(wine, model=BATCH_NORM)
    alone = []
    for _ in range(4):
        metrics = ensemble.train_epoch()
        plain.train_epoch()
        alone.append(probabilities(plain))
    mean = torch.stack([alone[number] for number in newest]).mean(0)
    torch.testing.assert_close(probabilities(ensemble), mean)
    assert metrics is not None
    targets = ensemble.predict("val")[1]
    accuracy = (mean.argmax(1) == targets).float().mean().item()
    assert metrics["val_accuracy"] == pytest.approx(accuracy)


def test_all_members_are_kept_and_exported(wine: Data, tmp_path: Path) -> None:
    ensemble = make(wine, model=BATCH_NORM, ensemble=SNAPSHOTS)
    for _ in range(3):
        ensemble.train_epoch()
    path = CheckpointStore(tmp_path, 0).save(3, ensemble.state_dict())
    fresh = make(wine, model=BATCH_NORM, ensemble=SNAPSHOTS)
    fresh.load_weights(load_checkpoint(path))
    assert torch.equal(probabilities(fresh), probabilities(ensemble))
    exported = export_model(fresh)
    assert wine.val is not None
    inputs = torch.as_tensor(copy.deepcopy(wine.val.x))
    raw = inputs * torch.as_tensor(wine.x_scale.std) + torch.as_tensor(wine.x_scale.mean)
    with torch.no_grad():
        given = exported(raw).softmax(1)
    torch.testing.assert_close(given, probabilities(ensemble), rtol=1e-4, atol=1e-5)


def test_two_and_two_epochs_are_four(wine: Data) -> None:
    goes_on_bit_for_bit(*(make(wine, ensemble=SNAPSHOTS) for _ in range(3)))


def test_a_trial_with_one_trains_alone(wine: Data) -> None:
    assert "ensemble" in obstacle_of(make(wine, ensemble=SNAPSHOTS))


def test_a_model_must_give_one_tensor() -> None:
    rows = load_data({"name": "diabetes"}, seed=0, said=SAID)
    vae = {"name": "autoencoder", "hidden_sizes": [4], "variational": True}
    with pytest.raises(BadConfigurationError, match="ensemble: must not be given for a model"):
        make(rows, model=vae, ensemble=SNAPSHOTS)


def test_of_log_odds_the_probabilities_are_averaged() -> None:
    outputs = torch.tensor([[0.0, 3.0], [2.0, -1.0]])
    mean = LogOdds().mean(outputs)
    torch.testing.assert_close(mean.sigmoid(), outputs.sigmoid().mean(0))
    data = load_data({"name": "digits", "train_rows": 40, "val_rows": 10}, seed=0, said=SAID)
    model = {"name": "autoencoder", "hidden_sizes": [8], "code_size": 2}
    task = {"name": "reconstruction", "likelihood": "bernoulli"}
    trainer = make(data, model=model, task=task, ensemble=SNAPSHOTS)
    assert isinstance(trainer.task.head, LogOdds)
    plain = make(data, model=model, task=task)
    alone = []
    for _ in range(4):
        trainer.train_epoch()
        plain.train_epoch()
        alone.append(plain.predict("val")[0].sigmoid())
    found = trainer.predict("val")[0].sigmoid()
    torch.testing.assert_close(found, torch.stack(alone).mean(0))
