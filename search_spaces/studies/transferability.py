"""What `transferability.yaml` trains: a net whose first layers come from another net.

Yosinski et al. (2014, arXiv 1411.1792, section 2): A are the digits 0 to 4, B are 5 to 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

CLASSES = 5
EPOCHS_OF_SOURCE = 15
Split = tuple[Tensor, Tensor]


def train(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    """Yield the metrics of a net for B, of which `layers` are those of a net for the source."""
    torch.manual_seed(trial.seed)
    train_rows, val_rows = halves(first=CLASSES, seed=trial.seed)
    net = make_net()
    if config["source"] != "none":
        first = 0 if config["source"] == "a" else CLASSES
        give_layers(trained(first, trial.seed), net, config["layers"])
    frozen = layers_of(net)[: config["layers"]] if config["is_frozen"] else []
    for layer in frozen:
        layer.requires_grad_(False)
    optimizer = torch.optim.Adam([each for each in net.parameters() if each.requires_grad])
    for epoch in range(1, trial.max_epochs + 1):
        train_epoch(net, optimizer, train_rows, trial.seed + epoch)
        with torch.no_grad():
            outputs = net(val_rows[0])
        accuracy = (outputs.argmax(1) == val_rows[1]).float().mean()
        yield {"val_loss": cross_entropy(outputs, val_rows[1]), "val_accuracy": accuracy}


def trained(first: int, seed: int) -> nn.Sequential:
    """Return a net that has learned the five digits from `first` on."""
    torch.manual_seed(seed + 1_000)  # another net than the one that gets its layers
    net = make_net()
    optimizer = torch.optim.Adam(net.parameters())
    rows, _ = halves(first, seed)
    for epoch in range(EPOCHS_OF_SOURCE):
        train_epoch(net, optimizer, rows, seed + epoch)
    return net


def make_net() -> nn.Sequential:
    """Return three layers and a head, for images (rows, 1, 8, 8)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 64), nn.ReLU()),
        nn.Linear(64, CLASSES),
    )


def layers_of(net: nn.Sequential) -> list[nn.Module]:
    """Return the modules with weights."""
    return [module for module in net if isinstance(module, nn.Conv2d | nn.Linear)]


def give_layers(source: nn.Sequential, net: nn.Sequential, count: int) -> None:
    """Copy the weights of the first layers."""
    for own, given in zip(layers_of(net)[:count], layers_of(source), strict=False):
        own.load_state_dict(given.state_dict())


def train_epoch(
    net: nn.Sequential, optimizer: torch.optim.Optimizer, rows: Split, seed: int
) -> None:
    """Train on all rows in batches of 32."""
    x, y = rows
    for batch in torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).split(32):
        optimizer.zero_grad()
        cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()


def halves(first: int, seed: int) -> tuple[Split, Split]:
    """Return training and validation rows of five digits, which count as classes from 0 on."""
    bunch = load_digits()
    y = torch.tensor(bunch.target)
    x = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    x, y = (part[(y >= first) & (y < first + CLASSES)] for part in (x, y))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    cut = len(x) * 4 // 5
    train_part, val_part = order[:cut], order[cut:]
    return (x[train_part], y[train_part] - first), (x[val_part], y[val_part] - first)
