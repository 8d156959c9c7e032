"""Every component is compared with torch's or Keras's definition, or neither has one."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import hpsearch.samplers
import hpsearch.training  # noqa: F401  # all of them are registered
from hpsearch import registry
from hpsearch.components.models.building import build_model
from tests.support.effect_tables import first_pattern
from tests.support.keras_formulas import ACTIVATIONS, VARIANCE_SCALING
from tests.support.keras_optimizers import OPTIMIZERS
from tests.support.keras_training import METRIC_FORMULAS, SCHEDULES
from tests.support.torch_counterparts import TORCH, component

NAMES = [f"{family}.{name}" for family in registry.INJECTED for name in registry.names(family)]

#: compared with Keras's definition in test_keras_definitions.py and test_keras_training.py
KERAS = {
    *(f"activation.{name}" for name in ACTIVATIONS),
    *(f"initializer.{name}" for name in VARIANCE_SCALING),
    *(f"optimizer.{name}" for name in OPTIMIZERS),
    *(f"metric.{name}" for name in METRIC_FORMULAS),
    *(f"lr_schedule.{name}" for name in SCHEDULES),
    *("norm.batch", "norm.layer", "norm.rms", "norm.group", "norm.instance"),
    *("dropout.standard", "dropout.spatial", "dropout.alpha", "dropout.variational_rnn"),
    *("initializer.orthogonal", "initializer.uniform", "initializer.normal"),
    *("initializer.zeros", "initializer.keras_default"),
    *("loss.cross_entropy", "loss.soft_ce", "loss.soft_bce", "loss.l1_svm", "loss.l2_svm"),
    *("loss.mse", "loss.l1", "loss.huber", "loss.weighted"),
    *("head.softmax", "head.sigmoid", "head.linear"),
    *("metric.top_k_accuracy", "metric.recall_per_class", "metric.f1"),
    *("regularizer.l1", "regularizer.l2", "regularizer.elastic_net"),
    *("constraint.max_norm", "constraint.unit_norm", "constraint.non_neg"),
    *("gradient_clip.norm", "gradient_clip.value", "augmentation.gaussian_noise"),
    *("lr_schedule.plateau", "callback.early_stopping"),
    *("cell.lstm", "cell.gru", "cell.rnn"),
}
#: torch or Keras has it, and a test of its own family says what it is
ELSEWHERE = {
    "augmentation.crop": "test_augmentations.py::test_a_crop_is_reflected_at_the_border",
    "augmentation.cutmix": "test_augmentations.py::test_cutmix_mixes_targets_by_area",
    "augmentation.cutout": "test_augmentations.py::test_cutout_takes_a_square",
    "augmentation.flip": "test_augmentations.py::test_flips",
    "augmentation.mixup": "test_augmentations.py::test_mixup_mixes_targets_as_it_mixes_inputs",
    "augmentation.rotation": "test_augmentations.py::"
    "test_rotation_is_by_up_to_so_many_degrees_either_way",
    "augmentation.jpeg": "test_jpeg.py::test_it_is_pillows",
    "augmentation.shift": "test_augmentations.py::"
    "test_shifts_are_up_to_so_many_pixels_in_every_direction",
    "finetune.freeze": "test_finetuning.py::test_what_is_frozen_stays_bit_for_bit",
    "weight_averaging.*": "test_weight_averaging.py::test_as_torchs_averaged_model",
    "initializer.torch_default": "test_initializers.py::test_variance",
    "loss.triplet": "test_metric_learning.py::TestTriplet",
    "loss.pair_hinge": "test_pairs.py::TestLosses",
    "metric.roc_auc": "test_metrics.py::TestRanking",
    "model.cnn": "test_definitions.py::TestModels",
    "model.mlp": "test_definitions.py::TestModels",
    "model.rnn": "test_definitions.py::TestModels",
    "model.resnet": "test_convolutional_models.py::TestParameters",
    "model.densenet": "test_convolutional_models.py::TestParameters",
    "model.convnext": "test_convolutional_models.py::TestParameters",
    "model.vgg": "test_convolutional_models.py::TestParameters",
    "model.snn": "test_gated_models.py::TestSelfNormalising",
    "model.encoder_decoder": "test_encoder_decoder.py::TestFeedback",
    "model.recursive_nn": "test_trees.py::test_a_node_without_gates_is_what_its_formula_says",
    "model.tree_lstm": "test_trees.py::test_a_chain_is_an_lstm",
    "model.autoencoder": "test_reconstruction.py::test_linear_tied_weights_come_to_pca",
    "model.transformer": "test_language_model.py::TestAttention",
    "task.*": "test_tasks.py::test_classification",
}
#: pattern → why there is nothing to compare with
NEITHER = {
    "agent.*": "neither has agents",
    "environment.*": "neither has environments",
    "activation.step": "both have the sign, neither a gradient for it",
    "augmentation.blur": "torchvision has it",
    "augmentation.feature_masking": "dropout without rescaling, of inputs",
    "batch_schedule.*": "a batch size is constant in both",
    "callback.gradient_noise_scale": "neither has it",
    "callback.hessian": "neither has it; test_hessian.py has torch's own Hessian",
    "callback.exact_likelihood": "neither has it; test_boltzmann.py counts all states",
    "callback.hidden_correlation": "neither has it; test_hidden_correlation.py has numpy's",
    "callback.knn_probe": "neither has it; scikit-learn has",
    "callback.layer_statistics": "neither has it",
    "callback.step_times": "neither has it",
    "callback.time_gradients": "neither has it",
    "callback.train_evaluation": "neither has it",
    "callback.word_*": "neither has it; test_word_vectors.py has numpy's and scipy's",
    "calibration.*": "neither has any; scikit-learn has",
    "cell.*": "neither normalises within a cell",
    "check.*": "they look at a trial",
    "dataset.*": "data",
    "dropout.none": "nothing",
    "model.fcn": "torchvision's stands on a ResNet",
    "dropout.naive_rnn": "neither draws masks anew at each step",
    "dropout.rec_mem": "neither drops candidates",
    "dropout.weight_drop": "neither drops recurrent weights",
    "ensemble.*": "neither has any",
    "finetune.*": "procedures over groups of layers",
    "gradient_noise.*": "neither has any",
    "head.svm": "scores as they are",
    "initializer.lsuv": "neither begins with data",
    "loss.adaptive_robust": "neither has it",
    "loss.brier": "neither has it",
    "loss.contrastive": "neither has it",
    "loss.pair_cross_entropy": "neither has it of distances",
    "loss.pair_mse": "neither has it of distances",
    "loss.perceptron": "neither has it",
    "loss.poly_hinge": "hinges of a higher power than 2",
    "loss.robust": "neither has it",
    "loss.uncertainty_weighted": "neither has it",
    "lr_scaling.*": "neither has any",
    "lr_schedule.slanted_triangular": "neither has it",
    "metric.*": "neither has it; scikit-learn has most",
    "model.efficientnet_lite0": "a library's",
    "model.from_checkpoint": "another model",
    "model.gmlp": "neither has it",
    "model.rbm": "neither has it; test_boltzmann.py counts its states",
    "model.dbn": "neither has it",
    "model.stacked_autoencoder": "neither has it; test_stacked_autoencoder.py has its errors",
    "model.echo_state": "neither has it",
    "model.recurrent_cnn": "neither has it",
    "model.skip_gram": "neither has it",
    "model.one_neuron_skip": "neither has it",
    "regularizer.skip_neuron": "neither has it",
    "model.highway": "neither has it",
    "model.image_prior": "neither has it",
    "model.siamese": "neither has it",
    "model.barlow_twins": "neither has it",
    "model.cascaded_unet": "neither has it",
    "model.hopfield": "neither has it",
    "model.late_fusion": "neither has it",
    "model.unet": "neither has it",
    "model.conv_autoencoder": "neither has it",
    "model.minilm": "a library's weights",
    "model.perceptron": "neither has it",
    "momentum_schedule.constant": "a number",
    "norm.cosine": "neither has it",
    "norm.ghost_batch": "neither has it",
    "norm.none": "nothing",
    "norm.streaming": "neither has it",
    "stage.*": "neither has stages of a training",
    "optimizer.adamod": "neither has it",
    "optimizer.backstitch": "neither has it",
    "optimizer.lars": "neither has it",
    "regularizer.orthogonality": "Keras's OrthogonalRegularizer is another formula",
    "sampler.*": "they choose configurations",
    "early_stopping.*": "they stop trials",
    "launcher.*": "they make trainers",
    "metric_source.*": "they read metrics",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_component_is_compared_or_has_no_counterpart(name: str) -> None:
    is_torchs = name in {each.partition("@")[0] for each in TORCH}
    compared = is_torchs or name in KERAS or bool(first_pattern(ELSEWHERE, name))
    assert compared or first_pattern(NEITHER, name)


def test_no_entry_is_left_over() -> None:
    torchs = {each.partition("@")[0] for each in TORCH}
    assert torchs | KERAS <= set(NAMES)
    compared = {name for name in NAMES if name in torchs | KERAS or first_pattern(ELSEWHERE, name)}
    assert {first_pattern(ELSEWHERE, name) for name in NAMES} - {""} == ELSEWHERE.keys()
    others = set(NAMES) - compared
    assert {first_pattern(NEITHER, name) for name in others} == NEITHER.keys()


@pytest.mark.parametrize("test", ELSEWHERE.values())
def test_the_test_is_there(test: str) -> None:
    file, _, function = test.partition("::")
    [path] = Path(__file__).parents[1].rglob(file)
    text = path.read_text()
    assert re.search(rf"^(def|class) {function}\b", text, re.MULTILINE)


class TestDefaults:
    """They are torch's wherever the docs say so, unless these say what torch has."""

    #: what has another meaning by its name
    OTHERS = {
        "optimizer.asgd.t0": "with torch's nothing is averaged in the first million steps",
        "optimizer.momentum.momentum": "0 is sgd",
        "optimizer.nesterov.momentum": "0 is sgd",
    }

    @pytest.mark.parametrize("name", TORCH)
    def test_are_torchs(self, name: str) -> None:
        torchs = TORCH[name]
        found = registry.get(*component(name))
        keywords, docs = found.own_keywords, self.docs(found)
        assert keywords.keys() == torchs.keywords.keys() | set(torchs.own)
        if "efaults are torch's" not in docs:
            return
        for keyword in torchs.keywords:
            ours, theirs = keywords[keyword].default, torchs.default(keyword)
            place = f"{name}.{keyword}"
            if ours == theirs or theirs is inspect.Parameter.empty or place in self.OTHERS:
                continue
            assert re.search(rf"torch\W+(has\W+)?{theirs:g}\b", docs), (place, ours, theirs)

    def docs(self, found: registry.Component) -> str:
        module = sys.modules[found.factory.__module__]
        return f"{module.__doc__} {found.factory.__doc__}"


def same(ours: nn.Module, theirs: nn.Module, x: torch.Tensor, like: nn.Module) -> None:
    """Compare outputs with the same weights, in the order in which both have them."""
    weights = dict(zip(theirs.state_dict(), like.state_dict().values(), strict=True))
    theirs.load_state_dict(weights)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


class TestModels:
    """Nets as torch's and Keras's users put them together."""

    @pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, nn.GELU, nn.Mish])
    def test_mlp(self, activation: Any) -> None:
        name = activation.__name__.lower()
        section = {"name": "mlp", "hidden_sizes": [8, 6], "activation": name, "norm": "batch"}
        ours = build_model({**section, "dropout": 0.3}, (5,), 3, Path())
        layers = []
        for size, width in ((5, 8), (8, 6)):
            layers += [nn.Linear(size, width), nn.BatchNorm1d(width), activation(), nn.Dropout()]
        theirs = nn.Sequential(*layers, nn.Linear(6, 3))
        same(ours, theirs, torch.randn(4, 5), ours)

    @pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, nn.GELU, nn.Mish, nn.Hardswish])
    @pytest.mark.parametrize("pool", [1, 2])
    def test_cnn(self, activation: Any, pool: int) -> None:
        """Convolution, normalisation, activation, pooling: the usual order."""
        name = activation.__name__.lower()
        keywords = {"channels": [4, 6], "hidden_sizes": [5], "pool": pool, "norm": "batch"}
        section = {"name": "cnn", "activation": name, **keywords}
        ours = build_model({**section, "conv_dropout": 0.2}, (3, 8, 8), 2, Path())
        layers: list[nn.Module] = []
        for size, width in ((3, 4), (4, 6)):
            conv = nn.Conv2d(size, width, 3, padding="same")
            layers += [conv, nn.BatchNorm2d(width), activation(), nn.MaxPool2d(pool)]
        places = (8 // pool**2) ** 2
        head = [nn.Flatten(), nn.Linear(6 * places, 5), activation(), nn.Linear(5, 2)]
        same(ours, nn.Sequential(*layers, *head), 5 * torch.randn(4, 3, 8, 8), ours)

    @pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU, nn.RNN])
    def test_rnn(self, cell: Any) -> None:
        """Two layers in both directions; the last outputs of each are read."""
        section = {"name": "rnn", "cell": cell.__name__.lower(), "hidden_size": 4}
        ours: Any = build_model({**section, "layers": 2, "bidirectional": True}, (6, 3), 2, Path())
        theirs = cell(3, 4, num_layers=2, bidirectional=True, batch_first=True)
        weights = list(ours.layers.state_dict().values())
        theirs.load_state_dict(dict(zip(theirs.state_dict(), weights, strict=True)))
        x = torch.randn(5, 6, 3)
        outputs, state = theirs(x)
        last = state[0] if isinstance(state, tuple) else state  # (layers * directions, rows, H)
        torch.testing.assert_close(ours.eval()(x), ours.output(torch.cat([last[-2], last[-1]], 1)))
        assert outputs.shape == (5, 6, 8)
