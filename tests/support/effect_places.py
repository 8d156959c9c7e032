"""Where components of each family stand, to be seen at work."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from hpsearch.components import Arrays, load_data
from hpsearch.components.models.building import build_model
from hpsearch.samplers import Observation as Trial
from hpsearch.samplers.population import (
    Interval,
    Member,
    PopulationSampler,
    truncation_selection,
)
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from hpsearch.training.checks.by_name import run_checks
from tests.support.effects import SECTIONS, TRIAL, Observation, data_of, observe_trial
from tests.support.sampling import PLANE, distance_to, sampler_of, search

Sections = Mapping[str, Any]


class Place(Protocol):
    """Shows what a component does there, beside other sections of a trial."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def observe(self, section: Sections, beside: Sections, folder: Path) -> Observation:
        """Return what can be seen of it."""


@dataclass(frozen=True)
class InTrial:
    """In a trial on one of the small data sets; `put` makes sections of the component's."""

    name: str
    data: str
    put: Callable[[Any], Sections]

    def observe(self, section: Sections, beside: Sections, folder: Path) -> Observation:
        """Train the trial."""
        return observe_trial(self.data, {**beside, **self.put(section)}, folder)


@dataclass(frozen=True)
class Alone:
    """A model by itself: one too large to be trained here."""

    name: str
    input_shape: tuple[int, ...]

    def observe(self, section: Sections, beside: Sections, folder: Path) -> Observation:
        """Return its outputs in training and in evaluation."""
        return _outputs(json.dumps(section), self.input_shape)


@functools.cache
def _outputs(section: str, input_shape: tuple[int, ...]) -> Observation:
    torch.manual_seed(0)
    model = build_model(json.loads(section), input_shape, 2, Path())
    x = torch.rand(4, *input_shape).mul(100).floor()
    with torch.no_grad():
        return {"outputs": [model.train()(x), model.eval()(x)]}


@dataclass(frozen=True)
class Loaded:
    """A data set, read."""

    name: str = "loaded"

    def observe(self, section: Sections, beside: Sections, folder: Path) -> Observation:
        """Return its splits, and what is known of it."""
        data = load_data(section, seed=0, folder=folder)
        splits: list[Any] = [data.train, data.val, data.test]
        arrays = [array for split in splits if split for array in (inputs_of(split), split.y)]
        folds = [rows for fold in data.folds for rows in fold]
        known = [data.kind, str(data.class_names), str(data.feature_names), data.output_size]
        known += [data.num_tokens, str(data.padding_id)]
        return {"arrays": [*arrays, *folds], "known": known}


def inputs_of(split: Any) -> Any:
    """Return the inputs of a split, which may not be in memory."""
    return split.x if isinstance(split, Arrays) else split.sample(len(split))


@dataclass(frozen=True)
class Asked:
    """A sampler, asked for one trial after the other."""

    name: str = "asked"

    def observe(self, section: Sections, beside: Sections, folder: Path) -> Observation:
        """Return what it suggests."""
        return {"suggested": [*_suggestions(json.dumps(section))]}


@functools.cache
def _suggestions(written: str) -> list[str]:
    section = json.loads(written)
    name = section.pop("name")
    sampler = sampler_of(name, PLANE, **section)
    trials = search(sampler, distance_to(0.2, 0.7), 14)
    suggested = [str(each.params) for each in trials]
    if isinstance(sampler, PopulationSampler):
        suggested += _copies(sampler, trials[: sampler.population])
    return suggested


def _copies(sampler: PopulationSampler, trials: Sequence[Trial]) -> list[str]:
    """Return what copies the members of a population make after their first interval."""
    epoch = sampler.perturbation_interval
    members = [Member(each.number, each.params, -each.curve[1]) for each in trials]
    exploits = truncation_selection(members, sampler.quantile_fraction, 0, epoch)
    gains = [Interval(each.params, epoch, -each.curve[1]) for each in trials]
    copies = [str(epoch), str(len(members))]
    for number, exploit in enumerate(exploits, start=len(members)):
        copies.append(str(sampler.explore(number, exploit, epoch, gains, [])))
    return copies


@dataclass(frozen=True)
class Checked:
    """A check of a trial that hasn't trained."""

    name: str = "checked"

    def observe(self, section: Sections, beside: Sections, folder: Path) -> Observation:
        """Return what it finds."""
        trainer = Trainer(TrialConfig(**TRIAL, values={**SECTIONS, **beside}), data_of("wine"))
        return {"found": [str(each) for each in run_checks(trainer, [section])]}


MLP = {"name": "mlp", "hidden_sizes": [8]}
CNN = {"name": "cnn", "channels": [4], "hidden_sizes": [8]}
RNN = {"name": "rnn", "hidden_size": 6}
DECODER = {"name": "encoder_decoder", "hidden_size": 6, "encoder": RNN}
VARIATIONAL = {"code_size": 2, "variational": True, "draws": 2}
AUTOENCODER = {"name": "autoencoder", "hidden_sizes": [4], **VARIATIONAL}
STACKED = {"name": "stacked_autoencoder", "hidden_sizes": [4, 3]}
DBN = {"name": "dbn", "hidden_sizes": [4, 3]}
PRIOR = {"name": "image_prior", "channels": 4, "noise_channels": 3, "depth": 1}
SIAMESE = {"name": "siamese", "embedding_size": 4, "encoder": MLP}
TWINS = {"name": "barlow_twins", "encoder": MLP, "embedding_size": 4, "projector_sizes": [6, 5]}
UNET = {"name": "unet", "base": 4, "depth": 1}
NOISE = [{"name": "gaussian_noise", "std": 0.5}]
FCN = {"name": "fcn", "channels": [4, 4]}
CASCADE = {"name": "cascaded_unet", "base": 4, "depth": 1}
TRANSFORMER = {"name": "transformer", "width": 8, "heads": 2, "layers": 1}


def _of_model(name: str, data: str, model: Sections, key: str) -> InTrial:
    return InTrial(name, data, lambda section: {"model": {**model, key: section}})


def _section(name: str, data: str, *, many: bool = False, **beside: Any) -> InTrial:
    def put(section: Any) -> Sections:
        return {**beside, name: [section] if many else section}

    return InTrial(beside["model"]["name"] if "model" in beside else data, data, put)


def _of_task(
    data: str,
    kind: str,
    key: str,
    *,
    many: bool = False,
    model: Sections | None = None,
    **keywords: Any,
) -> InTrial:
    beside = {} if model is None else {"model": model}

    def put(section: Any) -> Sections:
        return {"task": {"name": kind, **keywords, key: [section] if many else section}, **beside}

    return InTrial(data, data, put)


_SQUARES = "tests.support.effects:squares"
_KINDS = {"wine": "classification", "labels": "multilabel", "numbers": "regression"}
_ALL_KINDS = {**_KINDS, "shares": "classification"}
#: family, or family and component → places, in each of which it is seen if it may stand there
PLACES: dict[str, list[Any]] = {
    "dataset": [Loaded()],
    "task": [_section("task", data) for data in _KINDS],
    "loss": [_of_task(data, kind, "loss") for data, kind in _ALL_KINDS.items()],
    "head": [_of_task(data, kind, "head", loss=_SQUARES) for data, kind in _KINDS.items()],
    "metric": [_of_task(data, kind, "metrics", many=True) for data, kind in _ALL_KINDS.items()],
    "model": [_section("model", data) for data in ("wine", "digits", "tumours")],
    "task.contrastive_divergence": [_section("task", "units", model=DBN)],
    "callback.exact_likelihood": [
        _section("callbacks", "units", many=True, model={"name": "rbm", "hidden_size": 4})
    ],
    **{
        f"callback.word_{kind}": [
            _section("callbacks", "words", many=True, model={"name": "skip_gram"})
        ]
        for kind in ("analogies", "similarities")
    },
    "callback.time_gradients": [_section("callbacks", "digits", many=True, model=RNN)],
    "model.one_neuron_skip": [_section("model", "tumours")],
    "model.echo_state": [_section("model", "digits")],
    "regularizer.skip_neuron": [
        _section("regularizers", "tumours", many=True, model={"name": "one_neuron_skip"})
    ],
    "model.skip_gram": [_section("model", "words")],
    "task.word_embedding": [_section("task", "words", model={"name": "skip_gram"})],
    "model.late_fusion": [_section("model", "captions")],
    "model.tree_lstm": [_section("model", "trees")],
    "model.recursive_nn": [_section("model", "trees")],
    "task.sequence_labelling": [_section("task", "echo", model=RNN)],
    "model.encoder_decoder": [_section("model", "said")],
    "task.sequence_generation": [_section("task", "said", model=DECODER)],
    "model.hopfield": [_section("model", "patterns")],
    "task.associative_memory": [_section("task", "patterns", model={"name": "hopfield"})],
    "model.image_prior": [_section("model", "damaged")],
    "task.image_prior": [_section("task", "damaged", model=PRIOR)],
    "model.dbn": [_section("model", "units")],
    "model.stacked_autoencoder": [_section("model", "features")],
    "task.layer_reconstruction": [_section("task", "features", model=STACKED)],
    "model.rbm": [_section("model", "units")],
    "task.multioutput": [_section("task", "mixed")],
    "task.forecasting": [_section("task", "series", model=RNN)],
    "task.language_model": [_section("task", "tokens", model=RNN)],
    "task.segmentation": [_section("task", "masks", model=CASCADE)],
    "task.pairs": [_section("task", "pairs", model=SIAMESE)],
    **{
        f"loss.{name}": [_of_task("pairs", "pairs", "loss", model=SIAMESE)]
        for name in ("contrastive", "pair_hinge", "pair_cross_entropy", "pair_mse")
    },
    "task.metric_learning": [_section("task", "classes", model=MLP)],
    "loss.triplet": [_of_task("classes", "metric_learning", "loss", model=MLP)],
    "task.restoration": [_section("task", "restored", model=UNET, augmentations=NOISE)],
    "task.barlow_twins": [_section("task", "views", model=TWINS, augmentations=NOISE)],
    "model.barlow_twins": [_section("model", "views", augmentations=NOISE)],
    "model.siamese": [_section("model", "pairs")],
    "model.fcn": [_section("model", "masks")],
    "model.cascaded_unet": [_section("model", "masks")],
    "task.reconstruction": [_section("task", "values", model=AUTOENCODER)],
    "model.autoencoder": [_section("model", "values")],
    "model.unet": [_section("model", "pictures")],
    "model.conv_autoencoder": [_section("model", "pictures")],
    "model.transformer": [_section("model", "tokens"), _section("model", "digits")],
    "model.minilm": [Alone("texts", (8,))],
    "model.efficientnet_lite0": [Alone("images", (1, 40, 40))],
    "cell": [_of_model("rnn", "digits", RNN, "cell")],
    "activation": [
        _of_model("mlp", "wine", MLP, "activation"),
        _of_model("cnn", "digits", CNN, "activation"),
    ],
    "norm": [_of_model("mlp", "wine", MLP, "norm"), _of_model("cnn", "digits", CNN, "norm")],
    "dropout": [
        _of_model("mlp", "wine", MLP, "dropout"),
        _of_model("cnn", "digits", CNN, "dropout"),
        _of_model("conv", "digits", CNN, "conv_dropout"),
        _of_model("rnn", "digits", RNN, "dropout"),
    ],
    "initializer": [
        _section("initializer", "wine", model=MLP),
        _section("initializer", "digits", model=CNN),
        _section("initializer", "digits", model=RNN),
        _section("initializer", "tokens", model=TRANSFORMER),
    ],
    "augmentation": [_section("augmentations", data, many=True) for data in ("wine", "digits")],
    "calibration": [_section("calibration", "wine")],
    "check": [Checked()],
    "stage": [_section("stages", "wine", many=True)],
    "sampler": [Asked()],
    **{
        family: [_section(family, "wine")]
        for family in (
            "optimizer",
            "lr_schedule",
            "momentum_schedule",
            "batch_schedule",
            "lr_scaling",
            "gradient_clip",
            "gradient_noise",
            "weight_averaging",
            "ensemble",
            "finetune",
        )
    },
    **{
        family: [_section(section, "wine", many=True)]
        for family, section in (
            ("regularizer", "regularizers"),
            ("constraint", "weight_constraints"),
            ("callback", "callbacks"),
        )
    },
}


def places_of(family: str, component: str) -> list[Any]:
    """Return the places of a component."""
    return PLACES.get(f"{family}.{component}") or PLACES[family]
