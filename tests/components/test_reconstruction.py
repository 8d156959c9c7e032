"""Reconstruction: what it reports, and autoencoders against what is known of them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hpsearch.components import Arrays, Data, load_data, task_for
from hpsearch.components.batch import Batch
from hpsearch.components.corruptions import block_masking, gaussian, masking, salt_and_pepper
from hpsearch.components.models.autoencoder import drawn_code
from hpsearch.components.tasks.kinds import Statement
from hpsearch.components.tasks.reconstruction import kl_divergences, laplacian_variances
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from tests.support.trainers import goes_on_bit_for_bit

SAID = Statement("reconstruction", "the task is for reconstruction")
SMALL = {"name": "autoencoder", "hidden_sizes": [16], "code_size": 4}
MODELS: dict[str, dict[str, Any]] = {
    "plain": SMALL,
    "tied": {**SMALL, "tied": True},
    "denoising": {**SMALL, "corruption": "masking"},
    "variational": {**SMALL, "variational": True},
    "convolutional": {"name": "conv_autoencoder", "channels": [4, 8], "variational": True},
}


def digits() -> Data:
    section = {"name": "digits", "train_rows": 200, "val_rows": 100, "standardize": False}
    return load_data(section, seed=0, said=SAID)


@pytest.fixture(scope="module")
def data() -> Data:
    return digits()


def trainer(data: Data, **values: Any) -> Trainer:
    optimizer = {"name": "adam", "lr": 0.01}
    values = {"model": SMALL, "optimizer": optimizer, "batch_size": 50, **values}
    return Trainer(TrialConfig(0, 0, 4, values), data)


def test_targets_are_ignored(data: Data) -> None:
    assert data.kind == "reconstruction" and data.output_shape == (1, 8, 8)
    assert data.description == ("reconstruction, because the task is for reconstruction")
    assert load_data({"name": "diabetes"}, seed=0, said=SAID).kind == "reconstruction"
    assert load_data({"name": "digits"}, seed=0).kind == "classification"


class TestMetrics:
    def test_divergences(self) -> None:
        """The values of a normal code: mean 1, and variance 4."""
        mean = torch.tensor([[1.0], [0.0], [0.0]])
        log_variance = torch.tensor([[0.0], [0.0], [4.0]]).clamp_min(0)
        log_variance[2] = torch.tensor(4.0).log()
        found = kl_divergences(mean, log_variance)
        assert found.tolist() == pytest.approx([0.5, 0.0, 0.8068528194])

    def test_both_parts_are_reduced_alike(self, data: Data) -> None:
        """The loss is the negative bound times 2 / D, for a decoder of unit variance."""
        torch.manual_seed(0)
        x, given = torch.randn(5, 1, 8, 8), torch.randn(5, 1, 8, 8)
        mean, log_variance = torch.randn(2, 5, 4)
        task = task_for(data, {"name": "reconstruction", "kl_weight": 3.0})
        loss = task.loss((given, mean, log_variance), Batch(x, torch.zeros(5)))
        bound = 0.5 * (x - given).square().flatten(1).sum(1) + 3 * kl_divergences(
            mean, log_variance
        )
        assert loss.item() * 64 / 2 == pytest.approx(bound.mean().item(), rel=1e-5)

    def test_batches_add_up(self, data: Data) -> None:
        torch.manual_seed(0)
        x, given = torch.randn(2, 5, 1, 8, 8)
        codes = torch.randn(2, 5, 4)
        task = task_for(data, {"name": "reconstruction", "loss": "l1"})
        parts = [slice(0, 1), slice(1, 5)]
        totals = [
            task.totals((given[p], codes[0, p], codes[1, p]), Batch(x[p], x[p])) for p in parts
        ]
        found = task.summary(torch.stack(totals).sum(0).tolist())
        assert found == pytest.approx(
            {
                "loss": (x - given).square().mean().item(),
                "kl_divergence": kl_divergences(*codes).mean().item(),
                "criterion": (x - given).abs().mean().item(),
                "sharpness": (
                    laplacian_variances(given).sum() / laplacian_variances(x).sum()
                ).item(),
            }
        )


class TestWarmup:
    """The weight of the divergence rises to `kl_weight` over epochs."""

    def test_weights(self, data: Data) -> None:
        """Linearly: 0, a third and two thirds of it in the first three epochs, then all."""
        task = task_for(data, {"name": "reconstruction", "kl_weight": 3.0, "kl_warmup_epochs": 3})
        x, codes = torch.zeros(5, 1, 8, 8), torch.ones(2, 5, 4)
        divergence, found = kl_divergences(*codes).mean().item(), []
        for epoch in (1, 2, 3, 4, 9):
            task.begin_epoch(epoch)  # type: ignore[attr-defined]  # a task may lack it
            found.append(task.loss((x, *codes), Batch(x, x)).item() * 32 / divergence)
        assert found == pytest.approx([0, 1, 2, 3, 3], rel=1e-5)

    def test_trials(self, data: Data) -> None:
        """A code without a weighed divergence gets far from the prior."""
        curves = []
        for epochs in (0, 2):
            task = {"name": "reconstruction", "kl_weight": 10.0, "kl_warmup_epochs": epochs}
            one = trainer(data, model=MODELS["variational"], task=task)
            curves.append([(one.train_epoch() or {})["val_kl_divergence"] for _ in range(4)])
        plain, warmed = curves
        assert warmed[0] > 2 * plain[0] and warmed[0] > 2 * warmed[-1]

    def test_goes_on_bit_for_bit(self, data: Data) -> None:
        task = {"name": "reconstruction", "kl_warmup_epochs": 3}
        model = MODELS["variational"]
        goes_on_bit_for_bit(*(trainer(data, model=model, task=task) for _ in range(3)))


@pytest.mark.parametrize("model", MODELS)
class TestEachModel:
    def test_gradients_reach_each_parameter(self, data: Data, model: str) -> None:
        one = trainer(data, model=MODELS[model])
        assert isinstance(data.train, Arrays)
        x = torch.from_numpy(data.train.x)
        one.task.loss(one.model.train()(x), Batch(x, x)).backward()
        assert all(p.grad is not None and p.grad.abs().sum() for p in one.model.parameters())

    def test_goes_on_bit_for_bit(self, data: Data, model: str) -> None:
        curve = goes_on_bit_for_bit(*(trainer(data, model=MODELS[model]) for _ in range(3)))
        assert curve[-1]["val_loss"] < curve[0]["val_loss"]
        assert (curve[-1]["val_kl_divergence"] > 0) == ("variational" in MODELS[model])

    def test_is_exported_for_raw_inputs(self, model: str) -> None:
        standardized = load_data({"name": "digits", "train_rows": 200}, seed=0, said=SAID)
        one = trainer(standardized, model=MODELS[model])
        one.train_epoch()
        buffer = io.BytesIO()
        torch.save(export_model(one), buffer)
        buffer.seek(0)
        loaded = torch.load(buffer, weights_only=False)
        val = standardized.val
        assert isinstance(val, Arrays)
        raw = torch.from_numpy(standardized.as_raw(val.x))
        error = (loaded(raw) - raw) / torch.from_numpy(
            standardized.unit * standardized.x_scale.std
        )
        expected = one.evaluate("val")["val_loss"]
        assert error.square().mean().item() == pytest.approx(expected, rel=1e-3)
        assert loaded.predict_table(raw[:3]).shape == (3, 64)


def test_linear_tied_weights_come_to_pca() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, 6)) * [3, 2, 1.5, 0.5, 0.3, 0.1]) @ np.linalg.qr(
        rng.normal(size=(6, 6))
    )[0]
    x = (x - x.mean(0)).astype(np.float32)
    errors = np.linalg.svd(x, compute_uv=False) ** 2 / x.size
    rows = Arrays(x, np.zeros(len(x), np.int64))
    data = Data("reconstruction", (6,), 6, rows, rows, rows)
    linear = {"name": "autoencoder", "hidden_sizes": [], "code_size": 3, "tied": True}
    lbfgs = {"name": "lbfgs", "max_iter": 100}
    one = trainer(data, model=linear, optimizer=lbfgs, batch_size="full")
    curve = [one.train_epoch() for _ in range(2)]
    assert curve[-1] is not None
    assert curve[-1]["val_loss"] == pytest.approx(errors[3:].sum(), abs=1e-3)


def test_a_code_that_is_drawn_has_the_gradient_of_its_mean() -> None:
    """d E[z²] / dm = 2 m, by the reparametrisation of a variational autoencoder."""
    torch.manual_seed(0)
    mean = torch.full((400_000, 1), 0.7, requires_grad=True)
    drawn_code(mean, torch.full((400_000, 1), -0.5)).square().sum().backward()
    assert mean.grad is not None
    assert mean.grad.mean().item() == pytest.approx(1.4, abs=0.01)


def test_of_masked_inputs_alone_the_mean_is_learned() -> None:
    """All inputs are 0: the best is each value's share, its loss the sum of their entropies."""
    rng = np.random.default_rng(0)
    x = (rng.random((400, 3)) < [0.1, 0.4, 0.7]).astype(np.float32)
    rows = Arrays(x, np.zeros(len(x), np.int64))
    data = Data("reconstruction", (3,), 3, rows, rows, rows)
    section = {"name": "autoencoder", "hidden_sizes": [], "code_size": 2}
    blind = {**section, "corruption": "masking", "corruption_rate": 1.0}
    values = {"model": blind, "optimizer": {"name": "lbfgs"}, "batch_size": "full"}
    values["task"] = {"name": "reconstruction", "likelihood": "bernoulli"}
    one = trainer(data, **values)
    curve = [one.train_epoch() or {} for _ in range(4)]
    shares = x.mean(0)
    entropy = -(shares * np.log(shares) + (1 - shares) * np.log(1 - shares)).sum()
    assert curve[-1]["train_negative_elbo"] == pytest.approx(entropy, rel=1e-3)
    torch.testing.assert_close(
        one.model(torch.zeros(1, 3))[0].sigmoid(), torch.from_numpy(shares), atol=2e-3, rtol=0
    )


class TestCorruptions:
    X = torch.linspace(-1, 2, 20_000).view(100, 200)

    def changed(self, found: Tensor) -> float:
        return float((found != self.X).double().mean())

    def test_masking(self) -> None:
        torch.manual_seed(0)
        found = masking(self.X, 0.3)
        assert self.changed(found) == pytest.approx(0.3, abs=0.02)
        assert set(found[found != self.X].tolist()) == {0.0}
        assert not masking(self.X, 1.0).any()

    def test_salt_and_pepper(self) -> None:
        torch.manual_seed(0)
        found = salt_and_pepper(self.X, 0.3)
        assert self.changed(found) == pytest.approx(0.3, abs=0.02)
        values, counts = found[found != self.X].unique(return_counts=True)
        assert values.tolist() == [-1.0, 2.0]
        assert counts[0] / counts.sum() == pytest.approx(0.5, abs=0.03)

    def test_block_masking(self) -> None:
        torch.manual_seed(0)
        found = block_masking(self.X.abs() + 1, 0.3) == 0
        assert found.sum(1).tolist() == [60] * 100
        assert (found[:, 1:] != found[:, :-1]).sum(1).max() <= 2  # one stretch
        assert found.any(0).float().mean() > 0.9  # anywhere
        images = block_masking(torch.ones(50, 3, 8, 6), 0.25) == 0
        assert torch.equal(images[:, 0], images[:, 1])
        assert images[:, 0].sum((1, 2)).tolist() == [4 * 3] * 50
        assert (images[:, 0].any(2).sum(1) == 4).all()

    def test_gaussian(self) -> None:
        torch.manual_seed(0)
        assert (gaussian(self.X, 0.3) - self.X).std() == pytest.approx(0.3, abs=0.01)

    def test_are_of_training_alone(self, data: Data) -> None:
        net = trainer(data, model=MODELS["denoising"]).model
        x = torch.rand(8, 1, 8, 8)
        assert torch.equal(net.eval()(x), net(x))
        assert not torch.equal(net.train()(x), net(x))


class TestCodeReader:
    """Of another task a head reads the codes."""

    @pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
    def test_it_has_the_names_of_the_autoencoder(self, model: dict[str, Any]) -> None:
        classes = trainer(load_data({"name": "digits", "train_rows": 100}, seed=0), model=model)
        names = classes.model.state_dict().keys()
        head = "reader" if model["name"] == "conv_autoencoder" else "head"
        assert {name for name in names if not name.startswith("encoder.")} == {
            f"{head}.weight",
            f"{head}.bias",
        }
        whole = trainer(digits(), model=model).model.state_dict()
        assert {name for name in names if name.startswith("encoder.")} <= whole.keys()
        assert (classes.train_epoch() or {})["val_accuracy"] > 0


class TestRefused:
    def test_models_of_other_shapes(self, data: Data) -> None:
        rule = r"model for reconstruction \(autoencoder, conv_autoencoder, unet\), but mlp is for"
        with pytest.raises(BadConfigurationError, match=rule):
            trainer(data, model={"name": "mlp"})

    def test_other_tasks(self) -> None:
        wine = load_data({"name": "wine"}, seed=0)
        with pytest.raises(DataError, match="reconstruction needs targets for reconstruction"):
            task_for(wine, {"name": "reconstruction"})

    @pytest.mark.parametrize("other", [{"activation": "glu"}, {"variational": True}])
    def test_tied(self, data: Data, other: dict[str, Any]) -> None:
        with pytest.raises(BadConfigurationError, match="tied: must be false"):
            trainer(data, model={**SMALL, "tied": True, **other})
