"""Pairs of examples: how they are drawn, their losses, distances and threshold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hpsearch.components import Arrays, Data, load_data, task_for
from hpsearch.components.losses.base import make_loss
from hpsearch.components.models.building import build_model
from hpsearch.components.pairs import Pairs
from hpsearch.components.tasks.baselines import baseline_scores
from hpsearch.components.tasks.kinds import Statement
from hpsearch.components.tasks.pairs import best_threshold
from hpsearch.components.tasks.undefined import undefined_scores
from hpsearch.errors import BadConfigurationError, DataError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer, export_model, make_trainer
from hpsearch.training.lanes import Lanes
from hpsearch.tuning.on_ray.final import _example
from hpsearch.validation import check
from tests.support.trainers import goes_on_bit_for_bit

SAID = Statement("pairs", "the task is for pairs")
SMALL = {"name": "siamese", "encoder": {"name": "mlp", "hidden_sizes": [16]}, "embedding_size": 6}
DISTANCES = ("euclidean", "manhattan", "cosine", "l1_logistic")


def digits(**keywords: Any) -> Data:
    return load_data({"name": "digits", "train_rows": 200, **keywords}, seed=0, said=SAID)


@pytest.fixture(scope="module")
def data() -> Data:
    return digits()


def config(**values: Any) -> TrialConfig:
    optimizer = {"name": "adam", "lr": 0.01}
    return TrialConfig(
        0, 0, 4, {"model": SMALL, "optimizer": optimizer, "batch_size": 50, **values}
    )


def examples(classes: list[int]) -> Arrays:
    y = np.array(classes)
    return Arrays(np.arange(len(y), dtype=np.float32)[:, None], y)


class TestDraws:
    CLASSES = [0, 1, 1, 2, 0, 1, 2, 2, 0, 0]

    def check(self, x: Any, y: Any) -> None:
        """The numbers of the examples are their inputs."""
        first, second = np.asarray(x)[..., 0].astype(int).T
        classes = np.array(self.CLASSES)
        assert ((classes[first] == classes[second]) == (np.asarray(y)[:, 0] == 1)).all()
        assert (first != second).all()

    def test_pairs_of_evaluation(self) -> None:
        pairs = Pairs.of(examples(self.CLASSES))
        assert len(pairs) == 20 and pairs.y.mean() == 0.5
        made = pairs.rows(np.arange(20))
        self.check(made.x, made.y)
        assert np.array_equal(made.x, Pairs.of(examples(self.CLASSES)).rows(np.arange(20)).x)

    def test_each_partner_is_as_likely_as_others(self) -> None:
        pairs = Pairs.of(examples(self.CLASSES))
        numbers = pairs.drawn(torch.arange(20).repeat(500), torch.Generator().manual_seed(0))
        kinds, partners = numbers % 20, numbers // 20 - 1
        similar, other = (partners[kinds == pair].bincount(minlength=10) for pair in (1, 11))
        assert similar.nonzero().flatten().tolist() == [2, 5]
        assert other.nonzero().flatten().tolist() == [0, 3, 4, 6, 7, 8, 9]
        assert similar[2] / 500 == pytest.approx(1 / 2, abs=0.08)
        assert other[0] / 500 == pytest.approx(1 / 7, abs=0.06)

    def test_classes_that_have_no_other(self) -> None:
        alone = Pairs.of(examples([0, 1, 1]))
        assert alone.y[:, 0].tolist() == [0, 1, 1, 0, 0, 0]
        same = Pairs.of(examples([1, 1, 1]))
        assert same.y.all() and (same.partners != np.arange(6) % 3).all()

    def test_a_trainer_draws_them_anew_each_epoch(self, data: Data) -> None:
        one, other = (Trainer(config(), data) for _ in range(2))
        epochs = []
        for trainer in (one, one, other):
            batches = list(trainer.training_batches(trainer.begin_epoch()))
            epochs.append(torch.cat([batch.inputs for batch in batches]))
            assert torch.cat([batch.targets for batch in batches]).mean() == 0.5
        assert epochs[0].shape == (400, 2, 1, 8, 8)
        assert torch.equal(epochs[0], epochs[2]) and not torch.equal(epochs[0], epochs[1])

    def test_both_examples_are_of_one_split(self, data: Data) -> None:
        assert isinstance(data.train, Pairs) and isinstance(data.val, Pairs)
        train = {row.tobytes() for row in data.train.x}
        seen = data.val.rows(np.arange(len(data.val))).x.reshape(-1, 64)
        assert not any(row.tobytes() in train for row in seen)


class TestLosses:
    def loss(self, section: Any, distance: float, is_similar: float) -> float:
        loss = make_loss(section, 1)
        return float(loss(torch.tensor([[distance]]), torch.tensor([[is_similar]])))

    def test_contrastive(self) -> None:
        """Hadsell et al. (2006): nothing at D = 0 of similar and D = m of others, m²/2 at 0."""
        section = {"name": "contrastive", "margin": 3.0}
        assert self.loss(section, 0.0, 1.0) == self.loss(section, 3.0, 0.0) == 0
        assert self.loss(section, 0.0, 0.0) == 4.5
        assert self.loss(section, 2.0, 1.0) == 2.0 and self.loss(section, 2.0, 0.0) == 0.5

    def test_hinge_of_cosine_distances_is_torchs(self) -> None:
        torch.manual_seed(0)
        first, second = torch.randn(2, 20, 5)
        is_similar = torch.arange(20)[:, None] % 2
        distances = 1 - F.cosine_similarity(first, second)[:, None]
        found = make_loss({"name": "pair_hinge", "margin": 0.7}, 1)(distances, is_similar)
        signs = 2.0 * is_similar[:, 0] - 1
        expected = F.cosine_embedding_loss(first, second, signs, margin=0.3)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)

    def test_cross_entropy_is_that_of_a_sigmoid(self) -> None:
        torch.manual_seed(0)
        logits, is_similar = 3 * torch.randn(20, 1), (torch.arange(20)[:, None] % 2).float()
        found = make_loss("pair_cross_entropy", 1)(F.softplus(-logits), is_similar)
        expected = F.binary_cross_entropy_with_logits(logits, is_similar)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)

    def test_squared(self) -> None:
        assert self.loss("pair_mse", 0.0, 1.0) == 0
        assert self.loss("pair_mse", float(np.log(2)), 0.0) == pytest.approx(0.25)


@pytest.mark.parametrize("distance", DISTANCES)
class TestEachDistance:
    def net(self, distance: str) -> Any:
        torch.manual_seed(0)
        section = {**SMALL, "distance": distance}
        return build_model(section, (2, 5), 1, kind="pairs", folder=Path())

    def test_it_is_symmetric(self, distance: str) -> None:
        net, x = self.net(distance), torch.randn(9, 2, 5)
        torch.testing.assert_close(net(x), net(x.flip(1)))
        assert (net(x) >= 0).all() and net(x).shape == (9, 1)

    def test_nothing_is_nearer_than_itself(self, distance: str) -> None:
        net, x = self.net(distance), torch.randn(9, 2, 5)
        if distance == "l1_logistic":  # it learns whether
            net.head.output.weight.data.abs_()
        itself = net(torch.stack([x[:, 0], x[:, 0]], 1))
        assert (itself < net(x)).all() and (distance == "l1_logistic" or itself.max() < 1e-5)

    def test_gradients_are_finite_where_both_are_the_same(self, distance: str) -> None:
        net, x = self.net(distance), torch.randn(9, 1, 5).expand(-1, 2, -1)
        net(x).sum().backward()
        assert all(param.grad.isfinite().all() for param in net.parameters())

    def test_it_is_learned(self, data: Data, distance: str) -> None:
        loss = "pair_cross_entropy" if distance == "l1_logistic" else "contrastive"
        model, task = {**SMALL, "distance": distance}, {"name": "pairs", "loss": loss}
        trainers = [Trainer(config(model=model, task=task), data) for _ in range(3)]
        curve = goes_on_bit_for_bit(*trainers)
        assert curve[-1]["train_loss"] < curve[0]["train_loss"]
        assert curve[-1]["val_auc"] > 0.7


def test_it_learns_more_than_distances_of_inputs_tell() -> None:
    whole = load_data({"name": "digits"}, seed=0, said=SAID)
    trainer = Trainer(config(model={"name": "siamese"}), whole)
    for _ in range(4):
        metrics = trainer.train_epoch()
    inputs = baseline_scores(trainer.task, whole)["input_distance"]
    assert metrics is not None and metrics["val_auc"] > inputs["val_auc"] + 0.05
    assert trainer.evaluate("test")["test_accuracy"] > inputs["test_accuracy"] + 0.05
    assert 0.8 < inputs["test_auc"] < 0.9  # which are far from nothing


class TestThreshold:
    def test_it_is_the_best_there_is(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(50):
            distances = rng.integers(0, 6, 12).astype(float)
            is_similar = rng.random(12) < 0.6
            found = best_threshold(distances, is_similar)
            rights = [((distances <= cut) == is_similar).sum() for cut in np.arange(-1, 7, 0.5)]
            assert ((distances <= found) == is_similar).sum() == max(rights)

    def test_test_pairs_are_divided_where_validation_pairs_are(self, data: Data) -> None:
        task = task_for(data)
        near, targets = torch.tensor([[0.1], [0.2], [2.0]]), torch.tensor([[1.0], [1.0], [0.0]])
        task.fit_to_validation(near, targets)  # type: ignore[attr-defined]
        far = near + 1.0
        assert task.measure(far, targets) == pytest.approx({"auc": 1.0, "accuracy": 2 / 3})

    def test_it_is_kept(self, data: Data) -> None:
        trained, other = (Trainer(config(), data) for _ in range(2))
        trained.train_epoch()
        other.load_state_dict(trained.state_dict())
        assert other.evaluate("test") == trained.evaluate("test")

    def test_without_validation_rows_the_training_pairs_choose_it(self) -> None:
        folds = digits(folds=2)
        trainer = make_trainer(config(), folds)
        trainer.train_epoch()
        assert trainer.final().evaluate("test")["test_accuracy"] > 0.65

    def test_its_scores_are_defined_in_folds_too(self) -> None:
        folds = digits(folds=2)
        assert undefined_scores(task_for(folds), folds) == {}

    def test_the_exported_model_has_it(self, data: Data) -> None:
        trainer = Trainer(config(), data)
        trainer.train_epoch()
        assert isinstance(data.val, Pairs)
        val = data.val.rows(np.arange(len(data.val)))
        raw = torch.from_numpy(data.as_raw(val.x))
        table = export_model(trainer).predict_table(raw)
        right = table["similar"].to_numpy() == (val.y[:, 0] == 1)
        assert right.mean() == pytest.approx(trainer.evaluate("val")["val_accuracy"], abs=0.01)


@pytest.mark.parametrize("keywords", [{}, {"folds": 2}], ids=["split", "folds"])
def test_the_example_of_an_exported_model_is_pairs(keywords: dict[str, Any]) -> None:
    assert _example(digits(**keywords)).shape == (5, 2, 1, 8, 8)


def test_augmentations_are_of_each_example(data: Data) -> None:
    trainer = Trainer(config(augmentations=[{"name": "shift"}]), data)
    assert isinstance(data.train, Pairs)
    known = {row.tobytes() for row in data.train.x}
    inputs = next(trainer.training_batches(trainer.begin_epoch())).inputs.numpy()
    moved = np.array([[row.tobytes() not in known for row in pair] for pair in inputs])
    assert moved.any(0).all() and (moved[:, 0] != moved[:, 1]).any()


def test_lanes_learn_as_trainers_by_themselves(data: Data) -> None:
    rates = enumerate([0.1, 0.2])
    several = [replace(config(optimizer={"name": "sgd", "lr": lr}), number=n) for n, lr in rates]
    lanes, fused = Lanes(), [Trainer(each, data) for each in several]
    for trainer in fused:
        lanes.join(trainer)
    results = lanes.train_epoch()
    assert lanes.num_fused == 2 and not lanes.reasons
    for each, trainer in zip(several, fused, strict=True):
        alone = Trainer(each, data).train_epoch()
        found = results[trainer]
        assert isinstance(found, dict) and alone is not None
        for name in ("train_loss", "val_loss", "val_auc"):
            assert found[name] == pytest.approx(alone[name], rel=1e-3)


def test_an_earlier_stage_trains_the_encoder_for_classes() -> None:
    classes = load_data({"name": "digits", "train_rows": 200}, seed=0)
    pretrain = {"name": "train", "task": {"name": "pairs"}, "epochs": 2}
    trainer = make_trainer(config(stages=[pretrain]), classes)
    curve = [trainer.train_epoch() or {} for _ in range(3)]
    assert curve[1]["stage1_val_auc"] > 0.6 and curve[2]["val_accuracy"] > 0.3


class TestRefused:
    def test_numbers(self) -> None:
        diabetes = load_data({"name": "diabetes"}, seed=0, said=SAID)
        with pytest.raises(DataError, match="pairs needs targets for classification, but the"):
            task_for(diabetes, {"name": "pairs"})

    def test_shares_of_classes(self) -> None:
        section = {"name": "tests.support.effects:shares", "kind": "classification"}
        with pytest.raises(DataError, match="pairs need one class a row"):
            load_data(section, seed=0, said=SAID)

    def test_what_mixes_rows(self, data: Data) -> None:
        with pytest.raises(BadConfigurationError, match="augmentations.0: must leave targets"):
            Trainer(config(augmentations=[{"name": "mixup"}]), data)

    def test_losses_of_other_tasks(self, data: Data) -> None:
        with pytest.raises(BadConfigurationError, match="loss: must be for targets of pairs"):
            task_for(data, {"name": "pairs", "loss": "mse"})

    @pytest.mark.parametrize(
        "model, place",
        [
            (
                {"name": "mlp"},
                r"model.name: must be a model for pairs \(siamese\), but mlp is for",
            ),
            (
                {**SMALL, "encoder": "unet"},
                "model.encoder.name: must be a model for classification",
            ),
            ({**SMALL, "encoder": "mpl"}, "model.encoder: must be .* mlp"),
        ],
    )
    def test_models(self, model: Any, place: str) -> None:
        spec = {
            "name": "pairs",
            "objective": {"metric": "val_auc", "direction": "maximize"},
            "dataset": {"name": "digits"},
            "task": "pairs",
            "model": model,
            "optimizer": {"name": "adam", "lr": {"low": 1e-4, "high": 1e-2}},
            "search": {"trials": 2},
        }
        with pytest.raises(SpecError, match=place):
            check(draft_spec(spec))
