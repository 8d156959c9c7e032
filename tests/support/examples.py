"""The search spaces that come with hpsearch, run in short."""

from __future__ import annotations

from pathlib import Path

from hpsearch.outcome import Outcome
from hpsearch.searches import run_search
from hpsearch.spec import load_spec

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "search_spaces").glob("*.yaml"))
MORE = sorted((ROOT / "search_spaces" / "more").glob("*.yaml"))
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def run_shortly(name: str, runs: Path) -> None:
    """Run two trials of two epochs; each must end as a result."""
    short = ["search.trials=2", "search.max_concurrent=1"]
    short += ["search.early_stopping={name: asha, max_epochs: 2}"]
    if name.startswith("fashion"):
        short += ["dataset.train_rows=600", "dataset.val_rows=200"]
    spec = load_spec(ROOT / "search_spaces" / f"{name}.yaml", short)
    report = run_search(spec, runs)
    assert report.best is not None
    assert {trial.outcome for trial in report.record.trials} <= {
        Outcome.COMPLETED,
        Outcome.STOPPED_EARLY,
    }
