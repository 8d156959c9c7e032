"""The catalogue: what trials are put together from; importing it registers every family."""

from hpsearch.components import (
    activations,
    augmentations,
    callbacks,
    cells,
    constraints,
    datasets,
    dropouts,
    finetuning,
    gradients,
    initializers,
    models,
    normalizations,
    optimizers,
    perceptron,
    pretrained,
    recurrent,
    regularizers,
    schedules,
    tasks,
)
from hpsearch.components.data import Arrays, Data
from hpsearch.components.loading import load_data
from hpsearch.components.tasks import epoch_metrics, task_for

__all__ = [
    "Arrays",
    "Data",
    "activations",
    "augmentations",
    "callbacks",
    "cells",
    "constraints",
    "datasets",
    "dropouts",
    "epoch_metrics",
    "finetuning",
    "gradients",
    "initializers",
    "load_data",
    "models",
    "normalizations",
    "optimizers",
    "perceptron",
    "pretrained",
    "recurrent",
    "regularizers",
    "schedules",
    "task_for",
    "tasks",
]
