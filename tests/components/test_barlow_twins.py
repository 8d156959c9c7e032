"""Barlow Twins: its loss, what its features say of classes, and the k-NN probe."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hpsearch.components import Data, load_data
from hpsearch.components.batch import Batch
from hpsearch.components.probes import nearest_classes
from hpsearch.components.tasks.barlow_twins import CrossCorrelation, barlow_twins
from hpsearch.components.tasks.kinds import Statement
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, make_trainer
from tests.support.trainers import goes_on_bit_for_bit

SAID = Statement("barlow_twins", "the task is for barlow_twins")
ENCODER = {"name": "mlp", "hidden_sizes": [128]}
MODEL = {"name": "barlow_twins", "encoder": ENCODER, "embedding_size": 32}
VIEWS = [
    {"name": "shift", "max_pixels": 1},
    {"name": "rotation", "max_degrees": 15},
    {"name": "gaussian_noise", "std": 0.3},
]
PRETRAIN = {"name": "train", "task": {"name": "barlow_twins", "redundancy_weight": 0.01}}
ADAM = {"name": "adam", "lr": 0.003}


@pytest.fixture(scope="module")
def data() -> Data:
    section = {"name": "digits", "train_rows": 200, "val_rows": 100}
    return load_data(section, seed=0, said=SAID)


def trainer(data: Data, **values: Any) -> Trainer:
    values = {"model": MODEL, "optimizer": ADAM, "augmentations": VIEWS, **values}
    return Trainer(TrialConfig(0, 0, 4, {"batch_size": 50, **values}), data)


class TestLoss:
    """Of two features, which are uncorrelated over four rows."""

    Z = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])

    def loss(self, first: torch.Tensor, second: torch.Tensor) -> float:
        return float(CrossCorrelation(0.0051)(first, second))

    def test_of_known_views(self) -> None:
        z = self.Z
        both = z[:, :1].expand(-1, 2)
        assert self.loss(z, z) == pytest.approx(0, abs=1e-6)
        assert self.loss(z, z.flip(1)) == pytest.approx(2.0102, abs=1e-4)
        assert self.loss(both, both) == pytest.approx(0.0102, abs=1e-4)
        assert self.loss(z, -z) == pytest.approx(8, abs=1e-3)

    def test_nothing_is_won_by_collapse(self) -> None:
        assert self.loss(torch.ones(4, 2), torch.ones(4, 2)) == 2

    def test_neither_scale_nor_shift_matters(self) -> None:
        torch.manual_seed(0)
        first, second = torch.randn(2, 30, 5)
        assert self.loss(7 * first + 3, second) == pytest.approx(
            self.loss(first, second), rel=1e-3
        )


def test_metrics_are_means_over_batches_never_joined() -> None:
    torch.manual_seed(0)
    task, outputs = barlow_twins(), torch.randn(30, 2, 4)
    parts = outputs.split([20, 10])
    totals = sum(task.totals(part, Batch(part, part)) for part in parts)
    losses = [task.loss(part, Batch(part, part)).item() for part in parts]
    found = task.summary(totals.tolist())
    assert found["loss"] == pytest.approx((2 * losses[0] + losses[1]) / 3, rel=1e-6)
    assert not task.joins_batches
    same = torch.randn(1, 2, 4).expand(30, -1, -1)
    spread = task.summary(task.totals(same, Batch(same, same)).tolist())["spread"]
    assert found["spread"] > 0.8 and spread < 0.9


def test_a_trial_goes_on_bit_for_bit(data: Data) -> None:
    curve = goes_on_bit_for_bit(*(trainer(data) for _ in range(3)))
    assert curve[-1]["val_loss"] < curve[0]["val_loss"]


def test_views_differ_and_those_of_evaluation_stay(data: Data) -> None:
    one = trainer(data)
    batch = next(one.training_batches(one.begin_epoch()))
    assert batch.inputs.shape == (50, 2, 1, 8, 8)
    assert not torch.equal(batch.inputs[:, 0], batch.inputs[:, 1])
    assert one.evaluate("val") == one.evaluate("val")


def probed(*stages: Any, max_epochs: int) -> dict[str, float]:
    """Return the last metrics of a linear probe, and of nearest neighbours.

    Of a CNN: random layers of an MLP keep the distances between digits, by which neighbours tell
    them apart already.
    """
    cnn = {"name": "cnn", "channels": [16, 32], "hidden_sizes": [64]}
    digits = load_data({"name": "digits", "train_rows": 800}, seed=0)
    values = {
        "model": {**MODEL, "encoder": cnn},
        "stages": list(stages),
        "finetune": {"name": "feature_extract"},
        "optimizer": {"name": "adam", "lr": 0.01},
        "callbacks": [{"name": "knn_probe"}],
        "batch_size": 64,
    }
    one = make_trainer(TrialConfig(0, 0, max_epochs, values), digits)
    metrics = [one.train_epoch() for _ in range(max_epochs)][-1]
    assert metrics is not None
    return metrics


def test_its_features_tell_digits_apart_better_than_random_ones() -> None:
    views = {"augmentations": VIEWS, "optimizer": ADAM}
    learned = probed({**PRETRAIN, **views, "epochs": 20}, max_epochs=26)
    random = probed(max_epochs=6)
    assert learned["val_accuracy"] > random["val_accuracy"] + 0.08
    assert learned["val_knn_accuracy"] > random["val_knn_accuracy"] + 0.02


class TestNearestNeighbours:
    def test_cosines_and_votes(self) -> None:
        seen = torch.tensor([[1.0, 0.0], [9.0, 1.0], [0.0, 5.0], [1.0, 5.0], [-1.0, 5.0]])
        classes = torch.tensor([2, 0, 1, 1, 1])
        asked = torch.tensor([[5.0, 0.2], [0.0, 1.0]])
        assert nearest_classes(seen, classes, asked, 1).tolist() == [2, 1]
        assert nearest_classes(seen, classes, asked, 3).tolist() == [0, 1]
        everything = nearest_classes(seen, classes, asked, len(seen))
        assert torch.equal(nearest_classes(seen, classes, asked, 100), everything)
        assert nearest_classes(seen, classes, asked, 5).tolist() == [1, 1]

    def test_it_is_scikit_learns(self) -> None:
        from sklearn.neighbors import KNeighborsClassifier

        torch.manual_seed(0)
        seen, asked = torch.randn(60, 4), torch.randn(40, 4)
        classes = torch.randint(3, (60,))
        known = KNeighborsClassifier(5, metric="cosine").fit(seen.numpy(), classes.numpy())
        found = nearest_classes(seen, classes, asked, 5)
        assert found.tolist() == known.predict(asked.numpy()).tolist()

    def test_it_is_of_an_earlier_stage_too(self, data: Data) -> None:
        metrics = trainer(data, callbacks=[{"name": "knn_probe"}]).train_epoch()
        assert metrics is not None and metrics["val_knn_accuracy"] > 0.6

    def test_it_changes_nothing(self, data: Data) -> None:
        plain, watched = trainer(data), trainer(data, callbacks=[{"name": "knn_probe"}])
        for _ in range(2):
            expected, found = plain.train_epoch(), watched.train_epoch()
            assert expected is not None and found is not None
            assert found["val_loss"] == expected["val_loss"]

    @pytest.mark.parametrize(
        "name, k, rule",
        [
            ("diabetes", 5, "needs rows with a class each, but the data is for regression"),
            ("wine", 500, "k: must be at most the 114 training rows"),
        ],
    )
    def test_what_is_refused(self, name: str, k: int, rule: str) -> None:
        other = load_data({"name": name}, seed=0)
        callbacks = [{"name": "knn_probe", "k": k}]
        with pytest.raises(BadConfigurationError, match=f"callbacks.0.*{rule}"):
            trainer(other, model={"name": "mlp"}, augmentations=[], callbacks=callbacks)


class TestRefused:
    def test_no_views(self, data: Data) -> None:
        with pytest.raises(BadConfigurationError, match="augmentations: must be given for barl"):
            trainer(data, augmentations=[])

    def test_parts_of_batches(self, data: Data) -> None:
        with pytest.raises(BadConfigurationError, match="accumulate: must be 1, as the loss of"):
            trainer(data, accumulate=2)

    def test_models_of_pairs(self, data: Data) -> None:
        rule = r"must be a model for barlow_twins \(barlow_twins\), but siamese is for"
        with pytest.raises(BadConfigurationError, match=rule):
            trainer(data, model={"name": "siamese"})
