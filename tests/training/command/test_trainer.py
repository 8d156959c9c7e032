"""A script as a trainer: real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from hpsearch.errors import UserCodeError
from hpsearch.reporting import RANK_VARIABLES
from hpsearch.training.command import CommandError, LostProcessError
from hpsearch.training.protocol import AfterLastEpochError
from tests.support.commands import SCRIPT, curve, make_trainer, training
from tests.support.polling import wait_until


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for doesn't."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_script_trains_and_ends(tmp_path: Path) -> None:
    with training(tmp_path) as trainer:
        assert curve(trainer) == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert (tmp_path / "checkpoints" / "done").exists()  # what stands after its loop has run


def test_a_script_stands_still_between_epochs(tmp_path: Path) -> None:
    with training(tmp_path) as trainer:
        trainer.train_epoch()
        assert (tmp_path / "checkpoints" / "epoch").read_text() == "1"


def test_a_shorter_script_ends_itself(tmp_path: Path) -> None:
    with training(tmp_path, max_epochs=7) as trainer:
        assert len(curve(trainer)) == 5
        assert trainer.train_epoch() is None


def test_a_longer_script_is_stopped(tmp_path: Path) -> None:
    with training(tmp_path, max_epochs=2) as trainer:
        assert curve(trainer) == [0.5, 1.5]
    assert not (tmp_path / "checkpoints" / "done").exists()


def test_a_script_that_knows_its_budget_ends_itself(tmp_path: Path) -> None:
    run = f"{sys.executable} train.py --epochs {{max_epochs}} --rate {{rate}}"
    with training(tmp_path, command={"run": run, "stop_grace": 0.001}, max_epochs=2) as trainer:
        assert curve(trainer) == [0.5, 1.5]
    assert (tmp_path / "checkpoints" / "done").exists()


def test_a_restarted_script_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    with training(tmp_path) as trainer:
        trainer.train_epoch()
        trainer.train_epoch()
        state = trainer.state_dict()
    with training(tmp_path) as trainer:
        trainer.load_state_dict(state)
        assert trainer.epoch == 2
        assert curve(trainer) == [2.5, 3.5, 4.5]


def test_without_a_checkpoint_epochs_that_are_known_are_dropped(tmp_path: Path) -> None:
    script = """
        import hpsearch
        for epoch in range(4):
            hpsearch.report(epoch=epoch, accuracy=epoch)
    """
    with training(tmp_path, script, max_epochs=4) as trainer:
        trainer.load_state_dict({"epoch": 0, "counts_from_zero": None})
        curve_before = [trainer.train_epoch()["accuracy"], trainer.train_epoch()["accuracy"]]
        state = trainer.state_dict()
    with training(tmp_path, script, max_epochs=4) as trainer:
        trainer.load_state_dict(state)
        assert [*curve_before, *curve(trainer)] == [0.0, 1.0, 2.0, 3.0]


def test_a_worker_that_saved_nothing_loses_no_epoch(tmp_path: Path) -> None:
    """Its script counts from 0 and has a checkpoint of three epochs."""
    with training(tmp_path) as trainer:
        for _ in range(3):
            trainer.train_epoch()
    with training(tmp_path) as trainer:
        assert curve(trainer) == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_a_deleted_checkpoint_folder_is_an_error(tmp_path: Path) -> None:
    with (
        training(tmp_path) as trainer,
        pytest.raises(UserCodeError, match="checkpoints: the checkpoints of the script must"),
    ):
        trainer.load_state_dict({"epoch": 2, "counts_from_zero": False})


def test_stopping_raises_in_the_script_that_asks_for_it(tmp_path: Path) -> None:
    script = """
        import hpsearch
        try:
            for epoch in range(9):
                hpsearch.report(epoch=epoch, accuracy=1.0, on_stop="raise")
        finally:
            (hpsearch.checkpoint_dir() / "cleaned").touch()
    """
    with training(tmp_path, script) as trainer:
        trainer.train_epoch()
    assert (tmp_path / "checkpoints" / "cleaned").exists()


def test_stopping_is_sigterm(tmp_path: Path) -> None:
    script = """
        import signal, sys, hpsearch
        def stop(number, frame):
            (hpsearch.checkpoint_dir() / "terminated").touch()
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        for epoch in range(9):
            hpsearch.report(epoch=epoch, accuracy=1.0)
    """
    with training(tmp_path, script) as trainer:
        trainer.train_epoch()
    assert (tmp_path / "checkpoints" / "terminated").exists()


#: starts a child, and one that detaches itself, all of which ignore SIGTERM
TREE = """
    import os, signal, subprocess, sys, time, hpsearch
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeper = [sys.executable, "-c", "import time; time.sleep(1000)"]
    child = subprocess.Popen(sleeper)
    nohup = subprocess.run(
        ["sh", "-c", "setsid nohup sleep 1000 >/dev/null 2>&1 & echo $!"], capture_output=True
    )
    pids = [os.getpid(), child.pid, int(nohup.stdout)]
    (hpsearch.checkpoint_dir() / "pids").write_text(" ".join(map(str, pids)))
    for epoch in range(3):
        hpsearch.report(epoch=epoch, accuracy=1.0)
"""


def pids_of(path: Path) -> list[int]:
    return [int(pid) for pid in (path / "checkpoints" / "pids").read_text().split()]


def test_no_process_of_the_tree_is_left(tmp_path: Path) -> None:
    with training(tmp_path, TREE, command={"stop_grace": 0.1}) as trainer:
        trainer.train_epoch()
        pids = pids_of(tmp_path)
        assert all(map(is_alive, pids))
    assert not any(map(is_alive, pids))


def test_processes_that_outlive_the_script_end_with_it(tmp_path: Path) -> None:
    with training(tmp_path, TREE, command={"stop_grace": 0.1}, max_epochs=3) as trainer:
        curve(trainer)
        assert not any(map(is_alive, pids_of(tmp_path)))


def test_no_process_is_left_where_the_worker_is_killed(tmp_path: Path) -> None:
    make_trainer(tmp_path, TREE)  # writes the script
    program = f"""
        from pathlib import Path
        from tests.support.commands import training
        import time
        path = Path({str(tmp_path)!r})
        script = (path / "train.py").read_text()
        with training(path, script, command={{"stop_grace": 0.1}}) as trainer:
            trainer.train_epoch()
            print("trained", flush=True)
            time.sleep(1000)
    """
    command = [sys.executable, "-c", dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline() == b"trained\n"
        worker.kill()
    pids = pids_of(tmp_path)
    wait_until(lambda: not any(map(is_alive, pids)), 20)


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        (
            "def f():\n    raise ValueError('no such column')\nf()",
            "ValueError",
            "no such column",
        ),
        ("import sys; sys.exit('bad rate')", "exit code 1", "bad rate"),
        ("import os; os.abort()", "SIGABRT", "it printed no error"),
        ("import hpsearch; hpsearch.report(accuracy='high')", "TypeError", "must be a number"),
    ],
)
def test_a_failure_says_why(script: str, kind: str, message: str, tmp_path: Path) -> None:
    with training(tmp_path, script) as trainer, pytest.raises(CommandError) as caught:
        trainer.train_epoch()
    assert caught.value.raised.type == kind
    assert message in caught.value.raised.message


def test_a_failure_names_the_line(tmp_path: Path) -> None:
    script = "def f():\n    raise ValueError('no such column')\nf()"
    with training(tmp_path, script) as trainer, pytest.raises(CommandError) as caught:
        trainer.train_epoch()
    raised = caught.value.raised
    assert (Path(raised.file).name, raised.line, raised.function) == ("train.py", 2, "f")
    assert "Traceback" in caught.value.tail


def test_a_failure_after_the_last_epoch_counts(tmp_path: Path) -> None:
    script = "import hpsearch; hpsearch.report(accuracy=1.0); raise OSError('disk full')"
    with (
        training(tmp_path, script, max_epochs=1) as trainer,
        pytest.raises(AfterLastEpochError) as caught,
    ):
        trainer.train_epoch()
    assert caught.value.metrics["accuracy"] == 1.0
    assert isinstance(caught.value.error, CommandError)


def test_a_killed_script_is_a_lost_worker(tmp_path: Path) -> None:
    script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with training(tmp_path, script) as trainer, pytest.raises(LostProcessError, match="SIGKILL"):
        trainer.train_epoch()


def test_out_of_memory_is_known(tmp_path: Path) -> None:
    script = "raise MemoryError('CUDA out of memory')"
    with training(tmp_path, script) as trainer, pytest.raises(MemoryError, match="CUDA"):
        trainer.train_epoch()


@pytest.mark.parametrize(
    ("script", "metrics", "message"),
    [
        ("pass", None, "it must call hpsearch.report"),
        ("import hpsearch; hpsearch.report(acuracy=1.0)", None, "reported acuracy; did you mean"),
        ("print('acc 1')", {"name": "stdout", "pattern": "x=(?P<accuracy>.)"}, "no line of its"),
        ("pass", {"name": "jsonl", "path": "{output_dir}/log"}, "no metrics were found in"),
    ],
)
def test_a_script_without_the_objective(
    script: str, metrics: dict[str, Any] | None, message: str, tmp_path: Path
) -> None:
    with (
        training(tmp_path, script, metrics=metrics) as trainer,
        pytest.raises(UserCodeError, match="objective 'accuracy': .*" + message),
    ):
        trainer.train_epoch()


def test_a_command_that_is_gone(tmp_path: Path) -> None:
    with (
        training(tmp_path, command={"run": ["./missing"]}) as trainer,
        pytest.raises(UserCodeError, match="can't be run: ./missing: No such file"),
    ):
        trainer.train_epoch()


def test_a_script_runs_alone(tmp_path: Path) -> None:
    make_trainer(tmp_path, SCRIPT)
    environment = {key: value for key, value in os.environ.items() if "HPSEARCH" not in key}
    command = [sys.executable, "train.py", "--rate", "1"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "checkpoints" / "done").exists()


def test_the_working_directory_is_the_spec_folder(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("0.25")
    script = "import hpsearch; hpsearch.report(accuracy=float(open('data.txt').read()))"
    with training(tmp_path, script, max_epochs=1) as trainer:
        assert curve(trainer) == [0.25]


def test_a_working_directory_of_the_trial_s_own(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("0.25")
    (tmp_path / "helper.py").write_text("def read(): return float(open('data.txt').read())")
    script = """
        import helper, json
        with open("log.jsonl", "w") as log:
            print(json.dumps({"epoch": 1, "accuracy": helper.read()}), file=log)
    """
    command, metrics = {"working_dir": "trial"}, {"name": "jsonl", "path": "log.jsonl"}
    with training(tmp_path, script, command, max_epochs=1, metrics=metrics) as trainer:
        assert curve(trainer) == [0.25]
    assert not (tmp_path / "log.jsonl").exists()


#: two processes with ranks, of which each reports what its argument says
RANKS = """
    import subprocess, sys, os
    report = "hpsearch.report(epoch=e, accuracy=1.0, on_stop='raise')"
    child = "import hpsearch\\nfor e in {}: " + report
    children = []
    for rank, epochs in enumerate(EPOCHS):
        environment = {**os.environ, "RANK": str(rank)}
        command = [sys.executable, "-c", child.format(epochs)]
        children.append(subprocess.Popen(command, env=environment))
    sys.exit(max(child.wait() for child in children))
"""


@pytest.mark.parametrize("name", RANK_VARIABLES)
def test_a_script_does_not_have_the_rank_of_its_worker(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "3")
    with training(tmp_path, max_epochs=1) as trainer:
        assert curve(trainer) == [0.5]


def test_ranks_are_one_trial(tmp_path: Path) -> None:
    script = RANKS.replace("EPOCHS", "([1, 2, 3], [1, 2, 3])")
    with training(tmp_path, script, max_epochs=3) as trainer:
        assert curve(trainer) == [1.0, 1.0, 1.0]


def test_ranks_must_report_the_same_epochs(tmp_path: Path) -> None:
    script = RANKS.replace("EPOCHS", "([1, 2, 3], [1, 3, 4])")
    with (
        training(tmp_path, script, max_epochs=9) as trainer,
        pytest.raises(UserCodeError, match="rank 1: epoch 3 where rank 0 reports epoch 2"),
    ):
        curve(trainer)


def test_a_long_folder_for_temporary_files_is_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with training(tmp_path) as trainer:
        assert trainer.train_epoch()["accuracy"] == 0.5


def test_a_script_that_knows_its_budget_may_report_once_more(tmp_path: Path) -> None:
    script = """
        import sys, hpsearch
        for epoch in range(int(sys.argv[1]) + 1):
            hpsearch.report(epoch=epoch, accuracy=epoch)
        (hpsearch.checkpoint_dir() / "final").touch()
    """
    command = {"run": ["python", "train.py", "{max_epochs}"]}
    with training(tmp_path, script, command, max_epochs=2, space={}) as trainer:
        assert curve(trainer) == [0.0, 1.0]
    assert (tmp_path / "checkpoints" / "final").exists()


def test_a_killed_supervisor_is_a_lost_worker(tmp_path: Path) -> None:
    script = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    with training(tmp_path, script) as trainer, pytest.raises(LostProcessError, match="superv"):
        trainer.train_epoch()


@pytest.mark.parametrize(
    ("lines", "command", "message"),
    [
        ("hpsearch.report(epoch=1, loss=0.5)", {}, "it reported loss"),
        (
            "hpsearch.report(step=39, accuracy=0.5)",
            {"steps_per_epoch": 100},
            r"its last step was 39, and an epoch has 100 \(steps_per_epoch\)",
        ),
        (
            "os.environ['RANK'] = '1'; hpsearch.report(epoch=1, accuracy=0.5)",
            {},
            "rank 1 reported, but the metrics of a trial are those of rank 0",
        ),
    ],
)
def test_what_a_script_without_an_epoch_lacks(
    lines: str, command: dict[str, Any], message: str, tmp_path: Path
) -> None:
    script = f"import os, hpsearch; {lines}"
    lack = pytest.raises(UserCodeError, match=f"objective 'accuracy': {message}")
    with training(tmp_path, script, command) as trainer, lack:
        trainer.train_epoch()


@pytest.mark.parametrize("epoch", ["epoch=epoch, ", ""])
def test_a_script_killed_before_its_first_report_starts_from_scratch(
    epoch: str, tmp_path: Path
) -> None:
    script = f"""
        import os, pathlib, hpsearch
        saved = hpsearch.checkpoint_dir() / "epoch"
        for epoch in range(int(saved.read_text()) if saved.exists() else 0, 3):
            saved.write_text(str(epoch + 1))
            if not pathlib.Path("killed").exists():
                pathlib.Path("killed").touch()
                os.kill(os.getpid(), 9)
            hpsearch.report({epoch}accuracy=epoch)
    """
    with training(tmp_path, script, space={}) as trainer, pytest.raises(LostProcessError):
        trainer.train_epoch()
    with training(tmp_path, script, space={}) as trainer:
        assert curve(trainer) == [0.0, 1.0, 2.0]


def test_steps_are_counted_by_a_script_that_was_killed(tmp_path: Path) -> None:
    script = """
        import os, pathlib, hpsearch
        saved = hpsearch.checkpoint_dir() / "step"
        first = int(saved.read_text()) if saved.exists() else 0
        for step in range(first, 8):
            saved.write_text(str(step + 1))
            if step == 2 and first == 0:
                os.kill(os.getpid(), 9)
            if step % 4 == 3:
                hpsearch.report(step=step, accuracy=step)
        print("began at", first)
    """
    command = {"steps_per_epoch": 4}
    with training(tmp_path, script, command, space={}) as trainer, pytest.raises(LostProcessError):
        trainer.train_epoch()
    with training(tmp_path, script, command, space={}, max_epochs=2) as trainer:
        assert curve(trainer) == [3.0, 7.0]


def test_a_worker_that_kills_its_children_leaves_no_process(tmp_path: Path) -> None:
    # as Ray's workers do when they exit
    script = """
        import pathlib, subprocess, sys, hpsearch
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pathlib.Path("pid").write_text(str(sleeper.pid))
        hpsearch.report(epoch=0, accuracy=0.5)
        sleeper.wait()
    """
    worker = """
        import os, pathlib, sys, psutil
        from tests.support.commands import make_trainer
        folder = pathlib.Path(sys.argv[1])
        make_trainer(folder, (folder / "script").read_text(), space={}).train_epoch()
        for child in psutil.Process().children():
            child.kill()
        os._exit(1)
    """
    (tmp_path / "script").write_text(dedent(script))
    subprocess.run([sys.executable, "-c", dedent(worker), str(tmp_path)], check=False)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_alive(pid))


def test_a_shell_s_killed_child_is_a_lost_worker(tmp_path: Path) -> None:
    command = {"run": ["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], "arguments": "none"}
    with training(tmp_path, "", command) as trainer, pytest.raises(LostProcessError, match="137"):
        trainer.train_epoch()


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("import os; os.kill(os.getpid(), 40)", "signal 40"),
        ("raise NotImplementedError", "NotImplementedError"),
        (
            "import sys; print('after a MemoryError', file=sys.stderr); raise ValueError('real')",
            "ValueError",
        ),
    ],
)
def test_other_failures(script: str, kind: str, tmp_path: Path) -> None:
    with training(tmp_path, script) as trainer, pytest.raises(CommandError) as caught:
        trainer.train_epoch()
    assert caught.value.raised.type == kind


def test_a_word_that_is_too_long(tmp_path: Path) -> None:
    error = pytest.raises(UserCodeError, match="the command can't be run: .*too long")
    with training(tmp_path, "", space={"rate": "x" * 140_000}) as trainer, error:
        trainer.train_epoch()


def test_a_handler_of_a_signal_may_report(tmp_path: Path) -> None:
    script = """
        import signal, sys, hpsearch
        def stop(number, frame):
            hpsearch.report(loss=1.0)
            (hpsearch.checkpoint_dir() / "saved").touch()
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        for epoch in range(9):
            hpsearch.report(epoch=epoch, accuracy=1.0)
    """
    with training(tmp_path, script, command={"stop_grace": 5.0}) as trainer:
        trainer.train_epoch()
    assert (tmp_path / "checkpoints" / "saved").exists()
