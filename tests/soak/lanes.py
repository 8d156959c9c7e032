"""Lanes join and leave ten thousand times, in many programs, and every curve is compared."""

from __future__ import annotations

from hpsearch.components import Data
from tests.support.lanes import MLP, alone, assert_same, churned, lane_config

NUM_CHANGES = 10_000
EPOCHS, NUM_LANES = 12, 24
OPTIMIZERS = [
    {"name": "sgd", "lr": 0.05, "momentum": 0.9},
    {"name": "nesterov", "lr": 0.02, "weight_decay": 1e-3},
    {"name": "adamw", "lr": 0.003},
    {"name": "rmsprop", "lr": 0.001},
]
#: a bias before batch norm has no gradient but rounding, which Adam makes whole steps of
MODELS = [
    MLP,
    {**MLP, "dropout": 0.0, "activation": "tanh"},
    {**MLP, "norm": "batch", "bias": False},
]


def test_curves_stay_those_of_trials_by_themselves(wine: Data) -> None:
    total = seed = 0
    while total < NUM_CHANGES:
        configs = [
            lane_config(
                100 * seed + number,
                EPOCHS,
                optimizer=OPTIMIZERS[(seed + number) % 4],
                model=MODELS[number % 3],
                batch_size=(16, 32, 24)[(number // 3) % 3],
                last_batch="drop",  # batch norm over a batch of two rows knows signs only
                lr_schedule={"name": "cosine"} if number % 5 == 0 else None,
            )
            for number in range(NUM_LANES)
        ]
        trained, num_changes, _ = churned(configs, wine, EPOCHS, seed)
        for one, other in zip(alone(configs, wine, EPOCHS), trained, strict=True):
            assert_same(one, other, tolerance=5e-3)
        total, seed = total + num_changes, seed + 1
