"""Real learning curves: small networks trained on digits and on tables of KEEL.

    python -m benchmarks.curves [--tables digits phoneme ...]

Every configuration of a grid (learning rate, its schedule, momentum, batch size, width, dropout;
972 of them) is trained for 27 epochs of SGD, all of one batch size and width as one batch of
networks. After each epoch the validation error and log loss are kept. The tables, about 200 kB
each, are written to `build/curves`, a minute of one core each.
"""

from __future__ import annotations

import argparse
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from hpsearch.components.datasets.keel import keel
from hpsearch.spec import Scalar

FOLDER = Path("build/curves")
MAX_EPOCHS = 27
MAX_TRAINING_ROWS = 1200
MAX_VALIDATION_ROWS = 2000
GRID: dict[str, list[Scalar]] = {
    "batch_size": [16, 64, 256],
    "width": [16, 64],
    "lr": [float(f"{10**exponent:.3g}") for exponent in np.linspace(-3, 0.5, 9)],
    "momentum": [0.0, 0.9, 0.99],
    "schedule": ["constant", "cosine", "step"],
    "dropout": [0.0, 0.3],
}
#: tables that rules may be tuned on, and tables that they are judged by
DEVELOPMENT = ("digits", "phoneme")
HELD_OUT = ("satimage", "spambase")


def curves(table: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return `error` and `log_loss`, (num_configurations, MAX_EPOCHS) in the order of GRID.

    They are recorded first where they aren't yet.
    """
    path = FOLDER / f"{table}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **_record(table))
    with np.load(path) as file:
        return {name: file[name].astype(np.float64) for name in file.files}


def _record(table: str) -> dict[str, np.ndarray[Any, Any]]:
    data = _load(table)
    networks = list(product(*list(GRID.values())[2:]))
    found = [
        _train(*data, int(batch_size), int(width), networks)
        for batch_size, width in product(GRID["batch_size"], GRID["width"])
    ]
    stacked = torch.cat(found).numpy()  # (num_configurations, MAX_EPOCHS, 2)
    return {"error": stacked[..., 0], "log_loss": stacked[..., 1]}


def _load(table: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if table == "digits":
        inputs, targets = load_digits(return_X_y=True)
    else:
        inputs, targets = keel(table)["train"]
    order = np.random.default_rng(0).permutation(len(inputs))
    inputs = torch.tensor(np.asarray(inputs)[order], dtype=torch.float32)
    classes = torch.tensor(np.unique(targets, return_inverse=True)[1][order])
    num_training = min(len(inputs) * 2 // 3, MAX_TRAINING_ROWS)
    mean, std = inputs[:num_training].mean(0), inputs[:num_training].std(0)
    inputs = (inputs - mean) / (std + 1e-3)
    rest = slice(num_training, num_training + MAX_VALIDATION_ROWS)
    return inputs[:num_training], classes[:num_training], inputs[rest], classes[rest]


def _train(
    inputs: Tensor,
    classes: Tensor,
    val_inputs: Tensor,
    val_classes: Tensor,
    batch_size: int,
    width: int,
    networks: list[tuple[Scalar, ...]],
) -> Tensor:
    """Return error and log loss of networks with one hidden layer, (networks, MAX_EPOCHS, 2)."""
    rng = torch.Generator().manual_seed(0)
    lr, momentum, _, dropout = (list(column) for column in zip(*networks, strict=True))
    rates, momenta, dropouts = (torch.tensor(c)[:, None, None] for c in (lr, momentum, dropout))
    schedules = [str(network[2]) for network in networks]
    sizes = [inputs.shape[1], width, int(classes.max()) + 1]
    parameters = _initial(len(networks), sizes, rng)
    velocities = [torch.zeros_like(parameter) for parameter in parameters]
    num_steps = math.ceil(len(inputs) / batch_size)
    history = []
    for epoch in range(MAX_EPOCHS):
        order = torch.randperm(len(inputs), generator=rng)
        for step, rows in enumerate(order.split(batch_size)):
            done = (epoch + step / num_steps) / MAX_EPOCHS
            factors = torch.tensor([_factor(name, done) for name in schedules])[:, None, None]
            hidden_mask = torch.rand(len(networks), len(rows), width, generator=rng) >= dropouts
            grads = _gradients(
                parameters, inputs[rows], classes[rows], hidden_mask / (1 - dropouts)
            )
            for parameter, velocity, grad in zip(parameters, velocities, grads, strict=True):
                velocity.mul_(momenta).add_(grad)
                parameter.sub_(rates * factors * velocity)
        history.append(_evaluate(parameters, val_inputs, val_classes))
    return torch.stack(history, dim=1)


def _initial(num_networks: int, sizes: list[int], rng: torch.Generator) -> list[Tensor]:
    """Return weights and biases of two layers, He-normal, each with its own draw."""
    parameters = []
    for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
        std = math.sqrt(2 / fan_in)
        parameters.append(torch.randn(num_networks, fan_in, fan_out, generator=rng) * std)
        parameters.append(torch.zeros(num_networks, 1, fan_out))
    return parameters


def _factor(schedule: str, done: float) -> float:
    """Return the factor of the learning rate after a share of the training."""
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 0.1 if schedule == "step" and done >= 2 / 3 else 1.0


def _gradients(
    parameters: list[Tensor], inputs: Tensor, classes: Tensor, mask: Tensor
) -> list[Tensor]:
    """Return the gradients of each network's mean log loss, by the chain rule."""
    _, _, second, _ = parameters
    before, logits = _forward(parameters, inputs, mask)
    slopes = logits.softmax(-1)
    slopes[:, torch.arange(len(classes)), classes] -= 1
    slopes = slopes.nan_to_num(0.0) / len(classes)
    hidden = before.clamp(min=0) * mask
    inner = slopes @ second.mT * mask * (before > 0)
    flat = inner.transpose(0, 1).reshape(len(inputs), -1)  # one product for all networks
    first = (inputs.T @ flat).reshape(inputs.shape[1], len(second), -1).transpose(0, 1)
    return [first, inner.sum(1, keepdim=True), hidden.mT @ slopes, slopes.sum(1, keepdim=True)]


def _forward(
    parameters: list[Tensor], inputs: Tensor, mask: Tensor | float = 1.0
) -> tuple[Tensor, Tensor]:
    first, first_bias, second, second_bias = parameters
    before = inputs @ first + first_bias
    return before, before.clamp(min=0) * mask @ second + second_bias


def _evaluate(parameters: list[Tensor], inputs: Tensor, classes: Tensor) -> Tensor:
    """Return error and log loss of each network, (networks, 2); those of chance if it diverged."""
    _, logits = _forward(parameters, inputs)
    errors = (logits.argmax(-1) != classes).float().mean(1)
    losses = -logits.log_softmax(-1)[:, torch.arange(len(classes)), classes].mean(1)
    chance = math.log(logits.shape[-1])
    is_finite = torch.isfinite(logits).all(-1).all(-1) & torch.isfinite(losses)
    worst = torch.full_like(errors, 1 - 1 / logits.shape[-1])
    return torch.stack(
        [
            torch.where(is_finite, errors, worst),
            torch.where(is_finite, losses, torch.tensor(10 * chance)).clamp(max=10 * chance),
        ],
        dim=-1,
    )


def main() -> None:
    """Record the tables, and print the best, the quartiles and the worst of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tables", nargs="+", default=[*DEVELOPMENT, *HELD_OUT])
    for table in parser.parse_args().tables:
        for name, values in curves(table).items():
            print(table, name, np.quantile(values[:, -1], [0, 0.25, 0.5, 0.75, 1]).round(4))


if __name__ == "__main__":
    main()
