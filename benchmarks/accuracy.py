"""What a spec of `search_spaces/more/` comes to: `python -m benchmarks.accuracy NAME`.

Trains one configuration, of the middle of all ranges, in this process and without Ray; prints each
epoch, and the test score of the best epoch by validation. `--set PATH=VALUE` changes the spec.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch

from hpsearch.spec import TrialConfig, load_spec, to_plain
from hpsearch.training import Trainer
from hpsearch.validation import check_spec

SPECS = Path(__file__).parents[1] / "search_spaces" / "more"


def middle(value: Any) -> Any:
    """Return a section with the middle of its ranges, and the first of choices."""
    if isinstance(value, list):
        return [middle(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "choices" in value:
        return middle(value["choices"][0])
    if {"low", "high"} <= value.keys():
        low, high = float(value["low"]), float(value["high"])
        return math.sqrt(low * high) if value.get("log") else (low + high) / 2
    return {key: middle(each) for key, each in value.items()}


def main() -> None:
    """Train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(path.stem for path in SPECS.glob("*.yaml")))
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    spec = load_spec(SPECS / f"{options.name}.yaml", options.set)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    spec, data = check_spec(spec)
    assert data is not None
    sections = spec.trial_sections.items()
    values = {name: middle(to_plain(tree)) for name, tree in sections if tree is not None}
    config = TrialConfig(0, options.seed, spec.max_epochs, values, folder=spec.folder)
    trainer = Trainer(config, data, device)
    metric = spec.objective.metric
    sign = 1 if spec.objective.direction == "maximize" else -1
    best, score = -math.inf, ""
    for epoch in range(1, spec.max_epochs + 1):
        metrics = trainer.train_epoch() or {}
        seconds = f"{metrics['seconds']:.1f} s"
        print(f"epoch {epoch}: {metric} {metrics[metric]:.4f}, {seconds}", flush=True)
        if sign * metrics[metric] > best:
            best = sign * metrics[metric]
            tested = trainer.evaluate("test")
            score = f"{metric} {metrics[metric]:.4f}, " + ", ".join(
                f"{name} {value:.4f}" for name, value in tested.items()
            )
    print(f"{options.name}, seed {options.seed}, {device}, best epoch: {score}")


if __name__ == "__main__":
    main()
