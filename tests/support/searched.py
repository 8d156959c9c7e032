"""Records of random trials of functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hpsearch.outcome import Outcome
from hpsearch.record import Record
from tests.support.specs import make_spec

Score = Callable[[dict[str, Any]], float]


def searched(
    path: Path,
    space: dict[str, Any],
    score: Score,
    *,
    num_trials: int = 60,
    seed: int = 0,
    search: dict[str, Any] | None = None,
    **sections: Any,
) -> Record:
    """The record of random trials, whose objective is a function of their parameters."""
    named = {"trainable": "train.py:train", "space": space} if space else {}
    settings = {"early_stopping": {"max_epochs": 1}, **(search or {})}
    spec = make_spec(path, **named, **sections, search=settings)
    record = Record.create(path / "record.journal", spec)
    rng = np.random.default_rng(seed)
    for number in range(num_trials):
        params: dict[str, Any] = {}
        for parameter in record.space.parameters:
            if not parameter.is_active(params):
                continue
            distribution = parameter.distribution
            if hasattr(distribution, "choices"):
                params[parameter.name] = distribution.choices[
                    int(rng.integers(len(distribution.choices)))
                ]
                continue
            low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
            is_log = distribution.log  # type: ignore[attr-defined]
            value = np.exp(rng.uniform(np.log(low), np.log(high))) if is_log else 0.0
            value = value if is_log else rng.uniform(low, high)
            params[parameter.name] = round(value) if isinstance(low, int) else float(value)
        record.add_trial(record.space.clipped(params))  # to a power of two
        record.start_attempt(number)
        record.report(number, 1, {"val_accuracy": score(params)})
        record.end_trial(number, Outcome.COMPLETED)
    record.end("finished")
    return record
