"""Half precision with a scaled loss, batches in parts, and devices."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpsearch.components import Data
from hpsearch.components.batch import Batch
from hpsearch.errors import BadConfigurationError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer
from hpsearch.training.update import Update
from hpsearch.validation import check
from tests.support.datasets import load
from tests.support.specs import changed


@pytest.fixture(scope="module")
def wine() -> Data:
    return load("wine")


def trainer(data: Data, device: str = "cpu", **changes: Any) -> Trainer:
    precision = changes.pop("precision", "fp32")
    values = {
        "model": {"name": "mlp", "hidden_sizes": [16]},
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
        "batch_size": 16,
        **changes,
    }
    return Trainer(TrialConfig(0, 0, 4, values, precision=precision), data, device)


def curve(one: Trainer, epochs: int) -> list[dict[str, float]]:
    return [{**(one.train_epoch() or {}), "seconds": 0} for _ in range(epochs)]


class TestHalfPrecision:
    def test_it_learns(self, wine: Data) -> None:
        half = trainer(wine, precision="fp16")
        metrics = curve(half, 4)[-1]
        assert metrics["val_accuracy"] > 0.9 and metrics != curve(trainer(wine), 4)[-1]
        assert all(param.dtype == torch.float32 for param in half.model.parameters())

    def test_gradients_are_those_of_the_loss(self, wine: Data) -> None:
        """Clipping and the norm see them unscaled."""
        clip = {"gradient_clip": {"name": "norm", "max_norm": 0.5}}
        half, full = (curve(trainer(wine, precision=each, **clip), 1) for each in ("fp16", "fp32"))
        assert half[0]["grad_norm"] == pytest.approx(full[0]["grad_norm"], rel=0.05)
        assert half[0]["train_loss"] == pytest.approx(full[0]["train_loss"], rel=0.01)

    def test_it_goes_on_with_its_scale(self, wine: Data) -> None:
        whole, first, second = (trainer(wine, precision="fp16") for _ in range(3))
        for each in (whole, first):
            each._scaler.load_state_dict({**each._scaler.state_dict(), "growth_interval": 5})
        expected = curve(whole, 4)
        halves = curve(first, 2)
        state = first.state_dict()
        assert state["scaler"]["scale"] > 2.0**16  # it has grown
        second.load_state_dict(state)
        assert [*halves, *curve(second, 2)] == expected
        assert second.state_dict()["scaler"] == whole.state_dict()["scaler"]

    def test_a_step_that_overflows_is_left_out(self) -> None:
        model = nn.Linear(4, 1, bias=False)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120)
        update = _update(model, optimizer, scaler=scaler)
        before = model.weight.detach().clone()
        x, y = torch.full((4, 4), 1e6), torch.zeros(4, 1)
        assert update(Batch(x, y), measure=True)[1] is None
        assert torch.equal(model.weight, before) and scaler.get_scale() == 2.0**119
        for _ in range(90):
            update(Batch(x / 1e6, y), measure=True)
        assert not torch.equal(model.weight, before)

    def test_several_gradients_a_step(self, wine: Data) -> None:
        lbfgs = {"name": "lbfgs", "lr": 0.1}
        with pytest.raises(BadConfigurationError, match="precision: must be fp32 or bf16"):
            trainer(wine, precision="fp16", optimizer=lbfgs).train_epoch()

    def test_in_a_spec(self) -> None:
        assert check(draft_spec(changed(precision="fp16"))).precision == "fp16"
        with pytest.raises(SpecError, match="precision: must be .*'fp16', but got 'fp8'"):
            check(draft_spec(changed(precision="fp8")))

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_on_a_gpu(self, wine: Data) -> None:
        assert curve(trainer(wine, "cuda", precision="fp16"), 4)[-1]["val_accuracy"] > 0.9


class TestParts:
    def test_are_as_the_whole(self, wine: Data) -> None:
        penalty = {"regularizers": [{"name": "l2", "strength": 0.01}]}
        whole = curve(trainer(wine, **penalty), 3)
        for parts in (2, 3, 16):
            found = curve(trainer(wine, accumulate=parts, **penalty), 3)
            for one, other in zip(whole, found, strict=True):
                assert one == pytest.approx(other, rel=1e-3, abs=1e-5)

    @pytest.mark.parametrize(
        ("rows", "parts"), [(16, [4, 4, 4, 4]), (10, [3, 3, 2, 2]), (5, [3, 2])]
    )
    def test_sizes(self, rows: int, parts: list[int]) -> None:
        """Batch norm can train on each."""
        seen: list[int] = []
        model = nn.Linear(4, 1)
        model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
        update = _update(model, torch.optim.SGD(model.parameters(), lr=0.1), accumulate=4)
        batch = Batch(torch.rand(rows, 4), torch.zeros(rows, 1))
        outputs, _ = update(batch, measure=False)
        assert seen == parts and len(outputs) == rows

    def test_with_batch_norm_and_a_closure(self, wine: Data) -> None:
        model = {"name": "mlp", "hidden_sizes": [8], "norm": "batch"}
        found = curve(trainer(wine, model=model, accumulate=3, batch_size=9), 2)
        assert found[-1]["val_accuracy"] > 0.5
        lbfgs = {"name": "lbfgs", "lr": 0.1, "max_iter": 2}
        one, other = (
            curve(trainer(wine, optimizer=lbfgs, batch_size="full", accumulate=each), 2)
            for each in (1, 3)
        )
        assert one[-1]["train_loss"] == pytest.approx(other[-1]["train_loss"], rel=1e-3)

    def test_with_half_precision(self, wine: Data) -> None:
        one, other = (
            curve(trainer(wine, precision="fp16", accumulate=each), 2) for each in (1, 4)
        )
        assert one[-1]["train_loss"] == pytest.approx(other[-1]["train_loss"], rel=0.02)

    def test_in_a_spec(self) -> None:
        spec = check(draft_spec(changed(accumulate={"choices": [1, 4]})))
        assert spec.accumulate.choices == (1, 4)
        with pytest.raises(SpecError, match="accumulate: must be .* 1, but got 0"):
            check(draft_spec(changed(accumulate=0)))


class TestDevices:
    def test_follows_from_resources_and_the_spec(self) -> None:
        config = TrialConfig(0, 0, 1, {})
        assert config.device == "cpu"
        assert dataclasses.replace(config, gpu=0.5).device == "cuda"
        assert dataclasses.replace(config, device_type="mps").device == "mps"

    @pytest.mark.skipif(torch.backends.mps.is_available(), reason="the machine has one")
    def test_a_device_that_is_not_there(self) -> None:
        with pytest.raises(SpecError, match=r"device: must be a device .*\(cpu\), but got 'mps'"):
            check(draft_spec(changed(device="mps")))

    def test_beside_gpus_of_the_cluster(self) -> None:
        with pytest.raises(SpecError, match="device: must not be given where trials get GPUs"):
            check(draft_spec(changed(device="cpu", resources={"gpu": 1})))

    @pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs Apple's GPU")
    def test_on_apple_s_gpu(self, wine: Data) -> None:
        assert curve(trainer(wine, "mps"), 4)[-1]["val_accuracy"] > 0.9


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, **more: Any) -> Update:
    def loss(outputs: Tensor, batch: Batch) -> Tensor:
        return (outputs - batch.targets - 1).square().mean()

    def autocast() -> Any:
        return torch.autocast("cpu", torch.bfloat16, enabled=False)

    return Update(
        model=model, forward=model, loss=loss, optimizer=optimizer, autocast=autocast, **more
    )
