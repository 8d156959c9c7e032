"""What every registered model keeps, where its data is small enough to be trained here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import hpsearch.training  # noqa: F401  # all of them are registered
from hpsearch import registry
from hpsearch.components import Arrays
from hpsearch.components.batch import map_tree
from hpsearch.errors import HpsearchError, TrialError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from tests.support.effect_places import InTrial, places_of
from tests.support.effect_tables import NEEDED
from tests.support.effects import SECTIONS, data_of
from tests.support.trainers import goes_on_bit_for_bit

#: others need files, or are too large; their own tests show the same
ELSEWHERE = {"minilm", "efficientnet_lite0", "from_checkpoint", "perceptron"}
MODELS = [name for name in registry.names("model") if name not in ELSEWHERE]


def config(name: str, place: InTrial) -> TrialConfig:
    model = {"name": name, **NEEDED.get(f"model.{name}", {})}
    return TrialConfig(0, 0, 4, {**SECTIONS, **place.put(model)})


def place_of(name: str) -> InTrial:
    """The first data set that the model takes."""
    for place in places_of("model", name):
        try:
            Trainer(config(name, place), data_of(place.data))
        except (HpsearchError, TrialError):
            continue
        assert isinstance(place, InTrial)
        return place
    raise AssertionError(f"{name} stands nowhere")


def make(name: str, **changes: Any) -> Trainer:
    place = place_of(name)
    return Trainer(replace(config(name, place), **changes), data_of(place.data))


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_gradients_reach_all_parameters(self, name: str) -> None:
        trainer = make(name)
        batch = next(trainer.training_batches(trainer.begin_epoch()))
        trainer.task.loss(trainer.model(batch.inputs), batch).backward()
        grads = {key: param.grad for key, param in trainer.model.named_parameters()}
        assert all(grad is not None and grad.isfinite().all() for grad in grads.values())

    def test_two_epochs_and_two_are_four(self, name: str) -> None:
        trainers = make(name), make(name), make(name)
        curve = goes_on_bit_for_bit(*trainers)
        assert curve[0] != curve[1]

    def test_half_precision(self, name: str) -> None:
        metrics = make(name, precision="bf16").train_epoch()
        assert metrics is not None and metrics["val_loss"] == metrics["val_loss"]

    def test_rows_do_not_matter_to_each_other_in_evaluation(self, name: str) -> None:
        trainer = make(name)
        trainer.train_epoch()
        inputs = next(trainer.splits.read("train", 8, 1)).inputs
        model = trainer.model.eval()
        with torch.no_grad():
            whole = _first(model(inputs))
            parts = [
                _first(model(map_tree(lambda x, i=i: x[i : i + 1], inputs))) for i in range(8)
            ]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-5)

    def test_what_is_exported_predicts_the_same(self, name: str) -> None:
        trainer = make(name)
        trainer.train_epoch()
        exported = export_model(trainer)
        val = trainer.data.val
        assert isinstance(val, Arrays)
        x = torch.from_numpy(trainer.data.as_raw(val.rows(np.arange(len(val))).x))
        outputs, _ = trainer.predict("val")
        if trainer.data.kind == "classification":
            assert torch.equal(exported.predict(x), outputs.argmax(-1))


@pytest.mark.parametrize("name", registry.names("task"))
def test_two_epochs_and_two_are_four_for_every_task(name: str) -> None:
    place = next(each for each in places_of("task", name) if suits(name, each))
    values = {**SECTIONS, **place.put({"name": name, **NEEDED.get(f"task.{name}", {})})}
    made = [Trainer(TrialConfig(0, 0, 4, values), data_of(place.data)) for _ in range(3)]
    curve = goes_on_bit_for_bit(*made)
    assert curve[0] != curve[1]


def suits(task: str, place: InTrial) -> bool:
    """Whether a task can be learned there."""
    values = {**SECTIONS, **place.put({"name": task, **NEEDED.get(f"task.{task}", {})})}
    try:
        Trainer(TrialConfig(0, 0, 4, values), data_of(place.data))
    except (HpsearchError, TrialError):
        return False
    return True


def _first(outputs: Any) -> Any:
    return outputs[0] if isinstance(outputs, tuple) else outputs
