"""Specs that tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hpsearch.spec import SearchSpec, draft_spec
from hpsearch.validation import load_checked_spec

GOOD: dict[str, Any] = {
    "name": "good",
    "objective": {"metric": "val_accuracy"},
    "dataset": {"name": "wine"},
    "model": {"name": "mlp", "hidden_sizes": [16], "dropout": {"low": 0.0, "high": 0.5}},
    "optimizer": {"choices": [{"name": "sgd", "lr": 0.1}, "adam"]},
    "batch_size": {"choices": [16, 32]},
}
_BUILT_IN = {
    "dataset": "digits",
    "model": {"name": "mlp", "hidden_sizes": [32], "dropout": {"low": 0.0, "high": 0.3}},
    "optimizer": {
        "choices": [
            {"name": "adam", "lr": {"low": 1e-3, "high": 3e-2, "log": True}},
            {"name": "sgd", "lr": {"low": 1e-2, "high": 3e-1, "log": True}, "momentum": 0.9},
        ]
    },
    "batch_size": {"choices": [32, 64]},
}


def changed(**sections: Any) -> dict[str, Any]:
    return {**GOOD, **sections}


def spec_text(metric: str, dataset: dict[str, Any], **sections: Any) -> str:
    direction = "minimize" if metric == "val_loss" else "maximize"
    raw = {
        "name": "a-search",
        "objective": {"metric": metric, "direction": direction},
        "dataset": {"name": "csv", "path": "t.csv", "target": "y", **dataset},
        "model": {"name": "mlp", "hidden_sizes": [4]},
        "optimizer": {"name": "adam", "lr": {"low": 1e-3, "high": 1e-1}},
        "batch_size": 20,
        **sections,
    }
    return yaml.safe_dump(raw)


def checked(folder: Path, metric: str, **sections: Any) -> SearchSpec:
    dataset = sections.pop("dataset", {})
    (folder / "s.yaml").write_text(spec_text(metric, dataset, **sections))
    return load_checked_spec(folder / "s.yaml")


def make_spec(folder: str | Path = ".", **sections: Any) -> SearchSpec:
    """Return a spec; sections that are not given are those of a small search on digits.

    One trial at a time, unless the test says otherwise: each worker takes seconds to start.
    """
    raw: dict[str, Any] = {
        "name": "small",
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        **(_BUILT_IN if "trainable" not in sections else {}),
        **sections,
    }
    raw["search"] = {"trials": 4, "max_concurrent": 1, **raw.get("search", {})}
    raw["search"].setdefault("early_stopping", {"max_epochs": 3})
    draft = draft_spec(raw, folder)
    assert draft.spec is not None, draft.problems
    return draft.spec
