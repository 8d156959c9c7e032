"""A deep belief net against the same net without pre-training, by how many rows have labels.

`python -m benchmarks.pretraining`, some minutes. Trials are paired: both have the same seed,
split, order of rows and epochs with labels; pre-training sees all training rows, no label.
"""

from __future__ import annotations

from statistics import mean, stdev
from typing import Any

import torch

from hpsearch.components import load_data
from hpsearch.spec import TrialConfig
from hpsearch.training import make_trainer

#: share of the training rows that have labels → epochs of fine-tuning
FRACTIONS = {0.01: 100, 0.1: 60, 1.0: 30}
SEEDS = range(5)
PRETRAINING_EPOCHS = 15
LAYERS = 3


def accuracies(seed: int, fraction: float, *, is_pretrained: bool) -> tuple[float, float]:
    """Return the best validation accuracy, and the test accuracy of that epoch."""
    data = load_data({"name": "digits", "standardize": False, "test_fraction": 0.2}, seed=seed)
    values: dict[str, Any] = {
        "model": {"name": "dbn", "hidden_sizes": [128] * LAYERS},
        "optimizer": {"name": "adam", "lr": 0.003},
        "batch_size": 10,
    }
    if fraction < 1:
        values["finetune"] = {"name": "subset", "fraction": fraction}
    epochs = FRACTIONS[fraction]
    if is_pretrained:
        values["stages"] = [_stage(layer) for layer in range(1, LAYERS + 1)]
        epochs += LAYERS * PRETRAINING_EPOCHS
    trainer = make_trainer(TrialConfig(0, seed, epochs, values), data)
    found = []
    for _ in range(epochs):
        metrics = trainer.train_epoch() or {}
        if "val_accuracy" in metrics:
            test = trainer.final().evaluate("test")["test_accuracy"]
            found.append((metrics["val_accuracy"], test))
    return max(found, key=lambda pair: pair[0])


def _stage(layer: int) -> dict[str, Any]:
    task = {"name": "contrastive_divergence", "layer": layer}
    optimizer = {"name": "sgd", "lr": 0.05}
    return {"name": "train", "epochs": PRETRAINING_EPOCHS, "task": task, "optimizer": optimizer}


def main() -> None:
    """Print test accuracies, means and standard deviations over seeds."""
    torch.set_num_threads(1)
    for fraction in FRACTIONS:
        for is_pretrained in (False, True):
            tests = [accuracies(seed, fraction, is_pretrained=is_pretrained)[1] for seed in SEEDS]
            name = "pre-trained" if is_pretrained else "not pre-trained"
            spread = f"{mean(tests):.3f} ± {stdev(tests):.3f}"
            print(
                f"{fraction:.0%} of labels, {name}: {spread} over {len(tests)} seeds", flush=True
            )


if __name__ == "__main__":
    main()
