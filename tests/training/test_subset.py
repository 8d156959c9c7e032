"""Fine-tuning on a subset: which rows are trained on, and what is forgotten of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.layer_groups import layer_groups
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, make_trainer
from hpsearch.training.checkpoints import CheckpointStore
from hpsearch.training.checks.by_name import run_checks
from hpsearch.validation import load_checked_spec
from tests.support.trainers import goes_on_bit_for_bit, make

MLP = {"name": "mlp", "hidden_sizes": [32]}
ADAM = {"name": "adam", "lr": 0.003}


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data({"name": "digits", "train_rows": 600, "val_rows": 200}, seed=0)


@pytest.fixture(scope="module")
def trained(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a checkpoint of a model that knows all digits."""
    folder = tmp_path_factory.mktemp("trained")
    trainer = make(digits, model=MLP, optimizer=ADAM)
    for _ in range(10):
        metrics = trainer.train_epoch()
    assert metrics is not None and metrics["val_accuracy"] > 0.9
    CheckpointStore(folder, 0).save(10, {"trainer": trainer.state_dict()})
    return folder


def tuned(digits: Data, folder: Path, number: int = 0, **keywords: Any) -> Trainer:
    checkpoint = "trial-0000/epoch-0010.pt"
    values = {
        "model": {"name": "from_checkpoint", "architecture": MLP, "checkpoint": checkpoint},
        "optimizer": ADAM,
        "batch_size": 16,
        "finetune": {"name": "subset", **keywords},
    }
    return Trainer(TrialConfig(number, 0, 4, values, folder=str(folder)), digits)


def rows_of(trainer: Trainer) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The classes of the rows that are trained on, and of the rest."""
    assert isinstance(trainer.data.train, Arrays)
    _, trained = trainer.predict("train")
    _, rest = trainer.predict("rest")
    return trained.numpy(), rest.numpy()


def test_other_digits_are_forgotten_unless_they_are_replayed(digits: Data, trained: Path) -> None:
    forgetting = []
    for replay_fraction in (0.0, 0.3):
        trainer = tuned(digits, trained, classes=["0", 1], replay_fraction=replay_fraction)
        before = trainer.evaluate("rest")["rest_accuracy"]
        for _ in range(4):
            metrics = trainer.train_epoch()
        assert metrics is not None
        assert metrics["forgetting"] == before - metrics["rest_accuracy"]
        assert metrics["train_accuracy"] > 0.95
        forgetting.append(metrics["forgetting"])
    assert forgetting[0] > 0.05
    assert forgetting[1] < forgetting[0] / 2


def test_rows_of_some_classes(digits: Data, trained: Path) -> None:
    own, rest = rows_of(tuned(digits, trained, classes=["0", 1]))
    assert set(own) == {0, 1}
    assert set(rest) == set(range(2, 10))
    assert len(own) + len(rest) == 600
    own, rest = rows_of(tuned(digits, trained, classes=["0", 1], replay_fraction=0.25))
    assert set(own) == set(range(10))
    replayed = (own > 1).sum()
    assert replayed / (replayed + len(rest)) == pytest.approx(0.25, abs=0.002)
    own, rest = rows_of(tuned(digits, trained, classes=[3], fraction=0.5))
    assert set(own) == {3}
    assert abs(len(own) - (rest == 3).sum()) <= 1


def test_a_fraction_keeps_classes_in_proportion(digits: Data, trained: Path) -> None:
    own, rest = rows_of(tuned(digits, trained, fraction=0.2))
    assert (len(own), len(rest)) == (120, 480)
    assert set(np.bincount(own)) <= {11, 12, 13}


def test_an_epoch_reads_its_rows_once(digits: Data, trained: Path) -> None:
    trainer = tuned(digits, trained, fraction=0.2)
    assert trainer._rows.trained is not None
    order = trainer._rows.order(16, 1, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == trainer._rows.trained.tolist()
    order = trainer._rows.order(16, 2, torch.Generator().manual_seed(0))
    assert len(order) == 240
    assert set(order.tolist()) == set(trainer._rows.trained.tolist())


def test_all_trials_are_tuned_on_the_same_rows(digits: Data, trained: Path) -> None:
    one, other = (tuned(digits, trained, number, fraction=0.2) for number in (0, 1))
    assert one._rows.trained is not None and other._rows.trained is not None
    assert torch.equal(one._rows.trained, other._rows.trained)


def test_forgetting_goes_on_from_a_state(digits: Data, trained: Path) -> None:
    keywords: dict[str, Any] = {"classes": [0, 1], "replay_fraction": 0.1}
    goes_on_bit_for_bit(*(tuned(digits, trained, **keywords) for _ in range(3)))


def test_another_finetuning_says_what_learns(digits: Data, trained: Path) -> None:
    trainer = tuned(digits, trained, weights="feature_extract")
    groups = layer_groups(trainer.model)
    body, head = (next(p for m in group for p in m.parameters()) for group in groups)
    before = body.clone(), head.clone()
    trainer.train_epoch()
    assert torch.equal(body, before[0])
    assert not torch.equal(head, before[1])


def test_errors_of_a_regression() -> None:
    """Higher losses are forgetting too."""
    diabetes = load_data({"name": "diabetes"}, seed=0)
    finetune = {"name": "subset", "fraction": 0.3, "metric": "loss"}
    trainer = make(diabetes, optimizer=ADAM, finetune=finetune)
    before = trainer.evaluate("rest")["rest_loss"]
    metrics = trainer.train_epoch()
    assert metrics is not None
    assert metrics["forgetting"] == metrics["rest_loss"] - before < 0
    trainer = make(diabetes, finetune={"name": "subset"})
    before = trainer.evaluate("rest")["rest_r2"]
    metrics = trainer.train_epoch()
    assert metrics is not None and metrics["forgetting"] == before - metrics["rest_r2"]


def test_each_fold_has_a_subset_of_its_own() -> None:
    data = load_data({"name": "wine", "folds": 3}, seed=0)
    values = {"model": MLP, "optimizer": ADAM, "batch_size": 16, "finetune": {"name": "subset"}}
    metrics = make_trainer(TrialConfig(0, 0, 1, values), data).train_epoch()
    assert metrics is not None and "forgetting" in metrics


class TestDatasets:
    @pytest.fixture
    def data(self) -> Data:
        generator = torch.Generator().manual_seed(0)
        dataset = TensorDataset(torch.randn(60, 4, generator=generator), torch.arange(60) % 3)
        return Data("classification", (4,), 3, dataset, dataset)

    def test_a_fraction(self, data: Data) -> None:
        trainer = make(data, finetune={"name": "subset", "fraction": 0.4})
        assert len(trainer.predict("train")[1]) == 24
        metrics = trainer.train_epoch()
        assert metrics is not None and "rest_accuracy" in metrics

    def test_classes_are_refused(self, data: Data) -> None:
        with pytest.raises(BadConfigurationError, match="classes: needs arrays .*torch Dataset"):
            make(data, finetune={"name": "subset", "classes": [1]})


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"classes": [7]}, r"classes: must be classes of the data set \(.*\), but got '7'"),
        ({"fraction": 1.0}, "must choose some of the .* leave some, but .* leaves 0"),
        ({"fraction": 0.001}, "must choose some .* chooses 0"),
        ({"metric": "val_loss"}, "finetune.metric: must be a metric .*loss, accuracy.*'val_loss'"),
    ],
)
def test_mistakes(wine: Data, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfigurationError, match=message):
        make(wine, finetune={"name": "subset", **keywords})


def test_a_batch_is_of_the_subset(wine: Data) -> None:
    with pytest.raises(BadConfigurationError, match="batch_size: .* at most the 11 training rows"):
        make(wine, finetune={"name": "subset", "fraction": 0.1})


@pytest.mark.parametrize(("finetune", "ok"), [("subset", True), ("full", False)])
def test_the_objective_may_be_what_is_forgotten(tmp_path: Path, finetune: str, ok: bool) -> None:
    (tmp_path / "a.yaml").write_text(
        "name: a\nobjective: {metric: forgetting, direction: minimize}\ndataset: wine\n"
        f"model: mlp\noptimizer: {{name: sgd, lr: 0.1}}\nbatch_size: 16\nfinetune: {finetune}\n"
        "search: {trials: 1}\n"
    )
    if ok:
        assert load_checked_spec(tmp_path / "a.yaml").objective.metric == "forgetting"
    else:
        with pytest.raises(Exception, match="objective.metric: must be a metric that every"):
            load_checked_spec(tmp_path / "a.yaml")


def test_checks_train_on_rows_that_an_evaluation_read_first() -> None:
    """Of the trial before in the same process: its rest is evaluated before it trains."""
    data = load_data({"name": "wine"}, seed=0)
    make(data, finetune={"name": "subset"}).train_epoch()
    assert run_checks(make(data), ["overfit_tiny_batch"])[0].ok
