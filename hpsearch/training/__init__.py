"""Training one configuration in plain torch; it knows nothing of Ray, Optuna or MLflow.

`protocol` is the interface of all trainers; two epochs, a checkpoint and two more must equal four
epochs bit for bit. Checks of a trial are in `checks/`, users' training code in `user_code/`.
"""

from __future__ import annotations

import copy

import torch

from hpsearch.components import Data
from hpsearch.spec import TrialConfig
from hpsearch.training import checks
from hpsearch.training.calibrating import Calibrated, calibrate
from hpsearch.training.cross_validation import CrossValidation, refit
from hpsearch.training.export import export_model
from hpsearch.training.launchers import launch
from hpsearch.training.protocol import ModelTrainer
from hpsearch.training.seeds import derive_seed
from hpsearch.training.stages import new_trainer
from hpsearch.training.trainer import Trainer

__all__ = [
    "Calibrated",
    "CrossValidation",
    "Trainer",
    "calibrate",
    "checks",
    "derive_seed",
    "export_model",
    "launch",
    "make_trainer",
    "refit",
]


def make_trainer(
    config: TrialConfig, data: Data, device: str | torch.device = "cpu"
) -> ModelTrainer:
    """Return the trainer of a spec's model, whatever launcher trains the trials."""
    config = copy.deepcopy(config)  # checks of the user's may change what their trainer has
    if data.folds and not config.values.get("stages"):
        return CrossValidation(config, data, device)
    return new_trainer(config, data, device)
