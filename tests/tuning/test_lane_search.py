"""A search whose trials share workers, on Ray: a worker is killed, and no trial is lost."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from hpsearch import run_search
from hpsearch.outcome import Outcome
from tests.support.specs import make_spec

DYING = """
    import os, signal
    from pathlib import Path

    from hpsearch.components.callbacks import Callback

    MARKER = Path(__file__).with_name("died")

    class Dying(Callback):
        is_over = False

        def __init__(self):
            self.epochs = 0

        def after_epoch(self, model, metrics, *, is_last):
            self.epochs += 1
            if self.epochs == 3 and not MARKER.exists():
                MARKER.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return False

        def state_dict(self):
            return {"epochs": self.epochs}

        def load_state_dict(self, state):
            self.epochs = state["epochs"]

    def dying(metrics):
        return Dying()
"""


@pytest.mark.usefixtures("ray_cluster")
def test_a_shared_worker_is_killed_and_no_trial_is_lost(tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text(textwrap.dedent(DYING))
    spec = make_spec(
        tmp_path,
        fuse=4,
        batch_size=32,
        callbacks=["dying.py:dying"],
        search={
            "trials": 10,
            "max_concurrent": 4,
            "early_stopping": {"name": "none", "max_epochs": 9},
            "checkpoint_every": 2,
        },
    )
    report = run_search(spec, tmp_path / "runs")
    assert (tmp_path / "died").exists()
    record = report.record
    assert {trial.outcome for trial in record.trials} == {Outcome.COMPLETED}
    assert all(sorted(trial.curve) == list(range(1, 10)) for trial in record.trials)
    assert record.lanes.num_fused > 0  # how many depends on when trials come and go
    assert sum(len(trial.attempted_at) > 1 for trial in record.trials) > 1
    assert "of the epochs were trained by programs of several trials" in report.to_markdown()
