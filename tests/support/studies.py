"""A small study, as its file has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

GATES: dict[str, Any] = {
    "name": "gates",
    "question": "Is a net with tanh better than one without?",
    "seeds": 2,
    "variants": {
        "linear": {"model.activation": "identity"},
        "tanh": {"model.activation": "tanh", "batch_size": 4},
    },
    "spec": {
        "objective": {"metric": "train_loss", "direction": "minimize"},
        "dataset": {"name": "logic_gate", "gate": "xor"},
        "model": {"name": "mlp", "hidden_sizes": [8]},
        "optimizer": {"name": "adam", "lr": 0.1},
        "batch_size": 4,
        "search": {"trials": 1, "early_stopping": {"name": "none", "max_epochs": 40}},
    },
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "gates.yaml"
    path.write_text(yaml.safe_dump({**GATES, **changes}))
    return path
