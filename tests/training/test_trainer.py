"""The trainer: it learns, resumes bit for bit, reports the truth, and stops where it must."""

from __future__ import annotations

import dataclasses
import io
import math
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components import Arrays, Data, epoch_metrics, load_data
from hpsearch.errors import BadConfigurationError, DivergedError, UserCodeError
from hpsearch.spec import TrialConfig
from hpsearch.training import (
    CrossValidation,
    Trainer,
    derive_seed,
    export_model,
    make_trainer,
    refit,
)
from hpsearch.training.batches import batch_sizes

MLP = {"name": "mlp", "hidden_sizes": [16], "dropout": 0.2, "input_dropout": 0.1}
CNN = {"name": "cnn", "channels": [4], "hidden_sizes": [8], "dropout": 0.2}


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data({"name": "digits"}, seed=0)


@pytest.fixture(scope="module")
def diabetes() -> Data:
    return load_data({"name": "diabetes"}, seed=0)


@pytest.fixture(scope="module")
def wine() -> Data:
    return load_data({"name": "wine"}, seed=0)


def config(number: int = 0, seed: int = 0, folder: str = ".", **values: Any) -> TrialConfig:
    sections = {
        "dataset": {},
        "task": None,
        "model": MLP,
        "initializer": {"name": "he_normal"},
        "optimizer": {"name": "adam", "lr": 0.003},
        "batch_size": 32,
        "gradient_clip": None,
    }
    return TrialConfig(number, seed, max_epochs=9, values={**sections, **values}, folder=folder)


def train(trainer: Trainer | CrossValidation, epochs: int) -> list[dict[str, float]]:
    """Train some epochs; returns their metrics but the time."""
    curve = [trainer.train_epoch() for _ in range(epochs)]
    return [{k: v for k, v in metrics.items() if k != "seconds"} for metrics in curve]


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


class Halving(nn.Linear):
    """Changes its inputs in place."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        return super().forward(input.mul_(0.5))


def halving(input_shape: tuple[int, ...], output_size: int) -> nn.Module:
    return Halving(input_shape[0], output_size)


def test_a_model_that_changes_its_inputs_changes_no_data(wine: Data) -> None:
    model = {"name": f"{__name__}:halving"}
    first, second = (train(Trainer(config(model=model), wine), 2) for _ in range(2))
    assert first == second


class TestLearning:
    def test_digits(self, digits: Data) -> None:
        model = {"name": "mlp", "hidden_sizes": [128], "dropout": 0.2}
        trainer = Trainer(config(model=model), digits)
        curve = train(trainer, 15)
        assert curve[-1]["val_accuracy"] > 0.97
        assert curve[-1]["train_loss"] < curve[0]["train_loss"] / 5
        assert trainer.evaluate("test")["test_accuracy"] > 0.96

    def test_digits_as_images(self, digits: Data) -> None:
        model = {"name": "cnn", "channels": [8, 16]}
        assert train(Trainer(config(model=model), digits), 8)[-1]["val_accuracy"] > 0.97

    def test_diabetes(self, diabetes: Data) -> None:
        optimizer = {"name": "adamw", "lr": 0.001, "weight_decay": 0.1}
        model = {"name": "mlp", "hidden_sizes": [32], "dropout": 0.3}
        metrics = train(Trainer(config(model=model, optimizer=optimizer), diabetes), 25)[-1]
        assert 0.4 < metrics["val_r2"] < 0.6
        variance = float(diabetes.y_scale.std[0]) ** 2
        assert 0.3 * variance < metrics["val_loss"] < 0.7 * variance  # in squared units

    def test_zero_weights_learn_class_frequencies_only(self, digits: Data) -> None:
        trainer = Trainer(config(initializer={"name": "zeros"}), digits)
        assert train(trainer, 3)[-1]["val_accuracy"] < 0.15

    def test_an_initializer_of_its_own_generator(self, digits: Data) -> None:
        """The weights depend on neither the process's generator nor the model's own draws."""
        weights = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            weights.append(Trainer(config(), digits).model)
        assert same_weights(*weights)


class TestResuming:
    @pytest.mark.parametrize("optimizer", registry.names("optimizer"))
    @pytest.mark.parametrize("model", [MLP, CNN], ids=["mlp", "cnn"])
    def test_two_and_two_epochs_are_four(
        self, digits: Data, model: dict[str, Any], optimizer: str
    ) -> None:
        trial = config(model=model, optimizer={"name": optimizer, "lr": 0.01}, gradient_clip=1.0)
        straight = Trainer(trial, digits)
        expected = train(straight, 4)
        first = Trainer(trial, digits)
        curve = train(first, 2)
        file = io.BytesIO()
        torch.save(first.state_dict(), file)
        file.seek(0)
        torch.randn(7)  # what else the process draws has no effect
        second = Trainer(trial, digits)
        second.load_state_dict(torch.load(file))
        curve += train(second, 2)
        assert second.epoch == 4
        assert curve == expected
        assert same_weights(straight.model, second.model)

    def test_a_state_is_a_copy_in_both_directions(self, wine: Data) -> None:
        trial = config(optimizer={"name": "sgd", "lr": 0.01, "momentum": 0.9})
        trainer = Trainer(trial, wine)
        train(trainer, 1)
        state = trainer.state_dict()
        expected = train(trainer, 2)
        for _ in range(2):
            trainer.load_state_dict(state)
            assert train(trainer, 2) == expected

    def test_hyperparameters_come_from_the_configuration(self, wine: Data) -> None:
        slow = Trainer(config(optimizer={"name": "adam", "lr": 1e-4}), wine)
        slow.train_epoch()
        fast = Trainer(config(optimizer={"name": "adam", "lr": 1e-2}), wine)
        fast.load_state_dict(slow.state_dict())
        assert fast.train_epoch()["lr"] == 1e-2

    def test_folds_resume_too(self) -> None:
        data = load_data({"name": "wine", "folds": 3}, seed=0)
        expected = train(make_trainer(config(), data), 3)
        first, second = make_trainer(config(), data), make_trainer(config(), data)
        curve = train(first, 1)
        second.load_state_dict(first.state_dict())
        assert curve + train(second, 2) == expected


class TestSeeds:
    def test_the_same_configuration_gives_the_same_curve(self, wine: Data) -> None:
        assert train(Trainer(config(), wine), 2) == train(Trainer(config(), wine), 2)

    @pytest.mark.parametrize("other", [{"number": 1}, {"seed": 1}])
    def test_others_differ(self, wine: Data, other: dict[str, Any]) -> None:
        assert train(Trainer(config(), wine), 1) != train(Trainer(config(**other), wine), 1)

    def test_all_arguments_count(self) -> None:
        seeds = [
            derive_seed(seed, number, purpose, epoch)
            for seed in range(3)
            for number in range(3)
            for purpose in ("shuffle", "epoch")
            for epoch in range(3)
        ]
        assert len(set(seeds)) == len(seeds)
        assert all(0 <= seed < 2**63 for seed in seeds)
        assert derive_seed(0, 0, "shuffle", 1) == 3_208_261_488_191_715_062  # on any machine


class TestMetrics:
    @pytest.mark.parametrize("name", ["wine", "diabetes"])
    def test_names(self, name: str) -> None:
        trainer = Trainer(config(), load_data({"name": name}, seed=0))
        assert tuple(trainer.train_epoch()) == epoch_metrics(trainer.task)

    @pytest.mark.parametrize("name", ["wine", "diabetes"])
    def test_training_metrics_are_weighted_by_rows(self, name: str) -> None:
        """Without learning, the epoch's batches (the last is short) amount to an evaluation."""
        data = load_data({"name": name}, seed=0)
        trial = config(
            model={"name": "mlp"}, optimizer={"name": "sgd", "lr": 1e-12}, batch_size=50
        )
        trainer = Trainer(trial, data)
        metrics = trainer.train_epoch()
        for key, value in trainer.evaluate("train").items():
            assert metrics[key] == pytest.approx(value, rel=1e-5)

    def test_gradient_norm_is_taken_before_clipping(self, wine: Data) -> None:
        trial = config(
            model={"name": "mlp"},
            optimizer={"name": "sgd", "lr": 1e-12},
            batch_size=len(arrays(wine.train)),
            gradient_clip=0.01,
        )
        trainer = Trainer(trial, wine)
        reported = trainer.train_epoch()["grad_norm"]
        x, y = (torch.from_numpy(a) for a in (arrays(wine.train).x, arrays(wine.train).y))
        loss = nn.functional.cross_entropy(trainer.model(x), y)
        grads = torch.autograd.grad(loss, list(trainer.model.parameters()))
        assert reported == pytest.approx(math.sqrt(sum(g.square().sum() for g in grads)), rel=1e-4)
        assert reported > 0.1

    @pytest.mark.parametrize("clip", [0.01, None])
    def test_clipping_bounds_a_step(self, wine: Data, clip: float | None) -> None:
        trial = config(
            optimizer={"name": "sgd", "lr": 1.0},
            batch_size=len(arrays(wine.train)),
            gradient_clip=clip,
        )
        trainer = Trainer(trial, wine)
        before = [p.detach().clone() for p in trainer.model.parameters()]
        trainer.train_epoch()
        steps = zip(trainer.model.parameters(), before, strict=True)
        length = math.sqrt(sum((p.detach() - b).square().sum() for p, b in steps))
        assert (length == pytest.approx(0.01, rel=1e-3)) == (clip is not None)

    def test_label_smoothing_leaves_the_reported_loss_alone(self, wine: Data) -> None:
        task = {"name": "classification", "label_smoothing": 0.5}
        plain, smooth = Trainer(config(), wine), Trainer(config(task=task), wine)
        assert plain.evaluate("val") == smooth.evaluate("val")
        assert train(plain, 1) != train(smooth, 1)


def arrays(split: Any) -> Arrays:
    assert isinstance(split, Arrays)
    return split


class TestEnds:
    @pytest.mark.parametrize("name", ["digits", "diabetes"])
    def test_divergence(self, name: str) -> None:
        data = load_data({"name": name}, seed=0)
        trainer = Trainer(config(optimizer={"name": "sgd", "lr": 1e20}), data)
        with pytest.raises(DivergedError, match=r"epoch 1: train_loss must be finite, but got"):
            train(trainer, 5)

    def test_a_validation_loss_that_is_not_finite(self, wine: Data) -> None:
        trial = config(optimizer={"name": "sgd", "lr": 1e38}, batch_size=114)
        with pytest.raises(DivergedError, match="epoch 1: val_loss must be finite"):
            Trainer(trial, wine).train_epoch()

    @pytest.mark.parametrize("batch_size", [0, 115])
    def test_batch_size(self, wine: Data, batch_size: int) -> None:
        with pytest.raises(BadConfigurationError, match=f"at most the 114 .* got {batch_size}"):
            Trainer(config(batch_size=batch_size), wine)
        Trainer(config(batch_size=114), wine).train_epoch()

    def test_outputs_of_the_wrong_shape(self, wine: Data, tmp_path: Path) -> None:
        (tmp_path / "wrong_shape.py").write_text(
            "from torch import nn\ndef net(input_shape):\n    return nn.Linear(*input_shape, 7)\n"
        )
        model = {"name": "wrong_shape.py:net"}
        with pytest.raises(UserCodeError, match=r"shape \(2, 3\) for two .* but got \(2, 7\)"):
            Trainer(config(model=model, folder=str(tmp_path)), wine)

    def test_what_a_users_model_raises_is_not_hidden(self, wine: Data, tmp_path: Path) -> None:
        (tmp_path / "raises.py").write_text("def net():\n    raise RuntimeError('mine')\n")
        with pytest.raises(RuntimeError, match="mine"):
            Trainer(config(model={"name": "raises.py:net"}, folder=str(tmp_path)), wine)


def test_a_users_model_with_batch_norm_and_lazy_layers(wine: Data, tmp_path: Path) -> None:
    """Buffers are part of the state, and no batch is a single row (114 = 113 + 1)."""
    (tmp_path / "normed.py").write_text(
        "from torch import nn\n"
        "def net(output_size):\n"
        "    return nn.Sequential(nn.LazyLinear(8), nn.BatchNorm1d(8), nn.ReLU(),\n"
        "                         nn.Linear(8, output_size))\n"
    )
    trial = config(model={"name": "normed.py:net"}, batch_size=113, folder=str(tmp_path))
    first, second = Trainer(trial, wine), Trainer(trial, wine)
    expected = train(first, 2)
    second.train_epoch()
    third = Trainer(trial, wine)
    third.load_state_dict(second.state_dict())
    assert train(third, 1) == expected[1:]


def test_denormals_are_flushed_while_training_only(wine: Data) -> None:
    """The momentum of units that have died would decay into denormals and stay there."""
    trial = config(optimizer={"name": "sgd", "lr": 0.01, "momentum": 0.5}, batch_size=8)
    trainer = Trainer(trial, wine)
    trainer.train_epoch()
    for param in trainer.model.parameters():
        trainer.optimizer.state[param]["momentum_buffer"].fill_(1e-30)
    with torch.no_grad():
        trainer.model[1].bias.fill_(-100.0)  # every hidden unit dies
    train(trainer, 2)  # 30 steps
    momentum = trainer.optimizer.state[trainer.model[1].weight]["momentum_buffer"]
    assert momentum.count_nonzero() == 0  # else 0.5^30 of 1e-30, 9e-40
    assert (torch.tensor(1e-38) / 2).item() != 0


@pytest.mark.parametrize(
    ("num_rows", "batch_size", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (8, 4, [4, 4]), (3, 1, [1, 1, 1]), (1, 1, [1])],
)
def test_batch_sizes(num_rows: int, batch_size: int, sizes: list[int]) -> None:
    assert batch_sizes(num_rows, batch_size) == sizes


def test_shared_data_is_read_only_and_stays_so(wine: Data) -> None:
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(wine, protocol=5, buffer_callback=buffers.append)
    shared = pickle.loads(pickled, buffers=[buffer.raw().toreadonly() for buffer in buffers])
    assert train(Trainer(config(), shared), 2) == train(Trainer(config(), wine), 2)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Data, Data]:
    """The same rows as arrays and as Datasets."""
    folder = tmp_path_factory.mktemp("pair")
    body = (
        "import torch\n"
        "g = torch.Generator().manual_seed(0)\n"
        "x = torch.randn(90, 6, generator=g)\n"
        "y = x[:, :3].argmax(1)\n"
        "parts = {'train': slice(0, 60), 'val': slice(60, 80), 'test': slice(80, 90)}\n"
        "def tensors():\n    return {k: (x[s], y[s]) for k, s in parts.items()}\n"
        "def datasets():\n"
        "    D = torch.utils.data.TensorDataset\n"
        "    return {k: D(x[s], y[s]) for k, s in parts.items()}\n"
    )
    (folder / "user_pair.py").write_text(body)
    section = {"name": "user_pair.py:tensors", "standardize": False}
    tensors = load_data(section, seed=0, folder=folder)
    datasets = load_data({"name": "user_pair.py:datasets"}, seed=0, folder=folder)
    return tensors, datasets


class TestDatasets:
    def test_they_train_as_arrays_do(self, pair: tuple[Data, Data]) -> None:
        curves = [train(Trainer(config(), data), 2) for data in pair]
        assert curves[0] == curves[1]
        assert Trainer(config(), pair[1]).evaluate("test")

    def test_refit_takes_all_but_the_test_rows(self, pair: tuple[Data, Data]) -> None:
        assert [data.merged().num_train_rows for data in pair] == [80, 80]
        assert refit(config(), pair[1], 1).epoch == 1


class TestCrossValidation:
    def test_metrics_are_means_over_the_folds(self) -> None:
        data = load_data({"name": "wine", "folds": 3}, seed=0)
        trainer = make_trainer(config(), data)
        assert isinstance(trainer, CrossValidation)
        metrics = train(trainer, 2)[-1]
        scores = [fold.evaluate("val")["val_accuracy"] for fold in trainer.trainers]
        assert len(set(scores)) > 1
        assert metrics["val_accuracy"] == pytest.approx(np.mean(scores))
        assert trainer.epoch == 2
        assert tuple(trainer.train_epoch()) == epoch_metrics(trainer.trainers[0].task)

    def test_folds_start_from_weights_of_their_own(self) -> None:
        data = load_data({"name": "wine", "folds": 2}, seed=0)
        trainer = make_trainer(config(), data)
        assert isinstance(trainer, CrossValidation)
        assert not same_weights(trainer.trainers[0].model, trainer.trainers[1].model)

    def test_it_learns_and_is_refitted(self) -> None:
        data = load_data({"name": "diabetes", "folds": 4}, seed=0)
        trial = config(
            model={"name": "mlp", "hidden_sizes": [32], "dropout": 0.3},
            optimizer={"name": "adamw", "lr": 0.002, "weight_decay": 0.1},
        )
        assert train(make_trainer(trial, data), 20)[-1]["val_r2"] > 0.35
        final = refit(trial, data, 20)
        assert len(arrays(final.data.train)) == len(arrays(data.train))
        assert final.evaluate("test")["test_r2"] > 0.35


class TestExport:
    @pytest.mark.parametrize("keywords", [{}, {"standardize": False}])
    @pytest.mark.parametrize("name", ["digits", "wine"])
    def test_it_takes_raw_inputs(self, name: str, keywords: dict[str, Any]) -> None:
        data = load_data({"name": name, **keywords}, seed=0)
        raw = load_data({"name": name, "standardize": False}, seed=0)
        trainer = Trainer(config(), data)
        train(trainer, 2)
        model = _reloaded(export_model(trainer))
        x, y = raw.as_raw(arrays(raw.test).x), arrays(raw.test).y
        with torch.no_grad():
            predicted = model(torch.from_numpy(x)).argmax(1).numpy()
        expected = trainer.evaluate("test")["test_accuracy"]
        assert (predicted == y).mean() == pytest.approx(expected, abs=1e-6)

    def test_it_predicts_in_the_targets_units(self, diabetes: Data) -> None:
        trainer = Trainer(config(), diabetes)
        train(trainer, 5)
        test, x_scale, y_scale = arrays(diabetes.test), diabetes.x_scale, diabetes.y_scale
        x, y = test.x * x_scale.std + x_scale.mean, test.y * y_scale.std + y_scale.mean
        with torch.no_grad():
            predicted = _reloaded(export_model(trainer))(torch.from_numpy(x)).numpy()
        expected = trainer.evaluate("test")["test_loss"]
        assert np.mean((predicted - y) ** 2) == pytest.approx(expected, rel=1e-4)

    def test_it_is_a_copy(self, wine: Data) -> None:
        trainer = Trainer(config(), wine)
        model, x = export_model(trainer), torch.ones(1, 13)
        before = model(x)
        trainer.train_epoch()
        assert torch.equal(model(x), before)


def _reloaded(model: nn.Module) -> nn.Module:
    copy: nn.Module = pickle.loads(pickle.dumps(model))
    assert not copy.training
    return copy


def test_bf16_learns_in_lower_precision(digits: Data) -> None:
    trial = dataclasses.replace(config(), precision="bf16")
    trainer = Trainer(trial, digits)
    metrics = train(trainer, 6)[-1]
    assert metrics["val_accuracy"] > 0.9
    assert metrics != train(Trainer(config(), digits), 6)[-1]
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:.*script_method. is deprecated:DeprecationWarning")  # torch's
def test_a_compiled_trial_has_the_same_curve(wine: Data) -> None:
    trial = config(model={"name": "mlp", "hidden_sizes": [8]}, batch_size=38)  # 3 equal batches
    compiled = Trainer(dataclasses.replace(trial, compile=True), wine)
    plain = Trainer(trial, wine)
    for ours, theirs in zip(train(compiled, 2), train(plain, 2), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert compiled.state_dict()["model"].keys() == plain.state_dict()["model"].keys()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("model", [MLP, CNN], ids=["mlp", "cnn"])
def test_gpu(digits: Data, model: dict[str, Any]) -> None:
    trial = config(model=model)
    trainer = Trainer(trial, digits, "cuda")
    assert train(trainer, 8)[-1]["val_accuracy"] > 0.85
    state: dict[str, Tensor] = trainer.state_dict()["model"]
    assert all(tensor.device.type == "cpu" for tensor in state.values())
    on_cpu = Trainer(trial, digits)
    on_cpu.load_state_dict(trainer.state_dict())
    expected = trainer.evaluate("val")["val_loss"]
    assert on_cpu.evaluate("val")["val_loss"] == pytest.approx(expected, rel=1e-3)
