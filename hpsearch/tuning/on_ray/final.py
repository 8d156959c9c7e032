"""The exported model: the best trial's, scored once on the test split."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from torch import nn

from hpsearch.components import Arrays, Data
from hpsearch.components.examples import KnownRows, first_examples
from hpsearch.components.tasks.baselines import Scores, baseline_scores
from hpsearch.importing import working_directory
from hpsearch.spec import Resources, TrialConfig
from hpsearch.training import calibrate, export_model, make_trainer
from hpsearch.training.checkpoints import load_checkpoint
from hpsearch.training.protocol import ModelTrainer
from hpsearch.training.reinforcement.trainer import ReinforcementTrainer
from hpsearch.training.threads import num_threads
from hpsearch.training.trainer import Trainer
from hpsearch.tuning.on_ray.shipping import ShippedData

#: rows of the example that goes with the registered model
EXAMPLE_ROWS = 5


@dataclass(frozen=True)
class FinalModel:
    """A model on raw inputs, what it scores on the test split, and an example of its inputs.

    The scores are those before a calibration, which `calibration` tells of. `baselines` score on
    the validation and the test split.
    """

    module: nn.Module
    test_metrics: dict[str, float] | None
    example: Any
    baselines: Scores = field(default_factory=dict)
    calibration: dict[str, Any] | None = None


def train_final_model(
    config: TrialConfig, data: Data, checkpoint: Path, resources: Resources
) -> FinalModel:
    """Return the model of a trial from its checkpoint; after cross validation, a refit on all
    rows but the test split's. Where trials use a GPU, that is done on one in the cluster."""
    if resources.gpu == 0:
        return _final_model(config, data, checkpoint)
    task = ray.remote(num_cpus=resources.cpu, num_gpus=resources.gpu)(_final_model)
    shipped = ShippedData(data, config.values.get("dataset"), config.folder, config.code)
    final: FinalModel = ray.get(task.remote(config, shipped, checkpoint))
    return replace(final, example=final.example.copy())  # Ray's arrays can't be written


def learned_policy(config: TrialConfig, checkpoint: Path) -> FinalModel | None:
    """Return what an agent has learned, from its trial's checkpoint; None where it can't be had
    without the agent."""
    with num_threads(config.cpu), working_directory(Path(config.folder)):
        trainer = ReinforcementTrainer(config)
        trainer.load_state_dict(load_checkpoint(checkpoint, "cpu")["trainer"])
        policy, example = trainer.policy(), trainer.examples(EXAMPLE_ROWS)
        trainer.close()
    return None if policy is None else FinalModel(policy, None, example)


def test_scores(
    config: TrialConfig, data: Data, checkpoint: Path, resources: Resources
) -> dict[str, float]:
    """Return what the model of a trial scores on the test split, made as the exported one."""
    if resources.gpu == 0:
        return _test_scores(config, data, checkpoint)
    task = ray.remote(num_cpus=resources.cpu, num_gpus=resources.gpu)(_test_scores)
    shipped = ShippedData(data, config.values.get("dataset"), config.folder, config.code)
    scores: dict[str, float] = ray.get(task.remote(config, shipped, checkpoint))
    return scores


def _test_scores(config: TrialConfig, data: Data, checkpoint: Path) -> dict[str, float]:
    with num_threads(config.cpu), working_directory(Path(config.folder)):
        _, trainer = _trainers(config, data, checkpoint)
        return trainer.evaluate("test")


def _final_model(config: TrialConfig, data: Data, checkpoint: Path) -> FinalModel:
    with num_threads(config.cpu), working_directory(Path(config.folder)):
        return _make_final_model(config, data, checkpoint)


def _make_final_model(config: TrialConfig, data: Data, checkpoint: Path) -> FinalModel:
    trained, trainer = _trainers(config, data, checkpoint)
    calibrated = calibrate(trainer, trained)
    return FinalModel(
        module=export_model(trainer, calibrated.calibration if calibrated else None),
        test_metrics=None if data.test is None else trainer.evaluate("test"),
        example=_example(data),
        baselines=baseline_scores(trainer.task, trainer.data),
        calibration=calibrated.report if calibrated else None,
    )


def _trainers(config: TrialConfig, data: Data, checkpoint: Path) -> tuple[ModelTrainer, Trainer]:
    """Return the trainer of a checkpoint, and that of the model to export."""
    trained = make_trainer(config, data, config.device)
    trained.load_weights(load_checkpoint(checkpoint, config.device)["trainer"])
    return trained, trained.final()


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
