"""Searches whose trials may share programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpsearch.spec import SearchSpec
from tests.support.specs import make_spec


def lane_spec(folder: Path, trials: int = 12, rule: str = "asha", **sections: Any) -> SearchSpec:
    """Return a search of small nets, whose learning rates and dropout differ."""
    early_stopping = {"name": rule, "max_epochs": 9}
    search = {"trials": trials, "max_concurrent": None, "early_stopping": early_stopping}
    model = {"name": "mlp", "hidden_sizes": [8], "dropout": {"low": 0.0, "high": 0.5}}
    optimizer = {"name": "sgd", "lr": {"low": 1e-3, "high": 1.0, "log": True}}
    values = {"model": model, "optimizer": optimizer, "dataset": {"name": "wine"}, "fuse": 4}
    search |= {"sampler": {"name": "random"}, **sections.pop("search", {})}
    return make_spec(folder, **{**values, **sections, "search": search})
