"""Metric learning: triplets of a batch, groups of a class, and what embeddings are judged by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hpsearch.components import Data, load_data
from hpsearch.components.losses import make_loss
from hpsearch.components.tasks import task_for, undefined_scores
from hpsearch.components.tasks.kinds import Statement
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from hpsearch.training.batches import grouped_order

#: numbers on a line, and their classes: a 0, b 0.5, c 1 of class 0; d 0.7, e 3 of class 1
LINE = torch.tensor([[0.0], [0.5], [1.0], [0.7], [3.0]])
CLASSES = torch.tensor([0, 0, 0, 1, 1])
DIGITS = {"name": "digits", "train_rows": 600, "val_rows": 200}
VALUES: dict[str, Any] = {
    "task": {"name": "metric_learning", "embedding_size": 8},
    "model": {"name": "mlp", "hidden_sizes": [32]},
    "optimizer": {"name": "adam", "lr": 3e-3},
    "batch_size": 64,
}


class TestTriplet:
    """Squared distances: ab .25, ac 1, bc .25, de 5.29; ad .49, bd .04, cd .09, ae 9, be 6.25,
    ce 4."""

    @pytest.mark.parametrize(
        ("mining", "terms"),
        [
            # farthest of the class, nearest of the other: a 1 - .49, b .25 - .04, c 1 - .09,
            # d 5.29 - .04, e 5.29 - 4, and the margin
            ("hardest", [0.61, 0.31, 1.01, 5.35, 1.39]),
            # nearest of the others that is farther than the positive: ab d, ac e, ba e, bc e,
            # ca e, cb e; de and ed have none that is: the farthest, b (.49 is a's: a) and a
            ("semi_hard", [0, 0, 0, 0, 0, 0, 5.29 - 0.49 + 0.1, 0]),
            # those that are not 0: ac d, ba d, bc d, ca d, cb d, de a, de b, de c, ed c
            ("all", [0.61, 0.31, 0.31, 1.01, 0.26, 4.9, 5.35, 5.3, 1.39]),
        ],
    )
    def test_worked_example(self, mining: str, terms: list[float]) -> None:
        loss = make_loss({"name": "triplet", "margin": 0.1, "mining": mining}, 1)
        assert loss(LINE, CLASSES).item() == pytest.approx(np.mean(terms), abs=1e-6)

    def test_agrees_with_torch_on_one_triplet(self) -> None:
        rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
        loss = make_loss({"name": "triplet", "margin": 9.0, "mining": "all"}, 4)
        anchors = [(0, 1, 2), (1, 0, 2)]
        expected = torch.stack(
            [
                F.triplet_margin_with_distance_loss(
                    rows[[a]],
                    rows[[p]],
                    rows[[n]],
                    distance_function=lambda x, y: (x - y).square().sum(1),
                    margin=9.0,
                )
                for a, p, n in anchors
            ]
        )
        found = loss(rows, torch.tensor([0, 0, 1]))
        assert found.item() == pytest.approx(expected.mean().item(), rel=1e-5)

    @pytest.mark.parametrize("mining", ["semi_hard", "hardest", "all"])
    @pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
    def test_a_batch_without_triplets_has_no_gradient(
        self, mining: str, classes: list[int]
    ) -> None:
        rows = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
        found = make_loss({"name": "triplet", "mining": mining}, 2)(rows, torch.tensor(classes))
        (gradient,) = torch.autograd.grad(found, rows)
        assert found.item() == 0 and gradient.abs().max() == 0


class TestGroups:
    def test_rows_of_a_class_follow_each_other_in_an_order_of_all(self) -> None:
        classes = torch.tensor([0, 1, 2] * 10 + [2])
        generator = torch.Generator().manual_seed(0)
        order = grouped_order(classes, 5, generator)
        assert order.sort().values.tolist() == list(range(31))
        runs = torch.unique_consecutive(classes[order], return_counts=True)[1]
        assert runs.sum() == 31 and (runs % 5 > 0).sum() <= 2  # one group of one row
        assert order.tolist() != grouped_order(classes, 5, generator).tolist()

    def test_training_batches_have_them(self) -> None:
        trainer = Trainer(TrialConfig(0, 0, 1, VALUES), _digits())
        order = trainer._order(1)
        classes = torch.from_numpy(trainer.data.train.y)[order]
        for batch in classes.split(64):
            assert (batch.bincount() >= 2).sum() >= 3
        pairs = (classes[1:] == classes[:-1]).double().mean()
        assert pairs > 0.7  # 0.1 by chance

    @pytest.mark.parametrize("rows_per_class", [33, 64])
    def test_a_batch_of_one_class_is_refused(self, rows_per_class: int) -> None:
        task = {**VALUES["task"], "rows_per_class": rows_per_class}
        with pytest.raises(BadConfigurationError, match="rows_per_class: must be at most half"):
            Trainer(TrialConfig(0, 0, 1, {**VALUES, "task": task}), _digits())


def test_the_nearest_other_row_is_of_the_class() -> None:
    task = task_for(_digits(), {"name": "metric_learning", "normalize": False})
    # nearest: a b, b d, c d, d b, e c
    assert task.measure(LINE, CLASSES) == {"recall_at_1": 0.2}
    assert task.measure(LINE[:1], CLASSES[:1]) == {}
    assert undefined_scores(task, _digits()) == {}


def test_digits_are_told_apart_by_their_nearest_neighbours() -> None:
    trainer = Trainer(TrialConfig(0, 0, 8, VALUES), _digits())
    before = trainer.evaluate("val")["val_recall_at_1"]
    for _ in range(8):
        metrics = trainer.train_epoch() or {}
    assert before < 0.9 < metrics["val_recall_at_1"]
    outputs = export_model(trainer)(torch.rand(1, 64))
    assert outputs.shape == (1, 8) and outputs.norm().item() == pytest.approx(1)


def _digits() -> Data:
    return load_data(DIGITS, seed=0, said=Statement("metric_learning", "the test is for it"))
