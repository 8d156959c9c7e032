"""Schedules by name: of the learning rate, of the momentum and of the batch size.

A schedule is a pure function of where training is (`Progress`), so that a trial that resumes from
a checkpoint follows the curve that it would have followed. The plateau schedule alone looks at a
metric; what it saw is part of a trial's state.
"""

from hpsearch.components.schedules import batch, cycles, learning_rate, momentum, plateau
from hpsearch.components.schedules.batch import BatchPace, BatchSchedule, Scaling
from hpsearch.components.schedules.progress import (
    MetricSchedule,
    Progress,
    Schedule,
    as_metric_schedule,
)

__all__ = [
    "BatchPace",
    "BatchSchedule",
    "MetricSchedule",
    "Progress",
    "Scaling",
    "Schedule",
    "as_metric_schedule",
    "batch",
    "cycles",
    "learning_rate",
    "momentum",
    "plateau",
]
