"""What can be seen of a trial, and whether two trials differ in it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.losses import class_shares
from hpsearch.components.metrics import Metric
from hpsearch.components.predictors import Predictor
from hpsearch.spec import TrialConfig
from hpsearch.training import calibrate, export_model, make_trainer

#: numbers, texts and arrays by what they are of, in an order that no name changes
Observation = dict[str, list[Any]]

#: times, which are never the same
TIMES = {"forward_ms", "backward_ms", "backward_to_forward"}
#: a difference below this part of the greatest value is rounding
ROUNDING = 1e-5
#: fields of a trial
TRIAL: dict[str, Any] = {"number": 0, "seed": 0, "max_epochs": 4}
SECTIONS: dict[str, Any] = {
    "model": {"name": "mlp", "hidden_sizes": [8]},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "batch_size": 16,
}
_SMALL = {"train_rows": 48, "val_rows": 24}
#: the data sets of these trials
DATA: dict[str, dict[str, Any]] = {
    "wine": {"name": "wine", **_SMALL},
    "tumours": {"name": "breast_cancer", **_SMALL},
    "digits": {"name": "digits", **_SMALL},
    "labels": {"name": "tests.support.effects:labels", "kind": "multilabel", **_SMALL},
    "shares": {"name": "tests.support.effects:shares", "kind": "classification", **_SMALL},
    "numbers": {"name": "tests.support.effects:numbers", **_SMALL},
    "mixed": {"name": "tests.support.effects:mixed", "kind": "multioutput", **_SMALL},
    "units": {"name": "tests.support.effects:units", "standardize": False, **_SMALL},
    "values": {"name": "tests.support.effects:values", **_SMALL},
    "features": {"name": "tests.support.effects:features", **_SMALL},
    "pictures": {"name": "tests.support.effects:pictures", **_SMALL},
    "restored": {"name": "tests.support.effects:restored", **_SMALL},
    "views": {"name": "tests.support.effects:views", **_SMALL},
    "pairs": {"name": "tests.support.effects:pairs", **_SMALL},
    "classes": {"name": "tests.support.effects:classes", **_SMALL},
    "series": {"name": "seasonal_series", "steps": 200, "period": 6, "lookback": 8, "horizon": 2},
    "masks": {"name": "blobs_segmentation", "images": 40, "size": 12},
    "captions": {"name": "captioned_shapes", "images": 60, "size": 8},
    "words": {"name": "topic_words", "sentences": 30},
    "trees": {"name": "logic_trees", "trees": 60, "nodes": 5},
    "echo": {"name": "echo", "sequences": 60, "length": 5},
    "said": {"name": "echo", "sequences": 60, "length": 5, "kind": "sequence_generation"},
    "ids": {"name": "tests.support.effects:ids", **_SMALL},
    "patterns": {"name": "patterns", "num_patterns": 16, "size": 60, "damage": 0.3},
    "damaged": {"name": "damaged_image", "size": 8, "repeats": 16},
    "tokens": {"name": "markov_text", "characters": 600, "letters": 3, "length": 8},
}


def labels() -> Mapping[str, Any]:
    """Rows with two labels that don't exclude each other."""
    x = _inputs()
    return {"train": (x, (x[:, :2] + 0.3 * x[:, 2:4] > 0.5).astype(np.float32))}


def shares() -> Mapping[str, Any]:
    """Rows with shares of three classes."""
    weights = np.exp(_inputs()[:, :3])
    return {"train": (_inputs(), weights / weights.sum(1, keepdims=True))}


def numbers() -> Mapping[str, Any]:
    """Rows with two targets of different sizes, some of them far off."""
    x = _inputs()
    return {"train": (x, x[:, :2] ** 3 * [1.0, 3.0] + np.sin(x[:, 2:4]))}


def mixed() -> Mapping[str, Any]:
    """Rows with a class and a number."""
    x = _inputs()
    y = np.empty((len(x), 2), object)
    y[:, 0], y[:, 1] = np.where(x[:, 0] > 0, "up", "down"), x[:, 1] + x[:, 2] ** 2
    return {"train": (x, y), "targets": ["way", "size"]}


def ids() -> Mapping[str, Any]:
    """Sequences of ids of different lengths, of which the last is learned."""
    rng = np.random.default_rng(0)
    x = np.zeros((150, 6), np.int64)
    for row in x:
        length = rng.integers(1, 7)
        row[:length] = rng.integers(1, 5, length)
    last = x[np.arange(150), (x > 0).sum(1) - 1]
    return {"train": (x, last > 2), "num_tokens": 5, "padding_id": 0}


def units() -> Mapping[str, Any]:
    """Rows of zeros and ones."""
    x = (_inputs() > 0).astype(np.float32)
    return {"train": (x, np.arange(150)), "kind": "contrastive_divergence"}


def values() -> Mapping[str, Any]:
    """Rows to be given back."""
    return {"train": (_inputs(), np.arange(150)), "kind": "reconstruction"}


def features() -> Mapping[str, Any]:
    """Rows of which layer after layer is given back."""
    return {"train": (_inputs(), np.arange(150)), "kind": "layer_reconstruction"}


def pairs() -> Mapping[str, Any]:
    """Rows whose classes say which two are similar."""
    return {"train": (_inputs(), (_inputs()[:, 0] > 0).astype(int)), "kind": "pairs"}


def views() -> Mapping[str, Any]:
    """Rows of which augmentations make views."""
    return {**pairs(), "kind": "barlow_twins"}


def classes() -> Mapping[str, Any]:
    """Rows whose classes say which embeddings are to be near each other."""
    return {**pairs(), "kind": "metric_learning"}


def restored() -> Mapping[str, Any]:
    """Images to be restored."""
    return {**pictures(), "kind": "restoration"}


def pictures() -> Mapping[str, Any]:
    """Images to be given back."""
    x = np.random.default_rng(0).normal(size=(150, 1, 8, 8)).astype(np.float32)
    return {"train": (x, np.arange(150)), "kind": "reconstruction"}


def squares() -> Any:
    """A loss that goes with any head."""
    return lambda outputs, targets: (outputs - class_shares(targets, outputs)).square().mean()


def greatest_error() -> Metric:
    """A metric of numbers that is none of hpsearch's."""
    return Metric.single(
        "greatest_error",
        lambda seen: float(np.abs(seen.outputs - seen.targets).max()),
        ("regression",),
        needs_probabilities=False,
    )


def _inputs() -> Any:
    return np.random.default_rng(0).normal(size=(150, 5)).astype(np.float32)


def differ(one: Observation, other: Observation, rounding: float = ROUNDING) -> bool:
    """Whether anything differs by more than rounding."""
    return one.keys() != other.keys() or any(
        len(one[part]) != len(other[part])
        or any(_are_apart(*pair, rounding) for pair in zip(one[part], other[part], strict=True))
        for part in one
    )


def observe_trial(
    data: str,
    sections: Mapping[str, Any],
    folder: Path | str = ".",
    **fields: Any,
) -> Observation:
    """Train a trial of these sections and fields; the same one is trained once."""
    return _observe_trial(json.dumps([data, sections, {**fields, "folder": str(folder)}]))


@functools.cache
def data_of(name: str) -> Data:
    """Return a data set by its name here."""
    return load_data(DATA[name], seed=0)


@functools.cache
def _observe_trial(written: str) -> Observation:
    return watch_trial(*json.loads(written))


def watch_trial(name: str, sections: Mapping[str, Any], fields: Mapping[str, Any]) -> Observation:
    """Return what can be seen of a trial."""
    data = data_of(name)
    config = TrialConfig(**{**TRIAL, **fields}, values={**SECTIONS, **sections})
    trainer = make_trainer(config, data)
    metrics: list[float] = []
    for _ in range(config.max_epochs):
        epoch = trainer.train_epoch() or {}
        seen = {key: 1.0 if key in TIMES else value for key, value in epoch.items()}
        metrics += [value for key, value in seen.items() if key != "seconds"]
    last = trainer.final()
    calibrated = calibrate(last, trainer.trainers)
    exported = export_model(last, None if calibrated is None else calibrated.calibration)
    return {
        "metrics": metrics,
        "weights": [param.detach() for param in last.model.parameters()],
        "exported": _predictions(exported, data),
    }


@torch.no_grad()
def _predictions(model: Predictor, data: Data) -> list[Any]:
    assert isinstance(data.val, Arrays)
    x = torch.from_numpy(data.val.rows(np.arange(len(data.val))).x)
    shown = [model(x), model.predict(x)]
    return [*shown, model.predict_proba(x)] if model.head.gives_probabilities else shown


def _are_apart(one: Any, other: Any, rounding: float) -> bool:
    if isinstance(one, str | None) or isinstance(other, str | None):
        return bool(one != other)
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if a.shape != b.shape:
        return True
    scale = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    return not np.allclose(a, b, rtol=0, atol=rounding * scale, equal_nan=True)
