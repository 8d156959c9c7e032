"""Tasks: what is learned from a batch; a task owns the loss, the head and the metrics.

`kinds` finds the task of a data set, `parts` puts a trial's task together. A new task is a
registered class in a module of its own.
"""

from __future__ import annotations

from hpsearch.components.tasks import (
    associative_memory,
    barlow_twins,
    classification,
    contrastive_divergence,
    forecasting,
    image_prior,
    label_strategies,
    language_model,
    layer_reconstruction,
    metric_learning,
    multilabel,
    multioutput,
    pairs,
    reconstruction,
    regression,
    restoration,
    segmentation,
    sequence_generation,
    sequence_labelling,
    word_embedding,
)
from hpsearch.components.tasks.base import NO_DATA, Task, epoch_metrics, task_for
from hpsearch.components.tasks.undefined import undefined_scores

__all__ = [
    "NO_DATA",
    "Task",
    "associative_memory",
    "barlow_twins",
    "classification",
    "contrastive_divergence",
    "epoch_metrics",
    "forecasting",
    "image_prior",
    "label_strategies",
    "language_model",
    "layer_reconstruction",
    "metric_learning",
    "multilabel",
    "multioutput",
    "pairs",
    "reconstruction",
    "regression",
    "restoration",
    "segmentation",
    "sequence_generation",
    "sequence_labelling",
    "task_for",
    "undefined_scores",
    "word_embedding",
]
