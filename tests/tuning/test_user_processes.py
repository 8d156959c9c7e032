"""What users' training code may do to the process of its worker, in real searches."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.analysis import SearchReport
from hpsearch.outcome import Outcome
from hpsearch.record import TrialRecord
from hpsearch.searches import run_search
from tests.support.specs import make_spec

pytestmark = pytest.mark.usefixtures("ray_cluster")

CODE = """
import logging
import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path
import torch
from torch.utils.data import DataLoader, TensorDataset

def train(config, trial):
    metrics = {name: float(value) for name, value in found().items()}
    multiprocessing.set_start_method("fork")
    metrics["rows"] = sum(len(rows) for (rows,) in loader())
    metrics["spawned"] = spawned()
    torch.distributed.init_process_group("gloo", init_method="file://" + config["store"]
                                         + str(trial.number), rank=0, world_size=1)
    leave_all_behind()
    for _ in range(trial.max_epochs):
        yield {"score": 1.0, "process": os.getpid(), **metrics}
    Path(f"ended-{trial.number}.txt").touch()

def found():
    return {
        "main": threading.current_thread() is threading.main_thread(),
        "value": float(Path("value.txt").read_text()),
        "argv": sys.argv == [__file__],
        "imported": "IMPORTED" in os.environ,
        "clean": not (
            "LEFT" in os.environ
            or signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL
            or torch.get_default_dtype() is not torch.float32
            or not torch.is_grad_enabled()
            or torch.nn.modules.module._global_forward_hooks
            or multiprocessing.get_start_method(allow_none=True) is not None
            or torch.distributed.is_initialized()
            or torch.are_deterministic_algorithms_enabled()
            or logging.root.handlers != HANDLERS
            or logging.getLogger("made.meanwhile").handlers
        ),
    }

os.environ["IMPORTED"] = "1"
HANDLERS = list(logging.root.handlers)

def loader():
    return DataLoader(TensorDataset(torch.arange(8.0)), batch_size=4, num_workers=2)

def spawned():
    process = multiprocessing.get_context("spawn").Process(target=os.getpid)
    process.start()
    process.join()
    return process.exitcode

def leave_all_behind():
    os.environ["LEFT"] = "1"
    os.chdir("..")
    sys.argv.append("--left")
    signal.signal(signal.SIGUSR1, print)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.nn.modules.module.register_module_forward_hook(print)
    torch.use_deterministic_algorithms(True)
    logging.root.addHandler(logging.NullHandler())
    logging.getLogger("made.meanwhile").addHandler(logging.NullHandler())

TRIALS = []

def lasting(config, trial):
    TRIALS.append(trial.number)
    if len(TRIALS) > 1:
        raise RuntimeError("once a process")
    if trial.number == 0:
        torch.set_num_interop_threads(1)
    yield {"score": 1.0, "process": os.getpid()}

def plain(config, trial):
    yield {"score": 1.0, "process": os.getpid()}
"""


def search(folder: Path, function: str, *, trials: int = 3, **sections: object) -> SearchReport:
    name = f"processes_{abs(hash(str(folder)))}.py"  # of its own: workers keep what they import
    (folder / name).write_text(CODE)
    (folder / "value.txt").write_text("0.5")
    spec = make_spec(
        folder,
        objective={"metric": "score"},
        trainable=f"{name}:{function}",
        space={"store": str(folder / "store-"), "unused": {"low": 0.0, "high": 1.0}},
        search={"trials": trials, "sampler": "random"},
        **sections,
    )
    return run_search(spec, folder / "runs")


def processes(trials: list[TrialRecord]) -> list[float]:
    return [trial.curve[1]["process"] for trial in trials]


def test_every_trial_of_a_worker_finds_its_process_as_the_first_did(tmp_path: Path) -> None:
    trials = search(tmp_path, "train").record.trials
    assert [trial.reason for trial in trials] == [None] * 3
    for trial in trials:
        names = ("main", "argv", "clean", "imported")
        assert [trial.curve[1][name] for name in names] == [1, 1, 1, 1]
        assert (trial.curve[1]["rows"], trial.curve[1]["spawned"]) == (8, 0)
        assert trial.curve[1]["value"] == 0.5
        (tmp_path.parent / f"ended-{trial.number}.txt").unlink()  # where it went itself
    assert len(set(processes(trials))) == 1


def test_a_trial_gets_a_fresh_worker_where_others_left_what_stays(tmp_path: Path) -> None:
    trials = search(tmp_path, "lasting").record.trials
    # The second can't begin where the first was, and the third fails where the second was.
    assert [trial.outcome for trial in trials] == [Outcome.COMPLETED] * 3
    assert len(set(processes(trials))) == 3


def test_no_worker_is_used_again_where_the_spec_says_so(tmp_path: Path) -> None:
    trials = search(tmp_path, "plain", trials=2, resources={"reuse": "never"}).record.trials
    assert len(set(processes(trials))) == 2
