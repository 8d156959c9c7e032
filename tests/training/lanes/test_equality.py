"""Every component that is fused gives the curve that its trial has by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from hpsearch import registry
from hpsearch.components.losses import LOSS
from hpsearch.training.lanes.programs import obstacle_of
from tests.support.effect_places import DECODER, SIAMESE, TRANSFORMER
from tests.support.effect_tables import NEEDED
from tests.support.effects import data_of
from tests.support.lanes import MLP, alone, assert_same, lane_config, together

CNN = {"name": "cnn", "channels": [4], "hidden_sizes": [8], "dropout": 0.2}
RNN = {"name": "rnn", "hidden_size": 4}
RECURRENT_DROPOUTS = ("naive_rnn", "rec_mem", "variational_rnn", "weight_drop")
EPOCHS = 3
#: components whose trials are trained one by one, and what is said of it
NOT_FUSED: dict[str, str] = {
    "cell.bn_lstm": "model: draws random numbers of its own",
    "norm.streaming": "model: ",
    "optimizer.backstitch": "optimizer: a step takes several gradients",
    "optimizer.lbfgs": "optimizer: a step takes several gradients",
}
#: what needs weights or code of the user's, a model of its own, or trains no batches
NOT_TRIED = {
    "model.efficientnet_lite0",
    "model.from_checkpoint",
    "model.minilm",
    "augmentation.mix",
    "regularizer.skip_neuron",
    "callback.word_analogies",  # of word vectors: test_word_vectors has them in lanes
    "callback.word_similarities",
}
#: kind of a task → its data set, where that isn't `wine`
OTHER_DATA = {
    "regression": "numbers",
    "multilabel": "labels",
    "pairs": "pairs",
    "metric_learning": "classes",
}
#: families of a trial, and the section that names one; (many, …) where it lists them
SECTIONS = {
    "optimizer": "optimizer",
    "initializer": "initializer",
    "gradient_clip": "gradient_clip",
    "gradient_noise": "gradient_noise",
    "weight_averaging": "weight_averaging",
    "lr_schedule": "lr_schedule",
    "batch_schedule": "batch_schedule",
    "momentum_schedule": "momentum_schedule",
    "lr_scaling": "lr_scaling",
}
LISTS = {
    "constraint": "weight_constraints",
    "callback": "callbacks",
    "regularizer": "regularizers",
    "augmentation": "augmentations",
}


@dataclass(frozen=True)
class Case:
    """A component, the trial that has it, and the data that it is for."""

    place: str
    values: dict[str, Any]
    data: str = "wine"

    def __str__(self) -> str:
        return self.place


def cases() -> list[Case]:
    found = [
        _in_model(family, name) for family in ("activation", "norm") for name in names(family)
    ]
    found += [_dropout(name) for name in names("dropout")]
    found += [_cell(name) for name in names("cell")]
    for family, place in SECTIONS.items():
        found += [Case(f"{family}.{n}", {place: _section(family, n)}) for n in names(family)]
    for family, place in LISTS.items():
        found += [_listed(family, place, name) for name in names(family)]
    found += [_loss(name) for name in names("loss")]
    found += [Case("model.cnn", {"model": CNN}, "digits"), Case("model.mlp", {"model": MLP})]
    found += [
        *(
            Case(
                f"model.cnn {each}", {"model": {**CNN, "channels": [4, 4], "skip": each}}, "digits"
            )
            for each in ("add", "concat", "gated")
        ),
        Case("model.rnn", {"model": RNN}, "digits"),
        Case("model.rnn of ids", {"model": {**RNN, "bidirectional": True}}, "ids"),
        Case("model.transformer of ids", {"model": TRANSFORMER}, "ids"),
        *(
            Case(f"model.recursive_nn {each}", {"model": {**_TREES, "composition": each}}, "trees")
            for each in ("linear", "tensor")
        ),
        Case("model.encoder_decoder", {"model": _TAUGHT}, "said"),
        Case("model.perceptron", _PERCEPTRON, "tumours"),
    ]
    return found


_TREES = {"name": "recursive_nn", "hidden_size": 4}
_TAUGHT = {**DECODER, "teacher_forcing": 0.8, "teacher_forcing_decay": 0.2}
_PERCEPTRON = {"model": {"name": "perceptron"}, "optimizer": {"name": "sgd", "lr": 0.1}}


def names(family: str) -> list[str]:
    return [name for name in registry.names(family) if f"{family}.{name}" not in NOT_TRIED]


def _section(family: str, name: str) -> dict[str, Any]:
    place = f"{family}.{name}"
    return {"name": name, **NEEDED.get(place, {}), **STEADY.get(place, {})}


#: keywords for which outputs don't depend on rounding: groups of one feature are all bias; and
#: with which a component acts within a few epochs
STEADY: dict[str, dict[str, Any]] = {
    "norm.group": {"groups": 2},
    "weight_averaging.swa": {"start": 0.0},
}


def _in_model(family: str, name: str) -> Case:
    of_images = name in ("instance",)
    model = CNN if of_images else {**MLP, "hidden_sizes": [16]}
    values = {"model": {**model, family: _section(family, name)}}
    return Case(f"{family}.{name}", values, "digits" if of_images else "wine")


def _dropout(name: str) -> Case:
    is_recurrent = name in RECURRENT_DROPOUTS
    values = {"model": {**(RNN if is_recurrent else MLP), "dropout": _section("dropout", name)}}
    return Case(f"dropout.{name}", values, "digits" if is_recurrent else "wine")


def _cell(name: str) -> Case:
    return Case(f"cell.{name}", {"model": {**RNN, "cell": _section("cell", name)}}, "digits")


def _listed(family: str, place: str, name: str) -> Case:
    values: dict[str, Any] = {place: [_section(family, name)]}
    is_image = family == "augmentation"
    return Case(f"{family}.{name}", values, "digits" if is_image else "wine")


def _loss(name: str) -> Case:
    section = _section("loss", name)
    loss = LOSS.build(section, output_size=2, class_counts=(1, 1))
    kinds = loss.kinds or ("classification",)
    soft = loss.needs_soft_targets
    data = "shares" if soft else OTHER_DATA.get(kinds[0])
    values = {"task": {"name": kinds[0], "loss": section}}
    if kinds[0] == "pairs":
        values["model"] = SIAMESE
    # where an error of any size gives a gradient of its square or more
    slow = {"name": "sgd", "lr": 0.001} if name in ("poly_hinge", "l2_svm") else None
    more = {} if slow is None else {"optimizer": slow}
    return Case(f"loss.{name}", {**values, **more}, data or "wine")


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_component(case: Case) -> None:
    """With an optimizer's step for each lane, and with those of all lanes as one."""
    data = data_of(case.data)
    configs = [lane_config(number, **case.values) for number in range(3)]
    expected = alone(configs, data, EPOCHS)
    for stacked in (False, True):
        trainers, lanes = together(configs, data, EPOCHS, stacked=stacked)
        reasons = {obstacle_of(each.trainer) for each in trainers} - {""} or lanes.reasons
        for one, other in zip(expected, trainers, strict=True):
            assert_same(one, other)
        if (reason := NOT_FUSED.get(case.place)) is None:
            assert lanes.num_fused >= 3 * EPOCHS, reasons
        else:
            assert lanes.num_fused == 0
            assert all(each.startswith(reason) for each in reasons), reasons
