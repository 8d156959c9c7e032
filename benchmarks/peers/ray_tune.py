"""Plain Ray Tune: OptunaSearch, ASHAScheduler and MLflowLoggerCallback.

Put together from examples of docs.ray.io: tune-pytorch-cifar (training function, ASHA, resources
and `with_parameters`), optuna_example (OptunaSearch) and tune-mlflow (callback). It saves no
checkpoints, which the first one does, and leaves actors unshared, as is the default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers.common import (
    MAX_EPOCHS,
    METRIC,
    fashion_mnist,
    main,
    mlp,
    sgd,
    train,
    validate,
)

SPACE = {
    "lr": tune.loguniform(1e-3, 1.0),
    "momentum": tune.uniform(0.0, 0.99),
    "weight_decay": tune.loguniform(1e-6, 1e-2),
    "dropout": tune.uniform(0.0, 0.6),
    "initializer": tune.choice(["xavier_uniform", "he_normal", "orthogonal"]),
}


def train_mlp(config: dict[str, Any], train_set: TensorDataset, val_set: TensorDataset) -> None:
    """One trial. Ray sets the number of threads to the trial's CPUs, one."""
    model = mlp(config)
    optimizer = sgd(model, config)
    train_loader = DataLoader(train_set, batch_size=config["batch_size"], shuffle=True)
    val_loader = DataLoader(val_set, batch_size=config["batch_size"])
    for _ in range(MAX_EPOCHS):
        train_loss = train(model, train_loader, optimizer)
        val_loss, val_accuracy = validate(model, val_loader)
        tune.report({"train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy})


def search(trials: int, seed: int, folder: Path, batch_sizes: list[int]) -> None:
    """Run the search, two trials at once; MLflow's store and Ray's results go to `folder`."""
    ray.init(num_cpus=2)
    train_set, val_set = fashion_mnist(seed)
    trainable = tune.with_parameters(train_mlp, train_set=train_set, val_set=val_set)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={**SPACE, "batch_size": tune.choice(batch_sizes)},
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="max",
            search_alg=OptunaSearch(seed=seed),
            scheduler=ASHAScheduler(max_t=MAX_EPOCHS, grace_period=1, reduction_factor=3),
            num_samples=trials,
            # Without it Ray 2.60 starts the next trial only when none is waiting to start.
            max_concurrent_trials=2,
        ),
        run_config=tune.RunConfig(
            name="speed",
            storage_path=str(folder / "ray"),
            callbacks=[
                MLflowLoggerCallback(
                    tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name="speed"
                )
            ],
        ),
    )
    tuner.fit()
    ray.shutdown()


if __name__ == "__main__":
    main("benchmarks.peers.ray_tune", search)
