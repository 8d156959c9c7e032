"""What trains a model as Keras has it, in formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.keras_formulas import Array

#: a metric → Keras's of outputs and targets
METRIC_FORMULAS: dict[str, Callable[[Array, Array], float]] = {
    "mae": lambda p, y: float(np.abs(p - y).mean()),  # MeanAbsoluteError
    "rmse": lambda p, y: math.sqrt(((p - y) ** 2).mean()),  # RootMeanSquaredError
    "log_loss": lambda p, y: float(-(y * np.log(p)).sum(1).mean()),  # CategoricalCrossentropy
    "kl_to_labels": lambda p, y: float((y * np.log(y / p)).sum(1).mean()),  # KLDivergence
}
#: steps of an epoch, and epochs
STEPS, EPOCHS = 5, 12
TOTAL = STEPS * EPOCHS
#: ours → its section, and Keras's factor at a step
SCHEDULES: dict[str, tuple[dict[str, Any], Callable[[int], float]]] = {
    # ExponentialDecay(decay_steps=STEPS, decay_rate=0.9, staircase=True)
    "exponential": ({"gamma": 0.9}, lambda step: 0.9 ** (step // STEPS)),
    "step": ({"step_size": 3, "gamma": 0.5}, lambda step: 0.5 ** (step // (3 * STEPS))),
    # PiecewiseConstantDecay([3 * STEPS - 1, 5 * STEPS - 1], [1, 0.1, 0.01])
    "multistep": (
        {"milestones": [3, 5], "gamma": 0.1},
        lambda step: 0.1 ** ((step > 3 * STEPS - 1) + (step > 5 * STEPS - 1)),
    ),
    # PolynomialDecay(decay_steps=TOTAL - 1, end_learning_rate=0.1, power=2.0)
    "polynomial": (
        {"power": 2.0, "final_factor": 0.1},
        lambda step: 0.9 * (1 - step / (TOTAL - 1)) ** 2 + 0.1,
    ),
    # CosineDecay(decay_steps=TOTAL - 1, alpha=0.1)
    "cosine": (
        {"final_factor": 0.1},
        lambda step: 0.9 * 0.5 * (1 + math.cos(math.pi * step / (TOTAL - 1))) + 0.1,
    ),
    # CosineDecayRestarts(first_decay_steps=STEPS, t_mul=2.0, alpha=0.1)
    "cosine_restarts": ({"final_factor": 0.1}, lambda step: restarted(step / STEPS)),
    # InverseTimeDecay(decay_steps=STEPS, decay_rate=0.3)
    "inverse_time": ({"decay": 0.3}, lambda step: 1 / (1 + 0.3 * step / STEPS)),
    # CosineDecay(initial_learning_rate=0.2, warmup_target=1.0, warmup_steps=2 * STEPS)
    "warmup": (
        {"epochs": 2.0, "start_factor": 0.2},
        lambda step: min(1.0, 0.2 + 0.8 * step / (2 * STEPS)),
    ),
}


def restarted(cycles: float) -> float:
    restart = math.floor(math.log2(1 + cycles) + 1e-12)
    way = (cycles - (2**restart - 1)) / 2**restart
    return 0.9 * 0.5 * (1 + math.cos(math.pi * way)) + 0.1
