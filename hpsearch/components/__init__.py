"""The catalogue: what trials are put together from; importing it registers every family.

A module or a folder a family. A component is a registered factory whose signature is the schema
of the spec; it knows nothing of Ray, Optuna or MLflow.
"""

from hpsearch.components import (
    augmentations,
    calibration,
    callbacks,
    constraints,
    datasets,
    diagnostics,
    ensembles,
    finetuning,
    gradients,
    image_transforms,
    initializers,
    jpeg,
    layer_statistics,
    layers,
    losses,
    metrics,
    models,
    noise_scale,
    optimizers,
    probes,
    regularizers,
    schedules,
    stages,
    tasks,
    train_evaluation,
    weight_averaging,
)
from hpsearch.components.data import Data
from hpsearch.components.datasets import load_data
from hpsearch.components.examples import Arrays
from hpsearch.components.tasks import epoch_metrics, task_for

__all__ = [
    "Arrays",
    "Data",
    "augmentations",
    "calibration",
    "callbacks",
    "constraints",
    "datasets",
    "diagnostics",
    "ensembles",
    "epoch_metrics",
    "finetuning",
    "gradients",
    "image_transforms",
    "initializers",
    "jpeg",
    "layers",
    "load_data",
    "losses",
    "metrics",
    "models",
    "layer_statistics",
    "noise_scale",
    "optimizers",
    "probes",
    "regularizers",
    "schedules",
    "stages",
    "task_for",
    "tasks",
    "train_evaluation",
    "weight_averaging",
]
