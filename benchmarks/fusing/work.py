"""Searches whose trials are small: data, model and the numbers that trials differ in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import hpsearch
from hpsearch.components import Data, load_data
from hpsearch.errors import DataError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer

HERE = Path(__file__)
CONTEXT = 64
#: characters of the text; others count as the last
NUM_CHARACTERS = 96
WIDTH, HEADS, LAYERS = 64, 4, 2


@dataclass(frozen=True)
class Work:
    """Trials of one program: `model` is a spec's section."""

    name: str
    what: str
    model: dict[str, Any]
    batch_size: int
    data: Callable[[], Data]

    def trainer(self, number: int, device: torch.device) -> Trainer:
        """Return a trial with a learning rate of its own."""
        lr = 0.01 * 1.5 ** (number % 8 - 4)
        optimizer = {"name": "sgd", "lr": lr, "momentum": 0.9, "weight_decay": 1e-4}
        values = {"model": self.model, "optimizer": optimizer, "batch_size": self.batch_size}
        config = TrialConfig(number, 0, 1000, values=values, folder=str(HERE.parent))
        return Trainer(config, self.data(), device)


class Block(nn.Module):
    """A block of a transformer, norms first; each character sees those before it."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        mask = torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (rows, characters, width) of the same."""
        rows, length, width = x.shape
        parts = self.qkv(self.norm(x)).view(rows, length, 3, HEADS, width // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(2, 3) / (width // HEADS) ** 0.5 + self.mask
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(rows, length, width)
        x = x + self.out(mixed)
        return x + self.narrow(nn.functional.gelu(self.wide(self.norm2(x))))


class Transformer(nn.Module):
    """Predicts the character after a text, of numbers (rows, characters)."""

    def __init__(self, output_size: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(NUM_CHARACTERS, WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(CONTEXT, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        hidden = self.blocks(self.characters(x.long()) + self.places)
        outputs: Tensor = self.head(self.norm(hidden[:, -1]))
        return outputs


def transformer(input_shape: tuple[int, ...], output_size: int) -> nn.Module:
    """The model of `characters`."""
    return Transformer(output_size)


def characters(num_rows: int) -> dict[str, Any]:
    """Windows of hpsearch's own code, and the character after each."""
    folder = Path(hpsearch.__file__).parent
    text = "".join(path.read_text() for path in sorted(folder.rglob("*.py")))
    codes = np.clip(np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 31, 0, 95)
    starts = np.random.default_rng(0).choice(len(codes) - CONTEXT - 1, num_rows, replace=False)
    windows = codes[starts[:, None] + np.arange(CONTEXT + 1)]
    return {
        "train": (windows[:, :-1].astype(np.float32), windows[:, -1]),
        "classes": [str(number) for number in range(NUM_CHARACTERS)],
    }


def random_images(num_rows: int) -> dict[str, Any]:
    """Noise of Fashion-MNIST's shape, with a pattern for each class."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, num_rows)
    x = rng.normal(size=(num_rows, 1, 28, 28)) + rng.normal(size=(10, 1, 28, 28))[y]
    return {"train": (x.astype(np.float32), y)}


@cache
def images(train_rows: int, val_rows: int) -> Data:
    """Return Fashion-MNIST where it is installed, else `random_images`."""
    rows = {"train_rows": train_rows, "val_rows": val_rows}
    try:
        return load_data({"name": "fashion_mnist", **rows}, seed=0)
    except DataError:
        print("Fashion-MNIST isn't installed: generated images of its shape")
    own = {"name": f"{HERE.name}:random_images", "num_rows": 2 * (train_rows + val_rows)}
    return load_data({**own, **rows}, seed=0, folder=HERE.parent)


@cache
def texts(train_rows: int, val_rows: int) -> Data:
    """Return windows of text."""
    own = {"name": f"{HERE.name}:characters", "num_rows": 2 * (train_rows + val_rows)}
    rows = {"train_rows": train_rows, "val_rows": val_rows, "standardize": False}
    kind = {"kind": "classification", "split": "random", "stratify": False}
    return load_data({**own, **rows, **kind}, seed=0, folder=HERE.parent)


@cache
def digits() -> Data:
    """Return scikit-learn's digits."""
    return load_data({"name": "digits"}, seed=0)


def works(device: torch.device, *, quick: bool) -> list[Work]:
    """Return what is measured on a device."""
    share = 8 if quick else 1
    mlp = Work(
        "mlp",
        f"MLP 784-128-64-10, batches of 128 of {12_000 // share:,} images",
        {"name": "mlp", "hidden_sizes": [128, 64]},
        128,
        lambda: images(12_000 // share, 3_000 // share),
    )
    cnn = Work(
        "cnn",
        f"CNN of 16 and 32 channels, batches of 128 of {6_144 // share:,} images",
        {"name": "cnn", "channels": [16, 32], "hidden_sizes": [64]},
        128,
        lambda: images(6_144 // share, 1_024 // share),
    )
    text = Work(
        "transformer",
        f"transformer, {LAYERS} layers of {WIDTH}, batches of 64 of {2_048 // share:,} texts "
        f"of {CONTEXT} characters",
        {"name": f"{HERE.name}:transformer"},
        64,
        lambda: texts(2_048 // share, 512 // share),
    )
    small = Work(
        "digits",
        "MLP 64-64-10, batches of 32 of scikit-learn's digits",
        {"name": "mlp", "hidden_sizes": [64]},
        32,
        digits,
    )
    return [mlp, cnn, text, *([] if device.type == "cuda" else [small])]
