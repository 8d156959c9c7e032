"""Two plain Optuna processes on one journal file, each trial a nested MLflow run.

Put together from Optuna's tutorial 10_key_features/004_distributed (processes on a journal file),
pytorch/pytorch_simple.py of optuna-examples (DataLoader, pruning) and MLflow's nested runs.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import optuna
import torch
from optuna.pruners import SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import MaxTrialsCallback
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers.common import MAX_EPOCHS, fashion_mnist, main, mlp, sgd, train, validate

NUM_PROCESSES = 2

Data = tuple[TensorDataset, TensorDataset]


def suggest(trial: optuna.Trial, batch_sizes: list[int]) -> dict[str, Any]:
    """The trial's six hyperparameters."""
    return {
        "lr": trial.suggest_float("lr", 1e-3, 1.0, log=True),
        "momentum": trial.suggest_float("momentum", 0.0, 0.99),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.6),
        "batch_size": trial.suggest_categorical("batch_size", batch_sizes),
        "initializer": trial.suggest_categorical(
            "initializer", ["xavier_uniform", "he_normal", "orthogonal"]
        ),
    }


def objective(trial: optuna.Trial, data: Data, batch_sizes: list[int]) -> float:
    """Train one trial, its curve in a run of its own."""
    with mlflow.start_run(run_name=f"trial_{trial.number}", nested=True):
        config = suggest(trial, batch_sizes)
        mlflow.log_params(config)
        model = mlp(config)
        optimizer = sgd(model, config)
        train_loader = DataLoader(data[0], batch_size=config["batch_size"], shuffle=True)
        val_loader = DataLoader(data[1], batch_size=config["batch_size"])
        for epoch in range(1, MAX_EPOCHS + 1):
            train_loss = train(model, train_loader, optimizer)
            val_loss, val_accuracy = validate(model, val_loader)
            mlflow.log_metrics(
                {"train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy},
                step=epoch,
            )
            trial.report(val_accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return val_accuracy


def create_experiment(folder: Path) -> None:
    """Create MLflow's store and the experiment in it."""
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment("speed")


def optimize(
    process: int, trials: int, seed: int, folder: Path, data: Data, batch_sizes: list[int]
) -> None:
    """One of the processes; all of them together run `trials` trials."""
    create_experiment(folder)
    study = optuna.create_study(
        study_name="speed",
        storage=JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
        direction="maximize",
        # Two processes with the same seed would draw the same configurations.
        sampler=TPESampler(seed=seed * NUM_PROCESSES + process),
        pruner=SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        load_if_exists=True,
    )
    with mlflow.start_run(run_name=f"process_{process}"):
        study.optimize(
            lambda trial: objective(trial, data, batch_sizes),
            callbacks=[MaxTrialsCallback(trials, states=None)],
        )


def search(trials: int, seed: int, folder: Path, batch_sizes: list[int]) -> None:
    """Run the search; the journal and MLflow's store go to `folder`."""
    torch.set_num_threads(1)
    data = fashion_mnist(seed)
    # Two processes that create MLflow's tables at once fail ("duplicate column name"), and a
    # connection to SQLite must not be carried into a fork: so the store is made in its own.
    run_processes(create_experiment, [(folder,)])
    common = trials, seed, folder, data, batch_sizes
    run_processes(optimize, [(i, *common) for i in range(NUM_PROCESSES)])


def run_processes(target: Callable[..., None], arguments: list[tuple[Any, ...]]) -> None:
    """Call `target` once with each of the `arguments`, in processes side by side."""
    processes = [multiprocessing.Process(target=target, args=a) for a in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode != 0 for process in processes):
        raise SystemExit("a process failed; its traceback is above")


if __name__ == "__main__":
    main("benchmarks.peers.optuna_processes", search)
