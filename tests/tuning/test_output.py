"""What trials print, kept by trial though workers are reused and several work at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hpsearch import run_search
from hpsearch.cli.local import LocalSearches
from hpsearch.runs import Runs
from hpsearch.tuning.output import MAX_BYTES, output_file
from tests.support.specs import make_spec

TALKS = """
import os
import subprocess
import sys

def train(config, trial):
    number = trial.number
    print(f"print {number}")
    print(f"error {number}", file=sys.stderr)
    for epoch in (1, 2, 3):
        yield {"score": config["x"]}
        os.write(1, f"epoch {trial.epoch} of {number}\\n".encode())
    subprocess.run(["echo", f"child {number}"])
    if number == 3:
        raise RuntimeError("no more of 3")
"""
SOLO = """
import os, sys
from pathlib import Path
from hpsearch.tuning.output import TrialOutput
path = Path(sys.argv[1])
print("before")
output = TrialOutput(path / "silent.log")
output.close()
output = TrialOutput(path / "much.log")
for number in range(200_000):
    print(f"line {number:050d}")
    if number % 50_000 == 0:
        output.limit()
        assert (path / "much.log").stat().st_size <= 2_000_000
print("the last")
output.close()
for _ in range(2):
    output = TrialOutput(path / "twice.log")
    print("once")
    output.close()
(path / "file").touch()
output = TrialOutput(path / "file" / "x.log")
print("nowhere else")
output.close()
print("after", len(os.listdir("/proc/self/fd")))
"""


def test_each_trial_s_prints_are_kept_apart(ray_cluster: None, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TALKS)
    spec = make_spec(
        tmp_path,
        name="talks",
        objective={"metric": "score", "direction": "maximize"},
        trainable="train.py:train",
        space={"x": {"low": 0.0, "high": 1.0}},
        search={"trials": 6, "max_concurrent": 2, "early_stopping": {"name": "none"}},
    )
    report = run_search(spec, runs=tmp_path / "runs")
    searches = LocalSearches(tmp_path / "runs")
    outputs = Runs(tmp_path / "runs").search("talks").outputs
    assert len(report.trials) == 6
    for number in range(6):
        lines = output_file(outputs, number).read_text().splitlines()
        epochs = [f"epoch {epoch} of {number}" for epoch in (1, 2, 3)]
        assert lines[:5] == [f"print {number}", f"error {number}", *epochs]
        assert lines[5:6] == [f"child {number}"]
        others = set(range(6)) - {number}
        assert not [line for line in lines for other in others if line.endswith(f" {other}")]
        told = "".join(searches.logs("talks", number, follow=False))
        assert told.startswith(f"print {number}\n")
        assert f"\ntrial {number}" in told


IDLE = """
import sys
from pathlib import Path
from hpsearch.spec import TrialConfig
from hpsearch.tuning.on_ray.actor import TrialActor

folder = Path(sys.argv[1])
spec = {"metric": "score", "trainable": "train.py:train", "folder": str(folder)}
trial = TrialConfig(1, 0, 3, {"space": {"x": 0.5}}, **spec)
idle, busy = (object.__new__(TrialActor) for _ in range(2))
for actor in (idle, busy):
    actor.setup({"trial": trial}, checkpoints=str(folder), outputs=str(folder / "outputs"))
idle.cleanup()
for _ in range(3):
    busy.step()
busy.cleanup()
"""


def test_a_worker_that_lost_its_trial_to_another_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TALKS)
    subprocess.run([sys.executable, "-c", IDLE, tmp_path], check=True)
    lines = output_file(tmp_path / "outputs", 1).read_text().splitlines()
    assert lines[:4] == ["print 1", "error 1", "epoch 1 of 1", "epoch 2 of 1"]


def test_a_process_gets_its_output_back(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SOLO, tmp_path], capture_output=True, text=True, check=True
    )
    said = done.stdout.splitlines()
    assert said[:2] == ["before", "nowhere else"]
    assert said[2].startswith("after ")
    assert not (tmp_path / "silent.log").exists()
    much = (tmp_path / "much.log").read_text().splitlines()
    assert much[0].endswith(" bytes before this were dropped")
    assert much[-2:] == [f"line {199_999:050d}", "the last"]
    assert (tmp_path / "much.log").stat().st_size < MAX_BYTES + 100
    twice = (tmp_path / "twice.log").read_text()
    assert [line.split(",")[0] for line in twice.splitlines()] == [
        "once",
        "--- another attempt",
        "once",
    ]
