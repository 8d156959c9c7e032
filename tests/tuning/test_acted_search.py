"""Searches on Ray that a user acts on while they run, from another thread as from a terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from hpsearch import run_search
from hpsearch.acts import ask
from hpsearch.integrity.check import check_search
from hpsearch.outcome import Outcome
from hpsearch.record import Record, TrialRecord
from hpsearch.runs import Runs, SearchFolder
from tests.support.polling import wait_until
from tests.support.specs import make_spec

pytestmark = pytest.mark.usefixtures("ray_cluster")

#: seconds for which a user waits, on a busy machine
WAIT_S = 120.0
TRAIN = """
import time
from pathlib import Path

def train(config, trial):
    for epoch in range((trial.load_checkpoint() or 0) + 1, trial.max_epochs + 1):
        while epoch == 3 and Path(__file__).with_name(f"hold-{trial.number}").exists():
            time.sleep(0.05)
        yield {"score": epoch + config["x"]}
        trial.save_checkpoint(epoch)
"""
HOLDING = """
import time
from pathlib import Path

from hpsearch.components.callbacks import Callback

HOLD = Path(__file__).with_name("hold")

class Holding(Callback):
    is_over = False

    def __init__(self):
        self.epochs = 0

    def after_epoch(self, model, metrics, *, is_last):
        self.epochs += 1
        while self.epochs == 3 and HOLD.exists():
            time.sleep(0.05)
        return False

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state):
        self.epochs = state["epochs"]

def holding(metrics):
    return Holding()
"""


class User:
    """Acts on a search from a thread of its own, as soon as it has begun."""

    def __init__(self, act: Callable[[SearchFolder], None]) -> None:
        self._act = act
        self.error: BaseException | None = None
        self.thread: threading.Thread | None = None

    def watch(self, record: Record, folder: SearchFolder) -> None:
        self.thread = threading.Thread(target=self._run, args=(folder,), daemon=True)
        self.thread.start()

    def _run(self, folder: SearchFolder) -> None:
        try:
            self._act(folder)
        except BaseException as error:
            self.error = error
            folder.stop_request.touch()


def run(spec: Any, runs: Path, act: Callable[[SearchFolder], None]) -> Record:
    user = User(act)
    record = run_search(spec, runs, on_start=user.watch).record
    assert user.thread is not None
    user.thread.join()
    assert user.error is None
    return record


def trials(folder: SearchFolder) -> list[TrialRecord]:
    return folder.open_record().trials


def test_a_user_stops_extends_clones_and_pauses(tmp_path: Path) -> None:
    (tmp_path / "acted_train.py").write_text(TRAIN)
    holds = [tmp_path / "hold-0", tmp_path / "hold-1"]
    for hold in holds:
        hold.touch()
    spec = make_spec(
        tmp_path,
        name="acted",
        objective={"metric": "score"},
        trainable="acted_train.py:train",
        space={"x": {"low": 0.0, "high": 1.0}},
        search={"trials": 3, "early_stopping": {"name": "none", "max_epochs": 6}},
    )

    def act(folder: SearchFolder) -> None:
        wait_until(lambda: trials(folder) and trials(folder)[0].epochs == 2, WAIT_S, 0.2)
        assert ask(folder, "ann", action="stop_trial", trial=0)["state"] == "done"
        holds[0].unlink()
        wait_until(lambda: len(trials(folder)) == 2 and trials(folder)[1].epochs == 2, WAIT_S, 0.2)
        assert ask(folder, "ann", action="extend_trial", trial=1, to_epoch=8)["state"] == "done"
        assert ask(folder, "ann", action="clone_trial", trial=1, values={"x": 0.5})["made"] == 2
        ask(folder, "ann", action="pause")
        holds[1].unlink()
        wait_until(lambda: folder.open_record().is_resting, WAIT_S, 0.2)
        rests = [(trial.epochs, trial.attempts) for trial in trials(folder)]
        assert rests == [(2, 1), (3, 1), (0, 0)]
        ask(folder, "ben", action="narrow", parameter="x", low=0.25, high=0.75)
        assert [(trial.epochs, trial.attempts) for trial in trials(folder)] == rests
        ask(folder, "ben", action="go_on")

    record = run(spec, tmp_path / "runs", act)
    assert [act.user for act in record.acts] == ["ann"] * 4 + ["ben"] * 2
    assert not any(act.refused for act in record.acts)
    first, second, clone, *others = record.trials
    assert (first.outcome, first.epochs) == (Outcome.STOPPED_BY_USER, 2)
    assert (second.outcome, second.epochs, second.attempts) == (Outcome.COMPLETED, 8, 2)
    assert (clone.params, clone.outcome) == ({"x": 0.5}, Outcome.COMPLETED)
    assert [trial.outcome for trial in others] == [Outcome.COMPLETED]
    assert 0.25 <= float(others[0].params["x"] or 0) <= 0.75
    folder = Runs(tmp_path / "runs").search("acted")
    uri = Runs(tmp_path / "runs").tracking_uri
    assert check_search(record, folder, uri).problems == ()
    experiments = [each.experiment_id for each in MlflowClient(uri).search_experiments()]
    tagged = MlflowClient(uri).search_runs(experiments, "tags.clone_of = '1'")
    assert [each.info.status for each in tagged] == ["FINISHED"]
    stopped = MlflowClient(uri).search_runs(experiments, "tags.outcome = 'stopped_by_user'")
    assert [each.info.status for each in stopped] == ["KILLED"]


@pytest.mark.long
def test_trials_that_share_a_worker_are_stopped_and_paused_too(tmp_path: Path) -> None:
    (tmp_path / "holding.py").write_text(HOLDING)
    (tmp_path / "hold").touch()
    spec = make_spec(
        tmp_path,
        name="lanes",
        fuse=4,
        batch_size=32,
        callbacks=["holding.py:holding"],
        search={
            "trials": 4,
            "max_concurrent": 4,
            "early_stopping": {"name": "none", "max_epochs": 6},
        },
    )

    def act(folder: SearchFolder) -> None:
        wait_until(
            lambda: len(trials(folder)) == 4 and all(t.epochs for t in trials(folder)),
            WAIT_S,
            0.2,
        )
        ask(folder, "ann", action="stop_trial", trial=2)
        ask(folder, "ann", action="pause")
        (tmp_path / "hold").unlink()
        wait_until(lambda: folder.open_record().is_resting, WAIT_S, 0.2)
        ask(folder, "ann", action="go_on")

    record = run(spec, tmp_path / "runs", act)
    outcomes = [trial.outcome for trial in record.trials]
    assert outcomes.pop(2) is Outcome.STOPPED_BY_USER
    assert outcomes == [Outcome.COMPLETED] * 3
    assert all(sorted(t.curve) == list(range(1, t.epochs + 1)) for t in record.trials)
    assert [trial.attempts for trial in record.trials] == [2, 2, 1, 2]
