"""Is the search that `hpsearch next` proposes worth it? With half the budget, against going on.

    python -m benchmarks.next_search [--seeds 5] [--first-seed 0] [--trainings 15]
        [--data NAME ... | --tasks SET ...] [--sampler NAME] [--narrow-only]

Of each data set, or table of networks, and of each seed a wide search is made. It goes on with as
many epochs again; and the search that `next` proposes after it, which learns from it, has half as
many. Budgets are in epochs, those of the first search those of `--trainings` full trainings.
Sampler, early stopping and record are those of a search; there is one worker.

What counts is the best of those that were trained in full, each together with the first search's:
- of data, where trials train for real, the logarithm of the ratio of both validation losses, which
  weighs half and twice the loss alike. Half an hour on one core.
- with `--tasks`, of the tables and recorded curves of `benchmarks.quality` (development, held-out
  or names), the difference of the regrets of their final errors: 0 for the best configuration of
  the table, 1 for the median one. Ranges end where the table does.

A gain is above 0 where the narrowed search is better. With `--narrow-only` only those pairs count
of which `next` has something to change.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optuna.storages import InMemoryStorage
from scipy.stats import t
from threadpoolctl import threadpool_limits

from benchmarks import quality
from benchmarks.tables import MAX_EPOCHS as TABLE_EPOCHS
from benchmarks.tables import Task
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
from hpsearch.spec import Range, SearchSpec, TrialConfig, draft_spec
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
#: trains a trial until its search ends it; the last is which of the searches of a pair it is of
Train = Callable[[SearchControl, TrialRecord, int], None]
Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Subject:
    """What is searched: the wide spec, how trials train, and how good the best one is."""

    spec: SearchSpec
    train: Train
    cost: Callable[[TrialRecord], float]
    gain: Callable[[float, float], float]  # of (cost of going on, cost of the narrowed search)
    ends: Ranges  # which ranges may not leave, by hyperparameter


@dataclass(frozen=True)
class Pair:
    """The costs of the best: of the first search alone, and with what came after it."""

    first: float
    wide: float
    narrowed: float
    gain: float
    changes: Sequence[str]
    epochs: float  # of the narrowed search, for each of those of going on


def of_data(dataset: dict[str, Any], seed: int, budget: int, sampler: str) -> Subject:
    """Return a search whose ranges are as wide as somebody has who knows nothing."""
    raw = {
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
    }
    spec = _spec("val_loss", raw, seed, budget * MAX_EPOCHS, MAX_EPOCHS, sampler)
    train = partial(_train, load_data(dataset, seed=seed))
    loss = partial(_last, "val_loss")
    return Subject(spec, train, loss, lambda wide, narrowed: math.log(wide / narrowed), {})


def of_task(task: Task, seed: int, budget: int, sampler: str) -> Subject:
    """Return a search of a table's space."""
    ends = {name: each for name, each in task.ranges.items() if isinstance(each, tuple)}
    space = {
        name: {"choices": each} if isinstance(each, list) else {"low": each[0], "high": each[1]}
        for name, each in task.ranges.items()
    }
    raw = {"trainable": "table.py:train", "space": space}
    spec = _spec("error", raw, seed, budget * TABLE_EPOCHS, TABLE_EPOCHS, sampler)
    return Subject(
        spec,
        partial(_replay, task),
        lambda trial: task.regret(task.row(trial.params)),
        lambda wide, narrowed: wide - narrowed,
        ends,
    )


def _spec(
    metric: str, raw: dict[str, Any], seed: int, epochs: int, max_epochs: int, sampler: str
) -> SearchSpec:
    settings = {
        "trials": epochs,  # more than there will be
        "epochs": epochs,
        "seed": seed,
        "sampler": sampler,
        "early_stopping": {"name": "asha", "max_epochs": max_epochs},
    }
    objective = {"metric": metric, "direction": "minimize"}
    spec = draft_spec({"name": "wide", "objective": objective, "search": settings, **raw}).spec
    assert spec is not None
    return spec


def compare(subject: Subject) -> Pair:
    """Make a wide search; then the one that `next` proposes, and as many wide epochs again."""
    spec = subject.spec
    budget = spec.search.epochs
    assert budget is not None
    record = run(_begun(spec), subject)
    before, used = list(record.trials), _epochs(record)
    following, changes = next_spec(record)
    half = following.search.model_copy(update={"epochs": budget // 2})
    following = _within(following.model_copy(update={"search": half}), subject.ends)
    after = run(_begun(following, record), subject, record)
    record.go_on(spec.extended(epochs=budget))
    run(record, subject)
    first, wide, narrowed = (
        subject.cost(_best(record, trials))
        for trials in (before, record.trials, [*before, *after.trials])
    )
    epochs = _epochs(after) / (_epochs(record) - used)
    told = [described(each) for each in changes]
    return Pair(first, wide, narrowed, subject.gain(wide, narrowed), told, epochs)


def _within(spec: SearchSpec, ends: Ranges) -> SearchSpec:
    """Return a spec whose ranges don't leave these ends, as a component would refuse."""
    space = dict(spec.space or {})
    for name, (low, high) in ends.items():
        tree = space[name]
        assert isinstance(tree, Range)
        cut = {"low": max(tree.low, low), "high": min(tree.high, high)}
        space[name] = tree.model_copy(update=cut)
    return spec.model_copy(update={"space": space or spec.space})


def _epochs(record: Record) -> int:
    return sum(trial.epochs for trial in record.trials)


def _best(record: Record, trials: Sequence[TrialRecord]) -> TrialRecord:
    """Return the best of those trained in full; before there is one, the best newest value."""
    completed = [trial for trial in trials if trial.outcome is Outcome.COMPLETED]
    return record.rank(completed or trials)[0]


def _begun(spec: SearchSpec, earlier: Record | None = None) -> Record:
    """Return the record of a search, with the first points that it has of an earlier one."""
    found = [] if earlier is None else [earlier_of(earlier)]
    defaults = default_values(spec) if found else None
    points = warm_start.first_points(spec, found, defaults)
    record = Record.create(InMemoryStorage(), spec, first_points=points)
    note_default(record, warm_start.transfers(spec, found, defaults))
    return record


def run(record: Record, subject: Subject, earlier: Record | None = None) -> Record:
    """Train the trials that a record has no result of yet."""
    rule = make_early_stopper(record.spec)
    known = [] if earlier is None else [earlier_of(earlier)]
    with tempfile.TemporaryDirectory() as folder:
        sampler = informed_sampler(record, rule, 1, known)
        control = SearchControl(record, sampler, rule, Path(folder))
        while not control.is_over and (trial := control.next_trial()) is not None:
            control.start_attempt(trial.number)
            subject.train(control, trial, 0 if earlier is None else 1)
        control.close()
    return record


def _train(data: Data, control: SearchControl, trial: TrialRecord, which: int) -> None:
    config: TrialConfig = control.record.config(trial)
    trainer = Trainer(config, data)
    for epoch in range(1, MAX_EPOCHS + 1):
        try:
            report = Report(epoch, trainer.train_epoch() or {})
        except DivergedError as error:
            bad = Outcome.BAD_CONFIGURATION
            control.take_report(trial.number, Report(epoch - 1, outcome=bad, reason=str(error)))
            return
        if control.take_report(trial.number, report) or control.ending:
            return


def _replay(task: Task, control: SearchControl, trial: TrialRecord, which: int) -> None:
    """Report what the table says; the noise is that of the seed, the search and the trial."""
    noise = np.random.default_rng((control.record.spec.search.seed, trial.number, which))
    curve = task.curve(task.row(trial.params), noise)
    for epoch in range(trial.epochs + 1, TABLE_EPOCHS + 1):
        report = Report(epoch, {"error": float(curve[epoch - 1])})
        if control.take_report(trial.number, report) or control.ending:
            return


def _last(metric: str, trial: TrialRecord) -> float:
    value = trial.last(metric)
    assert value is not None
    return value


def main() -> None:
    """Print each pair, then the mean gain of each subject, with its interval."""
    options = _parse_arguments()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    print(f"command: python -m benchmarks.next_search {' '.join(sys.argv[1:])}".rstrip())
    versions = f"torch {torch.__version__}, numpy {np.__version__}"
    print(f"{versions}; {platform.machine()}, {os.cpu_count()} cores")
    print("first search alone, with as many epochs again, with half as many of the narrowed one")
    pairs: dict[str, list[Pair]] = {}
    for name, make in _subjects(options):
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            subject = make(seed, options.trainings, options.sampler)
            with threadpool_limits(1):  # as the driver has it
                pair = compare(subject)
            costs = f"{pair.first:.4f}  {pair.wide:.4f}  {pair.narrowed:.4f}  {pair.gain:+.3f}"
            rest = f"{show_count(len(pair.changes), 'change')}, {pair.epochs:.2f} epochs"
            print(f"{name:<24} seed {seed}  {costs}  {rest}", flush=True)
            if pair.changes or not options.narrow_only:
                pairs.setdefault(name, []).append(pair)
    for name, found in pairs.items():
        _summarize(name, found)
    if pairs:
        _summarize("all", [pair for found in pairs.values() for pair in found])


def _subjects(options: argparse.Namespace) -> Iterator[tuple[str, Callable[..., Subject]]]:
    """Yield names, and what makes a subject of a seed, a budget and a sampler."""
    for each in options.tasks:
        for name in quality.TASKS.get(each, (each,)):
            yield name, partial(of_task, quality.load_task(name))
    for name in [] if options.tasks else options.data:
        dataset = DATA.get(name, {"name": "keel", "set": name, "missing": "drop"})
        yield name, partial(of_data, dataset)


def _summarize(name: str, pairs: Sequence[Pair]) -> None:
    gains = np.array([pair.gain for pair in pairs])
    wins = f"better {(gains > 0).sum()}, equal {(gains == 0).sum()}, worse {(gains < 0).sum()}"
    half = math.inf
    if len(gains) > 1:
        half = t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
    first, wide, narrowed, spent = np.mean(
        [(pair.first, pair.wide, pair.narrowed, pair.epochs) for pair in pairs], axis=0
    )
    means = f"{first:.4f}  {wide:.4f}  {narrowed:.4f}"
    print(f"{name:<24} {means}  gain {gains.mean():+.3f} ± {half:.3f} (95 %), {wins}; ", end="")
    print(f"{spent:.2f} epochs of the narrowed search for one of going on")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trainings", type=int, default=15)
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--data", nargs="+", default=list(DATA), help="of these, or of KEEL")
    parser.add_argument("--tasks", nargs="+", default=[], help="development, held-out, or names")
    parser.add_argument("--narrow-only", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
