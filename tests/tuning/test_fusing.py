"""How many trials share a worker, and why none do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpsearch.components import Data
from hpsearch.tuning.fusing import num_lanes, num_programs, obstacle
from tests.support.lane_specs import lane_spec


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"fuse": "off"}, ""),
        ({"compile": True}, "compile: a compiled model has a program of its own"),
        ({"finetune": "full"}, "finetune: not shared between trials"),
        (
            {"dataset": {"name": "wine", "folds": 3}, "callbacks": ["early_stopping"]},
            "callbacks: may end or change the training of one fold only",
        ),
    ],
)
def test_what_cannot_be_shared_is_known_before(
    tmp_path: Path, wine: Data, sections: dict[str, Any], reason: str
) -> None:
    spec = lane_spec(tmp_path, **sections)
    data = replace(wine, folds=((wine.train.y, wine.train.y),)) if "dataset" in sections else wine
    assert num_lanes(spec, data, 2) == 1
    assert obstacle(spec, data) == reason


def test_how_many_programs_models_make(tmp_path: Path) -> None:
    """Norms make programs, activations of chains make none."""
    sizes = {"choices": [[8], [16]]}
    norms, activations = {"choices": ["none", "layer"]}, {"choices": ["relu", "tanh"]}
    chains = {"name": "mlp", "hidden_sizes": sizes, "activation": activations}
    made = [
        num_programs(lane_spec(tmp_path, model={**chains, **more}).model)
        for more in ({}, {"activation": {"choices": ["relu", "prelu"]}}, {"norm": norms})
    ]
    assert made == [2, 4, 8]


@pytest.mark.parametrize(
    ("fuse", "epochs", "expected"), [("auto", 48, 8), ("auto", 17, 2), ("auto", 5, 1), (8, 5, 8)]
)
def test_a_budget_of_epochs_trains_those_at_work_in_full(
    tmp_path: Path, wine: Data, fuse: Any, epochs: int, expected: int
) -> None:
    search = {"trials": 1000, "epochs": epochs, "early_stopping": {"max_epochs": 3}}
    assert num_lanes(lane_spec(tmp_path, fuse=fuse, search=search), wine, 2) == expected


@pytest.mark.parametrize(
    ("fuse", "trials", "concurrent", "expected"),
    [
        (8, 12, None, 8),
        (8, 12, 6, 3),
        ("auto", 64, None, 8),
        ("auto", 32, None, 4),
        ("auto", 7, None, 1),
        (8, 8, 2, 1),
        (8, 8, 3, 2),
    ],
)
def test_how_many_share_a_worker(
    tmp_path: Path, wine: Data, fuse: Any, trials: int, concurrent: int | None, expected: int
) -> None:
    search = {"trials": trials, "max_concurrent": concurrent, "early_stopping": {"max_epochs": 3}}
    assert num_lanes(lane_spec(tmp_path, fuse=fuse, search=search), wine, 2) == expected
