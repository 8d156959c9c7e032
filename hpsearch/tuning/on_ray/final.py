"""The exported models: the best trial's and the mean of several, scored once on the test split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from torch import nn

from hpsearch.components import Arrays, Data
from hpsearch.components.examples import KnownRows, first_examples
from hpsearch.components.tasks.baselines import Scores, baseline_scores
from hpsearch.importing import working_directory
from hpsearch.spec import Objective, Resources, TrialConfig
from hpsearch.training import calibrate, export_model, make_trainer
from hpsearch.training.checkpoints import load_checkpoint
from hpsearch.training.ensembles import mean_metrics, put_together, select_greedily
from hpsearch.training.protocol import ModelTrainer
from hpsearch.training.reinforcement.trainer import ReinforcementTrainer
from hpsearch.training.threads import num_threads
from hpsearch.training.trainer import Trainer
from hpsearch.tuning.on_ray.shipping import ShippedData

#: rows of the example that goes with the registered model
EXAMPLE_ROWS = 5
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class FinalModel:
    """A model on raw inputs, what it scores on the test split, and an example of its inputs.

    The scores are those before a calibration, which `calibration` tells of. `baselines` score on
    the validation and the test split. `metrics` are an ensemble's of validation, which a trial
    has reported, and `counts` say how often each of its trials counts, by its place.
    """

    module: nn.Module
    test_metrics: dict[str, float] | None
    example: Any
    baselines: Scores = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """A trial that was trained: its configuration, and its checkpoint."""

    config: TrialConfig
    checkpoint: Path


def train_final_model(trial: Trained, data: Data, resources: Resources) -> FinalModel:
    """Return the model of a trial from its checkpoint; after cross validation, a refit on all
    rows but the test split's. Where trials use a GPU, that is done on one in the cluster."""
    return _with_writable_example(_where_trials_run(_final_model, [trial], data, resources))


def average_models(
    trials: Sequence[Trained],
    data: Data,
    resources: Resources,
    goal: Objective | None = None,
) -> FinalModel:
    """Return the mean of several trials as one model, scored as the best of them; with a goal of
    those that are selected greedily for it. See `train_final_model`."""
    make = partial(_mean_model, goal=goal)
    return _with_writable_example(_where_trials_run(make, trials, data, resources))


def test_scores(trial: Trained, data: Data, resources: Resources) -> dict[str, float]:
    """Return what the model of a trial scores on the test split, made as the exported one."""
    return _where_trials_run(_test_scores, [trial], data, resources)


def learned_policy(config: TrialConfig, checkpoint: Path) -> FinalModel | None:
    """Return what an agent has learned, from its trial's checkpoint; None where it can't be had
    without the agent."""
    with num_threads(config.cpu), working_directory(Path(config.folder)):
        trainer = ReinforcementTrainer(config)
        trainer.load_state_dict(load_checkpoint(checkpoint, "cpu")["trainer"])
        policy, example = trainer.policy(), trainer.examples(EXAMPLE_ROWS)
        trainer.close()
    return None if policy is None else FinalModel(policy, None, example)


def _where_trials_run(
    make: Callable[[Sequence[Trained], Data], _Made],
    trials: Sequence[Trained],
    data: Data,
    resources: Resources,
) -> _Made:
    """Return what is made of trials, on a GPU of the cluster where trials use one."""
    config = trials[0].config
    if resources.gpu == 0:
        return _made(make, trials, data)
    task = ray.remote(num_cpus=resources.cpu, num_gpus=resources.gpu)(_made)
    shipped = ShippedData(data, config.values.get("dataset"), config.folder, config.code)
    made: _Made = ray.get(task.remote(make, trials, shipped))
    return made


def _made(
    make: Callable[[Sequence[Trained], Data], _Made], trials: Sequence[Trained], data: Data
) -> _Made:
    config = trials[0].config
    with num_threads(config.cpu), working_directory(Path(config.folder)):
        return make(trials, data)


def _with_writable_example(final: FinalModel) -> FinalModel:
    return replace(final, example=final.example.copy())  # Ray's arrays can't be written


def _test_scores(trials: Sequence[Trained], data: Data) -> dict[str, float]:
    return _loaded(trials[0], data).final().evaluate("test")


def _final_model(trials: Sequence[Trained], data: Data) -> FinalModel:
    trained = _loaded(trials[0], data)
    return _exported(trained.final(), trained.trainers, data)


def _mean_model(
    trials: Sequence[Trained], data: Data, goal: Objective | None = None
) -> FinalModel:
    loaded = [_loaded(trial, data) for trial in trials]
    folds = list(zip(*(each.trainers for each in loaded), strict=True))
    places = dict.fromkeys(range(len(trials)), 1)
    if goal is not None:
        places = select_greedily(folds, goal.metric, goal.direction)
    counts = [*places.values()]
    held_out = [put_together([fold[place] for place in places], counts) for fold in folds]
    metrics = mean_metrics(held_out)
    whole = held_out[0]
    if data.folds:
        whole = put_together([loaded[place].final() for place in places], counts)
    made = _exported(whole, held_out, data)
    for each in loaded:
        each.close()
    return replace(made, metrics=metrics, counts=places)


def _loaded(trial: Trained, data: Data) -> ModelTrainer:
    trained = make_trainer(trial.config, data, trial.config.device)
    trained.load_weights(load_checkpoint(trial.checkpoint, trial.config.device)["trainer"])
    return trained


def _exported(trainer: Trainer, held_out: Sequence[Trainer], data: Data) -> FinalModel:
    """Score and export a trainer; `held_out` have seen none of their validation rows."""
    calibrated = calibrate(trainer, held_out)
    return FinalModel(
        module=export_model(trainer, calibrated.calibration if calibrated else None),
        test_metrics=None if data.test is None else trainer.evaluate("test"),
        example=_example(data),
        baselines=baseline_scores(trainer.task, trainer.data),
        calibration=calibrated.report if calibrated else None,
    )


def _example(data: Data) -> Any:
    """The first training rows, as raw inputs: a table with the columns of a file, if there are
    any, or an array."""
    import pandas

    table = None if data.raw_inputs is None else data.raw_inputs.table
    if table is not None:
        return table.example
    rows = _raw_rows(data)
    if len(data.feature_names) == rows.shape[-1] and rows.ndim == 2:
        return pandas.DataFrame(rows, columns=list(data.feature_names))
    return rows.round().astype(np.uint8) if data.unit == 255 else rows


def _raw_rows(data: Data) -> NDArray[np.float32]:
    train = data.train
    if not isinstance(train, KnownRows):
        rows = [torch.as_tensor(x) for x, _ in first_examples(train, EXAMPLE_ROWS)]
        return torch.stack(rows).float().numpy()
    if not isinstance(train, Arrays):
        return data.as_raw(train.sample(EXAMPLE_ROWS))
    if data.folds:  # whose rows are as they were read
        train = data.encoding.examples(train)
    return data.as_raw(train.rows(np.arange(min(EXAMPLE_ROWS, len(train)))).x)
