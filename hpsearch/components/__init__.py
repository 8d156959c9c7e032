"""The catalogue: what trials are put together from; importing it registers every family."""

from hpsearch.components import activations, datasets, initializers, models, optimizers, tasks
from hpsearch.components.data import Arrays, Data
from hpsearch.components.loading import load_data
from hpsearch.components.tasks import epoch_metrics, task_for

__all__ = [
    "Arrays",
    "Data",
    "activations",
    "datasets",
    "epoch_metrics",
    "initializers",
    "load_data",
    "models",
    "optimizers",
    "task_for",
    "tasks",
]
