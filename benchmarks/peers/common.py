"""The work that every peer does: Fashion-MNIST, the MLP and the training of one epoch."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.speed import BATCH_SIZES, MAX_EPOCHS, METRIC, TRAIN_ROWS, VAL_ROWS, measure

__all__ = ["MAX_EPOCHS", "METRIC", "fashion_mnist", "main", "mlp", "sgd", "train", "validate"]

DATA_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist
NUM_CLASSES = 10

INITIALIZERS: dict[str, Callable[[Tensor], Tensor]] = {
    "xavier_uniform": nn.init.xavier_uniform_,
    "he_normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "orthogonal": nn.init.orthogonal_,
}

Batches = DataLoader[tuple[Tensor, ...]]


def fashion_mnist(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """The training and the validation rows, as many of each class in both."""
    images = _read_idx("train-images-idx3-ubyte.gz", offset=16).reshape(-1, 28 * 28)
    labels = _read_idx("train-labels-idx1-ubyte.gz", offset=8)
    generator = np.random.default_rng(seed)
    rows = [generator.permutation(np.flatnonzero(labels == c)) for c in range(NUM_CLASSES)]
    num_train, num_val = TRAIN_ROWS // NUM_CLASSES, VAL_ROWS // NUM_CLASSES
    train_rows = np.concatenate([r[:num_train] for r in rows])
    val_rows = np.concatenate([r[num_train : num_train + num_val] for r in rows])
    return _dataset(images[train_rows], labels[train_rows]), _dataset(
        images[val_rows], labels[val_rows]
    )


def _read_idx(name: str, offset: int) -> NDArray[np.uint8]:
    with gzip.open(DATA_FOLDER / name) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def _dataset(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> TensorDataset:
    inputs = torch.from_numpy(images.astype(np.float32) / 255)
    return TensorDataset(inputs, torch.from_numpy(labels.astype(np.int64)))


def mlp(config: Mapping[str, Any]) -> nn.Sequential:
    """784-128-64-10 with ReLU and dropout, its weights drawn by `config["initializer"]`."""
    model = nn.Sequential(
        *(nn.Linear(784, 128), nn.ReLU(), nn.Dropout(config["dropout"])),
        *(nn.Linear(128, 64), nn.ReLU(), nn.Dropout(config["dropout"])),
        nn.Linear(64, NUM_CLASSES),
    )
    for layer in model:
        if isinstance(layer, nn.Linear):
            INITIALIZERS[config["initializer"]](layer.weight)
            nn.init.zeros_(layer.bias)
    return model


def sgd(model: nn.Module, config: Mapping[str, Any]) -> torch.optim.SGD:
    """SGD with the momentum and the weight decay of `config`."""
    return torch.optim.SGD(
        model.parameters(),
        lr=config["lr"],
        momentum=config["momentum"],
        weight_decay=config["weight_decay"],
    )


def train(model: nn.Module, loader: Batches, optimizer: torch.optim.Optimizer) -> float:
    """Train for one epoch; returns the mean loss of its rows."""
    model.train()
    total_loss = 0.0
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        total_loss += loss.item() * len(labels)
    return total_loss / TRAIN_ROWS


def validate(model: nn.Module, loader: Batches) -> tuple[float, float]:
    """Mean loss and accuracy on the validation rows."""
    model.eval()
    total_loss, num_correct = 0.0, 0
    with torch.no_grad():
        for inputs, labels in loader:
            outputs = model(inputs)
            total_loss += functional.cross_entropy(outputs, labels, reduction="sum").item()
            num_correct += int((outputs.argmax(dim=1) == labels).sum().item())
    return total_loss / VAL_ROWS, num_correct / VAL_ROWS


def main(module: str, search: Callable[[int, int, Path, list[int]], None]) -> None:
    """The command line of a peer: runs `search(trials, seed, folder, batch_sizes)`, prints what it
    took."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCH_SIZES)
    parser.add_argument("--dir", type=Path, required=True, help="an empty or a new folder")
    parser.add_argument("--unmeasured", action="store_true", help="only search, print no JSON")
    arguments = parser.parse_args()
    folder = arguments.dir.resolve()
    if arguments.unmeasured:
        search(arguments.trials, arguments.seed, folder, arguments.batch_sizes)
        return
    # Measured from outside: only a parent sees what start-up and Ray's daemons cost.
    command = [sys.executable, "-m", module, *sys.argv[1:], "--dir", str(folder), "--unmeasured"]
    print(json.dumps(asdict(measure(command, folder))))
