"""Is the search that `hpsearch next` proposes worth it? With half the budget, against going on.

    python -m benchmarks.next_search [--seeds 5] [--first-seed 0] [--trials 24] [--sampler NAME]
        [--data NAME ...]

Of each data set and seed a wide search is made. It goes on with as many trials again; and the
search that `next` proposes after it, which learns from it, has half as many. What counts is the
best validation loss of each together with the first search's. Sampler, early stopping and record
are those of a search, and trials train for real, one after another in this process. Ten minutes
on one core. Early stopping gives fewer epochs to half of the trials than half: each pair says how
many of those of going on.
"""

from __future__ import annotations

import argparse
import logging
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optuna.storages import InMemoryStorage
from scipy.stats import t

from hpsearch.analysis.narrowing import described
from hpsearch.components import Data, load_data
from hpsearch.driver import earlier_of
from hpsearch.early_stopping import make_early_stopper
from hpsearch.errors import DivergedError
from hpsearch.formatting import show_count
from hpsearch.next_spec import next_spec
from hpsearch.outcome import Outcome
from hpsearch.record import Record, TrialRecord
from hpsearch.samplers import warm_start
from hpsearch.spec import SearchSpec, TrialConfig, draft_spec
from hpsearch.training import Trainer
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.report import Report
from hpsearch.tuning.sampling import informed_sampler, note_default
from hpsearch.validation.defaults import default_values

MAX_EPOCHS = 9
DATA: dict[str, dict[str, Any]] = {
    "digits": {"name": "digits", "val_fraction": 0.2},
    "segment": {"name": "keel", "set": "segment"},
    "vowel": {"name": "keel", "set": "vowel"},
    "phoneme": {"name": "keel", "set": "phoneme", "missing": "drop"},
    "australian": {"name": "keel", "set": "australian", "missing": "drop"},
    "led7digit": {"name": "keel", "set": "led7digit", "missing": "drop"},
    "wisconsin": {"name": "keel", "set": "wisconsin", "missing": "drop"},
}


@dataclass(frozen=True)
class Pair:
    """The best validation losses: of the first search, and of what came after it."""

    first: float
    wide: float
    narrowed: float
    changes: Sequence[str]
    epochs: float  # of the narrowed search, for each of those of going on

    @property
    def gain(self) -> float:
        """By how much the narrowed search is better, each with the first search's trials."""
        return _gain(min(self.first, self.wide), min(self.first, self.narrowed))

    @property
    def gain_alone(self) -> float:
        """By how much the narrowed search's own trials are better."""
        return _gain(self.wide, self.narrowed)


def _gain(wide: float, narrowed: float) -> float:
    return (wide - narrowed) / abs(wide)


def spec_of(dataset: dict[str, Any], trials: int, seed: int, sampler: str = "auto") -> SearchSpec:
    """Return a search whose ranges are as wide as somebody has who knows nothing."""
    raw = {
        "name": "wide",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "dataset": dataset,
        "model": {
            "name": "mlp",
            "hidden_sizes": {"choices": [[16], [64], [64, 64]]},
            "dropout": {"low": 0.0, "high": 0.8},
        },
        "optimizer": {
            "name": "sgd",
            "lr": {"low": 1e-5, "high": 10.0, "log": True},
            "momentum": {"low": 0.0, "high": 0.99},
            "weight_decay": {"low": 1e-7, "high": 0.1, "log": True},
        },
        "batch_size": {"choices": [16, 64, 256]},
        "search": {
            "trials": trials,
            "seed": seed,
            "sampler": sampler,
            "early_stopping": {"name": "asha", "max_epochs": MAX_EPOCHS},
        },
    }
    spec = draft_spec(raw).spec
    assert spec is not None
    return spec


def compare(spec: SearchSpec, data: Data) -> Pair:
    """Make a wide search; then the one that `next` proposes, and as many wide trials again."""
    trials = spec.search.trials
    record = run(_begun(spec), data)
    first = _best(record)
    num_first = len(record.trials)
    following, changes = next_spec(record)
    half = following.search.model_copy(update={"trials": trials // 2})
    following = following.model_copy(update={"search": half})
    after = run(_begun(following, record), data, record)
    record.go_on(spec.extended(trials=trials))
    wide = _best(run(record, data), num_first)
    epochs = _epochs(after) / _epochs(record, num_first)
    return Pair(first, wide, _best(after), [described(each) for each in changes], epochs)


def _epochs(record: Record, begin: int = 0) -> int:
    return sum(trial.epochs for trial in record.trials if trial.number >= begin)


def _begun(spec: SearchSpec, earlier: Record | None = None) -> Record:
    """Return the record of a search, with the first points that it has of an earlier one."""
    found = [] if earlier is None else [earlier_of(earlier)]
    defaults = default_values(spec) if found else None
    points = warm_start.first_points(spec, found, defaults)
    return Record.create(InMemoryStorage(), spec, first_points=points)


def _best(record: Record, begin: int = 0) -> float:
    """Return the best objective of the trials from `begin` on that were trained in full."""
    ranked = [trial for trial in record.ranked() if trial.number >= begin]
    found = record.objective(ranked[0]) if ranked else None
    return float("inf") if found is None else found


def run(record: Record, data: Data, earlier: Record | None = None) -> Record:
    """Train the trials that a record has no result of yet."""
    rule = make_early_stopper(record.spec)
    note_default(record)
    known = [] if earlier is None else [earlier_of(earlier)]
    with tempfile.TemporaryDirectory() as folder:
        sampler = informed_sampler(record, rule, 1, known)
        control = SearchControl(record, sampler, rule, Path(folder))
        while (trial := control.next_trial()) is not None:
            control.start_attempt(trial.number)
            _train(control, trial, record.config(trial), data)
        control.close()
    return record


def _train(control: SearchControl, trial: TrialRecord, config: TrialConfig, data: Data) -> None:
    trainer = Trainer(config, data)
    for epoch in range(1, MAX_EPOCHS + 1):
        try:
            report = Report(epoch, trainer.train_epoch() or {})
        except DivergedError as error:
            bad = Outcome.BAD_CONFIGURATION
            control.take_report(trial.number, Report(epoch - 1, outcome=bad, reason=str(error)))
            return
        if control.take_report(trial.number, report):
            return


def main() -> None:
    """Print each pair, then the mean gain of each data set, with its interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--data", nargs="+", default=list(DATA), help="of these, or of KEEL")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    print(f"command: python -m benchmarks.next_search {' '.join(sys.argv[1:])}".rstrip())
    print(f"versions: torch {torch.__version__}; machine: {platform.machine()}")
    trials = options.trials
    print(f"best val_loss: first {trials} trials; {trials} wide more; {trials // 2} narrowed more")
    pairs: dict[str, list[Pair]] = {}
    for name in options.data:
        dataset = DATA.get(name, {"name": "keel", "set": name, "missing": "drop"})
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            data = load_data(dataset, seed=seed)
            pair = compare(spec_of(dataset, trials, seed, options.sampler), data)
            pairs.setdefault(name, []).append(pair)
            told = f"{pair.first:.4f}  {pair.wide:.4f}  {pair.narrowed:.4f}"
            gains = f"{pair.gain:+.1%} ({pair.gain_alone:+.1%} alone)"
            changes = show_count(len(pair.changes), "change")
            rest = f"{changes}, {pair.epochs:.2f} epochs"
            print(f"{name:<8} seed {seed}  {told}  {gains}  {rest}", flush=True)
    for name, found in pairs.items():
        _summarize(name, found)
    _summarize("all", [pair for found in pairs.values() for pair in found])


def _summarize(name: str, pairs: Sequence[Pair]) -> None:
    spent = np.mean([pair.epochs for pair in pairs])
    print(f"{name:<8} epochs of the narrowed search for one of going on: {spent:.2f}")
    for what, gains in (
        ("with the first search", np.array([pair.gain for pair in pairs])),
        ("alone", np.array([pair.gain_alone for pair in pairs])),
    ):
        wins = f"better {(gains > 0).sum()}, equal {(gains == 0).sum()}, worse {(gains < 0).sum()}"
        half = 0.0
        if len(gains) > 1:
            half = t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
        print(f"{name:<8} {what:<21} {gains.mean():+.1%} ± {half:.1%} (95 %), {wins}")


if __name__ == "__main__":
    main()
