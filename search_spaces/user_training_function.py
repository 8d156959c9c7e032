"""A training loop of one's own, named by `user_training_function.yaml`: digits, in plain torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def train(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    """Yield the metrics of one epoch after another."""
    x_train, y_train, x_val, y_val = (part.to(trial.device) for part in load_data())
    width = config["width"]
    net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10)).to(trial.device)
    optimizer = torch.optim.SGD(net.parameters(), lr=config["lr"], momentum=config["momentum"])

    state = trial.load_checkpoint()  # None, unless the trial was interrupted
    if state is not None:
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])

    for epoch in range(trial.epoch + 1, trial.max_epochs + 1):
        order = torch.Generator().manual_seed(trial.seed + epoch)
        for rows in torch.randperm(len(x_train), generator=order).split(config["batch_size"]):
            loss = cross_entropy(net(x_train[rows]), y_train[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            outputs = net(x_val)
        accuracy = (outputs.argmax(1) == y_val).float().mean()
        yield {"val_loss": cross_entropy(outputs, y_val), "val_accuracy": accuracy}
        trial.save_checkpoint({"net": net.state_dict(), "optimizer": optimizer.state_dict()})


def load_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training and validation examples and classes."""
    bunch = load_digits()
    x = torch.tensor(bunch.data, dtype=torch.float32) / 16
    y = torch.tensor(bunch.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order[:1400]], y[order[:1400]], x[order[1400:]], y[order[1400:]]
