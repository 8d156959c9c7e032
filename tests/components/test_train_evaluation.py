"""The training rows in evaluation mode: callback `train_evaluation`."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset

import hpsearch.components.train_evaluation
from hpsearch.components import Data
from hpsearch.components.train_evaluation import TRAIN_EVAL, TrainEvaluation
from hpsearch.errors import BadConfigurationError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer
from hpsearch.validation import check
from tests.support.lanes import alone, assert_same, lane_config, together
from tests.support.specs import changed
from tests.support.trainers import goes_on_bit_for_bit, make

NAME = "train_evaluation"
#: nets that training and evaluation tell apart
MODEL = {"name": "mlp", "hidden_sizes": [16], "norm": "batch", "dropout": 0.5}
NEW = ("train_eval_loss", "train_eval_accuracy", "loss_gap", "accuracy_gap")


def trainer(data: Data, rows: int | None = None, **values: Any) -> Trainer:
    return make(data, **{"model": MODEL, "callbacks": [{"name": NAME, "rows": rows}], **values})


def epoch_of(trainer: Trainer) -> dict[str, float]:
    metrics = trainer.train_epoch()
    assert metrics is not None
    return metrics


def test_it_is_the_loss_of_the_epochs_weights_without_dropout(wine: Data) -> None:
    watched = trainer(wine)
    metrics = epoch_of(watched)
    evaluated = watched.evaluate("train")
    assert metrics["train_eval_loss"] == evaluated["train_loss"] != metrics["train_loss"]
    assert metrics["train_eval_accuracy"] == evaluated["train_accuracy"]
    gap = metrics["train_eval_accuracy"] - metrics["val_accuracy"]
    assert metrics["accuracy_gap"] == pytest.approx(gap)
    assert metrics["loss_gap"] == metrics["train_eval_loss"] - metrics["val_loss"]
    assert doctest.testmod(hpsearch.components.train_evaluation).failed == 0


def test_nothing_else_changes(wine: Data) -> None:
    with_it, without = trainer(wine, rows=20), trainer(wine, callbacks=[])
    for _ in range(3):
        one, other = epoch_of(with_it), epoch_of(without)
        for name in NEW:
            one.pop(name)
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_two_epochs_and_two_are_four(wine: Data) -> None:
    goes_on_bit_for_bit(*(trainer(wine, rows=20) for _ in range(3)))


def test_a_sample_is_the_same_rows_in_every_trial(wine: Data) -> None:
    values = {**trainer(wine, rows=20).config.values, "optimizer": {"name": "sgd", "lr": 0.0}}
    first, second = (Trainer(TrialConfig(number, 0, 4, values), wine) for number in (0, 1))
    second.load_weights(first.state_dict())
    drawn, again = (each.splits.parts[TRAIN_EVAL] for each in (first, second))
    assert drawn is not None and again is not None and len(drawn) == 20
    assert torch.equal(drawn, again)
    index = drawn.numpy()
    losses = [epoch_of(first)["train_eval_loss"] for _ in range(2)]
    x, y = torch.from_numpy(wine.train.x[index]), torch.from_numpy(wine.train.y[index])
    with torch.no_grad():  # batch norm goes on while the weights stay
        expected = torch.nn.functional.cross_entropy(first.model.eval()(x), y).item()
    assert losses[1] == pytest.approx(expected, rel=1e-5)


def test_of_fine_tuning_on_a_subset_it_is_the_subset(wine: Data) -> None:
    subset = {"name": "subset", "fraction": 0.5}
    for rows in (None, 10):
        tuned = trainer(wine, rows=rows, finetune=subset)
        drawn = tuned.splits.parts[TRAIN_EVAL]
        assert drawn is not None and tuned._rows.trained is not None
        assert np.isin(drawn, tuned._rows.trained).all()
        assert epoch_of(tuned)["train_eval_loss"] > 0


def test_rows_of_a_stream_have_no_numbers(wine: Data) -> None:
    class Stream(IterableDataset[Any]):
        """Never read."""

        def __iter__(self) -> Iterator[Any]:
            raise AssertionError

    data = Data("classification", (13,), 3, train=Stream(), val=wine.val)
    with pytest.raises(BadConfigurationError, match="has no rows by number"):
        TrainEvaluation(rows=5).check_data(data)
    TrainEvaluation().check_data(data)


@pytest.mark.parametrize("stacked", [True, False])
def test_lanes_report_the_same(wine: Data, stacked: bool) -> None:
    """Of four lanes two evaluate a sample, one all rows and one none."""
    sections = [{"name": NAME, "rows": 20}, {"name": NAME}, None, {"name": NAME, "rows": 20}]
    configs = [
        lane_config(number, model=MODEL, callbacks=[section] if section else None)
        for number, section in enumerate(sections)
    ]
    each = alone(configs, wine, 3)
    lanes, running = together(configs, wine, 3, stacked=stacked)
    assert not running.reasons
    for one, other in zip(each, lanes, strict=True):
        assert_same(one, other)
    assert "accuracy_gap" in lanes[0].curve[0] and "accuracy_gap" not in lanes[2].curve[0]


def test_it_can_be_an_objective_where_every_trial_has_it() -> None:
    objective = {"metric": "accuracy_gap", "direction": "minimize"}
    check(draft_spec(changed(objective=objective, callbacks=[{"name": NAME}])))
    with pytest.raises(SpecError, match="accuracy_gap"):
        check(draft_spec(changed(objective=objective)))
