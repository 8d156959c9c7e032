"""Labels that have to do with each other: chains and sets of labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from hpsearch.components import load_data, task_for
from hpsearch.components.batch import Batch
from hpsearch.components.data import Data
from hpsearch.components.tasks.label_strategies import Links, PowersetHead
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from tests.support.trainers import goes_on_bit_for_bit

DATA = {"name": f"{__name__}:dependent", "kind": "multilabel"}
SHARES = {(1, 0): 0.4, (1, 1): 0.3, (0, 1): 0.3}


def dependent() -> Mapping[str, Any]:
    """Labels that the inputs say nothing of: each is likelier than not, both together aren't."""
    rng = np.random.default_rng(0)
    sets = rng.choice(3, 1200, p=list(SHARES.values()))
    y = np.array(list(SHARES), np.float32)[sets]
    return {"train": (rng.normal(size=(1200, 3)).astype(np.float32), y), "classes": ["a", "b"]}


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(DATA, seed=0)


def trainer(data: Data, strategy: str, **keywords: Any) -> Trainer:
    values = {
        "model": {"name": "mlp", "hidden_sizes": []},
        "optimizer": {"name": "adam", "lr": 0.05},
        "batch_size": 100,
        "task": {"name": "multilabel", "strategy": strategy, **keywords},
    }
    return Trainer(TrialConfig(0, 0, 12, values), data)


def trained(data: Data, strategy: str) -> tuple[Trainer, dict[str, float]]:
    made, metrics = trainer(data, strategy), {}
    for _ in range(12):
        metrics = made.train_epoch() or {}
    return made, metrics


def test_the_likeliest_set_is_found_where_labels_by_themselves_say_another(data: Data) -> None:
    found = {each: trained(data, each)[1] for each in ("binary_relevance", "chain", "powerset")}
    accuracies = {each: metrics["val_subset_accuracy"] for each, metrics in found.items()}
    assert accuracies["binary_relevance"] == pytest.approx(SHARES[1, 1], abs=0.06)
    assert accuracies["chain"] == pytest.approx(SHARES[1, 0], abs=0.06)
    assert accuracies["powerset"] == pytest.approx(SHARES[1, 0], abs=0.06)
    # the probabilities of the sets' labels are those of labels by themselves
    losses = {each: metrics["val_loss"] for each, metrics in found.items()}
    assert losses["powerset"] == pytest.approx(losses["binary_relevance"], abs=0.02)


@pytest.mark.parametrize("strategy", ["chain", "powerset"])
class TestEachStrategy:
    def test_what_is_exported_answers_as_the_trial(self, data: Data, strategy: str) -> None:
        made, metrics = trained(data, strategy)
        exported = export_model(made)
        raw = torch.from_numpy(data.as_raw(data.val.x))  # type: ignore[union-attr]
        answers = exported.predict(raw).numpy()
        rights = (answers == data.val.y).all(1).mean()  # type: ignore[union-attr]
        assert rights == pytest.approx(metrics["val_subset_accuracy"])
        table = exported.predict_table(raw)
        assert list(table) == ["a", "b", "probability_a", "probability_b"]
        assert set(map(tuple, table[["a", "b"]].to_numpy())) <= set(SHARES)

    def test_two_epochs_and_two_are_four(self, data: Data, strategy: str) -> None:
        goes_on_bit_for_bit(*(trainer(data, strategy) for _ in range(3)))

    def test_scores_are_of_probabilities(self, data: Data, strategy: str) -> None:
        made = trainer(data, strategy, metrics=["brier", "roc_auc"], loss=None)
        assert {"val_brier", "val_roc_auc"} <= (made.train_epoch() or {}).keys()

    def test_scores_without_probabilities_are_refused(self, data: Data, strategy: str) -> None:
        with pytest.raises(BadConfigurationError, match="head: must be sigmoid for the strategy"):
            trainer(data, strategy, head="svm")


class TestChain:
    def test_the_labels_before_are_the_true_ones_while_training(self) -> None:
        links = Links(3)
        with torch.no_grad():
            links.weight.copy_(torch.arange(9.0).view(3, 3))
        given = links.given(torch.zeros(1, 3), torch.tensor([[1.0, 1.0, 1.0]]))
        assert given.tolist() == [[0, 1, 2 + 5]]
        said = links(torch.tensor([[-1.0, 0.5, 0.0]]))
        assert said.tolist() == [[-1, 0.5, 5]]
        assert links.undone(said).tolist() == [[-1, 0.5, 0]]


class TestPowerset:
    SETS = ((0, 1), (1, 0), (1, 1))

    def test_one_output_for_each_set_of_labels(self, data: Data) -> None:
        assert data.label_sets == self.SETS
        assert trainer(data, "powerset").model(torch.zeros(1, 3)).shape == (1, 3)

    def test_probabilities_are_sums_over_sets_and_answers_the_likeliest_one(self) -> None:
        head = PowersetHead(self.SETS)
        outputs = torch.tensor([[0.3, 0.3, 0.4]]).log()
        assert head(outputs)[0].tolist() == pytest.approx([0.7, 0.7])
        assert (head.read(outputs) > 0).tolist() == [[True, True]]
        outputs = torch.tensor([[0.3, 0.4, 0.3]]).log()
        assert (head.read(outputs) > 0).tolist() == [[True, False]]

    def test_an_unknown_set_counts_as_one_that_has_most_in_common(self) -> None:
        head = PowersetHead([(0, 0, 0), (1, 1, 1)])
        assert head.numbers(torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])).tolist() == [1, 0]

    def test_its_loss_is_the_cross_entropy_of_sets(self, data: Data) -> None:
        task = task_for(data, {"name": "multilabel", "strategy": "powerset"})
        outputs = torch.zeros(2, 3)
        batch = Batch((), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        assert task.loss(outputs, batch).item() == pytest.approx(np.log(3))

    def test_rows_of_one_set_are_refused(self) -> None:
        one = load_data({"name": f"{__name__}:alike", "kind": "multilabel"}, seed=0)
        with pytest.raises(DataError, match="needs two different sets of labels"):
            trainer(one, "powerset")


def alike() -> Any:
    return np.random.default_rng(0).normal(size=(40, 3)), np.ones((40, 2), np.float32)
